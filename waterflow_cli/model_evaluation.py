"""Measure a registered model on a labelled file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.stats import binomtest
from threadpoolctl import threadpool_limits

from waterflow_cli.arrays import FloatArray
from waterflow_cli.errors import ModelError, shorten
from waterflow_cli.metrics import LEVEL, Estimate, Evaluation, evaluate_predictions
from waterflow_cli.model import LIKELY_NOT_POTABLE, LIKELY_POTABLE, VERDICTS
from waterflow_cli.model_store import StoredModel
from waterflow_cli.outputs import OutputGroup, write_errors
from waterflow_cli.plots import JudgedRows, draw_plots
from waterflow_cli.training_data import TrainingData
from waterflow_cli.training_summary import evaluation_summary

# The class that each verdict claims, and what the share of the right ones among them is called.
CLAIMS = {LIKELY_POTABLE: (1, "precision"), LIKELY_NOT_POTABLE: (0, "npv")}


@dataclass(frozen=True)
class VerdictRecord:
    """How often a verdict was right.

    Attributes
    ----------
    n_given : int
        Rows with this verdict.
    n_right : int
        Those of which the laboratory says the same.
    share : Estimate
        The one over the other; NaN where the verdict was never given.
    """

    n_given: int
    n_right: int
    share: Estimate


@dataclass(frozen=True)
class ModelEvaluation:
    """How a model fared on a labelled file.

    Attributes
    ----------
    model : str
        Its label.
    probability : ndarray of shape (n_samples,)
        What it gave for the rows of `data`.
    verdicts : dict of str to VerdictRecord
        By verdict; ``send_to_lab`` claims nothing.
    is_training_data : bool
        Whether the model was trained on this very file.
    """

    model: str
    data: TrainingData
    probability: FloatArray
    evaluation: Evaluation
    verdicts: dict[str, VerdictRecord]
    is_training_data: bool

    @property
    def n_decided(self) -> int:
        """Rows that got a verdict other than ``send_to_lab``."""
        return sum(record.n_given for record in self.verdicts.values())

    def summary(self) -> dict[str, Any]:
        """Put it into a JSON object."""
        return {
            "model": self.model,
            "data": {**self.data.summary(), "is_training_data": self.is_training_data},
            "evaluation": evaluation_summary(self.evaluation),
            "rows_decided": self.n_decided,
            "verdicts": {
                verdict: {
                    "rows": record.n_given,
                    "right": record.n_right,
                    CLAIMS[verdict][1]: asdict(record.share),
                }
                for verdict, record in self.verdicts.items()
            },
        }


def evaluate_model(model: StoredModel, data: TrainingData, *, seed: int = 0) -> ModelEvaluation:
    """Measure a model at its own threshold and with its own policy.

    Parameters
    ----------
    data : TrainingData
        Labelled rows with the model's measurements; both classes occur.
    seed : int
        Of the resampling behind the intervals of the metrics.

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
            f"Model {model.label} needs measurements that the schema does not have: "
            f"{shorten(absent)}.",
            "Leave out --schema: the model brings its own.",
        )
    with threadpool_limits(limits=1):  # the same bits as `waterflow score`
        probability = model.probability(data.X[list(decision.measurements)])
    given = decision.verdict(probability)
    verdicts = {
        verdict: record_verdict(data.y[given == VERDICTS.index(verdict)] == claimed)
        for verdict, (claimed, _) in CLAIMS.items()
    }
    return ModelEvaluation(
        model.label,
        data,
        probability,
        evaluate_predictions(data.y, probability, decision.threshold, seed=seed),
        verdicts,
        model.data_sha256 == data.sha256,
    )


def record_verdict(right: Sequence[bool] | np.ndarray) -> VerdictRecord:
    """Count how often a verdict was right, with an exact 95 % interval.

    The interval is that of Clopper and Pearson (1934, "The use of confidence or fiducial limits
    illustrated in the case of the binomial").
    """
    n_given, n_right = len(right), int(np.sum(right))
    if not n_given:
        return VerdictRecord(0, 0, Estimate(np.nan, np.nan, np.nan))
    low, high = binomtest(n_right, n_given).proportion_ci(LEVEL, method="exact")
    return VerdictRecord(n_given, n_right, Estimate(n_right / n_given, float(low), float(high)))


def save_pictures(evaluated: ModelEvaluation, folder: str, *, force: bool = False) -> list[str]:
    """Draw an evaluation into a folder, which is made where there is none.

    Returns
    -------
    list of str
        The files written: all, or none.

    Raises
    ------
    UsageError
        If they cannot be written, or exist and are not to be replaced.
    """
    path = evaluated.data.path
    rows = JudgedRows(
        evaluated.data.y, evaluated.probability, evaluated.evaluation, Path(path).name
    )
    with write_errors(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix="waterflow-") as scratch,
        OutputGroup(force=force, inputs=[path]) as outputs,
    ):
        written = []
        for picture in draw_plots(rows, Path(scratch)):
            written.append(str(Path(folder) / picture.name))
            with outputs.open(written[-1]) as file:
                file.write(picture.read_bytes())
    return written
