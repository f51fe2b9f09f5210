"""Packed trees give scikit-learn's probabilities to the last bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from waterflow_cli.models.fast_trees import pack_trees, positive_probability

from waterflow_cli.models.decision import PipelineScores, _count_trees

FORESTS = (RandomForestClassifier, ExtraTreesClassifier)


def make_rows(seed: int, n_rows: int, n_features: int, decimals: int) -> np.ndarray:
    """Rows of very different scales; few decimals make many values equal to thresholds."""
    random = np.random.default_rng(seed)
    scale = 10.0 ** random.integers(-3, 5, n_features)
    return np.round(random.normal(size=(n_rows, n_features)), decimals) * scale


def label(X: np.ndarray, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    y = (np.abs(X[:, 0]) + np.std(X[:, 0]) * random.normal(size=len(X)) > np.std(X[:, 0])).astype(
        int
    )
    y[:2] = 0, 1
    return y


@tried_on(60)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from((*FORESTS, HistGradientBoostingClassifier)),
    n_features=st.integers(1, 12),
    n_train=st.integers(40, 300),
    n_score=st.integers(0, 200),
    decimals=st.integers(0, 12),
    depth=st.sampled_from((1, 2, 5, None)),
)
def test_packed_trees_equal_scikit_learn_bit_for_bit(
    seed: int,
    kind: type,
    n_features: int,
    n_train: int,
    n_score: int,
    decimals: int,
    depth: int | None,
) -> None:
    X = make_rows(seed, n_train, n_features, decimals)
    size = {"max_iter": 7} if kind is HistGradientBoostingClassifier else {"n_estimators": 7}
    classifier = kind(random_state=seed % 1000, max_depth=depth, **size).fit(X, label(X, seed))
    packed = pack_trees(classifier)
    assert packed is not None
    fresh = np.concatenate([make_rows(seed + 1, n_score, n_features, decimals), X, -X * 1e6])
    found = positive_probability(classifier, packed, fresh)
    assert np.array_equal(found, classifier.predict_proba(fresh)[:, 1])


@pytest.mark.parametrize("kind", FORESTS)
def test_values_at_and_beside_thresholds_go_the_right_way(kind: type) -> None:
    X = make_rows(5, 400, 3, 12)
    classifier = kind(n_estimators=20, random_state=0).fit(X, label(X, 5))
    packed = pack_trees(classifier)
    assert packed is not None
    tree = classifier.estimators_[0].tree_
    asked = tree.threshold[tree.feature >= 0]
    beside = np.concatenate(
        [
            asked,
            np.nextafter(asked, np.inf),
            np.nextafter(asked, -np.inf),
            np.float32(asked).astype(float),
        ]
    )
    fresh = np.column_stack([beside] * 3)
    assert np.array_equal(
        positive_probability(classifier, packed, fresh), classifier.predict_proba(fresh)[:, 1]
    )


@pytest.mark.parametrize("kind", [ExtraTreesClassifier, HistGradientBoostingClassifier])
def test_rows_with_missing_values_are_left_to_scikit_learn(kind: type) -> None:
    X = make_rows(7, 300, 4, 6)
    X[::5, 1] = np.nan
    classifier = kind(random_state=0).fit(X, label(X, 7))
    packed = pack_trees(classifier)
    assert packed is not None
    assert np.array_equal(
        positive_probability(classifier, packed, X), classifier.predict_proba(X)[:, 1]
    )


def test_a_split_between_missing_and_present_is_not_packed() -> None:
    X = make_rows(7, 300, 2, 6)
    X[::2, 1] = np.nan
    forest = RandomForestClassifier(5, random_state=0).fit(X, np.isnan(X[:, 1]).astype(int))
    assert pack_trees(forest) is None


def test_rows_beyond_one_block_are_equal_too() -> None:
    X = make_rows(9, 500, 5, 9)
    classifier = RandomForestClassifier(30, random_state=0).fit(X, label(X, 9))
    packed = pack_trees(classifier)
    assert packed is not None
    fresh = make_rows(10, 20_003, 5, 9)
    assert np.array_equal(
        positive_probability(classifier, packed, fresh), classifier.predict_proba(fresh)[:, 1]
    )


@pytest.mark.parametrize(
    "classifier",
    [LogisticRegression(), GradientBoostingClassifier(n_estimators=3)],
    ids=lambda classifier: type(classifier).__name__,
)
def test_other_classifiers_are_not_packed(classifier: object) -> None:
    X = make_rows(1, 100, 2, 6)
    assert pack_trees(classifier.fit(X, label(X, 1))) is None  # type: ignore[attr-defined]


def test_three_classes_are_not_packed() -> None:
    X = make_rows(1, 90, 2, 6)
    assert pack_trees(RandomForestClassifier(3).fit(X, np.arange(90) % 3)) is None


def test_categorical_splits_are_not_packed() -> None:
    X = np.column_stack([np.arange(200) % 4, np.random.default_rng(0).normal(size=200)])
    y = ((X[:, 0] % 2) + X[:, 1] > 0.5).astype(int)
    classifier = HistGradientBoostingClassifier(
        max_iter=3, categorical_features=[0], min_samples_leaf=5
    ).fit(X, y)
    assert pack_trees(classifier) is None


@pytest.mark.parametrize("name", ["_predictors", "_baseline_prediction"])
def test_without_the_private_places_of_its_trees_scikit_learn_is_asked(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = make_rows(1, 200, 3, 6)
    classifier = HistGradientBoostingClassifier(max_iter=5).fit(X, label(X, 1))
    frame = pd.DataFrame(X)
    scores = PipelineScores(make_pipeline(classifier))
    scores.expect(10**7)
    packed = scores(frame)
    assert np.array_equal(packed, classifier.predict_proba(X)[:, 1])
    monkeypatch.delattr(classifier, name)
    assert pack_trees(classifier) is None
    again = PipelineScores(make_pipeline(classifier))
    again.expect(10**7)
    assert again._pack_when_worth(0) is None
    monkeypatch.undo()  # scikit-learn itself needs it
    assert np.array_equal(again(frame), packed)


def test_boosted_trees_are_counted_by_their_public_figures() -> None:
    X = make_rows(1, 200, 3, 6)
    classifier = HistGradientBoostingClassifier(max_iter=5).fit(X, label(X, 1))
    assert _count_trees(classifier) == len(classifier._predictors) == 5
