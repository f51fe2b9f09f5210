"""Build pipelines around a classifier: impute, scale, balance, classify."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from imblearn.combine import SMOTEENN
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline as BalancedPipeline
from imblearn.under_sampling import RandomUnderSampler
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight

from waterflow_cli.models.contract import BALANCES, Balance

SAMPLER_STEP = "sampler"
# Rows of the rarer class between which SMOTE makes up others. The search for neighbours costs the
# square of their number, for in nine dimensions a k-d tree rules out few rows; more of them changed
# no figure (benchmarks/bench_train_rows.py).
MOST_SMOTE_ROWS = 10_000


class SampleWeighted(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Fits a classifier with weights that make both classes count the same.

    Parameters
    ----------
    estimator : classifier
        Its ``fit`` takes ``sample_weight``.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any) -> SampleWeighted:
        """Fit a copy of the classifier, each row weighted by its class."""
        return self.fit_by(lambda copy, X, y, **weights: copy.fit(X, y, **weights), X, y)

    def fit_by(self, fit: Callable[..., Any], X: Any, y: Any) -> SampleWeighted:
        """Fit so, by a function of the copy, the rows and ``sample_weight``."""
        self.estimator_ = clone(self.estimator)
        fit(self.estimator_, X, y, sample_weight=compute_sample_weight("balanced", y))
        self.classes_ = self.estimator_.classes_
        return self

    def predict(self, X: Any) -> Any:
        """Predict classes."""
        return self.estimator_.predict(X)

    def predict_proba(self, X: Any) -> Any:
        """Predict the probabilities of the classes."""
        return self.estimator_.predict_proba(X)


class BoundedSMOTE(SMOTE):  # type: ignore[misc]
    """SMOTE that looks for neighbours among at most `MOST_SMOTE_ROWS` rows of the rarer class.

    Where that class has more, they are drawn at random, and the rows that are made up lie between
    those; up to that many, it is SMOTE to the last digit.
    """

    def fit_resample(self, X: Any, y: Any, **params: Any) -> Any:
        """Give the rows, and behind them as many made-up ones as the rarer class lacks."""
        labels, counts = np.unique(y, return_counts=True)
        rare, others = int(counts.min()), int(counts.max())
        if rare <= MOST_SMOTE_ROWS or len(labels) != 2 or not isinstance(X, np.ndarray):
            return super().fit_resample(X, y, **params)
        label = labels[counts.argmin()]
        random = check_random_state(self.random_state)
        drawn = random.permutation(np.flatnonzero(y == label))[:MOST_SMOTE_ROWS]
        part = np.sort(np.append(drawn, np.flatnonzero(y != label)))
        wanted = {label: MOST_SMOTE_ROWS + others - rare}
        smote = SMOTE(**{**self.get_params(), "sampling_strategy": wanted})
        made, made_y = smote.fit_resample(X[part], y[part])
        return np.vstack([X, made[len(part) :]]), np.append(y, made_y[len(part) :])


def make_sampler(balance: Balance, random_state: int) -> Any:
    """Make the sampler of a way of balancing; None where it resamples nothing.

    Raises
    ------
    ValueError
        If there is no such way.
    """
    if balance not in BALANCES:
        raise ValueError(f"no way of balancing is called {balance!r}")
    if balance == "smote":
        return BoundedSMOTE(random_state=random_state)
    if balance == "smoteenn":
        return SMOTEENN(random_state=random_state, smote=BoundedSMOTE(random_state=random_state))
    return RandomUnderSampler(random_state=random_state) if balance == "under" else None


def balanced_pipeline(
    classifier: Any,
    *,
    balance: Balance,
    random_state: int,
    scale: bool,
    before_sampling: Sequence[tuple[str, Any]] = (),
) -> BalancedPipeline:
    """Put an unfitted classifier behind imputation, scaling and balancing.

    Parameters
    ----------
    balance : str
        See `waterflow_cli.models.contract.BALANCES`.
    random_state : int
        Seed of the sampler.
    scale : bool
        Whether the classifier needs standardised columns. Samplers that measure distances get
        them in any case: dissolved solids are in the ten thousands, turbidity is about 4.
    before_sampling : sequence of (str, transformer)
        Steps behind the scaling, which are fitted to the rows that are there.
    """
    # keep_empty_features: a measurement that is missing throughout must not shift the others.
    steps: list[tuple[str, Any]] = [
        ("imputer", SimpleImputer(strategy="median", keep_empty_features=True))
    ]
    if scale or balance in ("smote", "smoteenn"):
        steps.append(("scaler", StandardScaler()))
    steps += before_sampling
    if sampler := make_sampler(balance, random_state):
        steps.append((SAMPLER_STEP, sampler))
    if balance == "weight":
        classifier = SampleWeighted(classifier)
    return BalancedPipeline([*steps, ("classifier", classifier)])


def strip_for_scoring(pipeline: Any) -> Any:
    """Keep of a fitted pipeline what scoring needs: no sampler, no weighting."""
    steps = [
        (name, step.estimator_ if isinstance(step, SampleWeighted) else step)
        for name, step in pipeline.steps
        if not hasattr(step, "fit_resample")
    ]
    return Pipeline(steps)
