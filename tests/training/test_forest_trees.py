"""The trees of a forest are whole objects of scikit-learn."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from forest_rows import assert_same_trees, make_rows
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from waterflow_cli.training.forest_trees import grow_trees

X, Y = make_rows(1, 200, ["normal", "tied", "wide"])


def begin(kind=RandomForestClassifier, **params):
    return kind(1, random_state=0, **params).fit(X, Y).set_params(n_estimators=12)


def test_trees_are_scikit_learns_own_and_can_be_stored_and_asked():
    forest = begin()
    forest.estimators_ = grow_trees(forest, X, Y)
    assert {type(each) for each in forest.estimators_} == {DecisionTreeClassifier}
    copy = pickle.loads(pickle.dumps(forest))
    expected = RandomForestClassifier(12, random_state=0).fit(X, Y)
    assert np.array_equal(copy.predict_proba(X), expected.predict_proba(X))
    assert np.array_equal(forest.feature_importances_, expected.feature_importances_)
    for ours, theirs in zip(forest.estimators_samples_, expected.estimators_samples_, strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_threads_change_nothing(kind):
    alone, together = begin(kind), begin(kind, n_jobs=3)
    assert_same_trees(grow_trees(together, X, Y), grow_trees(alone, X, Y))


def test_there_are_no_trees_if_the_first_is_not_that_of_scikit_learn():
    assert grow_trees(begin(), X, Y)
    assert grow_trees(begin(), X, 1 - Y) == []
    assert grow_trees(begin(), X + np.arange(200)[:, None] % 7, Y) == []
    assert grow_trees(begin().set_params(random_state=1), X, Y) == []
