"""Trees are scikit-learn's, node for node, whatever the rows and the settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from forest_rows import COLUMNS, assert_same_trees, make_rows
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from waterflow_cli.training.forest_trees import grow_trees

KINDS = {"random": RandomForestClassifier, "extra": ExtraTreesClassifier}
settings = st.fixed_dictionaries(
    {
        "max_features": st.sampled_from(["sqrt", "log2", None, 1, 2, 0.5]),
        "max_depth": st.sampled_from([None, None, 1, 3]),
        "min_samples_leaf": st.sampled_from([1, 1, 2, 5]),
        "min_samples_split": st.sampled_from([2, 2, 7]),
        "min_impurity_decrease": st.sampled_from([0.0, 0.0, 0.01, 0.2]),
        "random_state": st.integers(0, 2**32 - 1),
    }
)


def grow_both(kind: Any, X: Any, y: Any, weights: Any = None, **params: Any) -> None:
    """Grow a forest in both ways."""
    forest = kind(1, **params).fit(X, y, sample_weight=weights)
    forest.set_params(n_estimators=4)
    ours = grow_trees(forest, X, y)
    assert_same_trees(ours, kind(4, **params).fit(X, y, sample_weight=weights).estimators_)


@tried_on(600, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.one_of(st.integers(2, 12), st.integers(13, 150)),
    kinds=st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=9),
    kind=st.sampled_from(sorted(KINDS)),
    bootstrap=st.booleans(),
    weighted=st.booleans(),
    params=settings,
)
def test_trees_are_those_of_scikit_learn(
    seed: int,
    n_rows: int,
    kinds: list[str],
    kind: str,
    bootstrap: bool,
    weighted: bool,
    params: dict[str, Any],
) -> None:
    X, y = make_rows(seed, n_rows, kinds)
    weights = np.random.default_rng(seed).random(n_rows) if bootstrap and weighted else None
    grow_both(KINDS[kind], X, y, weights, bootstrap=bootstrap, **params)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(
    "params",
    [{"class_weight": "balanced"}, {"class_weight": {0: 1, 1: 9}}, {"max_samples": 0.3}],
    ids=["balanced", "weights", "fewer drawn"],
)
def test_rows_are_drawn_as_by_scikit_learn(kind: str, params: dict[str, Any]) -> None:
    X, y = make_rows(3, 120, COLUMNS)
    grow_both(KINDS[kind], X, y, bootstrap=True, random_state=5, **params)


def test_labels_may_be_of_any_kind() -> None:
    X, y = make_rows(4, 80, ["normal", "tied"])
    grow_both(RandomForestClassifier, X, np.where(y == 1, "potable", "not"), random_state=0)
    grow_both(RandomForestClassifier, X.astype(np.float32), y == 1, random_state=0)
