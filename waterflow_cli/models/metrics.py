"""How good predictions are.

Labels ``y`` are 1 for potable and 0 for not potable, and both occur; ``probability`` is P(potable)
by a model that saw none of these rows; both have shape (n_samples,). A sample counts as potable
from ``threshold`` on. A ``seed`` is that of the resampling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.common.messages import marked
from waterflow_cli.common.number_formats import CHANCE, Estimate

# Fewer where they would draw more rows in all: intervals of many rows are narrow however drawn.
N_RESAMPLES, _MOST_DRAWN = 1000, 50_000_000
LEVEL = 0.95
_FEWEST_RESAMPLES = 50
_TAILS = ((1 - LEVEL) / 2, 1 - (1 - LEVEL) / 2)
# Bounds the memory of the resamples' weights: about 64 MB of them at a time.
_CELLS_AT_ONCE = 8_000_000


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How predictions fared on rows that the model had not seen.

    Attributes
    ----------
    estimates : dict of str to Estimate
        By metric; see `METRICS`.
    confusion : tuple of float
        True negatives, false positives, false negatives, true positives; positive is potable.
        Means over the repeats, where the rows were tested repeatedly.
    interval : str
        How the intervals were made.
    """

    estimates: dict[str, Estimate]
    confusion: tuple[float, float, float, float]
    threshold: float
    n_rows: int
    interval: str = marked("of a share of as many independent rows (Wilson 1927)")


METRICS: Mapping[str, str] = {
    "roc_auc": marked("ROC AUC"),
    "pr_auc": marked("PR AUC (average precision)"),
    "balanced_accuracy": marked("Balanced accuracy"),
    "precision_potable": marked("Precision on potable"),
    "recall_potable": marked("Recall on potable"),
    "recall_not_potable": marked("Recall on not potable"),
    "false_potable_per_1000": marked("False 'potable' per 1000 samples"),
    "brier": marked("Brier score"),
    "calibration_error": marked("Calibration error"),
}


def measure_once(y: IntArray, probability: FloatArray, threshold: float) -> dict[str, float]:
    """Compute each metric but the calibration error, which a few rows cannot show."""
    values = _measure(y, probability, threshold, np.ones((1, len(y))))
    return {name: float(value[0]) for name, value in values.items()}


def count_confusion(y: IntArray, called: BoolArray) -> tuple[float, float, float, float]:
    """Count true negatives, false positives, false negatives and true positives."""
    negatives, alarms, misses, hits = (
        float(np.sum((y == truth) & (called == call))) for truth in (0, 1) for call in (False, True)
    )
    return negatives, alarms, misses, hits


def measure_resamples(
    y: IntArray, probability: FloatArray, threshold: float, seed: int, groups: Any | None = None
) -> dict[str, FloatArray]:
    """Compute each metric in bootstrap resamples, `N_RESAMPLES` of few rows, shape (n_resamples,).

    Equal labels, groups and seeds give equal resamples, so models can be compared in pairs.

    Parameters
    ----------
    groups : ndarray of shape (n_samples,), optional
        What is drawn as a whole; otherwise rows are drawn, within each class.
    """
    codes = None if groups is None else np.unique(groups, return_inverse=True)[1]
    units = [np.flatnonzero(y == label) for label in (1, 0)]
    if codes is not None:
        units = [np.arange(codes.max() + 1)]
    # A generator for each class: how many resamples are drawn at once changes none of them.
    draws = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(2)]
    at_once = max(1, _CELLS_AT_ONCE // len(y))
    parts = []
    wanted = min(N_RESAMPLES, max(_MOST_DRAWN // len(y), _FEWEST_RESAMPLES))
    for start in range(0, wanted, at_once):
        n_resamples = min(at_once, wanted - start)
        weights = np.empty((n_resamples, sum(map(len, units))))
        for each, random in zip(units, draws, strict=False):
            share = np.full(len(each), 1 / len(each))
            weights[:, each] = random.multinomial(len(each), share, size=n_resamples)
        # Groups may leave a class out of a resample; what is undefined there becomes NaN.
        with np.errstate(invalid="ignore", divide="ignore"):
            by_row = weights if codes is None else weights[:, codes]
            parts.append(_measure(y, probability, threshold, by_row))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measure(
    y: IntArray, probability: FloatArray, threshold: float, weights: FloatArray
) -> dict[str, FloatArray]:
    """Compute each metric for each row of weights, shape (n_resamples, n_samples)."""
    positive, called = y == 1, probability >= threshold
    positives, total = weights @ positive, weights.sum(axis=1)
    negatives = total - positives
    hits, alarms = weights @ (positive & called), weights @ (~positive & called)
    recall, specificity = hits / positives, 1 - alarms / negatives
    with np.errstate(invalid="ignore"):
        precision = hits / (hits + alarms)
    roc_auc, pr_auc = _areas(positive, probability, weights)
    return {
        "roc_auc": roc_auc,
        "pr_auc": pr_auc,
        "balanced_accuracy": (recall + specificity) / 2,
        "precision_potable": precision,
        "recall_potable": recall,
        "recall_not_potable": specificity,
        "false_potable_per_1000": 1000 * alarms / total,
        "brier": weights @ (probability - y) ** 2 / total,
    }


def _areas(
    positive: np.ndarray, probability: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Areas under the ROC curve (by trapezia) and the precision-recall curve (by steps)."""
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    last_of_ties = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    weighted = weights[:, order]
    hits = np.cumsum(weighted * positive[order], axis=1)[:, last_of_ties]
    called = np.cumsum(weighted, axis=1)[:, last_of_ties]
    alarms = called - hits
    new_hits = np.diff(hits, axis=1, prepend=0)
    new_alarms = np.diff(alarms, axis=1, prepend=0)
    positives, negatives = hits[:, -1], alarms[:, -1]
    roc_auc = ((hits - new_hits / 2) * new_alarms).sum(axis=1) / (positives * negatives)
    # Weights of zero can leave nothing called so far; such a step has no area.
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    return roc_auc, (precision * new_hits).sum(axis=1) / positives


# --- without labels ------------------------------------------------------------------------------

# What probabilities let expect.
EXPECTED: Mapping[str, str] = {
    "accuracy": marked("Accuracy"),
    "balanced_accuracy": METRICS["balanced_accuracy"],
    "precision_potable": METRICS["precision_potable"],
}
# With fewer known rows that are called alike, all of them say how far probabilities are off.
_LEAST_CALLED = 20
_NEAREST_CHANCE = 1e-6


class Called(NamedTuple):
    """Rows with their labels and probabilities, and which are predicted potable."""

    y: IntArray
    probability: FloatArray
    called: BoolArray


def expect_performance(
    probability: FloatArray, called: BoolArray, known: Called, *, seed: int
) -> dict[str, Estimate]:
    """Say what labels of some rows would show, by their probabilities.

    In the field this is confidence-based performance estimation: of rows that are called potable,
    as many will be as the mean of their probabilities says. How far that mean is off, among rows
    called potable and among the others, is taken from rows whose labels are known. It holds where
    rows of equal probability are potable as often as those were, and no figure shows whether.

    Parameters
    ----------
    probability, called : ndarray of shape (n_samples,)
        Of the rows without labels.
    known : Called
        Rows that were judged by models that had not seen them.

    Returns
    -------
    dict of str to Estimate
        Of `EXPECTED`; with the interval in which the figure lies that the labels would show, in 95
        of 100 cases: labels fall by chance, and the known rows are a sample too. NaN where it has
        no meaning, as precision where nothing is called potable.
    """
    random = np.random.default_rng(seed)
    sizes = int(called.sum()), int((~called).sum())
    chances, drawn = [], []
    for side, n_rows in zip((True, False), sizes, strict=True):
        mean, weight = _chance(probability[called == side], known, side=side)
        likely = random.beta(mean * weight, (1 - mean) * weight, N_RESAMPLES)
        chances.append(np.array([mean]))
        drawn.append(random.binomial(n_rows, likely) / max(n_rows, 1))
    resampled = _performance(drawn[0], drawn[1], *sizes)
    estimates = {}
    for name, value in _performance(chances[0], chances[1], *sizes).items():
        defined = resampled[name][np.isfinite(resampled[name])]
        low, high = np.quantile(defined, _TAILS) if len(defined) else (np.nan, np.nan)
        estimates[name] = Estimate(float(value[0]), float(low), float(high))
    return estimates


def observed_performance(known: Called) -> dict[str, float]:
    """Compute the same figures from labels."""
    y, _, called = known
    sides = [y[called == side] for side in (True, False)]
    shares = [np.array([each.mean() if len(each) else CHANCE]) for each in sides]
    found = _performance(shares[0], shares[1], len(sides[0]), len(sides[1]))
    return {name: float(value[0]) for name, value in found.items()}


def _chance(probability: FloatArray, known: Called, *, side: bool) -> tuple[float, float]:
    """Say how likely rows that are called alike are potable, and how many rows that is worth.

    The two are the mean and the weight of a beta distribution, which ends at 0 and 1 where a normal
    one would not. To the known rows one is added that is half potable (Jeffreys' prior), and the
    variance is at least that of labels drawn from the probabilities: of a rare kind the known rows
    may hold none at all.
    """
    used = known.called == side
    if used.sum() < _LEAST_CALLED:
        used = np.ones(len(used), dtype=bool)
    y, told = known.y[used], known.probability[used]
    gap = (np.sum(y - told) + CHANCE - told.mean()) / (len(y) + 1)
    variance = max(np.mean((y - told) ** 2), np.mean(told * (1 - told)), _NEAREST_CHANCE) / len(y)
    predicted = probability.mean() if len(probability) else CHANCE
    mean = float(np.clip(predicted + gap, _NEAREST_CHANCE, 1 - _NEAREST_CHANCE))
    return mean, max(float(mean * (1 - mean) / variance) - 1, _NEAREST_CHANCE)


def _performance(
    potable_called: FloatArray, potable_others: FloatArray, n_called: int, n_others: int
) -> dict[str, FloatArray]:
    """Compute the figures of `EXPECTED` from the shares that are potable of either call."""
    hits, misses = n_called * potable_called, n_others * potable_others
    right = n_others - misses
    undefined = np.full(len(hits), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        recalls = hits / (hits + misses), right / (n_called - hits + right)
    return {
        "accuracy": (hits + right) / (n_called + n_others),
        "balanced_accuracy": (recalls[0] + recalls[1]) / 2,
        "precision_potable": potable_called if n_called else undefined,
    }


class Backtest(NamedTuple):
    """How near to the truth `expect_performance` came, on the folds of a training.

    Attributes
    ----------
    n_rows : int
        Of a fold, in the median.
    off, most_off : dict of str to float
        By figure: how far it was from the truth on average, and at most.
    within : dict of str to int
        In how many folds the truth lay within the interval.
    """

    n_folds: int
    n_rows: int
    off: dict[str, float]
    most_off: dict[str, float]
    within: dict[str, int]


def backtest_expectations(repeats: Sequence[Sequence[Called]]) -> Backtest | None:
    """Estimate each tested fold as if it had no labels, by the other folds of its repeat.

    None where no repeat has two folds that hold both classes.
    """
    pairs: list[tuple[int, dict[str, Estimate], dict[str, float]]] = []
    for repeat in repeats:
        for number, fold in enumerate(repeat):
            others = [each for place, each in enumerate(repeat) if place != number]
            if others and 0 < fold.y.sum() < len(fold.y):
                known = Called(*map(np.concatenate, zip(*others, strict=True)))
                expected = expect_performance(fold.probability, fold.called, known, seed=number)
                pairs.append((len(fold.y), expected, observed_performance(fold)))
    if not pairs:
        return None
    off, most_off, within = {}, {}, {}
    for name in EXPECTED:
        of_folds = [(expected[name], truth[name]) for _, expected, truth in pairs]
        defined = [each for each in of_folds if each[1] == each[1]]
        distances = [abs(guess.value - truth) for guess, truth in defined] or [np.nan]
        off[name], most_off[name] = float(np.mean(distances)), float(np.max(distances))
        within[name] = sum(guess.low <= truth <= guess.high for guess, truth in defined)
    n_rows = int(np.median([n_rows for n_rows, _, _ in pairs]))
    return Backtest(len(pairs), n_rows, off, most_off, within)
