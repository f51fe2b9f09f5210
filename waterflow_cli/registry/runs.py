"""Open MLflow runs, and end them as what they are."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient

from waterflow_cli.common.effects import effects
from waterflow_cli.common.errors import ModelError, UsageError
from waterflow_cli.common.interrupts import interrupts_held_back
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
    """An open MLflow run.

    What logs to it holds interrupts back: a query that one breaks off keeps a sqlite store locked,
    and the run could not be ended.
    """

    def __init__(self, client: MlflowClient, options: TrackingOptions, opened: _OpenRun) -> None:
        self.client, self.options, self._opened = client, options, opened
        self.run_id, self.experiment_id = opened.run.info.run_id, opened.run.info.experiment_id

    def finish(self) -> None:
        """End it as FINISHED before its block does."""
        self._opened.end("FINISHED")

    @contextmanager
    def nested(self, name: str) -> Iterator[None]:
        """Open a run within it."""
        opened = _OpenRun(self.client, experiment_id=self.experiment_id, run_name=name, nested=True)
        with _ending(opened, self.options.uri):
            yield

    @interrupts_held_back()
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


class _OpenRun:
    """A run that is ended in any case: by who opened it, or at last where the command ends."""

    def __init__(self, client: MlflowClient, **where: Any) -> None:
        self._client, self._status = client, ""
        with interrupts_held_back():
            self.run = mlflow.start_run(**where)
            effects.begun.append(self.end)

    def end(self, status: str = "KILLED") -> None:
        """End it, once; where it could not be ended, the same is tried again."""
        if self.end not in effects.begun:
            return
        self._status = self._status or status
        with interrupts_held_back():
            active, run_id = mlflow.active_run(), self.run.info.run_id
            if active is not None and active.info.run_id == run_id:
                mlflow.end_run(self._status)
            else:  # MLflow has forgotten it already
                self._client.set_terminated(run_id, self._status)
            effects.forget(self.end)


@contextmanager
def tracked_run(options: TrackingOptions) -> Iterator[TrackedRun]:
    """Open a run; it ends FINISHED, KILLED by Ctrl-C, or FAILED by any other error.

    There is a `ModelError` where the store cannot be used.
    """
    client = connect(options.uri, create=True)
    with store_errors(options.uri):
        experiment_id = find_experiment(client, options.experiment, options.uri)
        opened = _OpenRun(client, experiment_id=experiment_id)
    with _ending(opened, options.uri):
        yield TrackedRun(client, options, opened)


@contextmanager
def _ending(opened: _OpenRun, uri: str) -> Iterator[None]:
    try:
        with store_errors(uri):
            yield
            opened.end("FINISHED")
    except BaseException as exc:
        with suppress(ModelError), store_errors(uri):  # the first error is the one to tell
            opened.end("KILLED" if isinstance(exc, KeyboardInterrupt) else "FAILED")
        raise
