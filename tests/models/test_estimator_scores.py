"""A pipeline gives a row the same probability alone and among others, by its form and by itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from portable_forms import QUICK, plugin_or_skip
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from waterflow_cli.models.decision import Scores
from waterflow_cli.models.discovery import installed_plugins
from waterflow_cli.models.estimator_scores import EstimatorScores, scores_of
from waterflow_cli.models.pipelines import strip_for_scoring
from waterflow_cli.models.portable import trees
from waterflow_cli.models.portable.form import PortableForm
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.learners import build_pipeline, single_threaded_fits
from waterflow_cli.training.options import TrainingOptions

NAMES = ["ph", "Solids", "Turbidity"]
CLASSIFIERS = [
    RandomForestClassifier(20, random_state=0),
    HistGradientBoostingClassifier(max_iter=20),
    GradientBoostingClassifier(n_estimators=3),
    LogisticRegression(),
]


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    X = random.normal(size=(500, len(NAMES)))
    y = (np.abs(X[:, 0]) > 0.7).astype(int)
    X[random.random(X.shape) < 0.1] = np.nan
    return X, y


def fit(classifier: Any, X: np.ndarray, y: np.ndarray, *, imputed: bool = True) -> Pipeline:
    steps = [("imputer", SimpleImputer())] if imputed else []
    return Pipeline([*steps, ("classifier", classifier)]).fit(pd.DataFrame(X, columns=NAMES), y)


@pytest.mark.parametrize("imputed", [True, False], ids=["imputed", "bare"])
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda each: type(each).__name__)
def test_probabilities_do_not_depend_on_the_way(classifier, imputed, rows) -> None:
    X, y = rows
    X = X if imputed else np.nan_to_num(X)
    pipeline = fit(classifier, X, y, imputed=imputed)
    expected = pipeline.predict_proba(pd.DataFrame(X, columns=NAMES))[:, 1]
    assert np.array_equal(EstimatorScores(pipeline, NAMES)(X), expected)
    found = scores_of(pipeline, NAMES)(X)
    assert np.allclose(found, expected, rtol=0, atol=1e-12)
    if not isinstance(classifier, LogisticRegression):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda each: type(each).__name__)
def test_a_pipeline_is_scored_by_its_form_where_it_has_one(classifier, rows) -> None:
    scores = scores_of(fit(classifier, *rows), NAMES)
    is_asked = isinstance(classifier, GradientBoostingClassifier)
    assert type(scores) is (EstimatorScores if is_asked else PortableForm)


def test_a_vote_may_have_members_that_are_ensembles(rows) -> None:
    """A forest can be indexed, so that NumPy would take a list of forests for a table."""
    forests = [("a", RandomForestClassifier(2)), ("b", RandomForestClassifier(3))]
    pipeline = fit(VotingClassifier(forests, voting="soft"), *rows)
    assert np.array_equal(
        scores_of(pipeline, NAMES)(rows[0]), EstimatorScores(pipeline, NAMES)(rows[0])
    )


CUTS = ((1, 12), (7, 10), (24, 8), (1000, 5), (5000, 2))


def test_every_bundled_plugin_is_cut_here() -> None:
    bundled = {
        name
        for name, (first, *_) in installed_plugins().items()
        if first.point.module.startswith("waterflow_plugins.")
    }
    assert bundled == set(QUICK)


def check_cuts(scores: Scores, X: np.ndarray, expected: np.ndarray) -> None:
    """Check that rows have the same bits whatever others are beside them."""
    random = np.random.default_rng(1)
    for size, n_cuts in CUTS:
        firsts = [0, len(X) - size, *random.integers(0, len(X) - size, n_cuts - 2)]
        for first in firsts:
            rows = slice(first, first + size)
            assert np.array_equal(scores(X[rows]), expected[rows]), (size, first)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", sorted(QUICK))
def test_probability_of_a_row_does_not_depend_on_the_rows_beside_it(
    name: str, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = plugin_or_skip(name)
    data = load_training_data(str(samples), load_schema())
    columns = list(data.X.columns)
    options = TrainingOptions(params=QUICK[name])
    with single_threaded_fits():
        fitted = build_pipeline(plugin, columns, options).fit(data.X, data.y)
    pipeline = strip_for_scoring(fitted)
    random = np.random.default_rng(1)
    X = data.X.to_numpy()[random.integers(0, len(data.X), 5500)]
    X = X * random.uniform(0.7, 1.3, X.shape)
    X[random.random(X.shape) < 0.05] = np.nan
    asked = EstimatorScores(pipeline, columns)
    by_itself = asked(X)
    assert len(np.unique(by_itself)) > 30
    check_cuts(asked, X, by_itself)
    form = scores_of(pipeline, columns)
    assert isinstance(form, PortableForm)
    expected = form(X)
    assert np.allclose(expected, by_itself, rtol=0, atol=1e-12)
    for worth_compiling in (math.inf, -1):
        monkeypatch.setattr(trees, "_WORTH_COMPILING", worth_compiling)
        check_cuts(form, X, expected)
