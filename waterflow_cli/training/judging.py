"""Calibrate, tune and measure each fold of an evaluation as the final model is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.common.errors import DataRefusedError
from waterflow_cli.common.messages import marked
from waterflow_cli.models.calibration import fit_calibrator
from waterflow_cli.models.contract import Calibration
from waterflow_cli.models.metrics import Evaluation, count_confusion
from waterflow_cli.models.thresholds import ThresholdRule, tune_threshold
from waterflow_cli.training.designs import FoldScores
from waterflow_cli.training.intervals import Part, estimate_figures, row_effects

INTERVAL = marked(
    "of a share of as many independent rows (Wilson 1927), wider for shared training rows "
    "(Nadeau and Bengio 2003)"
)
# How often the rows that a threshold is tuned on are drawn anew, and how many of them at most.
_N_DRAWS, _MOST_DRAWN = 40, 50_000


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
    others : tuple of float
        What other rows of the same kind would have made the threshold; none where it is fixed.
    """

    rows: IntArray
    y: IntArray
    scores: FloatArray
    probability: FloatArray
    threshold: float
    n_trained: int
    others: tuple[float, ...] = ()

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
    fold: FoldScores,
    y: IntArray,
    calibration: Calibration,
    rule: ThresholdRule,
    units: IntArray | None = None,
) -> TestedFold:
    """Calibrate and tune on the scores of a fold's training rows, and apply it to its others.

    Parameters
    ----------
    units : ndarray of int, shape (n_samples,), optional
        What belongs together: a number for each; else each row alone.
    """
    known = y[fold.tuning_rows]
    calibrator = fit_calibrator(known, fold.tuning_scores, calibration)
    probability = calibrator.apply(fold.tuning_scores)
    drawn: Iterable[IntArray] = () if rule.name == "fixed" else _draw_rows(fold.tuning_rows, units)
    return TestedFold(
        fold.rows,
        y[fold.rows],
        fold.scores,
        calibrator.apply(fold.scores),
        _tune(rule, known, probability),
        fold.n_trained,
        tuple(
            _tune(rule, known[rows], probability[rows])
            for rows in drawn
            if 0 < known[rows].sum() < len(rows)
        ),
    )


def _tune(rule: ThresholdRule, y: IntArray, probability: FloatArray) -> float:
    try:
        return tune_threshold(rule, y, probability)
    except DataRefusedError:  # the rule cannot be kept here: nothing is called potable
        return np.inf


def _draw_rows(rows: IntArray, units: IntArray | None) -> Iterator[IntArray]:
    """Draw places in a list of rows with replacement, what belongs together as a whole."""
    random = np.random.default_rng(0)
    codes = (
        np.arange(len(rows)) if units is None else np.unique(units[rows], return_inverse=True)[1]
    )
    order, ends = np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))
    members = None if units is None else np.split(order, ends[:-1])
    for _ in range(_N_DRAWS):
        drawn = random.integers(0, len(ends), min(len(ends), _MOST_DRAWN))
        yield drawn if members is None else np.concatenate([members[each] for each in drawn])


def evaluate_folds(
    repeats: Sequence[Sequence[TestedFold]], threshold: float, *, units: IntArray | None = None
) -> Evaluation:
    """Measure a procedure on all rows that its folds tested; see `estimate_figures`.

    The threshold, of the final model, is for the record: each fold is judged by its own.
    """
    folds = [fold for repeat in repeats for fold in repeat]
    n_rows = sum(len(fold.rows) for fold in repeats[0])
    counts = np.sum([count_confusion(fold.y, fold.called) for fold in folds], axis=0)
    negatives, alarms, misses, hits = (counts / len(repeats)).tolist()
    return Evaluation(
        estimates=estimate_figures(
            _parts(repeats),
            units=units,
            overlap=n_rows / float(np.mean([fold.n_trained for fold in folds])),
            unsettled=_unsettled(folds),
        ),
        confusion=(negatives, alarms, misses, hits),
        threshold=threshold,
        n_rows=n_rows,
        interval=INTERVAL,
    )


def fold_effects(
    repeats: Sequence[Sequence[TestedFold]], units: IntArray | None = None
) -> dict[str, FloatArray]:
    """Say by how much each tested row moves a figure; see `row_effects`."""
    return row_effects(_parts(repeats), units)


def _parts(repeats: Sequence[Sequence[TestedFold]]) -> list[list[Part]]:
    return [
        [Part(fold.rows, fold.y, fold.probability, fold.called) for fold in repeat]
        for repeat in repeats
    ]


def _unsettled(folds: Sequence[TestedFold]) -> dict[str, float]:
    """Give the variance of each share that other thresholds would make, a mean of the folds.

    It is about the share at the fold's own threshold, which may be an odd one. The thresholds of
    folds rest on nearly the same rows, so that more folds do not lessen it.
    """
    distances = [_distances_by_threshold(fold) for fold in folds if fold.others]
    return {
        name: float(np.mean([np.mean(each[name] ** 2) for each in distances]))
        for name in (distances[0] if distances else ())
    }


def _distances_by_threshold(fold: TestedFold) -> dict[str, FloatArray]:
    """Give by other thresholds: by how much each share is another there."""
    thresholds = np.array([fold.threshold, *fold.others])
    called = (fold.probability >= thresholds[:, np.newaxis]).astype(np.float64)
    positives, negatives = fold.y == 1, fold.y == 0
    hits, alarms = called @ positives, called @ negatives
    shares = {
        "precision_potable": hits / np.maximum(hits + alarms, 1),
        "recall_potable": hits / positives.sum(),
        "recall_not_potable": alarms / negatives.sum(),
        "false_potable_per_1000": alarms / len(fold.y),
    }
    return {name: each[1:] - each[0] for name, each in shares.items()}


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
