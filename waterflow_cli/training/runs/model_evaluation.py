"""Measure a registered model on a labelled file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.common.errors import ModelError, shorten
from waterflow_cli.common.messages import tr
from waterflow_cli.models.decision import VerdictRecord, record_verdicts, verdicts_summary
from waterflow_cli.models.files import StoredModel
from waterflow_cli.models.metrics import Evaluation
from waterflow_cli.models.reference import HashArray, Reference, hash_rows
from waterflow_cli.tables.outputs import OutputGroup, write_errors
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.intervals import evaluate_predictions
from waterflow_cli.training.runs.plots import JudgedRows, draw_plots
from waterflow_cli.training.summary import evaluation_summary


@dataclass(frozen=True, kw_only=True)
class ModelEvaluation:
    """How a model fared on a labelled file.

    Attributes
    ----------
    probability : ndarray of shape (n_samples,)
        What it gave for the rows of `data`.
    verdicts : dict of str to VerdictRecord
        By verdict; ``send_to_lab`` claims nothing.
    is_training_data : bool
        Whether the model was trained on this very file.
    n_seen, n_compared : int
        Rows that the model was fitted on, of those that could be compared; none where so many would
        be equal by chance.
    """

    model: str
    data: TrainingData
    probability: FloatArray
    evaluation: Evaluation
    verdicts: dict[str, VerdictRecord]
    is_training_data: bool
    n_seen: int
    n_compared: int

    @property
    def n_decided(self) -> int:
        """Rows that got a verdict other than ``send_to_lab``."""
        return sum(record.n_given for record in self.verdicts.values())

    def summary(self) -> dict[str, Any]:
        """Put it into a JSON object."""
        return {
            "model": self.model,
            "data": {
                **self.data.summary(),
                "is_training_data": self.is_training_data,
                "rows_trained_on": self.n_seen,
                "rows_compared": self.n_compared,
            },
            "evaluation": evaluation_summary(self.evaluation),
            "rows_decided": self.n_decided,
            "verdicts": verdicts_summary(self.verdicts),
        }


def evaluate_model(
    model: StoredModel, data: TrainingData, reference: Reference | None = None
) -> ModelEvaluation:
    """Measure a model at its own threshold and with its own policy.

    Parameters
    ----------
    reference : Reference, optional
        What the model remembers of its training rows, for rows to be told from them.

    Raises
    ------
    ModelError
        If the rows lack a measurement of the model.
    PluginError
        If the model fails to predict.
    """
    decision = model.decision
    absent = [name for name in decision.measurements if name not in data.X]
    if absent:
        raise ModelError(
            "Model {model} needs measurements that the schema does not have: {absent}.",
            tr("Leave out --schema: the model brings its own."),
            model=model.label,
            absent=shorten(absent),
        )
    X = data.X[list(decision.measurements)]
    with threadpool_limits(limits=1):  # the same bits as `waterflow score`
        probability = model.probability(X)
    n_seen, n_compared = (0, 0) if reference is None else _count_seen(reference, hash_rows(X))
    return ModelEvaluation(
        model=model.label,
        data=data,
        probability=probability,
        evaluation=evaluate_predictions(
            data.y, probability, decision.threshold, units=data.sources_kept("warn")
        ),
        verdicts=record_verdicts(decision, data.y, probability),
        is_training_data=model.data_sha256 == data.sha256,
        n_seen=n_seen,
        n_compared=n_compared,
    )


def _count_seen(reference: Reference, hashes: HashArray) -> tuple[int, int]:
    """Count the rows that were trained on, and those of which that can be told."""
    n_seen = int(reference.seen(hashes).sum())
    n_compared = n_seen + int(reference.unseen(hashes).sum())
    by_chance = 0.0 if reference.copies_count_once else reference.usual_repeats(len(hashes))[0]
    return (n_seen if n_seen > by_chance * n_compared else 0), n_compared


def save_pictures(evaluated: ModelEvaluation, folder: str, *, force: bool = False) -> list[str]:
    """Draw an evaluation into a folder, which is made where there is none; name the files.

    All are written, or none: not where one exists that is not to be replaced.
    """
    path = evaluated.data.path
    rows = JudgedRows(
        evaluated.data.y, evaluated.probability, evaluated.evaluation, Path(path).name
    )
    with write_errors(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
    written = []
    with OutputGroup(force=force, inputs=[path]) as outputs:
        for name, picture in draw_plots(rows).items():
            written.append(str(Path(folder) / f"{name}.png"))
            with outputs.open(written[-1]) as file:
                file.write(picture)
    return written
