"""How sure the figures of predictions are: each with a 95 % interval, from the rows it rests on.

A figure between 0 and 1 is taken for the share that it is, or for one that is as uncertain: of how
many independent rows would it be? Of that many, Wilson's score interval (1927, "Probable inference,
the law of succession, and statistical inference") is taken, which holds where rows are few and
shares are 0 or 1. Nothing is drawn at random. All rows are taken for drawn, not the rows of each
class, so that an interval counts in that another sample has another share of potable rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import rankdata

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.models.metrics import LEVEL, METRICS, Evaluation, count_confusion, measure_once

_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
# Groups of about equal size in which predicted and observed shares are compared.
_N_GROUPS = 10
_TINY = 1e-12
_RECALLS = ("recall_potable", "recall_not_potable")


class Part(NamedTuple):
    """Rows that one model judged, which had not seen them.

    Attributes
    ----------
    rows, y, probability, called : ndarray of shape (n_tested,)
        Positions, labels, P(potable), and whether the model calls the row potable.
    """

    rows: IntArray
    y: IntArray
    probability: FloatArray
    called: BoolArray


def evaluate_predictions(
    y: IntArray, probability: FloatArray, threshold: float, *, units: IntArray | None = None
) -> Evaluation:
    """Measure predictions; the intervals speak of this model on rows like these.

    Parameters
    ----------
    units : ndarray of int, shape (n_samples,), optional
        What belongs together, such as copies of a row: a number for each; else each row alone.
    """
    called = np.asarray(probability >= threshold)
    part = Part(np.arange(len(y)), y, probability, called)
    return Evaluation(
        estimates=estimate_figures([[part]], units=units),
        confusion=count_confusion(y, called),
        threshold=threshold,
        n_rows=len(y),
    )


def estimate_figures(
    repeats: Sequence[Sequence[Part]],
    *,
    units: IntArray | None = None,
    overlap: float = 0.0,
    unsettled: Mapping[str, float] | None = None,
) -> dict[str, Estimate]:
    """Estimate each figure from rows that were judged in parts, once or repeatedly.

    Shares and the average precision are of all rows of a repeat; ROC AUC and calibration error are
    the parts', for two models' probabilities are not on quite the same scale. Repeats hold the same
    rows: what is said of a row is the mean of them, and a row counts once.

    Parameters
    ----------
    overlap : float
        Rows tested over rows trained on. By so much the variance of a figure is larger for the
        models' being of other rows next time (Nadeau and Bengio 2003, "Inference for the
        generalization error").
    unsettled : mapping of str to float, optional
        By figure: the variance that the choice of the threshold adds.
    """
    joined = [_join(repeat) for repeat in repeats]
    y, codes = joined[0].y, _codes(units, joined[0].rows)
    called = np.mean([part.called for part in joined], axis=0)
    loss = np.mean([(part.probability - y) ** 2 for part in joined], axis=0)
    areas = [measure_once(part.y, part.probability, 0.5)["pr_auc"] for part in joined]
    errors = [estimate_calibration_error(repeat, units) for repeat in repeats]
    spread, added = 1 + overlap, unsettled or {}
    shares = {
        "precision_potable": (y * called, called),
        "recall_potable": (y * called, y),
        "recall_not_potable": ((1 - y) * (1 - called), 1 - y),
        "false_potable_per_1000": ((1 - y) * called, np.ones(len(y))),
    }
    found = {
        name: _estimate_share(*share, codes, spread, added.get(name, 0.0))
        for name, share in shares.items()
    }
    # What one recall gains by another threshold, the other loses: their mean hardly moves.
    recalls = [_estimate_share(*shares[name], codes, spread) for name in _RECALLS]
    found |= {
        "roc_auc": _estimate_roc_auc(*rank_effects(repeats), y, codes, spread),
        "pr_auc": _estimate_pr_auc(float(np.mean(areas)), y, codes, spread),
        "balanced_accuracy": _halfway(*recalls),
        "false_potable_per_1000": _per_1000(found["false_potable_per_1000"]),
        "brier": _estimate_mean(loss, codes, spread),
        "calibration_error": _mean_of(errors),
    }
    return {name: found[name] for name in METRICS}


def estimate_calibration_error(parts: Sequence[Part], units: IntArray | None = None) -> Estimate:
    """Estimate the expected calibration error, in ten groups of about equal size of each part.

    It is the mean distance of predicted and observed share (Naeini, Cooper and Hauskrecht 2015,
    "Obtaining well calibrated probabilities using Bayesian binning"). Chance alone pulls that
    up: a calibrated model shows about 0.8 sqrt(10 y (1 - y) / n_samples). So the estimate is the
    error that, were it that of every group, would on average show what was seen; 0 where chance
    alone shows as much. The interval holds the errors that show it 95 times in 100.
    """
    gaps, variances, counts = (
        np.concatenate(each) for each in zip(*map(_compare_groups, parts), strict=True)
    )
    effects = np.concatenate([part.probability - part.y for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    effect = design_effect(effects, np.ones(len(rows)), _codes(units, rows))
    noise, shares = np.sqrt(effect * variances + _TINY) / counts, counts / len(rows)
    seen = float(np.abs(gaps).sum() / len(rows))

    # Less than chance shows by itself is no more than chance: folds in equal shares hide some.
    seen = max(seen, float(shares @ _folded_normal(0.0, noise)[0]))

    def excess(error: float, z: float) -> float:
        mean, variance = _folded_normal(error, noise)
        return float(shares @ mean + z * np.sqrt(shares**2 @ variance) - seen)

    def solve(z: float) -> float:
        if excess(0.0, z) >= 0:
            return 0.0
        return 1.0 if excess(1.0, z) <= 0 else float(brentq(excess, 0.0, 1.0, args=(z,)))

    return Estimate(solve(0.0), solve(_Z), solve(-_Z))


def _compare_groups(part: Part) -> tuple[FloatArray, FloatArray, IntArray]:
    """Give by group: predicted less observed, its variance where that is chance, and the rows."""
    edges = np.quantile(part.probability, np.linspace(0, 1, _N_GROUPS + 1)[1:-1])
    group = np.searchsorted(edges, part.probability, side="right")
    group = np.unique(group, return_inverse=True)[1]  # ties can leave groups empty
    gaps = np.bincount(group, part.probability - part.y)
    variances = np.bincount(group, part.probability * (1 - part.probability))
    return gaps.astype(np.float64), variances.astype(np.float64), np.bincount(group)


def rank_effects(repeats: Sequence[Sequence[Part]]) -> tuple[float, FloatArray]:
    """Give the mean ROC AUC of the parts, and by how much each row moves it, in order of the rows.

    The sum of the squares of the effects estimates its variance (DeLong, DeLong and Clarke-Pearson
    1988, "Comparing the areas under two or more correlated receiver operating characteristic
    curves").
    """
    order = np.sort(np.concatenate([part.rows for part in repeats[0]]))
    parts = [part for repeat in repeats for part in repeat]
    effects, areas = np.zeros(len(order)), []
    for part in parts:
        area, effect = _part_effects(part.y == 1, part.probability)
        areas.append(area)
        effects[np.searchsorted(order, part.rows)] += effect / len(parts)
    return float(np.mean(areas)), effects


def row_effects(
    repeats: Sequence[Sequence[Part]], units: IntArray | None = None
) -> dict[str, FloatArray]:
    """Say by how much each row moves a figure; of rows that belong together, their sum.

    The difference of two models' effects, squared and summed, is the variance of the difference
    of their figures on the same rows.
    """
    joined = [_join(repeat) for repeat in repeats]
    y, right = joined[0].y, np.mean([part.called == (part.y == 1) for part in joined], axis=0)
    recalls = np.array([right[y == label].mean() for label in (0, 1)])
    effects = {
        "roc_auc": rank_effects(repeats)[1],
        "balanced_accuracy": (right - recalls[y]) / np.bincount(y)[y] / 2,
    }
    if (codes := _codes(units, joined[0].rows)) is not None:
        sums = {name: np.bincount(codes, weights=each) for name, each in effects.items()}
        return {name: each.astype(np.float64) for name, each in sums.items()}
    return effects


def design_effect(effects: FloatArray, weights: FloatArray, units: IntArray | None) -> float:
    """Say by how much rows that belong together make a variance larger; 1 where none do.

    Where no row has an effect the weights decide: all rows of a unit are then taken for one.
    """
    if units is None:
        return 1.0
    effects = effects if np.any(effects) else weights
    together = np.bincount(units, weights=effects)
    return max(1.0, float(together @ together / (effects @ effects)))


def _join(repeat: Sequence[Part]) -> Part:
    """Put the parts of a repeat together, in order of the rows."""
    rows, y, probability, called = (np.concatenate(each) for each in zip(*repeat, strict=True))
    order = np.argsort(rows)
    return Part(rows[order], y[order], probability[order], called[order])


def _codes(units: IntArray | None, rows: IntArray) -> IntArray | None:
    """Give the units of some rows numbers without a gap."""
    return None if units is None else np.unique(units[rows], return_inverse=True)[1]


def _wilson(value: float, n_rows: float) -> Estimate:
    """Give the interval of a share of so many independent rows."""
    if not n_rows > 0:
        return Estimate(np.nan, np.nan, np.nan)
    center = (value + _Z**2 / (2 * n_rows)) / (1 + _Z**2 / n_rows)
    reach = np.sqrt(value * (1 - value) / n_rows + (_Z / n_rows / 2) ** 2)
    reach *= _Z / (1 + _Z**2 / n_rows)
    low, high = max(0.0, center - reach), min(1.0, center + reach)
    return Estimate(value, float(min(low, value)), float(max(high, value)))


def _estimate_share(
    parts: FloatArray,
    wholes: FloatArray,
    units: IntArray | None,
    spread: float,
    added: float = 0.0,
) -> Estimate:
    """Estimate a share: of rows that count, those that count in the part."""
    whole = float(wholes.sum())
    if not whole:
        return Estimate(np.nan, np.nan, np.nan)
    value = float(parts.sum() / whole)
    n_rows = whole / design_effect(parts - value * wholes, wholes, units)
    # A share of 0 or 1 is as little certain as one that lies a row or two away.
    nearby = (value * n_rows + 1) / (n_rows + 2)
    return _wilson(value, 1 / (spread / n_rows + added / (nearby * (1 - nearby))))


def _estimate_mean(values: FloatArray, units: IntArray | None, spread: float) -> Estimate:
    """Estimate a mean of values between 0 and 1."""
    value = float(values.mean())
    effects = values - value
    variance = float(effects @ effects) / len(values) ** 2
    n_rows = value * (1 - value) / variance if variance else float(len(values))
    return _wilson(value, n_rows / design_effect(effects, np.ones(len(values)), units) / spread)


def _estimate_roc_auc(
    area: float, effects: FloatArray, y: IntArray, units: IntArray | None, spread: float
) -> Estimate:
    """Estimate a ROC AUC by the larger of two variances: the rows' own, and that of few rows.

    The second is Newcombe's (2006, "Confidence intervals for an effect size measure based on the
    Mann-Whitney statistic. Part 2", method 5), for three ranks that happen to be the highest have
    no variance of their own.
    """
    positives = float(y.sum())
    negatives = len(y) - positives
    typical = (1 - area) / (2 - area) + area / (1 + area)
    n_rows = positives * negatives / (1 + (len(y) / 2 - 1) * typical)
    if variance := float(effects @ effects):
        n_rows = min(n_rows, area * (1 - area) / variance)
    return _wilson(area, n_rows / design_effect(effects, np.ones(len(y)), units) / spread)


def _estimate_pr_auc(area: float, y: IntArray, units: IntArray | None, spread: float) -> Estimate:
    """Estimate an average precision as a share of the potable rows.

    So Boyd, Eng and Page (2013, "Area under the precision-recall curve: point estimates and
    confidence intervals") found intervals to cover.
    """
    weights = y.astype(np.float64)
    return _wilson(area, float(y.sum()) / design_effect(weights, weights, units) / spread)


def _halfway(one: Estimate, other: Estimate) -> Estimate:
    """Estimate the mean of two independent figures (Zou and Donner 2008)."""
    value = (one.value + other.value) / 2
    low = np.hypot(one.value - one.low, other.value - other.low) / 2
    high = np.hypot(one.high - one.value, other.high - other.value) / 2
    return Estimate(value, float(value - low), float(value + high))


def _mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Take the mean of each end: repeats hold the same rows, and make no interval narrower."""
    return Estimate(*(float(np.mean(part)) for part in zip(*map(astuple, estimates), strict=True)))


def _per_1000(share: Estimate) -> Estimate:
    return Estimate(*(1000 * each for each in astuple(share)))


def _part_effects(positive: BoolArray, probability: FloatArray) -> tuple[float, FloatArray]:
    """Give the ROC AUC of some rows, and by how much each row moves it."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    ranks, above = rankdata(probability), np.empty(len(probability))
    above[positive] = (ranks[positive] - rankdata(probability[positive])) / n_negative
    above[~positive] = 1 - (ranks[~positive] - rankdata(probability[~positive])) / n_positive
    area = float(above[positive].mean())
    counts = np.where(positive, n_positive, n_negative)
    return area, (above - area) / np.sqrt(counts * np.maximum(counts - 1, 1))


def _folded_normal(mean: float, spread: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give mean and variance of the distance from 0 of normal numbers."""
    ratio = mean / spread
    distance = spread * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + mean * (1 - 2 * ndtr(-ratio))
    return distance, mean**2 + spread**2 - distance**2
