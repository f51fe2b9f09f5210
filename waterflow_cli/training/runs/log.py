"""Write training runs to MLflow; no other module does."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from waterflow_cli import __version__
from waterflow_cli.common.interrupts import interrupts_held_back
from waterflow_cli.common.json import json_text, path_text
from waterflow_cli.common.libraries import SCORING, installed_versions
from waterflow_cli.common.messages import Message
from waterflow_cli.models.discovery import LoadedPlugin
from waterflow_cli.models.files import save_payload
from waterflow_cli.models.manifest import MANIFEST, PAYLOAD, write_manifest
from waterflow_cli.registry.history import Action
from waterflow_cli.registry.references import DIGEST_TAG
from waterflow_cli.registry.runs import RECORD_FILE, TrackedRun, TrackingOptions, tracked_run
from waterflow_cli.registry.sqlite_tables import sqlite_path
from waterflow_cli.registry.versions import Aliasing, Origin, RegisteredVersion, register
from waterflow_cli.tables.databases.addresses import is_database
from waterflow_cli.tables.outputs import OutputGroup
from waterflow_cli.training.runs.combined_data import COMBINED, COMBINED_FILE
from waterflow_cli.training.runs.page import render_page
from waterflow_cli.training.runs.plots import draw_result
from waterflow_cli.training.runs.record import (
    EFFECTS_FILE,
    EVALUATION_FILE,
    Training,
    TrainingRecord,
    write_effects,
)
from waterflow_cli.training.summary import build_reference, flat_metrics, result_summary
from waterflow_cli.training.trainer import TrainingResult, train_model

# What a machine needs to load the model; the plugin's own distribution is added to it.
_REQUIRED = sorted((*SCORING, "imbalanced-learn", "mlflow", "skops"))
# MLflow's limit for one parameter's text.
_MAX_PARAM = 500


@dataclass(frozen=True)
class TrainingReport:
    """What a training leaves: what it started from, its result and the version it registered."""

    training: Training
    result: TrainingResult
    registered: RegisteredVersion

    def summary(self) -> dict[str, Any]:
        """Put the report into a JSON object."""
        return {
            "plugin": self.training.plugin.name,
            "data": self.training.data.summary(),
            "registered": asdict(self.registered),
            "decided_share": self.result.decided_share,
            **result_summary(self.result),
        }


@interrupts_held_back()
def log_start(training: Training) -> None:
    """Log what the run starts from, so that a failed run says it too."""
    data, schema, plugin = training.data, training.schema, training.plugin
    mlflow.log_text(TrainingRecord.of(training).to_json(), RECORD_FILE)
    mlflow.set_tags(
        {
            "waterflow.version": __version__,
            "mlflow.runName": plugin.name,  # MLflow would make one up
            "waterflow.plugin": plugin.name,
            "waterflow.plugin_distribution": plugin.distribution,
            "waterflow.data_sha256": data.sha256,
            "waterflow.simulated": data.is_simulated,
            "waterflow.leaks": " ".join(dict.fromkeys(leak.code for leak in data.leaks)),
            "waterflow.schema": schema.name,
            "waterflow.schema_sha256": schema.sha256,
        }
    )
    mlflow.log_metrics({"rows": len(data.y), **row_counts(data.summary())})
    source = COMBINED_FILE if data.path == COMBINED else path_text(data.path)
    frame = data.X.assign(**{str(schema.label): data.y.astype(float)})
    with warnings.catch_warnings(action="ignore"):
        dataset = mlflow.data.from_pandas(
            frame, source=_source_of(source), targets=schema.label, name=Path(source).name
        )
        mlflow.log_input(dataset, context="training")


def _source_of(path: str) -> Any:
    """Give a path as MLflow takes it; it knows no addresses of databases."""
    if not is_database(path):
        return path
    from mlflow.data.code_dataset_source import CodeDatasetSource

    return CodeDatasetSource({"address": path})


def row_counts(summary: Mapping[str, Any]) -> dict[str, float]:
    """Take the counts of rows from a summary, for MLflow."""
    return {name: float(value) for name, value in summary.items() if name.startswith("rows_")}


def log_result(run: TrackedRun, training: Training, result: TrainingResult) -> str:
    """Log parameters, metrics, pictures, the environment and the page; return the last."""
    options = training.options
    chosen = {
        "balance": options.balance,
        "threshold_rule": options.threshold.text,
        "calibration": options.calibration,
        "evaluation": result.design.name,
        "guarantees": ", ".join(map(str, options.guarantees)) or "none",
        "trials": options.n_trials,
        "seed": options.seed,
        **{f"plugin.{name}": value for name, value in result.params.items()},
    }
    pictures = draw_result(result)
    page = render_page(training, result, pictures)
    with interrupts_held_back():
        mlflow.log_params({name: str(value)[:_MAX_PARAM] for name, value in chosen.items()})
        mlflow.log_metrics({"threshold": result.model.threshold})
        mlflow.log_metrics(flat_metrics(result.evaluation.estimates, "test"))
        for name, baseline in result.baselines.items():
            value = baseline.evaluation.estimates["roc_auc"].value
            mlflow.log_metric(f"baseline_{name.replace(' ', '_')}_roc_auc", value)
        for epoch, loss in enumerate(result.loss_curve, 1):
            mlflow.log_metric("loss", loss, step=epoch)
        run.log_more(
            files={
                **{f"plots/{name}.png": picture for name, picture in pictures.items()},
                "report.html": page.encode(),
                EVALUATION_FILE: json_text(result_summary(result)).encode(),
                EFFECTS_FILE: write_effects(result.measured.effects),
                "environment.json": json_text(_environment()).encode(),
            }
        )
        for number, trial in enumerate(result.trials):
            with run.nested(f"trial {number}"):
                mlflow.log_params({name: str(value) for name, value in trial.params.items()})
                mlflow.set_tag("waterflow.pruned", trial.roc_auc != trial.roc_auc)
                if trial.roc_auc == trial.roc_auc:
                    mlflow.log_metric("inner_roc_auc", trial.roc_auc)
    return page


@interrupts_held_back()
def log_model(run: TrackedRun, training: Training, result: TrainingResult) -> str:
    """Save the model without pickle, and record its manifest's sha256; return MLflow's id of it."""
    data, plugin = training.data, training.plugin
    details = {
        "waterflow": __version__,
        "run_id": run.run_id,
        "data_sha256": data.sha256,
        "simulated": data.is_simulated,
    }
    with tempfile.TemporaryDirectory(prefix="waterflow-") as scratch:
        payload = Path(scratch) / PAYLOAD
        reference = build_reference(data, result)
        save_payload(payload, result.model, training.schema, plugin, details, reference)
        with warnings.catch_warnings(action="ignore"):  # it would like an input example
            info = mlflow.pyfunc.log_model(
                name="model",
                loader_module="waterflow_cli.pyfunc",
                data_path=str(payload),
                signature=_signature(),
                pip_requirements=_requirements(plugin),
            )
        # The manifest covers what MLflow wrote too, so it is made from the folder as stored.
        stored = Path(scratch) / "stored"
        stored.mkdir()
        folder = Path(mlflow.artifacts.download_artifacts(info.model_uri, dst_path=str(stored)))
        digest = write_manifest(folder)
        run.client.log_model_artifact(info.model_id, str(folder / MANIFEST))
    run.client.set_logged_model_tags(info.model_id, {DIGEST_TAG: digest})
    return str(info.model_id)


def run_training(
    training: Training,
    tracking: TrackingOptions,
    report: Callable[[str], None],
    *,
    page: str | None = None,
    force: bool = False,
) -> TrainingReport:
    """Train a model in a tracked run, and register it.

    Parameters
    ----------
    page : str, optional
        Where a page about the model is written; it appears together with the version.

    Raises
    ------
    ModelError
        If the store cannot be used.
    PluginError, UsageError, DataRefusedError
        See `waterflow_cli.training.trainer.train_model`; the run is marked as failed.
    """
    aliasing = Aliasing.DEMO if training.data.is_simulated else Aliasing.RANKED
    database = sqlite_path(tracking.uri)
    if database is not None and not database.exists():
        report(Message("Creating the tracking store {uri}", uri=tracking.uri))
    with OutputGroup(force=force) as outputs, tracked_run(tracking) as run:
        log_start(training)
        result = train_model(training.data, training.plugin, training.options, report=report)
        report(Message("Logging the run and the model to MLflow"))
        outputs.write_page(page, log_result(run, training, result))
        registered = register(
            run,
            log_model(run, training, result),
            plugin=training.plugin.name,
            origin=Origin(Action.TRAIN, aliasing=aliasing),
            publish=outputs.publish,
        )
    return TrainingReport(training, result, registered)


def _signature() -> ModelSignature:
    # Of the outputs alone: for an input that is a double MLflow refuses the int64 that pandas makes
    # of whole numbers. The model reads and checks its cells itself, as `score` does.
    return ModelSignature(
        outputs=Schema(
            [
                ColSpec("double", "probability", required=False),
                ColSpec("long", "prediction", required=False),
                ColSpec("string", "verdict"),
            ]
        ),
    )


def _requirements(plugin: LoadedPlugin) -> list[str]:
    needed = [f"{name}=={version}" for name, version in installed_versions(_REQUIRED).items()]
    dist = plugin.point.dist
    own = [] if dist is None or dist.name == "waterflow-cli" else [f"{dist.name}=={dist.version}"]
    return [f"waterflow-cli=={__version__}", *own, *needed]


def _environment() -> dict[str, Any]:
    """Describe the machine; leftovers of distributions without metadata have no version."""
    versions: dict[str, str] = {}
    for dist in distributions():
        with suppress(OSError):
            if dist.name:
                versions.setdefault(dist.name, dist.version)
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "distributions": dict(sorted(versions.items())),
    }
