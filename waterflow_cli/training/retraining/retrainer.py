"""Train the champion's procedure again with new labelled rows, and let a gate judge the outcome."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import RunData
from mlflow.exceptions import MlflowException
from threadpoolctl import threadpool_limits

from waterflow_cli.common.errors import ModelError
from waterflow_cli.common.json import json_text, path_text
from waterflow_cli.common.messages import Message, tr
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.models.decision import LIKELY_POTABLE
from waterflow_cli.models.discovery import LoadedPlugin, load_plugin
from waterflow_cli.models.files import StoredModel
from waterflow_cli.models.reference import Reference, hash_rows, load_reference
from waterflow_cli.models.thresholds import parse_threshold
from waterflow_cli.registry.history import MAX_WHY, Action
from waterflow_cli.registry.location import fetch_model
from waterflow_cli.registry.lookup import find_version
from waterflow_cli.registry.references import CHAMPION
from waterflow_cli.registry.runs import TrackedRun, TrackingOptions, tracked_run
from waterflow_cli.registry.stores import connect, store_errors
from waterflow_cli.registry.versions import (
    GateVerdict,
    Origin,
    RegisteredVersion,
    promote,
    register,
)
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.options import TrainingOptions
from waterflow_cli.training.retraining.gate import (
    Beginning,
    Calls,
    GateResult,
    KnownRows,
    estimate_auc,
    judge_challenger,
)
from waterflow_cli.training.retraining.new_rows import NewRows, sort_new_rows
from waterflow_cli.training.retraining.options import RetrainingOptions
from waterflow_cli.training.runs.combined_data import COMBINED_FILE, combine
from waterflow_cli.training.runs.log import log_model, log_result, log_start, row_counts
from waterflow_cli.training.runs.record import (
    EVALUATION_FILE,
    Training,
    TrainingRecord,
    read_run_file,
)
from waterflow_cli.training.runs.reproduction import load_recorded, plugin_of, read_record
from waterflow_cli.training.summary import result_summary, unseen_probabilities
from waterflow_cli.training.trainer import TrainingResult, train_model

GATE_FILE = "gate.json"


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What a challenger is made of, and judged by.

    Attributes
    ----------
    content : bytes
        The file that holds the recorded rows and the new ones.
    on_judging, on_new : Calls, Estimate
        The champion's, on the rows that judge; its ROC AUC on all new rows.
    """

    champion: Champion
    training: Training
    rows: NewRows
    content: bytes
    on_judging: Calls
    on_new: Estimate


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """What came of a retraining."""

    prepared: Preparation
    result: TrainingResult
    gate: GateResult
    registered: RegisteredVersion
    promoted: bool

    def summary(self) -> dict[str, Any]:
        """Put it into a JSON object."""
        prepared, training = self.prepared, self.prepared.training
        return {
            "passed": self.gate.passed,
            "promoted": self.promoted,
            "reasons": self.gate.reasons,
            "champion": {"name": prepared.champion.name, "version": prepared.champion.version},
            "challenger": {**asdict(self.registered), "plugin": training.plugin.name},
            "new": prepared.rows.summary(),
            "data": training.data.summary(),
            "beginning": prepared.champion.beginning._asdict(),
            "gate": self.gate.summary(),
            "training": result_summary(self.result),
        }


def retrain(
    champion: Champion,
    recorded: TrainingData,
    new: TrainingData,
    options: RetrainingOptions,
    *,
    report: Callable[[str], None] = lambda _step: None,
    warn: Callable[[str], None] = lambda _text: None,
) -> Retraining:
    """Train a challenger on recorded and new rows, judge it, and register it.

    Parameters
    ----------
    recorded : TrainingData
        What the champion was trained on; see `Champion.load_data`.
    new : TrainingData
        Read by the champion's schema.

    Raises
    ------
    DataRefusedError
        If the new rows cannot judge two models; nothing was trained then.
    ModelError
        If the store cannot be used, or another version became the champion meanwhile.
    """
    prepared = prepare(champion, recorded, new, options, warn)
    training = prepared.training
    with tracked_run(TrackingOptions(champion.uri, champion.experiment, champion.name)) as run:
        _log_origin(run, prepared, new)
        log_start(training)
        result = train_model(training.data, training.plugin, training.options, report=report)
        n_judging = len(prepared.rows.judging.y)
        report(Message("Judging both models by {n_judging} rows", n_judging=n_judging))
        gate = judge(prepared, result, options)
        report(Message("Logging the run and the model to MLflow"))
        log_result(run, training, result)
        run.log_more(metrics=gate.metrics(), files={GATE_FILE: json_text(gate.summary()).encode()})
        verdict = GateVerdict(gate.passed, _say_why(champion, gate), champion.version)
        origin = Origin(Action.RETRAIN, path_text(new.path), verdict)
        model_id = log_model(run, training, result)
        registered = register(run, model_id, plugin=training.plugin.name, origin=origin)
    promoted = gate.passed and options.promote
    if promoted:
        promote(
            registered.name,
            str(registered.version),
            champion.uri,
            why=verdict.why,
            expected_champion=champion.version,
        )
    return Retraining(
        prepared=prepared, result=result, gate=gate, registered=registered, promoted=promoted
    )


def prepare(
    champion: Champion,
    recorded: TrainingData,
    new: TrainingData,
    options: RetrainingOptions,
    warn: Callable[[str], None] = lambda _text: None,
) -> Preparation:
    """Set rows apart for the gate, put the others together, and choose how to learn from them."""
    plugin, chosen = _choose_procedure(champion.record, options)
    rows = sort_new_rows(recorded, new, options, warn)
    parts = [(recorded, rows.matching.kept), (new, rows.learned)]
    schema = champion.record.schema
    data, content = combine(parts, schema, rows.matching.contested)
    # Not those of the champion: each would be a little off, and the next one would start there.
    began = champion.beginning
    chosen = replace(
        chosen,
        threshold=parse_threshold(f"fpr:{began.false_potable_rate:g}"),
        verdict_ceiling=began.false_likely_potable_rate,
    )
    unseen, said = rows.unseen, champion.judge(rows.unseen).probability
    return Preparation(
        champion=champion,
        training=Training(data, schema, plugin, chosen),
        rows=rows,
        content=content,
        on_judging=champion.judge(rows.judging),
        on_new=estimate_auc(unseen.y, said, groups=unseen.groups, seed=options.seed),
    )


def _choose_procedure(
    record: TrainingRecord, options: RetrainingOptions
) -> tuple[LoadedPlugin, TrainingOptions]:
    """Give the champion's plugin and options, or another plugin with its own defaults."""
    chosen = replace(record.options, jobs=options.jobs)
    if options.plugin is None or options.plugin == record.plugin:
        return plugin_of(record), chosen
    return load_plugin(options.plugin), replace(chosen, params={}, n_trials=0, time_limit=None)


def judge(prepared: Preparation, result: TrainingResult, options: RetrainingOptions) -> GateResult:
    """Judge what was trained beside the champion, by the rows that were set apart."""
    rows = prepared.rows.judging
    with prepared.training.plugin.guarded(Message("predict")), threadpool_limits(limits=1):
        challenger = Calls.of(result.model, result.model.probability(rows.X))
    trained = Measures.of(result_summary(result))
    return judge_challenger(
        rows.y,
        prepared.on_judging,
        challenger,
        recorded=prepared.champion.measures.roc_auc,
        on_new=prepared.on_new,
        beginning=prepared.champion.beginning,
        trained=(trained.roc_auc.value, trained.balanced_accuracy),
        known=_known_rows(prepared, result),
        groups=rows.groups,
        options=options,
    )


def _known_rows(prepared: Preparation, result: TrainingResult) -> KnownRows | None:
    """Find the rows that both models learned from, and what both trainings said of them unseen.

    The champion's reference keeps that of some thousands of its rows, so nothing is fitted again.
    """
    reference = prepared.champion.reference
    if reference is None:
        return None
    data, said = prepared.training.data.take(result.rows), unseen_probabilities(result)
    hashes = hash_rows(data.X[list(reference.X)])
    _, there, here = np.intersect1d(hash_rows(reference.X), hashes, return_indices=True)
    before, now = reference.probability[there], said[here]
    can_judge = (reference.label[there] == data.y[here]) & np.isfinite(before + now)
    here = here[can_judge]
    groups = None if data.groups is None else data.groups[here]
    return KnownRows(data.y[here], before[can_judge], now[can_judge], groups)


def _log_origin(run: TrackedRun, prepared: Preparation, new: TrainingData) -> None:
    tags, metrics = beginning_to_log(prepared.champion.beginning)
    run.log_more(
        tags={
            **tags,
            "waterflow.retrained_from": str(prepared.champion.version),
            "waterflow.recorded_data_sha256": prepared.champion.record.sha256,
            "waterflow.new_data": path_text(new.path),
            "waterflow.new_data_sha256": new.sha256,
        },
        metrics={
            **metrics,
            **{f"retrain_{name}": n for name, n in row_counts(prepared.rows.summary()).items()},
        },
        files={COMBINED_FILE: prepared.content},
    )


def _say_why(champion: Champion, gate: GateResult) -> str:
    """Give the reasons of the gate, in the words that the history keeps."""
    why = " ".join(gate.reasons) or Message(
        "not worse than version {version} on {n_judging} new rows",
        version=champion.version,
        n_judging=sum(gate.counts),
    )
    return why[:MAX_WHY]


# With the run of a version that was retrained: where the retrainings began, and its figures.
BEGINNING_TAG = "waterflow.retrainings_began_from"
_BEGINNING_METRICS = tuple(f"beginning_{name}" for name in Beginning._fields[1:])


@dataclass(frozen=True, kw_only=True)
class Measures:
    """How a model fared in its own training.

    Attributes
    ----------
    balanced_accuracy : float
        By its own threshold, as the two rates are; the folds had others.
    false_potable_rate, false_likely_potable_rate : float
        Shares of the tested not potable rows that its threshold calls potable, and its policy
        likely_potable.
    """

    roc_auc: Estimate
    balanced_accuracy: float
    false_potable_rate: float
    false_likely_potable_rate: float

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Measures:
        """Take them from what a run says of its evaluation."""
        evaluation, likely = content["evaluation"], content["verdicts"][LIKELY_POTABLE]
        estimates, counts = evaluation["estimates"], evaluation["confusion"]
        n_negatives = round(counts["true_negative"] + counts["false_positive"])
        false = float(content["false_potable_rate"])
        # Earlier versions kept the folds' own thresholds' alone.
        found = float(content.get("found_potable_rate", estimates["recall_potable"]["value"]))
        return cls(
            roc_auc=Estimate(**estimates["roc_auc"]),
            balanced_accuracy=(found + 1 - false) / 2,
            false_potable_rate=false,
            false_likely_potable_rate=(likely["rows"] - likely["right"]) / n_negatives,
        )

    def as_beginning(self, version: int) -> Beginning:
        """Let a line of retrainings begin from them."""
        rates = self.false_potable_rate, self.false_likely_potable_rate
        return Beginning(version, self.roc_auc.value, self.balanced_accuracy, *rates)


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The version in use, and all that it takes to train it again.

    Attributes
    ----------
    beginning : Beginning
        The version from which the retrainings began that led to it: itself, if it is of none.
    reference : Reference, optional
        What it remembers of its training rows.
    """

    uri: str
    name: str
    version: int
    run_id: str
    experiment: str
    record: TrainingRecord
    measures: Measures
    beginning: Beginning
    model: StoredModel
    reference: Reference | None = None

    def load_data(self, path: str | None, id_name: str | None = None) -> TrainingData:
        """Load what it was trained on, if that is the same still; see `load_recorded`."""
        client, run = connect(self.uri), (self.run_id, self.record)
        return load_recorded(client, *run, path, with_ids=True, id_name=id_name)

    def judge(self, rows: TrainingData) -> Calls:
        """Let it decide on rows."""
        with threadpool_limits(limits=1):  # the same bits as `waterflow score`
            decision = self.model.decision
            probability = self.model.probability(rows.X[list(decision.measurements)])
        return Calls.of(decision, probability)


def find_champion(name: str, tracking_uri: str) -> Champion:
    """Find the version in use, and what it was trained from.

    `ModelError` if there is none, or its run recorded too little to train it again.
    """
    client = connect(tracking_uri, write=True)
    with store_errors(tracking_uri):
        found = find_version(client, f"@{CHAMPION}", name, tracking_uri)
        record = read_record(client, found.run_id)
        run = client.get_run(found.run_id)
        experiment = client.get_experiment(run.info.experiment_id).name
        measures = _read_measures(client, found.run_id)
    location = f"models:/{found.name}/{found.version}"
    fetched = fetch_model(location, name=name, tracking_uri=tracking_uri)
    return Champion(
        uri=tracking_uri,
        name=str(found.name),
        version=int(found.version),
        run_id=str(found.run_id),
        experiment=str(experiment),
        record=record,
        measures=measures,
        beginning=_find_beginning(run.data, int(found.version), measures),
        model=fetched.load(),
        reference=load_reference(fetched.files.payload, label=fetched.label),
    )


def beginning_to_log(beginning: Beginning) -> tuple[dict[str, str], dict[str, float]]:
    """Give the tag and the metrics with which the run of a retraining keeps its beginning."""
    version, *figures = beginning
    return {BEGINNING_TAG: str(version)}, dict(zip(_BEGINNING_METRICS, figures, strict=True))


def _find_beginning(run: RunData, version: int, measures: Measures) -> Beginning:
    """Read what a retraining kept; where it kept less, as earlier versions did, begin anew."""
    if BEGINNING_TAG not in run.tags or not run.metrics.keys() >= set(_BEGINNING_METRICS):
        return measures.as_beginning(version)
    figures = (float(run.metrics[name]) for name in _BEGINNING_METRICS)
    return Beginning(int(run.tags[BEGINNING_TAG]), *figures)


def _read_measures(client: MlflowClient, run_id: str) -> Measures:
    """Read how a run measured its model, if it left that, and it can be read."""
    try:
        return Measures.of(json.loads(read_run_file(client, run_id, EVALUATION_FILE)))
    except (MlflowException, ArithmeticError, OSError, ValueError, TypeError, KeyError) as exc:
        raise ModelError(
            "The run {run_id} has no {file} to judge by.",
            tr("Train the champion again: waterflow train"),
            run_id=run_id,
            file=EVALUATION_FILE,
        ) from exc
