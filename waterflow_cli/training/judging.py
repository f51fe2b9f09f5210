"""Calibrate, tune and measure each fold of an evaluation as the final model is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.common.errors import DataRefusedError
from waterflow_cli.common.messages import marked
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.models.calibration import fit_calibrator
from waterflow_cli.models.contract import Calibration
from waterflow_cli.models.metrics import (
    METRICS,
    Evaluation,
    count_confusion,
    estimate_calibration_error,
    evaluate_predictions,
    measure_once,
)
from waterflow_cli.models.thresholds import ThresholdRule, tune_threshold
from waterflow_cli.training.designs import FoldScores, corrected_interval

INTERVAL = marked("corrected resampled t (Nadeau and Bengio 2003)")


class TestedFold(NamedTuple):
    """Rows that were tested, by a model that was calibrated and tuned without them.

    Attributes
    ----------
    rows : ndarray of int, shape (n_tested,)
        Their positions.
    y, scores, probability : ndarray of shape (n_tested,)
        Labels; what the pipeline gave; the same, calibrated.
    threshold : float
        Tuned on the `n_trained` rows of the other blocks; above 1 where none serves the rule.
    """

    rows: IntArray
    y: IntArray
    scores: FloatArray
    probability: FloatArray
    threshold: float
    n_trained: int

    @property
    def called(self) -> BoolArray:
        """Say which rows are predicted potable."""
        return np.asarray(self.probability >= self.threshold)


def join_folds(folds: Sequence[TestedFold]) -> tuple[IntArray, FloatArray]:
    """Give the labels and the probabilities of all rows of some folds."""
    return (
        np.concatenate([fold.y for fold in folds]),
        np.concatenate([fold.probability for fold in folds]),
    )


def judge_fold(
    fold: FoldScores, y: IntArray, calibration: Calibration, rule: ThresholdRule
) -> TestedFold:
    """Calibrate and tune on the scores of a fold's training rows, and apply it to its others."""
    known = y[fold.tuning_rows]
    calibrator = fit_calibrator(known, fold.tuning_scores, calibration)
    try:
        threshold = tune_threshold(rule, known, calibrator.apply(fold.tuning_scores))
    except DataRefusedError:  # the rule cannot be kept here: nothing is called potable
        threshold = np.inf
    return TestedFold(
        fold.rows,
        y[fold.rows],
        fold.scores,
        calibrator.apply(fold.scores),
        threshold,
        fold.n_trained,
    )


def evaluate_folds(
    repeats: Sequence[Sequence[TestedFold]], threshold: float, *, seed: int
) -> Evaluation:
    """Measure a procedure: the mean of its folds, each metric with its interval.

    The threshold, of the final model, is for the record: each fold is judged by its own. The seed
    is that of the resampling for the calibration error.
    """
    folds = [fold for repeat in repeats for fold in repeat]
    if len(folds) == 1:
        (fold,) = folds
        found = evaluate_predictions(fold.y, fold.probability, fold.threshold, seed=seed)
        return replace(found, threshold=threshold)
    values = [measure_once(fold.y, fold.probability, fold.threshold) for fold in folds]
    share = float(np.mean([len(fold.rows) / fold.n_trained for fold in folds]))
    estimates = {}
    for name in values[0]:
        by_fold = np.array([each[name] for each in values])
        mean = corrected_interval(by_fold, share, n_repeats=len(repeats))
        estimates[name] = _within(name, mean)
    errors = [
        estimate_calibration_error(*join_folds(repeat), seed=seed + number)
        for number, repeat in enumerate(repeats)
    ]
    # Repeats hold the same rows, so their intervals are about equal, and do not shrink.
    estimates["calibration_error"] = Estimate(
        *(float(np.mean([getattr(e, part) for e in errors])) for part in ("value", "low", "high"))
    )
    counts = np.sum([count_confusion(fold.y, fold.called) for fold in folds], axis=0)
    negatives, alarms, misses, hits = (counts / len(repeats)).tolist()
    return Evaluation(
        estimates={name: estimates[name] for name in METRICS},
        confusion=(negatives, alarms, misses, hits),
        threshold=threshold,
        n_rows=sum(len(fold.rows) for fold in repeats[0]),
        interval=INTERVAL,
    )


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What calling samples potable from some number on does.

    Attributes
    ----------
    precision_potable, recall_potable, precision_not_potable, recall_not_potable : float
        NaN where nothing is called so.
    false_potable_per_1000 : float
        Unsafe samples that are called potable.
    cost_per_1000 : float
        At the costs asked for.
    """

    name: str
    precision_potable: float
    recall_potable: float
    precision_not_potable: float
    recall_not_potable: float
    false_potable_per_1000: float
    cost_per_1000: float


def operating_points(
    folds: Sequence[TestedFold],
    unbalanced: tuple[IntArray, FloatArray] | None,
    costs: tuple[float, float],
) -> list[OperatingPoint]:
    """Compare the tuned threshold with what else could be done, on the tested rows of a repeat.

    Parameters
    ----------
    unbalanced : tuple of ndarrays, optional
        Labels and scores of the same model fitted without balancing.
    costs : tuple of float
        Of a false "potable", and of a potable sample that is not found.
    """
    y, probability = join_folds(folds)
    points = [
        (marked("tuned threshold"), y, np.concatenate([fold.called for fold in folds])),
        (marked("0.5 of the probability"), y, probability >= 0.5),
    ]
    if unbalanced is not None:
        scores = np.concatenate([fold.scores for fold in folds])
        points += [
            (marked("0.5 of the raw score"), y, scores >= 0.5),
            (marked("the same without balancing"), unbalanced[0], unbalanced[1] >= 0.5),
        ]
    points.append((marked("reject everything"), y, np.zeros(len(y), dtype=bool)))
    return [_operating_point(name, truth, called, costs) for name, truth, called in points]


def _operating_point(
    name: str, y: IntArray, called: BoolArray, costs: tuple[float, float]
) -> OperatingPoint:
    negatives, alarms, misses, hits = count_confusion(y, called)
    per_1000 = 1000 / len(y)
    return OperatingPoint(
        name=name,
        precision_potable=_ratio(hits, hits + alarms),
        recall_potable=_ratio(hits, hits + misses),
        precision_not_potable=_ratio(negatives, negatives + misses),
        recall_not_potable=_ratio(negatives, negatives + alarms),
        false_potable_per_1000=alarms * per_1000,
        cost_per_1000=(costs[0] * alarms + costs[1] * misses) * per_1000,
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else np.nan


def _within(name: str, estimate: Estimate) -> Estimate:
    """Cut an interval off where no value can be."""
    top = 1000.0 if name.endswith("per_1000") else 1.0
    return replace(
        estimate, low=float(np.maximum(estimate.low, 0)), high=float(np.minimum(estimate.high, top))
    )
