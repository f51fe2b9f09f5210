"""Open MLflow runs, and end them as what they are."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient

from waterflow_cli.common.errors import ModelError, UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.registry.lookup import DEFAULT_NAME
from waterflow_cli.registry.stores import connect, find_experiment, store_errors

# The record of a training, beside its run's other files.
RECORD_FILE = "training.json"


def design_name(text: str) -> str:
    """Identify how a run was tested; those of 0.1 say it in words, English or French.

    >>> [design_name(text) for text in ("cv-5x1", "validation croisée à 5 plis, une fois")]
    ['cv-5x1', 'cv-5x1']
    """
    number, *others = re.findall(r"\d+", text) or [""]
    if re.search("-fold | plis, ", text):
        return f"cv-{number}x{(others or ['1'])[0]}" + ("-grouped" if "group" in text else "")
    if re.search("hold-out of|mise de côté", text):
        return f"holdout-{int(number) / 100:g}"
    return f"time-{number}" if re.search("spans of time|périodes", text) else text


@dataclass(frozen=True)
class TrackingOptions:
    """Where a run is logged and under which name its model is registered."""

    uri: str
    experiment: str = "waterflow"
    name: str = DEFAULT_NAME

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w. -]+", self.name):
            raise UsageError(
                "--name {name}: is no name for a model.",
                tr("Use letters, digits, spaces, dots, hyphens and underscores."),
                name=self.name,
            )


class TrackedRun:
    """An open MLflow run."""

    def __init__(self, client: MlflowClient, options: TrackingOptions, run: Any) -> None:
        self.client, self.options = client, options
        self.run_id, self.experiment_id = run.info.run_id, run.info.experiment_id

    def log_more(
        self,
        *,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """Log tags, metrics and files; the names of files may name a folder."""
        mlflow.set_tags(dict(tags or {}))
        mlflow.log_metrics(dict(metrics or {}))
        with tempfile.TemporaryDirectory(prefix="waterflow-") as scratch:
            for name, content in (files or {}).items():
                path = Path(scratch, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            mlflow.log_artifacts(scratch)


@contextmanager
def tracked_run(options: TrackingOptions) -> Iterator[TrackedRun]:
    """Open a run; it ends FINISHED, KILLED by Ctrl-C, or FAILED by any other error.

    There is a `ModelError` where the store cannot be used.
    """
    client = connect(options.uri, create=True)
    with store_errors(options.uri):
        experiment_id = find_experiment(client, options.experiment, options.uri)
        run = mlflow.start_run(experiment_id=experiment_id)
    status = "FAILED"
    try:
        with store_errors(options.uri):
            yield TrackedRun(client, options, run)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        try:
            with store_errors(options.uri):
                mlflow.end_run(status)
        except ModelError:
            if status == "FINISHED":  # else a first error is on its way already
                raise
