"""A forest is the same whoever grows it, and scikit-learn grows those that are not known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn
from forest_rows import COLUMNS, assert_same_trees, make_rows
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from waterflow_cli.models.pipelines import balanced_pipeline, strip_for_scoring
from waterflow_cli.training import forest_trees, forests
from waterflow_cli.training.forests import fit_classifier, fit_pipeline

X, Y = make_rows(2, 300, [*COLUMNS, "normal"])


@pytest.fixture
def grown(monkeypatch):
    """Grow even small forests here, and list the types of those that were."""
    found = []

    def grow_trees(forest, *rows):
        found.append(type(forest))
        return known(forest, *rows)

    known = forest_trees.grow_trees
    monkeypatch.setattr(forests, "_WORTH", 0)
    monkeypatch.setattr(forest_trees, "grow_trees", grow_trees)
    return found


def assert_same(ours, theirs):
    assert type(ours) is type(theirs)
    assert ours.get_params() == theirs.get_params()
    assert list(vars(ours)) == list(vars(theirs))
    assert_same_trees(ours.estimators_, theirs.estimators_)


@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_the_forest_is_that_of_scikit_learn(kind, grown):
    ours, theirs = kind(9, random_state=3), kind(9, random_state=3).fit(X, Y)
    fit_classifier(ours, X, Y)
    assert_same(ours, theirs)
    assert grown == [kind]


@pytest.mark.parametrize(
    "params",
    [
        {"criterion": "entropy"},
        {"max_leaf_nodes": 9},
        {"min_weight_fraction_leaf": 0.1},
        {"ccp_alpha": 0.01},
        {"monotonic_cst": [1, *[0] * 8]},
        {"oob_score": True},
        {"warm_start": True},
        {"class_weight": "balanced_subsample"},
        {"class_weight": "balanced", "bootstrap": False},
        {"min_samples_leaf": 0.1},
        {"min_samples_split": 0.1},
        {"random_state": np.random.RandomState(0)},
        {"random_state": None},
    ],
    ids=lambda params: " ".join(params),
)
def test_what_is_set_otherwise_is_left_to_scikit_learn(params, grown):
    forest = RandomForestClassifier(**{"n_estimators": 50, "random_state": 0, **params})
    fit_classifier(forest, X, Y)
    assert len(forest.estimators_) == 50
    assert grown == []


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (np.where(X > 2, np.nan, X), Y),
        (pd.DataFrame(X), Y),
        (np.arange(600).reshape(300, 2), Y),
        (X, np.arange(300) % 3),
        (X, np.column_stack([Y, Y])),
    ],
    ids=["missing values", "a frame", "whole numbers", "three classes", "two outputs"],
)
def test_other_rows_are_left_to_scikit_learn(rows, labels, grown):
    forest = RandomForestClassifier(5, random_state=0)
    fit_classifier(forest, rows, labels)
    assert_same(forest, RandomForestClassifier(5, random_state=0).fit(rows, labels))
    assert grown == []


def test_weights_that_are_not_drawn_by_are_left_to_scikit_learn(grown):
    weights = np.linspace(0.5, 2, 300)
    forest = ExtraTreesClassifier(5, random_state=0)
    fit_classifier(forest, X, Y, sample_weight=weights)
    assert_same(forest, ExtraTreesClassifier(5, random_state=0).fit(X, Y, sample_weight=weights))
    assert grown == []


def test_small_forests_other_versions_and_classifiers_are_left_to_scikit_learn(grown, monkeypatch):
    for classifier in (LogisticRegression(), type("Own", (RandomForestClassifier,), {})(5)):
        fit_classifier(classifier, X, Y)
    with monkeypatch.context() as patched:
        patched.setattr(sklearn, "__version__", "1.10.0")
        fit_classifier(RandomForestClassifier(5, random_state=0), X, Y)
    monkeypatch.setattr(forests, "_WORTH", 1501)
    fit_classifier(RandomForestClassifier(5, random_state=0), X, Y)
    assert grown == []


def test_scikit_learn_grows_all_trees_if_the_first_differs(grown, monkeypatch):
    monkeypatch.setattr(forest_trees, "_equal", lambda tree, other: False)
    forest = RandomForestClassifier(9, random_state=3)
    fit_classifier(forest, X, Y)
    assert_same(forest, RandomForestClassifier(9, random_state=3).fit(X, Y))
    assert len(grown) == 1


@pytest.mark.parametrize(
    "params",
    [{"max_features": "most"}, {"max_depth": 2.5}, {"n_estimators": "9"}, {"n_estimators": -1}],
    ids=str,
)
def test_a_refused_parameter_is_refused_as_by_scikit_learn_and_stays(params, grown):
    forest = RandomForestClassifier(**{"n_estimators": 9, "random_state": 3, **params})
    with pytest.raises(ValueError, match=f"'{next(iter(params))}'"):
        fit_classifier(forest, X, Y)
    assert forest.get_params()["n_estimators"] == params.get("n_estimators", 9)


@pytest.mark.parametrize("balance", ["smote", "weight", "none"])
def test_a_pipeline_is_fitted_as_it_would_fit_itself(balance, grown):
    forest = RandomForestClassifier(9, random_state=3)
    pipeline = balanced_pipeline(forest, balance=balance, random_state=0, scale=False)
    frame = pd.DataFrame(X).mask(X > 2)
    alone = clone(pipeline).fit(frame, Y)
    assert fit_pipeline(pipeline, frame, Y) is pipeline
    assert_same(strip_for_scoring(pipeline)[-1], strip_for_scoring(alone)[-1])
    assert np.array_equal(pipeline.predict_proba(frame), alone.predict_proba(frame))
    assert grown == [RandomForestClassifier]


def test_a_pipeline_that_cannot_be_fitted_is_left_as_it_was(grown):
    forest = RandomForestClassifier(9, random_state=3)
    pipeline = balanced_pipeline(forest, balance="smote", random_state=0, scale=False)
    with pytest.raises(ValueError, match="class"):
        fit_pipeline(pipeline, X, np.zeros(300))
    assert pipeline[-1] is forest


@pytest.mark.slow
@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_the_forest_of_the_defaults_is_that_of_scikit_learn(kind):
    from waterflow_cli.samples.simulation import LABEL, MEASUREMENTS, simulate_batches

    table = pd.concat(batch.to_pandas() for batch in simulate_batches(3276, seed=0))
    names = [each.name for each in MEASUREMENTS]
    pipeline = balanced_pipeline(
        kind(300, random_state=0), balance="smote", random_state=0, scale=False
    )
    theirs = clone(pipeline).fit(table[names], table[LABEL])
    assert_same(fit_pipeline(pipeline, table[names], table[LABEL])[-1], theirs[-1])
