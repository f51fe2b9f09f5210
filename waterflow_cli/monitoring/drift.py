"""Two-sample tests with effect sizes, and what many of them together allow to be said."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import stats
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedKFold

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.common.number_formats import CHANCE

_N_BINS = 10
_N_FOLDS = 5
_N_TREES, _LEAST_LEAF = 40, 5
# Correlations nearer to 1 count as this: Fisher's transform of 1 is infinite.
_MOST_CORRELATED = 0.999
# Below this expected count the chi-square distribution serves badly (Cochran 1954).
_LEAST_EXPECTED = 5


class Outcome(NamedTuple):
    """What a test found: the size of the difference, and how likely chance alone gives such."""

    effect: float
    p_value: float


def compare_levels(old: FloatArray, new: FloatArray) -> Outcome:
    """Test whether new values tend to be larger or smaller (Mann and Whitney 1947).

    The effect is the chance that a new value is larger than an old one, less a half.
    """
    found = stats.mannwhitneyu(new, old, method="asymptotic")
    effect = found.statistic / (len(old) * len(new)) - CHANCE
    # No evidence where all values are equal, for which there is no p value.
    p_value = 1.0 if np.isnan(found.pvalue) else float(found.pvalue)
    return Outcome(float(effect), p_value)


def compare_spreads(old: FloatArray, new: FloatArray) -> Outcome:
    """Test whether new values tend to lie farther from their median, or nearer to it.

    The ranks of the distances are compared (Fligner and Killeen 1976, "Distribution-free two-sample
    tests for scale"). Distances from the median of both samples together are exchangeable where
    nothing changed, however skewed the values: their p value keeps its level, where that of
    distances from each sample's own median would not. The latter keep a mere shift from showing
    here. The larger p value counts; the effect is as of `compare_levels`, of the own distances.
    """
    of_both, of_own = (
        compare_levels(np.abs(old - centres[0]), np.abs(new - centres[1]))
        for centres in (
            [np.median(np.concatenate([old, new]))] * 2,
            [np.median(old), np.median(new)],
        )
    )
    return Outcome(of_own.effect, max(of_both.p_value, of_own.p_value))


def usual_distance(values: FloatArray) -> float:
    """Give the median distance from the median: half of the values lie nearer to it."""
    return float(np.median(np.abs(values - np.median(values))))


def compare_shapes(old: FloatArray, new: FloatArray) -> Outcome:
    """Test whether two distributions differ anywhere (Kolmogorov and Smirnov).

    The effect is the largest distance between the two cumulative distributions.
    """
    found = stats.ks_2samp(old, new, method="asymp")
    return Outcome(float(found.statistic), float(found.pvalue))


def compare_probabilities(old: FloatArray, new: FloatArray) -> Outcome:
    """Test whether probabilities are distributed otherwise (Kolmogorov and Smirnov).

    The effect is how far they would have to be moved on average to be distributed alike (the
    earth mover's distance): a model that says nearly the same of all rows differs in KS alone.
    """
    moved = float(stats.wasserstein_distance(old, new))
    return Outcome(moved, compare_shapes(old, new).p_value)


def stability_index(old: FloatArray, new: FloatArray) -> float:
    """Compute the population stability index in ten bins of equal old counts.

    Siddiqi (2006, "Credit Risk Scorecards") reads below 0.1 as no change worth noting and above
    0.25 as a large one. Equal distributions give about 9 (1 / n_old + 1 / n_new), which is taken
    off here (Yurdakul and Naranjo 2020, "Statistical properties of the population stability
    index"). Half a count in each bin keeps empty ones finite.
    """
    edges = np.unique(np.quantile(old, np.linspace(0, 1, _N_BINS + 1)[1:-1]))
    counts = [
        np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1) + 0.5
        for values in (old, new)
    ]
    first, second = (each / each.sum() for each in counts)
    by_chance = len(edges) * (1 / len(old) + 1 / len(new))
    return max(0.0, float(((second - first) * np.log(second / first)).sum()) - by_chance)


def compare_shares(
    old: tuple[int, int], new: tuple[int, int], alternative: str = "two-sided"
) -> Outcome:
    """Test whether a share changed (Fisher's exact test).

    The effect is Cohen's h, 2 asin(sqrt(p_new)) - 2 asin(sqrt(p_old)).

    Parameters
    ----------
    old, new : (int, int)
        Rows that have the property, and all rows.
    alternative : str
        ``greater`` where a smaller share is no news, ``less`` where a larger one is none.
    """
    table = [[with_it, total - with_it] for with_it, total in (new, old)]
    angles = [2 * np.arcsin(np.sqrt(with_it / total)) for with_it, total in (new, old)]
    found = stats.fisher_exact(table, alternative=alternative)
    return Outcome(float(angles[0] - angles[1]), float(found.pvalue))


def compare_repeats(counts: IntArray, usual: tuple[float, float]) -> tuple[Outcome, Outcome]:
    """Test whether more rows repeat others than usual, and one more often than any does.

    Parameters
    ----------
    counts : ndarray of shape (n_distinct,)
        How often each different row occurs.
    usual : (float, float)
        The share of rows that repeat another, and that of the most frequent row.

    Returns
    -------
    tuple of Outcome
        The effects are shares of the rows, beyond the usual ones; one-sided. The first p value errs
        on the quiet side, for copies vary less than the binomial distribution says; the second is
        that of one row times the number of rows that are as frequent.
    """
    n_rows, n_most = int(counts.sum()), int(counts.max())
    n_copies = n_rows - len(counts)
    copies, top = usual
    by_chance = stats.binom.sf(n_copies - 1, n_rows, copies)
    of_any = min(1.0, stats.binom.sf(n_most - 1, n_rows, top) / top)
    return (
        Outcome(n_copies / n_rows - copies, float(by_chance)),
        Outcome(n_most / n_rows - top, float(of_any)),
    )


def compare_mixes(old: IntArray, new: IntArray) -> Outcome | None:
    """Test whether the shares of some kinds changed (chi-square).

    Parameters
    ----------
    old, new : ndarray of shape (n_kinds,)
        Counts; kinds that are rare in both are put together with the most frequent one.

    Returns
    -------
    Outcome or None
        The effect is the share of rows that would have to be of another kind (total variation);
        None if one kind is all that is left.
    """
    table = np.array([old, new], dtype=float)
    expected = table.sum(axis=0) * (table.sum(axis=1, keepdims=True) / table.sum())
    rare = expected.min(axis=0) < _LEAST_EXPECTED
    largest = int(table.sum(axis=0).argmax())
    rare[largest] = False
    table[:, largest] += table[:, rare].sum(axis=1)
    table = table[:, ~rare]
    if table.shape[1] < 2:
        return None
    found = stats.chi2_contingency(table, correction=False)
    first, second = table / table.sum(axis=1, keepdims=True)
    return Outcome(float(np.abs(second - first).sum() / 2), float(found.pvalue))


def classify_samples(old: FloatArray, new: FloatArray, *, seed: int) -> Outcome:
    """Test whether a classifier tells new rows from old ones (Lopez-Paz and Oquab 2017).

    Extra trees, which take missing values as they are, score each row in a fold that they did not
    see. Within a fold the scores are those of one fixed function, so its ROC AUC has the
    null distribution of Mann and Whitney. Folds share training rows, and their mean varies more
    than that of independent ones: its variance is that of Nadeau and Bengio (2003, "Inference for
    the generalization error").

    Parameters
    ----------
    old, new : ndarray of shape (n_rows, n_measurements)
        NaN where missing.

    Returns
    -------
    Outcome
        The effect is the mean ROC AUC less a half; one-sided.
    """
    X = np.concatenate([old, new])
    is_new = np.repeat([0, 1], [len(old), len(new)])
    folds = StratifiedKFold(_N_FOLDS, shuffle=True, random_state=seed)
    effects, variances = [], []
    for train, test in folds.split(X, is_new):
        trees = ExtraTreesClassifier(
            _N_TREES, min_samples_leaf=_LEAST_LEAF, class_weight="balanced", random_state=seed
        ).fit(X[train], is_new[train])
        scores = trees.predict_proba(X[test])[:, 1]
        n_old, n_new = np.bincount(is_new[test], minlength=2)
        effects.append(compare_levels(scores[is_new[test] == 0], scores[is_new[test] == 1]).effect)
        variances.append((n_old + n_new + 1) / (12 * n_old * n_new))
    effect = float(np.mean(effects))
    deviation = np.sqrt(np.mean(variances) * (1 / _N_FOLDS + 1 / (_N_FOLDS - 1)))
    return Outcome(effect, float(stats.norm.sf(effect / deviation)))


class Correlated(NamedTuple):
    """The two columns whose correlation changed most surely, and both correlations."""

    outcome: Outcome
    pair: tuple[int, int]
    shown: tuple[float, float]
    counts: tuple[int, int]


def compare_correlations(old: FloatArray, new: FloatArray, least: int) -> Correlated | None:
    """Test whether any two columns go together otherwise (Spearman's rank correlation).

    Parameters
    ----------
    old, new : ndarray of shape (n_rows, n_measurements)
        NaN where missing.
    least : int
        Of rows that have both values, on either side; pairs with fewer are left out.

    Returns
    -------
    Correlated or None
        The effect is Cohen's q, the difference of Fisher's z; the p value is the smallest one of
        all pairs, times their number. None if there is no pair to compare.
    """
    ranks = stats.rankdata(np.concatenate([old, new]), axis=0, nan_policy="omit")
    found = []
    for pair in combinations(range(old.shape[1]), 2):
        before, after = (
            part[np.isfinite(part).all(axis=1)]
            for part in (ranks[: len(old), pair], ranks[len(old) :, pair])
        )
        if min(len(before), len(after)) >= least and all(
            np.ptp(part, axis=0).all() for part in (before, after)
        ):
            found.append(_compare_pair(before, after, pair))
    if not found:
        return None
    surest = min(found, key=lambda each: each.outcome.p_value)
    p_value = min(1.0, surest.outcome.p_value * len(found))
    return surest._replace(outcome=surest.outcome._replace(p_value=p_value))


def _compare_pair(old: FloatArray, new: FloatArray, pair: tuple[int, int]) -> Correlated:
    shown = _correlation(old), _correlation(new)
    change = float(np.arctanh(shown[1]) - np.arctanh(shown[0]))
    variance = _fisher_variance(np.concatenate([old, new]))
    deviation = np.sqrt(variance * (1 / (len(old) - 3) + 1 / (len(new) - 3)))
    p_value = float(2 * stats.norm.sf(abs(change) / deviation)) if change else 1.0
    return Correlated(Outcome(change, p_value), pair, shown, (len(old), len(new)))


def _correlation(pair: FloatArray) -> float:
    u, v = _standardised(pair)
    return float(np.clip((u * v).mean(), -_MOST_CORRELATED, _MOST_CORRELATED))


def _standardised(pair: FloatArray) -> FloatArray:
    scaled: FloatArray = (pair - pair.mean(axis=0)) / pair.std(axis=0)
    return scaled.T


def _fisher_variance(pair: FloatArray) -> float:
    """Give the variance of Fisher's z of two columns, times the number of rows.

    It is that of the correlation's influence function: 1 for normal values, and right too for
    ranks, for ties and for columns that hang together without being correlated.
    """
    u, v = _standardised(pair)
    correlation = _correlation(pair)
    influence = u * v - correlation * (u**2 + v**2) / 2
    return float((influence**2).mean() / (1 - correlation**2) ** 2)


def adjust(p_values: Sequence[float], weights: Sequence[float]) -> FloatArray:
    """Adjust p values so that one bound holds for the chance of any false alarm (Holm 1979).

    Parameters
    ----------
    weights : sequence of float
        Above 0; a test with twice the weight is allowed a p value twice as large.

    Returns
    -------
    ndarray of shape (n_tests,)
        To be compared with the level of the whole family.

    >>> adjust([0.01, 0.04, 0.03], [1, 1, 1]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values, shares = np.asarray(p_values, dtype=float), np.asarray(weights, dtype=float)
    order = np.argsort(values / shares, kind="stable")
    left = np.cumsum(shares[order][::-1])[::-1]
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] / shares[order] * left), 1)
    return adjusted


def known_values(values: FloatArray) -> FloatArray:
    """Give the finite ones of some values."""
    kept: BoolArray = np.isfinite(values)
    return values[kept]
