"""Importance is scikit-learn's, however many shuffles a model is asked about at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from waterflow_cli.training import importance
from waterflow_cli.training.importance import N_REPEATS, roc_auc_losses

CLASSIFIERS = [
    RandomForestClassifier(10, random_state=0),
    HistGradientBoostingClassifier(max_iter=5),
    LogisticRegression(),
    GaussianNB(),
]


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(150, 4)), columns=list("abcd"))
    return X, (X["a"] + X["b"] * 0.3 + random.normal(size=150) > 0).to_numpy().astype(int)


@pytest.mark.parametrize("at_once", [1, 400, 50_000])
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda each: type(each).__name__)
def test_losses_are_those_of_scikit_learn(classifier, at_once, rows, monkeypatch):
    monkeypatch.setattr(importance, "_ROWS_AT_ONCE", at_once)
    X, y = rows
    fitted = classifier.fit(X, y)
    expected = permutation_importance(
        fitted, X, y, scoring="roc_auc", n_repeats=N_REPEATS, random_state=7
    )
    losses = roc_auc_losses(fitted, X, y, seed=7)
    assert losses.tolist() == expected.importances_mean.tolist()
    assert losses.argmax() == 0


def test_rows_that_are_given_stay_as_they_are(rows):
    X, y = rows
    before = X.copy()
    roc_auc_losses(CLASSIFIERS[0].fit(X, y), X, y, seed=0)
    pd.testing.assert_frame_equal(X, before)
