"""Train again from what a run recorded, and compare the model with the one that it left."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from waterflow_cli.common.errors import DataRefusedError, InputError, ModelError, UsageError
from waterflow_cli.common.messages import Message, joined, tr
from waterflow_cli.models.decision import DecisionModel, Policy
from waterflow_cli.models.discovery import LoadedPlugin, load_plugin
from waterflow_cli.models.files import StoredModel
from waterflow_cli.registry.location import load_model
from waterflow_cli.registry.lookup import find_run
from waterflow_cli.registry.runs import RECORD_FILE
from waterflow_cli.registry.stores import connect, store_errors
from waterflow_cli.samples.columns import IdColumn
from waterflow_cli.tables.databases.addresses import is_database
from waterflow_cli.training.data import (
    TrainingData,
    data_sha256,
    load_training_data,
    simulated_sample,
)
from waterflow_cli.training.runs.combined_data import COMBINED, COMBINED_FILE, read_combined
from waterflow_cli.training.runs.record import (
    PIPE,
    TrainingRecord,
    deciding_versions,
    read_run_file,
)
from waterflow_cli.training.trainer import train_model


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How two decision models judge the same rows.

    Attributes
    ----------
    n_differing, n_verdicts : int
        Rows whose probability, prediction or verdict differs in any bit; those of another verdict.
    largest : float
        The largest difference of two probabilities.
    thresholds, policies : tuple
        The stored model's, and that of the model trained again.
    """

    n_rows: int
    n_differing: int
    n_verdicts: int
    largest: float
    thresholds: tuple[float, float]
    policies: tuple[Policy, Policy]

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        pairs = (self.thresholds, self.policies)
        return not self.n_differing and all(before == after for before, after in pairs)

    def describe(self) -> Message:
        """Say whether, and by how much, they differ."""
        if self.identical:
            return Message(
                "Identical: {n_trained} rows get the same probabilities and verdicts, bit "
                "for bit, and threshold and policy are the same.",
                n_trained=self.n_rows,
            )
        parts = [
            Message(
                "{n_differing} of {n_trained} rows differ",
                n_differing=self.n_differing,
                n_trained=self.n_rows,
            )
        ]
        if self.n_differing:
            parts.append(Message("by at most {largest:.3g} in probability", largest=self.largest))
            parts.append(Message("{n_verdicts} in the verdict", n_verdicts=self.n_verdicts))
        if self.thresholds[0] != self.thresholds[1]:
            parts.append(Message("the threshold is another"))
        if self.policies[0] != self.policies[1]:
            parts.append(Message("the policy is another"))
        return Message("Not identical: {parts}.", parts=joined(parts))


@dataclass(frozen=True)
class Reproduction:
    """What came of training a run again, and the versions that differ, as recorded and here."""

    run_id: str
    record: TrainingRecord
    versions: dict[str, tuple[str, str]]
    comparison: Comparison

    def summary(self) -> dict[str, Any]:
        """Put the result into a JSON object."""
        found = self.comparison
        return {
            "identical": found.identical,
            "run_id": self.run_id,
            "plugin": self.record.plugin,
            "data_sha256": self.record.sha256,
            "rows": found.n_rows,
            "rows_differing": found.n_differing,
            "verdicts_differing": found.n_verdicts,
            "largest_difference": found.largest,
            "threshold": _pair(found.thresholds),
            "policy": _pair(map(asdict, found.policies)),
            "versions_differing": {name: _pair(pair) for name, pair in self.versions.items()},
        }


def reproduce_run(
    reference: str,
    path: str | None = None,
    *,
    name: str,
    tracking_uri: str,
    jobs: int = 1,
    report: Callable[[str], None] = lambda _step: None,
    warn: Callable[[str], None] = lambda _text: None,
) -> Reproduction:
    """Train again as a run did, and compare the two models on all rows of the data.

    Nothing is logged, and the store is only read.

    Parameters
    ----------
    reference : str
        A run id, ``@alias``, a version number, ``models:/…`` or ``runs:/ID/model``.
    name : str
        The registered model that aliases and version numbers belong to.
    warn : callable
        Told which versions are not those that trained.

    Raises
    ------
    ModelError
        If there is no such run, it recorded nothing or left no model, or its plugin is missing.
    InputError, DataRefusedError
        If the data cannot be read, or is other data; see `load_recorded`.
    """
    client = connect(tracking_uri)
    with store_errors(tracking_uri):
        run_id = find_run(client, reference, name, tracking_uri).info.run_id
        record = read_record(client, run_id)
    stored = load_model(f"runs:/{run_id}/model", name=name, tracking_uri=tracking_uri)
    plugin = plugin_of(record)
    versions = compare_versions(record.versions, deciding_versions(plugin))
    if versions:
        pairs = (
            Message("{name} {here} (then {then})", name=each, here=here, then=then)
            for each, (then, here) in versions.items()
        )
        warn(
            Message(
                "Not the versions that trained, so the bits may differ: {pairs}.",
                pairs=joined(pairs),
            )
        )
    data = load_recorded(client, run_id, record, path)
    result = train_model(data, plugin, replace(record.options, jobs=jobs), report=report)
    report(Message("Comparing with the stored model"))
    with plugin.guarded(Message("predict")):
        comparison = compare_models(stored, result.model, data.X)
    return Reproduction(run_id, record, versions, comparison)


def read_record(client: MlflowClient, run_id: str) -> TrainingRecord:
    """Read what a run was trained from, if it recorded that, and it can be read."""
    if RECORD_FILE not in {file.path for file in client.list_artifacts(run_id)}:
        raise ModelError(
            "The run {run_id} has no {file}, so it cannot be trained again.",
            tr("Only runs of waterflow train keep one, and those of its first versions do not."),
            run_id=run_id,
            file=RECORD_FILE,
        )
    text = read_run_file(client, run_id, RECORD_FILE)
    return TrainingRecord.from_json(text, Message("The run {run_id}", run_id=run_id))


def compare_versions(
    then: Mapping[str, str], here: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Give the versions that differ: as recorded, and here."""
    pairs = {name: (then.get(name, "none"), here.get(name, "none")) for name in {**then, **here}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def load_recorded(
    client: MlflowClient,
    run_id: str,
    record: TrainingRecord,
    path: str | None,
    *,
    with_ids: bool = False,
    id_name: str | None = None,
) -> TrainingData:
    """Read data as a run read it, if it is the same data.

    Parameters
    ----------
    path : str, optional
        Where the data lies now, if not with the run or where it was.
    with_ids : bool
        Whether the samples' names are read too.
    id_name : str, optional
        Their column; default: found by the usual names.

    Raises
    ------
    InputError
        If it cannot be read, or came through a pipe and is not named.
    ModelError
        If it should lie with the run, and does not.
    DataRefusedError
        If it is other data.
    """
    ids = IdColumn(id_name) if with_ids else None
    if path is not None:
        return _load(path, record, ids)
    if record.path is None:
        with simulated_sample() as sample:
            return replace(_load(sample, record, ids), is_simulated=True)
    if record.path == PIPE:
        raise InputError(
            PIPE, "the run read its data through a pipe.", hint=tr("Pipe it again: --data -")
        )
    if record.path != COMBINED:
        return _load(record.path, record, ids)
    with tempfile.TemporaryDirectory(prefix="waterflow-") as scratch:
        try:
            path = str(client.download_artifacts(run_id, COMBINED_FILE, scratch))
        except (MlflowException, OSError) as exc:
            raise ModelError(
                "The run {run_id} has lost its {file}.",
                tr("If there is a copy, name it: --data FILE"),
                run_id=run_id,
                file=COMBINED_FILE,
            ) from exc
        return _load(path, record, ids)


def _load(path: str, record: TrainingRecord, ids: IdColumn | None) -> TrainingData:
    """Read a file as a run read it, if it holds the same data."""
    hint = Message("Name the file as it was then: --data FILE (or - for what came through a pipe).")

    def refuse_other(digest: str) -> None:
        if digest != record.sha256:
            raise DataRefusedError(
                "{path}: is not what the run was trained on: its sha256 is {digest}…, "
                "and was {sha256}….",
                hint,
                path=path,
                digest=digest[:12],
                sha256=record.sha256[:12],
            )

    try:
        is_file = path != PIPE and not is_database(path)
        if is_file and stat.S_ISREG(Path(path).stat().st_mode):
            refuse_other(data_sha256(path, record.reading))  # before anything is said of its rows
    except OSError as exc:
        raise InputError(
            path, "cannot be read ({strerror}).", strerror=exc.strerror, hint=hint
        ) from exc
    if record.path == COMBINED:
        if not Path(path).is_file():
            raise InputError(path, "is no file.", hint=hint)
        return read_combined(path, record.schema, record.reading)
    data = load_training_data(path, record.schema, record.reading, ids=ids)
    refuse_other(data.sha256)
    return data


def compare_models(stored: StoredModel, again: DecisionModel, X: pd.DataFrame) -> Comparison:
    """Compare a stored model with one trained again, on the same rows."""
    before, after = stored.probability(X), again.probability(X)
    verdicts = stored.decision.verdict(before) != again.verdict(after)
    predictions = stored.decision.predict(before) != again.predict(after)
    bits = before.view(np.int64) != after.view(np.int64)
    return Comparison(
        n_rows=len(X),
        n_differing=int((bits | predictions | verdicts).sum()),
        n_verdicts=int(verdicts.sum()),
        largest=float(np.abs(before - after).max()),
        thresholds=(stored.decision.threshold, again.threshold),
        policies=(stored.decision.policy, again.policy),
    )


def plugin_of(record: TrainingRecord) -> LoadedPlugin:
    """Load the plugin that trained a run; `ModelError` if it is not installed."""
    try:
        return load_plugin(record.plugin)
    except UsageError as exc:
        raise ModelError(
            "The run was trained by the plugin '{plugin}', which is not installed.",
            tr("Install what trained it: {distribution}", distribution=record.plugin_distribution),
            plugin=record.plugin,
        ) from exc


def _pair(values: Any) -> dict[str, Any]:
    return dict(zip(("recorded", "here"), values, strict=True))
