"""A fitted pipeline gives the same probabilities by either way."""

from __future__ import annotations

from pathlib import Path

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

from waterflow_cli.common.errors import PluginError
from waterflow_cli.models import decision
from waterflow_cli.models.decision import PipelineScores
from waterflow_cli.models.discovery import installed_plugins, load_plugin
from waterflow_cli.models.pipelines import strip_for_scoring
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.learners import build_pipeline, single_threaded_fits
from waterflow_cli.training.options import TrainingOptions

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
    monkeypatch.setattr(decision, "_WORTH_PACKING", 0)
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
    monkeypatch.setattr(decision, "_WORTH_PACKING", 20 * len(X) - 1)
    scores = PipelineScores(pipeline)
    scores(X)
    assert scores._packed is not None


# Parameters that make a plugin quick; the size of its model is not what is tested.
QUICK = {
    "blend": {"n_estimators": 20, "n_networks": 2},
    "extra-trees": {"n_estimators": 37},
    "hgb": {"max_iter": 20},
    "lightgbm": {"n_estimators": 20},
    "logreg": {},
    "mlp": {"max_iter": 20},
    "rf": {"n_estimators": 37},
    "svm": {},
    "xgboost": {"n_estimators": 20},
}
CUTS = ((1, 12), (7, 10), (24, 8), (1000, 5), (5000, 2))


def test_every_bundled_plugin_is_cut_here() -> None:
    bundled = {
        name
        for name, (first, *_) in installed_plugins().items()
        if first.point.module.startswith("waterflow_plugins.")
    }
    assert bundled == set(QUICK)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", sorted(QUICK))
def test_probability_of_a_row_does_not_depend_on_the_rows_beside_it(
    name: str, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        plugin = load_plugin(name)
    except PluginError as exc:
        if name in ("lightgbm", "xgboost") and exc.hint:
            pytest.skip(f"{exc.message} {exc.hint}")
        raise
    data = load_training_data(str(samples), load_schema())
    options = TrainingOptions(params=QUICK[name])
    with single_threaded_fits():
        pipeline = build_pipeline(plugin, list(data.X.columns), options).fit(data.X, data.y)
    random = np.random.default_rng(1)
    X = data.X.iloc[random.integers(0, len(data.X), 5500)].reset_index(drop=True)
    X = (X * random.uniform(0.7, 1.3, X.shape)).mask(random.random(X.shape) < 0.05)
    expected = PipelineScores(strip_for_scoring(pipeline))(X)
    assert len(np.unique(expected)) > 30
    for worth_packing in (decision._WORTH_PACKING, 0):
        monkeypatch.setattr(decision, "_WORTH_PACKING", worth_packing)
        scores = PipelineScores(strip_for_scoring(pipeline))
        assert np.array_equal(scores(X), expected)
        for size, n_cuts in CUTS:
            firsts = [0, len(X) - size, *random.integers(0, len(X) - size, n_cuts - 2)]
            for first in firsts:
                rows = slice(first, first + size)
                assert np.array_equal(scores(X.iloc[rows]), expected[rows]), (size, first)
