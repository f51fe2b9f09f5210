"""A fitted pipeline gives the same probabilities by either way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from waterflow_cli import pipeline_scores
from waterflow_cli.pipeline_scores import PipelineScores

CLASSIFIERS = [
    RandomForestClassifier(20, random_state=0),
    HistGradientBoostingClassifier(max_iter=20),
    GradientBoostingClassifier(n_estimators=3),
    LogisticRegression(),
]


@pytest.fixture
def rows() -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(500, 3)), columns=["ph", "Solids", "Turbidity"])
    return X.mask(random.random(X.shape) < 0.1), (X["ph"].abs() > 0.7).to_numpy().astype(int)


@pytest.mark.parametrize("steps", [["imputer"], []], ids=["imputed", "bare"])
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda each: type(each).__name__)
def test_probabilities_do_not_depend_on_the_way(
    classifier, steps, rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = rows
    X = X if steps else X.fillna(0.0)
    steps = [(name, SimpleImputer()) for name in steps]
    pipeline = Pipeline([*steps, ("classifier", classifier)]).fit(X, y)
    expected = pipeline.predict_proba(X)[:, 1]
    scores = PipelineScores(pipeline)
    assert np.array_equal(scores(X), expected)
    monkeypatch.setattr(pipeline_scores, "_WORTH_PACKING", 0)
    for _ in range(3):
        assert np.array_equal(scores(X), expected)


def test_few_rows_import_no_compiler(rows) -> None:
    X, y = rows
    pipeline = Pipeline([("imputer", SimpleImputer()), ("forest", CLASSIFIERS[0])]).fit(X, y)
    scores = PipelineScores(pipeline)
    scores(X)
    assert scores._packed is None


def test_many_rows_are_scored_by_packed_trees(rows, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = rows
    pipeline = Pipeline([("imputer", SimpleImputer()), ("forest", CLASSIFIERS[0])]).fit(X, y)
    monkeypatch.setattr(pipeline_scores, "_WORTH_PACKING", 20 * len(X) - 1)
    scores = PipelineScores(pipeline)
    scores(X)
    assert scores._packed is not None
