"""All that a store knows about one version of a registered model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from waterflow_cli.models.files import StoredModel
from waterflow_cli.models.metrics import METRICS
from waterflow_cli.registry.location import load_model
from waterflow_cli.registry.lookup import describe_version, find_run, find_version
from waterflow_cli.registry.stores import connect, store_errors
from waterflow_cli.registry.versions import read_history


def describe(reference: str, *, name: str, tracking_uri: str) -> dict[str, Any]:
    """Say in JSON what a version learned from, how it fared and what was done with it.

    Raises
    ------
    ModelError
        If there is no such version, it cannot be loaded, or its run was deleted.
    """
    client = connect(tracking_uri)
    with store_errors(tracking_uri):
        found = find_version(client, reference, name, tracking_uri)
        uri = f"models:/{found.name}/{found.version}"
        model = load_model(uri, name=found.name, tracking_uri=tracking_uri)
        run = find_run(client, uri, found.name, tracking_uri)
        aliases = client.get_registered_model(found.name).aliases
        about = describe_version(found, aliases)
        history = read_history(found.name, tracking_uri)
    created = datetime.fromtimestamp(about.pop("created_s"), UTC)
    return {
        "model": model.label,
        **about,
        "created": created.isoformat(timespec="seconds"),
        **_describe_training(run),
        **_describe_decision(model),
        "estimates": _estimates(run.data.metrics),
        "history": [entry.to_json() for entry in history if entry.version == about["version"]],
    }


def _describe_training(run: Any) -> dict[str, Any]:
    tags, metrics = run.data.tags, run.data.metrics
    rows = {
        name: int(metrics[name])
        for name in ("rows", "rows_potable", "rows_not_potable")
        if name in metrics
    }
    return {
        **rows,
        "data_sha256": tags.get("waterflow.data_sha256"),
        "schema": tags.get("waterflow.schema"),
        "waterflow_version": tags.get("waterflow.version"),
        "options": dict(run.data.params),
    }


def _describe_decision(model: StoredModel) -> dict[str, Any]:
    return {
        "manifest_sha256": model.digest,
        "measurements": list(model.decision.measurements),
        "threshold": model.decision.threshold,
        "likely_potable_from": model.decision.policy.potable_from,
        "likely_not_potable_to": model.decision.policy.not_potable_to,
    }


def _estimates(metrics: dict[str, float]) -> dict[str, dict[str, float | None]]:
    return {
        name: {
            "value": metrics[f"test_{name}"],
            "low": metrics.get(f"test_{name}_low"),
            "high": metrics.get(f"test_{name}_high"),
        }
        for name in METRICS
        if f"test_{name}" in metrics
    }
