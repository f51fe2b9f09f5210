"""Fit a forest faster, where its trees are known to be those of scikit-learn bit for bit.

scikit-learn checks the input and grows the first tree itself. That tree is grown here too, and if
one bit of it differs, scikit-learn grows the others as well; so it does for other versions of it,
and for what is set otherwise than `_KNOWN` tells. Either way the forest is scikit-learn's own
object, the same whoever grew its trees.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import sklearn
from imblearn.pipeline import Pipeline as BalancedPipeline
from sklearn.base import BaseEstimator
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from waterflow_cli.models.pipelines import SampleWeighted

_VERSION = "1.9."
# What may be set otherwise than scikit-learn itself does.
_KNOWN = {
    *("n_estimators", "max_features", "max_depth", "min_samples_split", "min_samples_leaf"),
    *("min_impurity_decrease", "bootstrap", "max_samples", "class_weight", "n_jobs"),
    "random_state",
}
_WHOLE = ("n_estimators", "random_state", "min_samples_split", "min_samples_leaf")
# Rows times trees of one fit that repay the import of numba, as a training fits dozens of forests.
_WORTH = 150_000


def fit_pipeline(pipeline: BalancedPipeline, X: Any, y: Any) -> BalancedPipeline:
    """Fit a pipeline, and its classifier by `fit_classifier`; give the pipeline itself."""
    name, classifier = pipeline.steps[-1]
    inner = classifier.estimator if isinstance(classifier, SampleWeighted) else classifier
    if not _is_known(inner):
        return pipeline.fit(X, y)
    last = _Last()
    pipeline.steps[-1] = (name, last)
    try:
        pipeline.fit(X, y)
    finally:
        pipeline.steps[-1] = (name, classifier)
    fit_classifier(classifier, last.X, last.y)
    return pipeline


def fit_classifier(classifier: Any, X: Any, y: Any, **weights: Any) -> None:
    """Fit a classifier: the trees of a forest by `forest_trees`, where it is known and worth it.

    Parameters
    ----------
    classifier : classifier
        Is fitted, as its own ``fit`` would.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    **weights
        ``sample_weight``, if there is one.
    """
    if isinstance(classifier, SampleWeighted):
        classifier.fit_by(fit_classifier, X, y)
        return
    if not (_is_known(classifier) and _is_plain(classifier, X, y, weights)):
        classifier.fit(X, y, **weights)
        return
    from waterflow_cli.training.forest_trees import grow_trees

    n_trees = classifier.n_estimators
    try:
        classifier.set_params(n_estimators=1).fit(X, y, **weights)
    finally:
        classifier.set_params(n_estimators=n_trees)
    if trees := grow_trees(classifier, X, y):
        classifier.estimators_ = trees
    else:
        classifier.fit(X, y, **weights)


class _Last(BaseEstimator):  # type: ignore[misc]
    """Stands at the end of a pipeline, and keeps what its classifier would be fitted on."""

    def fit(self, X: Any, y: Any) -> _Last:
        self.X, self.y = X, y
        return self


def _is_known(classifier: Any) -> bool:
    """Say whether a classifier is a forest whose settings are all known."""
    kind = type(classifier)
    if kind not in (RandomForestClassifier, ExtraTreesClassifier):
        return False
    given, usual = classifier.get_params(), kind().get_params()
    return (
        sklearn.__version__.startswith(_VERSION)
        and all(isinstance(given[name], Integral) for name in _WHOLE)
        and all(np.array_equal(given[name], usual[name]) for name in given.keys() - _KNOWN)
    )


def _is_plain(forest: Any, X: Any, y: Any, weights: dict[str, Any]) -> bool:
    """Say whether rows are many, complete, of two classes, and counted in whole numbers."""
    is_weighted = bool(weights) or forest.class_weight is not None
    return (
        isinstance(X, np.ndarray)
        and X.ndim == 2
        and len(X) * forest.n_estimators >= _WORTH
        and X.dtype.kind == "f"
        and not np.isnan(X).any()
        and np.ndim(y) == 1
        and len(np.unique(y)) == 2
        # Drawn rows are weighted by how often they are drawn, others by the weights themselves.
        and (forest.bootstrap or not is_weighted)
        and forest.class_weight != "balanced_subsample"
    )
