"""Find runs, models and versions with MLflow's client."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from waterflow_cli.common.errors import ModelError
from waterflow_cli.common.messages import tr
from waterflow_cli.registry.references import (
    CHAMPION,
    CHANCE_TAG,
    DEMO,
    DIGEST_TAG,
    ListedModel,
    ListedVersion,
    Located,
    VersionReference,
    parse_reference,
)
from waterflow_cli.registry.stores import connect, redact, store_errors

DEFAULT_NAME = "waterflow"
HEADLINES = ("roc_auc", "balanced_accuracy", "precision_potable", "false_potable_per_1000")
_MOST_VERSIONS = 10_000
# MLflow calls an alias that does not exist an invalid parameter.
_NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def locate(reference: str, *, name: str, tracking_uri: str) -> Located:
    """Find a model with MLflow's client; a `ModelError` where waterflow trained no such model."""
    client = connect(tracking_uri)
    with store_errors(tracking_uri):
        if reference.startswith("runs:/"):
            return _locate_run(client, reference)
        if match := re.fullmatch(r"models:/(m-[0-9a-f]{32})", reference):
            return _locate_logged(client, match[1], f"models:/{match[1]}")
        version = find_version(client, reference, name, tracking_uri)
        label = f"{version.name}/{version.version}"
        return _locate_logged(client, version.source.removeprefix("models:/"), label)


def download(location: str, folder: Path, tracking_uri: str) -> Path:
    """Fetch a model's files from where its store keeps them."""
    with store_errors(tracking_uri):
        return Path(
            mlflow.artifacts.download_artifacts(
                artifact_uri=location, dst_path=str(folder), tracking_uri=tracking_uri
            )
        )


def if_there(ask: Callable[..., Any], *what: str | None) -> Any:
    """Ask MLflow for something; None where there is no such thing."""
    try:
        return ask(*what)
    except MlflowException as exc:
        if exc.error_code not in _NOT_FOUND:
            raise
        return None


def all_versions(client: MlflowClient, name: str, *, uri: str | None = None) -> list[Any]:
    """Give the versions of a registered model, the oldest first.

    There is a `ModelError` where there are none, and a store is named to say so of.
    """
    found = sorted(
        client.search_model_versions(f"name='{name}'", max_results=_MOST_VERSIONS),
        key=lambda version: int(version.version),
    )
    if not found and uri is not None:
        raise ModelError(
            "No model named '{name}' in {uri}.",
            tr("Train one: waterflow train"),
            name=name,
            uri=redact(uri),
        )
    return found


def ask_for_model(name: str, tracking_uri: str, figures: Sequence[str]) -> ListedModel:
    """Ask for what is registered of a model; a `ModelError` without any version."""
    client = connect(tracking_uri)
    with store_errors(tracking_uri):
        found = all_versions(client, name, uri=tracking_uri)
        model = client.get_registered_model(name)
        versions = [
            list_version(
                each, model.aliases, headline_figures(client, each.run_id) if figures else {}
            )
            for each in found
        ]
        return ListedModel(versions, model.tags)


def list_version(
    version: Any, aliases: Mapping[str, Any], figures: Mapping[str, float]
) -> ListedVersion:
    """Say what the registry knows about a version."""
    return ListedVersion(
        number=int(version.version),
        created_ms=version.creation_timestamp,
        run_id=version.run_id,
        tags=version.tags,
        aliases=[name for name, number in aliases.items() if str(number) == str(version.version)],
        figures=figures,
    )


def headline_figures(client: MlflowClient, run_id: str) -> dict[str, float]:
    """Give the figures by which versions are told apart, from rows that they did not learn from.

    With their intervals: ``roc_auc``, ``roc_auc_low``, ``roc_auc_high`` and so on. None where the
    run was deleted for good.
    """
    run = if_there(client.get_run, run_id)
    metrics = {} if run is None else run.data.metrics
    names = [f"{figure}{end}" for figure in HEADLINES for end in ("", "_low", "_high")]
    return {name: metrics[f"test_{name}"] for name in names if f"test_{name}" in metrics}


def find_version(client: MlflowClient, reference: str, name: str, uri: str) -> Any:
    """Find the version that ``@alias``, a number or ``models:/NAME/…`` stands for.

    There is a `ModelError` where there is none.
    """
    wanted = parse_reference(reference, name)
    if wanted is None:
        raise ModelError(
            "No model '{reference}': it is no folder with an MLmodel file.",
            tr(
                "Name @champion, a version number, models:/NAME/VERSION, "
                "runs:/ID/model or a folder."
            ),
            reference=reference,
        )
    ask = client.get_model_version_by_alias if wanted.alias else client.get_model_version
    found = if_there(ask, wanted.name, wanted.alias or wanted.number)
    if found is None:
        shown = f"@{wanted.alias}" if wanted.alias else tr("version {number}", number=wanted.number)
        raise ModelError(
            "The model '{name}' has no {shown} in {uri}.",
            _hint_without(client, wanted),
            name=wanted.name,
            shown=shown,
            uri=redact(uri),
        )
    return found


def _hint_without(client: MlflowClient, wanted: VersionReference) -> str:
    """Say what to do where a version is not there; one that is not put in use may be."""
    model = if_there(client.get_registered_model, wanted.name)
    if model is not None and wanted.alias == CHAMPION:
        if DEMO in model.aliases:
            return tr(
                "Train one on samples of your own: waterflow train FILE; the one that learned from "
                "simulated samples is --model @demo"
            )
        newest = all_versions(client, wanted.name)[-1:]
        if newest and CHANCE_TAG in newest[0].tags:
            return tr(
                "Train one on other or more samples: waterflow train FILE; the newest, which is "
                "not shown to be better than chance, is --model {version}",
                version=newest[0].version,
            )
    return tr("Train one: waterflow train, or see what there is: waterflow models list")


def find_run(client: MlflowClient, reference: str, name: str, uri: str) -> Any:
    """Find the run that a run's id or a model's version stands for; a `ModelError` if none is."""
    if match := re.fullmatch(r"(?:runs:/)?([0-9a-f]{32})(?:/model)?", reference):
        run_id = match[1]
    elif parse_reference(reference, name) is None:
        raise ModelError(
            "No run '{reference}'.",
            tr(
                "Name a run id, @champion, a version number, models:/NAME/VERSION or "
                "runs:/ID/model."
            ),
            reference=reference,
        )
    else:
        run_id = find_version(client, reference, name, uri).run_id or ""
    run = if_there(client.get_run, run_id)
    if run is None:
        raise ModelError(
            "No run '{run}' in {uri}.",
            tr("See: waterflow models list"),
            run=run_id or reference,
            uri=redact(uri),
        )
    return run


def _locate_run(client: MlflowClient, reference: str) -> Located:
    run_id, _, model_name = reference.removeprefix("runs:/").partition("/")
    run = client.get_run(run_id)
    for output in run.outputs.model_outputs if run.outputs else []:
        if client.get_logged_model(output.model_id).name == model_name:
            return _locate_logged(client, output.model_id, reference)
    raise ModelError(
        "The run {run_id} has no model '{model_name}'.", run_id=run_id, model_name=model_name
    )


def _locate_logged(client: MlflowClient, model_id: str, label: str) -> Located:
    if not model_id.startswith("m-"):
        raise ModelError(
            "Model {label} was not trained by waterflow.",
            tr("Only models that it trained can score."),
            label=label,
        )
    logged = client.get_logged_model(model_id)
    digest = logged.tags.get(DIGEST_TAG)
    if digest is None:
        raise ModelError(
            "Model {label}: the store keeps no sha256 of it, so its files cannot be verified.",
            tr("Only models that waterflow trained to the end can score."),
            label=label,
        )
    shown = label if not label.startswith(("runs:", "models:")) else f"sha256:{digest[:12]}"
    return Located(shown, logged.artifact_location, digest)
