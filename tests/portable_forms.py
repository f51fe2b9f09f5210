"""Rows, fitted pipelines and their portable forms, computed by both walks down the trees."""

from __future__ import annotations

import math
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from waterflow_cli.common.errors import PluginError
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.estimator_scores import EstimatorScores
from waterflow_cli.models.pipelines import strip_for_scoring
from waterflow_cli.models.portable import trees
from waterflow_cli.models.portable.conversion import portable_form
from waterflow_cli.models.portable.form import PortableForm
from waterflow_cli.training.learners import build_pipeline, single_threaded_fits
from waterflow_cli.training.options import TrainingOptions

# Their forms give the estimator's bits, and they know ways of their own for what is missing.
TREES = ("extra-trees", "hgb", "lightgbm", "rf", "xgboost")
# Parameters that make a plugin quick; the size of its model is not what is tested.
QUICK: dict[str, dict[str, Any]] = {
    "blend": {"n_estimators": 20},
    "extra-trees": {"n_estimators": 37},
    "gp": {},
    "hgb": {"max_iter": 20},
    "lightgbm": {"n_estimators": 20},
    "logreg": {},
    "mlp": {"max_iter": 20},
    "rf": {"n_estimators": 37},
    "svm": {},
    "xgboost": {"n_estimators": 20},
}


def plugin_or_skip(name: str) -> Any:
    """Load a plugin; the two that need a library of their own may be missing here."""
    try:
        return load_plugin(name)
    except PluginError as exc:
        if name in ("lightgbm", "xgboost") and exc.hint:
            pytest.skip(f"{exc.message} {exc.hint}")
        raise


def make_rows(seed: int, n_rows: int, n_features: int, decimals: int) -> np.ndarray:
    """Rows of very different scales; few decimals make many values equal to thresholds."""
    random = np.random.default_rng(seed)
    scale = 10.0 ** random.integers(-3, 5, n_features)
    return np.round(random.normal(size=(n_rows, n_features)), decimals) * scale


def with_gaps(X: np.ndarray, seed: int, share: float = 0.2) -> np.ndarray:
    return np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)


def label(X: np.ndarray, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    first = np.nan_to_num(X[:, 0])
    y = (np.abs(first) + np.std(first) * random.normal(size=len(X)) > np.std(first)).astype(int)
    y[:2] = 0, 1
    return y


def names_of(X: np.ndarray) -> list[str]:
    return [f"c{place}" for place in range(X.shape[1])]


def bare(classifier: Any, X: np.ndarray, y: np.ndarray) -> Pipeline:
    """Fit a classifier that sees what is missing."""
    return Pipeline([("classifier", classifier.fit(pd.DataFrame(X, columns=names_of(X)), y))])


def bare_plugin(name: str, X: np.ndarray, y: np.ndarray, **params: Any) -> Pipeline:
    """Fit a plugin's classifier without its imputer."""
    with single_threaded_fits():
        return bare(plugin_or_skip(name).model.make_classifier(params, 0), X, y)


def whole_plugin(name: str, X: np.ndarray, y: np.ndarray, **params: Any) -> Pipeline:
    """Fit a plugin's pipeline, as it scores."""
    options = TrainingOptions(params=params, balance="none")
    plugin, columns = plugin_or_skip(name), names_of(X)
    with single_threaded_fits():
        fitted = build_pipeline(plugin, columns, options).fit(pd.DataFrame(X, columns=columns), y)
    return strip_for_scoring(fitted)


def asked(pipeline: Pipeline) -> EstimatorScores:
    """Give what asks a pipeline itself."""
    first = pipeline[0]
    return EstimatorScores(pipeline, [f"c{place}" for place in range(first.n_features_in_)])


def form_of(pipeline: Pipeline) -> PortableForm:
    form = portable_form(pipeline, asked(pipeline))
    assert form is not None
    return form


def by_both_walks(form: PortableForm, X: np.ndarray) -> np.ndarray:
    """Compute a form by NumPy's walk and by the compiled one, which must give the same bits."""
    with patch.object(trees, "_WORTH_COMPILING", math.inf):
        walked = form(X)
    with patch.object(trees, "_WORTH_COMPILING", -1):
        compiled = form(X)
    assert walked.dtype == compiled.dtype == np.float64
    assert np.array_equal(walked, compiled, equal_nan=True)
    return walked
