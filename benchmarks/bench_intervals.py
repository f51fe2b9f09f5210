"""Whether intervals hold, and whether `compare` tells a difference from chance, on drawn data.

    python benchmarks/bench_intervals.py coverage
    python benchmarks/bench_intervals.py coverage --generator "boosted trees"
    python benchmarks/bench_intervals.py compare

The product's own functions judge out-of-fold scores of a logistic regression, or of trees, that fit
in milliseconds; true probabilities are known. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count, product
from typing import Any, NamedTuple

import numpy as np
from bench_honesty import print_table
from measure import print_check
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.errors import DataRefusedError
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.models.calibration import fit_calibrator
from waterflow_cli.models.metrics import METRICS, measure_once
from waterflow_cli.models.thresholds import tune_threshold
from waterflow_cli.training.comparison import Candidate, paired_difference
from waterflow_cli.training.designs import (
    Design,
    all_scores,
    cross_validation,
    hold_out,
    score_folds,
)
from waterflow_cli.training.intervals import Part, rank_effects
from waterflow_cli.training.judging import evaluate_folds, judge_fold
from waterflow_cli.training.options import DEFAULT_RULE


class Sample(NamedTuple):
    """Rows of normal measurements whose probability of being potable is known.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_measurements)
    y, truth, units : ndarray of shape (n_samples,)
        Labels, the probabilities they were drawn by, and which rows are copies of one another.
    """

    X: FloatArray
    y: IntArray
    truth: FloatArray
    units: IntArray


@dataclass(frozen=True)
class Straight:
    """Fits a logistic regression on some of the columns by Newton's method."""

    X: FloatArray
    y: IntArray
    columns: Sequence[int] = range(5)

    def fit(self, rows: IntArray) -> FloatArray:
        """Give the weights."""
        X, y = self._design(self.X)[rows], self.y[rows]
        weights, ridge = np.zeros(X.shape[1]), np.eye(X.shape[1])
        ridge[0, 0] = 1e-6
        for _ in range(12):
            p = expit(X @ weights)
            curvature = (X * (p * (1 - p))[:, np.newaxis]).T @ X + ridge
            weights = weights + np.linalg.solve(curvature, X.T @ (y - p) - ridge @ weights)
        return weights

    def score(self, fitted: FloatArray, rows: IntArray) -> FloatArray:
        """Score rows."""
        return self.score_fresh(fitted, self.X[rows])

    def score_fresh(self, fitted: FloatArray, X: FloatArray) -> FloatArray:
        """Score rows that were not given."""
        return np.asarray(expit(self._design(X) @ fitted))

    def _design(self, X: FloatArray) -> FloatArray:
        return np.column_stack([np.ones(len(X)), X[:, list(self.columns)]])


@dataclass(frozen=True)
class Trees:
    """Fits twenty small trees, boosted."""

    X: FloatArray
    y: IntArray

    def fit(self, rows: IntArray) -> HistGradientBoostingClassifier:
        """Fit on rows."""
        trees = HistGradientBoostingClassifier(
            max_iter=20, max_leaf_nodes=8, learning_rate=0.2, max_bins=63, early_stopping=False
        )
        return trees.fit(self.X[rows], self.y[rows])

    def score(self, fitted: HistGradientBoostingClassifier, rows: IntArray) -> FloatArray:
        """Score rows."""
        return self.score_fresh(fitted, self.X[rows])

    def score_fresh(self, fitted: HistGradientBoostingClassifier, X: FloatArray) -> FloatArray:
        """Score rows that were not given."""
        return np.asarray(fitted.predict_proba(X)[:, 1])


def straight(X: FloatArray) -> FloatArray:
    """Give log-odds that a straight line can learn."""
    return X[:, 0] + 0.6 * X[:, 1]


def distances(X: FloatArray) -> FloatArray:
    """Give log-odds that follow distances, of which a straight line learns little."""
    return 0.8 * (X[:, 0] ** 2 + X[:, 1] ** 2 - 2) + 0.5 * X[:, 2]


GENERATORS = {"logistic regression": (straight, Straight), "boosted trees": (distances, Trees)}
# Share of potable rows, rows, and how they are split.
DESIGNS = (
    *product((0.05, 0.4), (300, 2000), ("cv-5x2", "holdout-0.2")),
    (0.05, 2000, "copies"),
    (0.4, 300, "copies"),
    (0.4, 2000, "copies"),
)


def drawer(odds: Callable[[FloatArray], FloatArray], rate: float) -> Callable[..., Sample]:
    """Make what draws samples, of which this share is potable."""
    z = odds(np.random.default_rng(99).normal(size=(200_000, 5)))
    shift = brentq(lambda each: expit(each + z).mean() - rate, -20, 20)

    def draw(n_rows: int, seed: int, *, twice: bool = False) -> Sample:
        random = np.random.default_rng(seed)
        X = random.normal(size=(n_rows // 2 if twice else n_rows, 5))
        truth = expit(shift + odds(X))
        y = (random.random(len(X)) < truth).astype(np.int64)
        order = np.tile(np.arange(len(X)), 2 if twice else 1)
        return Sample(X[order], y[order], truth[order], order)

    return draw


def split(sample: Sample, how: str, seed: int) -> Design:
    """Split rows as the command does; copies stay together."""
    if how == "holdout-0.2":
        return hold_out(sample.y, test_size=0.2, seed=seed).check(sample.y)
    groups = sample.units if how == "copies" else None
    folds = cross_validation(sample.y, n_folds=5, n_repeats=2, seed=seed, groups=groups)
    return folds.check(sample.y)


def figures_on(fresh: Sample, probability: FloatArray, threshold: float) -> dict[str, float]:
    """Measure a model on a large sample; its calibration by the true probabilities."""
    edges = np.quantile(probability, np.linspace(0, 1, 11)[1:-1])
    group = np.searchsorted(edges, probability, side="right")
    gaps = np.abs(np.bincount(group, probability - fresh.truth))
    figures = measure_once(fresh.y, probability, threshold)
    return figures | {"calibration_error": float(gaps.sum() / len(fresh.y))}


def study_intervals(
    sample: Sample, learner: Any, how: str, seed: int, fresh: Sample
) -> tuple[dict[str, Estimate], dict[str, float], dict[str, float]]:
    """Give figures with intervals, what the tested models reach on average, and the final one."""
    y, scores = sample.y, score_folds(split(sample, how, seed), learner)
    units = sample.units if how == "copies" else None
    folds = [
        [judge_fold(fold, y, "sigmoid", DEFAULT_RULE, units) for fold in each] for each in scores
    ]
    reached = []
    for fold, judged in zip(scores[0], folds[0], strict=True):
        calibrator = fit_calibrator(y[fold.tuning_rows], fold.tuning_scores)
        probability = calibrator.apply(learner.score_fresh(fold.fitted, fresh.X))
        reached.append(figures_on(fresh, probability, judged.threshold))
    rows, known = all_scores(scores)
    calibrator = fit_calibrator(y[rows], known)
    threshold = tune_threshold(DEFAULT_RULE, y[rows], calibrator.apply(known))
    final = learner.score_fresh(learner.fit(np.arange(len(y))), fresh.X)
    return (
        evaluate_folds(folds, threshold, units=units).estimates,
        {name: float(np.nanmean([each[name] for each in reached])) for name in METRICS},
        figures_on(fresh, calibrator.apply(final), threshold),
    )


def study_coverage(
    generator: str, rate: float, n_rows: int, how: str, n_sets: int, n_fresh: int = 40_000
) -> dict[str, dict[str, object]]:
    """Count how often each interval holds the expected figure, and the registered model's own."""
    odds, learner = GENERATORS[generator]
    draw = drawer(odds, rate)
    fresh = draw(n_fresh, 10**6)
    found = []
    seeds = count()
    while len(found) < n_sets:
        seed = next(seeds)
        sample = draw(n_rows, seed, twice=how == "copies")
        with suppress(DataRefusedError):  # too few rows of a class
            made = learner(sample.X, sample.y)
            found.append(study_intervals(sample, made, how, seed, fresh))
    design = {"potable": rate, "rows": n_rows, "split": how}
    own: dict[str, object] = dict(design)
    expected: dict[str, object] = dict(design)
    for name in METRICS:
        truth = float(np.nanmean([reached[name] for _, reached, _ in found]))
        ends = [
            (each[name], final[name])
            for each, _, final in found
            if each[name].low == each[name].low
        ]
        expected[name] = float(np.mean([e.low <= truth <= e.high for e, _ in ends]))
        own[name] = float(np.mean([e.low <= t <= e.high for e, t in ends if t == t]))
    return {"expected": expected, "own": own}


# What two candidates may learn from, of measurements with these effects on the log-odds.
_EQUAL = (0.8, 0.5, 0.8, 0.5, 0.8, 0.5)
PAIRS = {
    "equally good, other columns": (_EQUAL, (0, 1, 4), (2, 3, 4)),
    "equally good, nothing in common": (_EQUAL, (0, 1), (2, 3)),
    "one lacks a column": ((0.9, 0.82, 0, 0, 0, 0), (0, 1), (0,)),
    "unequal, nothing in common": ((1.0, 0, 0.65, 0, 0, 0), (0,), (2,)),
}


def study_pair(name: str, rate: float, n_rows: int, n_pairs: int) -> dict[str, object]:
    """Count how often two logistic regressions of other columns are called different."""
    effects, *columns = PAIRS[name]
    z = np.random.default_rng(5).normal(size=(100_000, 6)) @ effects
    shift = brentq(lambda each: expit(each + z).mean() - rate, -20, 20)
    differences, by_fold = [], []
    for seed in range(n_pairs):
        random = np.random.default_rng(seed)
        X = random.normal(size=(n_rows, 6))
        y = (random.random(n_rows) < expit(shift + X @ effects)).astype(np.int64)
        design = cross_validation(y, n_folds=5, n_repeats=2, seed=seed)
        pair = [_candidate(Straight(X, y, each), design, y) for each in columns]
        differences.append(paired_difference(*pair, "roc_auc"))
        bare = [replace(each, effects={}) for each in pair]
        by_fold.append(paired_difference(*bare, "roc_auc"))
    values = np.array([each.value for each in differences])
    return {
        "candidates": name,
        "potable": rate,
        "rows": n_rows,
        "pairs": n_pairs,
        "mean difference": abs(float(values.mean())),
        "called different": float(np.mean([each.p_value <= 0.05 for each in differences])),
        "by folds, as before": float(np.mean([each.p_value <= 0.05 for each in by_fold])),
    }


def _candidate(learner: Straight, design: Design, y: IntArray) -> Candidate:
    parts, folds = [], []
    for number, block in enumerate(design.repeats):
        repeat = []
        for k in design.tested:
            trained, rows = np.flatnonzero(block != k), np.flatnonzero(block == k)
            scores = learner.score(learner.fit(trained), rows)
            repeat.append(Part(rows, y[rows], scores, scores >= 0.5))
            area = measure_once(y[rows], scores, 0.5)["roc_auc"]
            sizes = {"rows": len(rows), "rows_trained": len(trained), "repeat": number}
            folds.append(sizes | {"roc_auc": area})
        parts.append(repeat)
    area, effects = rank_effects(parts)
    estimates = {"roc_auc": Estimate(area, area, area)}
    return Candidate(
        name="", origin={}, estimates=estimates, folds=folds, effects={"roc_auc": effects}
    )


def print_coverage(generator: str, n_sets: int) -> None:
    """Print how often intervals held the truth, by design and figure."""
    found = [study_coverage(generator, *each, n_sets) for each in DESIGNS]
    for truth in ("expected", "own"):
        print(f"\n{generator}, {n_sets} data sets a row, truth: {truth}\n")
        print_table([each[truth] for each in found])
        lowest = min(float(str(each[truth][name])) for each in found for name in METRICS)
        print_check(f"covered, {truth}", lowest, 0.9, at_least=True)


def main() -> None:
    """Study and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=("coverage", "compare"))
    parser.add_argument("--sets", type=int, default=200, help="data sets of each kind")
    parser.add_argument("--generator", choices=tuple(GENERATORS), default="logistic regression")
    options = parser.parse_args()
    if options.study == "coverage":
        print_coverage(options.generator, options.sets)
        return
    sizes = ((0.4, 300), (0.1, 300), (0.4, 1000))
    print_table([study_pair(name, *each, options.sets) for name in PAIRS for each in sizes])


if __name__ == "__main__":
    main()
