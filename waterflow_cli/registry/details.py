"""All that a store knows about one version of a registered model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from waterflow_cli.models.metrics import METRICS
from waterflow_cli.registry.location import load_model
from waterflow_cli.registry.lookup import describe_version, find_run, find_version
from waterflow_cli.registry.stores import connect, store_errors
from waterflow_cli.registry.versions import read_history


def describe(reference: str, *, name: str, tracking_uri: str) -> dict[str, Any]:
    """Say in JSON what a version learned from, how it fared and what was done with it.

    There is a `ModelError` where it cannot be found or loaded, or its run was deleted.
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
    tags, metrics = run.data.tags, run.data.metrics
    counts = ("rows", "rows_potable", "rows_not_potable")
    return {
        "model": model.label,
        **about,
        "created": created.isoformat(timespec="seconds"),
        **{name: int(metrics[name]) for name in counts if name in metrics},
        "data_sha256": tags.get("waterflow.data_sha256"),
        "schema": tags.get("waterflow.schema"),
        "waterflow_version": tags.get("waterflow.version"),
        "options": dict(run.data.params),
        "manifest_sha256": model.digest,
        "measurements": list(model.decision.measurements),
        "threshold": model.decision.threshold,
        "likely_potable_from": model.decision.policy.potable_from,
        "likely_not_potable_to": model.decision.policy.not_potable_to,
        "estimates": _estimates(metrics),
        "history": [entry.to_json() for entry in history if entry.version == about["version"]],
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
