"""The version in use, and all that it takes to train it again and to be judged beside another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import RunData
from mlflow.exceptions import MlflowException
from threadpoolctl import threadpool_limits

from waterflow_cli.common.errors import ModelError
from waterflow_cli.common.messages import tr
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.models.decision import LIKELY_POTABLE
from waterflow_cli.models.files import StoredModel
from waterflow_cli.registry.location import load_model
from waterflow_cli.registry.lookup import CHAMPION, find_version
from waterflow_cli.registry.stores import connect, store_errors
from waterflow_cli.samples.columns import IdColumn
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.retraining.gate import Beginning, Calls
from waterflow_cli.training.runs.record import EVALUATION_FILE, TrainingRecord, read_run_file
from waterflow_cli.training.runs.reproduction import load_recorded, read_record

# With the run of a version that was retrained: where the retrainings began, and its figures.
BEGINNING_TAG = "waterflow.retrainings_began_from"
_BEGINNING_METRICS = ("beginning_balanced_accuracy", "beginning_false_potable_rate")


@dataclass(frozen=True, kw_only=True)
class Measures:
    """How the champion fared in its own training.

    Attributes
    ----------
    false_potable_rate, false_likely_potable_rate : float
        Shares of the `n_negatives` tested not potable rows that its threshold calls potable, and
        its policy likely_potable.
    """

    roc_auc: Estimate
    balanced_accuracy: float
    false_potable_rate: float
    false_likely_potable_rate: float
    n_negatives: int

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Measures:
        """Take them from what a run says of its evaluation."""
        evaluation, likely = content["evaluation"], content["verdicts"][LIKELY_POTABLE]
        estimates, counts = evaluation["estimates"], evaluation["confusion"]
        n_negatives = round(counts["true_negative"] + counts["false_positive"])
        return cls(
            roc_auc=Estimate(**estimates["roc_auc"]),
            balanced_accuracy=float(estimates["balanced_accuracy"]["value"]),
            false_potable_rate=float(content["false_potable_rate"]),
            false_likely_potable_rate=(likely["rows"] - likely["right"]) / n_negatives,
            n_negatives=n_negatives,
        )


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The version in use, and all that it takes to train it again.

    Attributes
    ----------
    beginning : Beginning
        The version from which the retrainings began that led to it: itself, if it is of none.
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

    def load_data(self, path: str | None, ids: IdColumn) -> TrainingData:
        """Load what it was trained on, if that is the same still; see `load_recorded`."""
        return load_recorded(connect(self.uri), self.run_id, self.record, path, ids)

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
    model = load_model(location, name=name, tracking_uri=tracking_uri)
    return Champion(
        uri=tracking_uri,
        name=str(found.name),
        version=int(found.version),
        run_id=str(found.run_id),
        experiment=str(experiment),
        record=record,
        measures=measures,
        beginning=_find_beginning(run.data, int(found.version), measures),
        model=model,
    )


def beginning_to_log(beginning: Beginning) -> tuple[dict[str, str], dict[str, float]]:
    """Give the tag and the metrics with which the run of a retraining keeps its beginning."""
    version, *figures = beginning
    return {BEGINNING_TAG: str(version)}, dict(zip(_BEGINNING_METRICS, figures, strict=True))


def _find_beginning(run: RunData, version: int, measures: Measures) -> Beginning:
    if BEGINNING_TAG not in run.tags:
        return Beginning(version, measures.balanced_accuracy, measures.false_potable_rate)
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
