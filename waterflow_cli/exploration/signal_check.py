"""Find out whether anything in the measurements tells the labels apart.

Three answers, from cheap to dear: how far each measurement alone goes with the label, what a
logistic regression reaches, and what a quick forest reaches, with a permutation test of the latter.
None is a model to be used: they say what to expect of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from imblearn.pipeline import Pipeline, make_pipeline
from joblib import Parallel, delayed
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.errors import DataRefusedError
from waterflow_cli.common.messages import marked
from waterflow_cli.common.number_formats import CHANCE, Estimate
from waterflow_cli.training.designs import (
    Design,
    corrected_interval,
    cross_validation,
    draw_rows,
    score_tested,
)
from waterflow_cli.training.learners import PipelineLearner, single_threaded_fits

SAMPLE_ROWS = 5000
N_PERMUTATIONS = 99
N_FOLDS, N_REPEATS = 5, 2
QUICK_MODEL = marked("extra trees: 100 trees, at least 2 rows a leaf, missing values as medians")
_N_TREES = 100
# The test takes a hundred fits; fewer trees serve, for both sides of it have as many.
_N_TESTED_TREES = 30
_MIN_LEAF = 2


@dataclass(frozen=True)
class PermutationTest:
    """How often chance does as well as the labels.

    Attributes
    ----------
    auc : float
        Out-of-bag ROC AUC of the quick model with the true labels.
    chance : tuple of float
        The same with permuted labels, sorted.
    p_value : float
        (1 + permutations that do as well) / (1 + permutations).
    """

    auc: float
    chance: tuple[float, ...]
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Signal:
    """What tells the labels apart.

    Attributes
    ----------
    n_rows, n_labelled : int
        Rows that the models were fitted and tested on, and those they were drawn from.
    design : str
        How the models were tested: see `waterflow_cli.training.designs.Design`.
    quick, linear : Estimate
        ROC AUC of the quick model and of the logistic regression, with 95 % intervals.
    point_biserial : dict of str to float
        By measurement, on all labelled rows; the largest first by size. NaN where undefined.
    """

    n_rows: int
    n_labelled: int
    seed: int
    design: str
    quick: Estimate
    linear: Estimate
    permutation: PermutationTest
    point_biserial: Mapping[str, float]

    @property
    def strongest(self) -> tuple[str, float]:
        """The measurement that goes furthest with the label by itself, and how far."""
        return next(iter(self.point_biserial.items()))

    @property
    def any_signal(self) -> bool:
        """Whether the permutation test tells the labels from chance (p at most 0.05)."""
        return self.permutation.p_value <= 0.05

    @property
    def linear_signal(self) -> bool:
        """Whether the logistic regression's interval lies above chance."""
        return self.linear.low > CHANCE


def check_signal(
    X: pd.DataFrame,
    y: IntArray,
    *,
    seed: int,
    jobs: int = 1,
    n_permutations: int = N_PERMUTATIONS,
    report: Callable[[int], None] = lambda _done: None,
) -> Signal:
    """Look for signal, on at most `SAMPLE_ROWS` rows drawn at random.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_features)
        NaN where a value is missing.
    y : ndarray of shape (n_samples,)
        1 = potable, 0 = not potable.
    seed : int
        Of the sample, the folds, the models and the permutations.
    jobs : int
        How many fits run at once; it changes no result.
    report : callable
        Told how many permutations are done.

    Raises
    ------
    DataRefusedError
        If no measurement varies, or a class has too few rows for the folds.

    Notes
    -----
    The intervals are those of Nadeau and Bengio (2003), see
    `waterflow_cli.training.designs.corrected_interval`. The test is the first of Ojala and
    Garriga (2010, "Permutation Tests for Studying Classifier Performance", JMLR 11): the labels
    are permuted and the model is fitted anew. Its figure is the out-of-bag ROC AUC (Breiman
    2001, "Random Forests"), which takes one fit where cross-validation takes five.
    """
    correlations = _correlate(X, y)
    rows = draw_rows(len(y), SAMPLE_ROWS, seed)
    drawn, labels = X.iloc[rows], y[rows]
    varied = [name for name in drawn if drawn[name].nunique() > 1]
    if not varied:
        raise DataRefusedError("no measurement has two different values.")
    drawn = drawn[varied].reset_index(drop=True)
    design = cross_validation(labels, n_folds=N_FOLDS, n_repeats=N_REPEATS, seed=seed).check(labels)
    forest = ExtraTreesClassifier(_N_TREES, min_samples_leaf=_MIN_LEAF, random_state=seed)
    linear_steps = (StandardScaler(), LogisticRegression(max_iter=1000))
    with single_threaded_fits():
        quick, linear = (
            _estimate_auc(make_pipeline(_impute(), *steps), drawn, labels, design, jobs)
            for steps in ((forest,), linear_steps)
        )
        permutation = _test_permutations(
            drawn, labels, seed=seed, jobs=jobs, n_permutations=n_permutations, report=report
        )
    return Signal(
        n_rows=len(labels),
        n_labelled=len(y),
        seed=seed,
        design=design.name,
        quick=quick,
        linear=linear,
        permutation=permutation,
        point_biserial=correlations,
    )


def _correlate(X: pd.DataFrame, y: IntArray) -> dict[str, float]:
    """Give each measurement's point-biserial correlation with the label, the largest first."""
    found = {str(name): _point_biserial(X[name].to_numpy(dtype=np.float64), y) for name in X}
    return dict(sorted(found.items(), key=lambda item: -np.nan_to_num(abs(item[1]), nan=-1.0)))


def _point_biserial(values: FloatArray, y: IntArray) -> float:
    """Correlate values with the label where they are known; NaN where either does not vary."""
    known = np.isfinite(values)
    if not known.any() or not np.ptp(values[known]) or not np.ptp(y[known]):
        return np.nan
    # Scaled first, so that no square overflows.
    shifted = values[known] - values[known].mean()
    shifted /= np.abs(shifted).max()
    labels = y[known] - y[known].mean()
    return float(shifted @ labels / np.sqrt((shifted @ shifted) * (labels @ labels)))


def _impute() -> SimpleImputer:
    # A fold may hold no value of a measurement that is rarely taken.
    return SimpleImputer(strategy="median", keep_empty_features=True)


def _estimate_auc(
    pipeline: Pipeline, X: pd.DataFrame, y: IntArray, design: Design, jobs: int
) -> Estimate:
    learner = PipelineLearner(pipeline, X, y)
    values = []
    for block in design.repeats:
        # The folds of one repeat at a time, for no calibration is needed.
        scores = score_tested(replace(design, repeats=(block,)), learner, jobs=jobs)
        values += [roc_auc_score(y[block == k], scores[block == k]) for k in design.tested]
    found = corrected_interval(np.array(values), 1 / (N_FOLDS - 1), n_repeats=N_REPEATS)
    return Estimate(found.value, max(0.0, found.low), min(1.0, found.high))


def _test_permutations(
    X: pd.DataFrame,
    y: IntArray,
    *,
    seed: int,
    jobs: int,
    n_permutations: int,
    report: Callable[[int], None],
) -> PermutationTest:
    # Medians know no label, so that one imputation serves all permutations.
    values = _impute().fit_transform(X).astype(np.float32)
    seeds = np.random.SeedSequence(seed).spawn(n_permutations)

    def permuted(state: np.random.SeedSequence) -> float:
        return _out_of_bag_auc(values, np.random.default_rng(state).permutation(y), seed)

    truth = _out_of_bag_auc(values, y, seed)
    chance = []
    run: Any = Parallel(n_jobs=jobs, return_as="generator")
    for auc in run(delayed(permuted)(state) for state in seeds):
        chance.append(auc)
        report(len(chance))
    p_value = (1 + sum(auc >= truth for auc in chance)) / (1 + n_permutations)
    return PermutationTest(truth, tuple(sorted(chance)), p_value)


def _out_of_bag_auc(values: Any, y: IntArray, seed: int) -> float:
    """Score each row by the trees that did not see it.

    scikit-learn's own `oob_score` warns where a row was in every tree's bag, which is no fault.
    """
    forest = ExtraTreesClassifier(
        _N_TESTED_TREES, min_samples_leaf=_MIN_LEAF, bootstrap=True, random_state=seed
    ).fit(values, y)
    votes, times = np.zeros(len(values)), np.zeros(len(values))
    for tree, bag in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        outside = np.ones(len(values), dtype=bool)
        outside[bag] = False
        votes[outside] += tree.predict_proba(values[outside], check_input=False)[:, 1]
        times += outside
    known = times > 0
    return float(roc_auc_score(y[known], votes[known] / times[known]))
