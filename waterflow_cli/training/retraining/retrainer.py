"""Train the champion's procedure again with new labelled rows, and let a gate judge the outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from waterflow_cli.common.arrays import BoolArray
from waterflow_cli.common.json import json_text, path_text
from waterflow_cli.common.messages import Message
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.models.discovery import LoadedPlugin, load_plugin
from waterflow_cli.registry.history import MAX_WHY, Action
from waterflow_cli.registry.runs import TrackedRun, TrackingOptions, tracked_run
from waterflow_cli.registry.versions import (
    GateVerdict,
    Origin,
    RegisteredVersion,
    promote,
    register,
)
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.options import TrainingOptions
from waterflow_cli.training.retraining.champion import Champion, beginning_to_log
from waterflow_cli.training.retraining.gate import (
    Calls,
    GateResult,
    estimate_auc,
    false_potable_ceiling,
    judge_challenger,
)
from waterflow_cli.training.retraining.new_rows import NewRows, sort_new_rows
from waterflow_cli.training.retraining.options import RetrainingOptions
from waterflow_cli.training.runs.combined_data import COMBINED_FILE, combine
from waterflow_cli.training.runs.log import log_model, log_result, log_start, row_counts
from waterflow_cli.training.runs.record import Training, TrainingRecord
from waterflow_cli.training.runs.reproduction import plugin_of
from waterflow_cli.training.summary import result_summary
from waterflow_cli.training.trainer import TrainingResult, train_model

GATE_FILE = "gate.json"


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What a challenger is made of, and judged by.

    Attributes
    ----------
    ceiling : float
        Share of not potable training rows that its threshold may call potable.
    content : bytes
        The file that holds the recorded rows and the new ones.
    on_judging, on_new : Calls, Estimate
        The champion's, on the rows that judge; its ROC AUC on all new rows.
    """

    champion: Champion
    training: Training
    ceiling: float
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
            "false_potable_ceiling": prepared.ceiling,
            "false_likely_potable_ceiling": training.options.verdict_ceiling,
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
    ceiling, verdict_ceiling = _ceilings(champion, rows)
    parts = [(recorded, rows.matching.kept), (new, rows.learned)]
    schema = champion.record.schema
    data, content = combine(parts, schema, rows.matching.contested)
    chosen = replace(
        chosen, threshold=chosen.threshold.below(ceiling), verdict_ceiling=verdict_ceiling
    )
    unseen, said = rows.unseen, champion.judge(rows.unseen).probability
    return Preparation(
        champion=champion,
        training=Training(data, schema, plugin, chosen),
        ceiling=ceiling,
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


def _ceilings(champion: Champion, rows: NewRows) -> tuple[float, float]:
    """Limit false "potable" and likely_potable by the champion's: in its training, and unseen."""
    measures, n_judging = champion.measures, rows.judging.class_counts[0]
    unsafe = rows.measuring.take(np.flatnonzero(rows.measuring.y == 0))
    calls, n_known = champion.judge(unsafe), measures.n_negatives + len(unsafe.y)

    def limit(rate: float, called: BoolArray) -> float:
        together = (rate * measures.n_negatives + int(called.sum())) / n_known
        return false_potable_ceiling(together, n_known, n_judging)

    return (
        limit(measures.false_potable_rate, calls.potable),
        limit(measures.false_likely_potable_rate, calls.likely_potable),
    )


def judge(prepared: Preparation, result: TrainingResult, options: RetrainingOptions) -> GateResult:
    """Judge what was trained beside the champion, by the rows that were set apart."""
    rows = prepared.rows.judging
    with prepared.training.plugin.guarded(Message("predict")), threadpool_limits(limits=1):
        challenger = Calls.of(result.model, result.model.probability(rows.X))
    return judge_challenger(
        rows.y,
        prepared.on_judging,
        challenger,
        recorded=prepared.champion.measures.roc_auc,
        on_new=prepared.on_new,
        beginning=prepared.champion.beginning,
        balanced_accuracy=result.evaluation.estimates["balanced_accuracy"].value,
        groups=rows.groups,
        options=options,
    )


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
