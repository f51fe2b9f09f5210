"""A portable form gives its pipeline's probabilities: those of trees to the last bit."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from portable_forms import (
    TREES,
    asked,
    bare,
    bare_plugin,
    by_both_walks,
    form_of,
    label,
    make_rows,
    names_of,
    plugin_or_skip,
    whole_plugin,
    with_gaps,
)
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from waterflow_cli.models.estimator_scores import EstimatorScores, scores_of
from waterflow_cli.models.portable.conversion import portable_form
from waterflow_cli.models.portable.form import PortableForm

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N_TREES = {
    "extra-trees": {"n_estimators": 7},
    "hgb": {"max_iter": 7},
    "lightgbm": {"n_estimators": 7, "min_child_samples": 5, "verbose": -1},
    "rf": {"n_estimators": 7},
    "xgboost": {"n_estimators": 7},
}
DEPTHS = {"lightgbm": (1, 2, 5, -1), "xgboost": (1, 2, 5, 0)}


@tried_on(100)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(TREES),
    n_features=st.integers(1, 12),
    n_train=st.integers(40, 300),
    n_score=st.integers(0, 200),
    decimals=st.integers(0, 12),
    depth=st.integers(0, 3),
    trained_on_gaps=st.booleans(),
)
def test_trees_give_the_bits_of_their_library_by_both_walks(
    seed: int,
    name: str,
    n_features: int,
    n_train: int,
    n_score: int,
    decimals: int,
    depth: int,
    trained_on_gaps: bool,
) -> None:
    """What is missing goes its own way at each node, whether fitting saw any or not."""
    X = make_rows(seed, n_train, n_features, decimals)
    y = label(X, seed)
    depths = DEPTHS.get(name, (1, 2, 5, None))
    seen = with_gaps(X, seed) if trained_on_gaps else X
    pipeline = bare_plugin(name, seen, y, **N_TREES[name], max_depth=depths[depth])
    fresh = np.concatenate([make_rows(seed + 1, n_score, n_features, decimals), X, -X * 1e6])
    fresh = np.concatenate([fresh, with_gaps(fresh, seed + 2), np.full((1, n_features), np.nan)])
    found = by_both_walks(form_of(pipeline), fresh)
    assert np.array_equal(found, asked(pipeline)(fresh))


@pytest.mark.parametrize("name", TREES)
def test_values_at_and_beside_thresholds_go_the_right_way(name: str) -> None:
    X = make_rows(5, 400, 3, 12)
    pipeline = bare_plugin(name, X, label(X, 5), **N_TREES[name])
    form = form_of(pipeline)
    known = form.root.parts[-1].thresholds  # type: ignore[attr-defined]
    assert len(known) > 10
    single = np.float32(known)
    beside = [
        known,
        np.nextafter(known, np.inf),
        np.nextafter(known, -np.inf),
        single.astype(float),
        np.nextafter(single, np.float32(np.inf)).astype(float),
        np.nextafter(single, np.float32(-np.inf)).astype(float),
        np.array([0.0, -0.0, 5e-324, -5e-324, 1e-35, -1e-35, 1e30, -1e30, np.nan]),
    ]
    fresh = np.column_stack([np.concatenate(beside)] * 3)
    assert np.array_equal(by_both_walks(form, fresh), asked(pipeline)(fresh))


def test_lightgbm_takes_what_is_near_zero_for_zero() -> None:
    """It splits zero from what is negative at the end of what it takes for zero."""
    near = float(np.float32(1e-35))
    X = np.repeat([[-1.0], [0.0], [1.0]], 60, axis=0)
    pipeline = bare_plugin("lightgbm", X, np.repeat([0, 1, 0], 60), **N_TREES["lightgbm"])
    form = form_of(pipeline)
    values = [*near * np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]), np.nan]
    values += [np.nextafter(-near, -1), np.nextafter(-near, 1), np.nextafter(near, 1)]
    fresh = np.reshape(values, (-1, 1))
    assert np.array_equal(by_both_walks(form, fresh), asked(pipeline)(fresh))
    assert form(fresh)[0] < form(fresh)[1]


@pytest.mark.parametrize("name", TREES)
def test_a_split_between_missing_and_present_is_kept(name: str) -> None:
    X = make_rows(7, 300, 2, 6)
    X[::2, 1] = np.nan
    y = np.isnan(X[:, 1]).astype(int)
    pipeline = bare_plugin(name, X, y, **N_TREES[name])
    found = by_both_walks(form_of(pipeline), X)
    assert np.array_equal(found, asked(pipeline)(X))
    assert (found[y == 1] > found[y == 0].max()).all()


def test_missing_values_alone_may_decide_between_the_ends_of_all_numbers() -> None:
    """scikit-learn splits off what is missing at infinity."""
    X = make_rows(7, 300, 2, 6)
    X[::2, 1] = np.nan
    pipeline = bare(RandomForestClassifier(5, random_state=0), X, np.isnan(X[:, 1]).astype(int))
    asks = [each.tree_.threshold for each in pipeline[-1].estimators_]
    assert any(np.isinf(each).any() for each in asks)
    fresh = np.array([[0, 3e38], [0, -3e38], [0, np.nan], [np.nan, np.nan]], dtype=float)
    assert np.array_equal(by_both_walks(form_of(pipeline), fresh), asked(pipeline)(fresh))


def test_rows_beyond_one_block_are_equal_too() -> None:
    X = make_rows(9, 500, 5, 9)
    pipeline = bare(RandomForestClassifier(30, random_state=0), X, label(X, 9))
    fresh = make_rows(10, 20_003, 5, 9)
    assert np.array_equal(by_both_walks(form_of(pipeline), fresh), asked(pipeline)(fresh))


# --- what has no form ----------------------------------------------------------------------------


def frame_of(X: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(X, columns=names_of(X))


def has_form(pipeline: Pipeline) -> bool:
    return portable_form(pipeline, asked(pipeline)) is not None


X = np.random.default_rng(1).normal(size=(120, 3))
Y = label(X, 1)


def machine(**more: Any) -> CalibratedClassifierCV:
    how = {"method": "sigmoid", "ensemble": False, **more}
    return CalibratedClassifierCV(SVC(kernel=how.pop("kernel", "rbf")), cv=3, **how)


def vote(**more: Any) -> VotingClassifier:
    members = [("a", LogisticRegression()), ("b", RandomForestClassifier(3, random_state=0))]
    return VotingClassifier(members, **{"voting": "soft", **more})


def bag(**more: Any) -> BaggingClassifier:
    return BaggingClassifier(LogisticRegression(), 3, **more)


def network(**more: Any) -> MLPClassifier:
    return MLPClassifier((4, 3), max_iter=5, **more)


@pytest.mark.parametrize(
    "make",
    [
        LogisticRegression,
        machine,
        vote,
        bag,
        *(lambda name=name: network(activation=name) for name in ("relu", "tanh", "logistic")),
    ],
)
def test_these_classifiers_have_a_form(make: Callable[[], Any]) -> None:
    assert has_form(make_pipeline(SimpleImputer(), make()).fit(frame_of(X), Y))


@pytest.mark.parametrize(
    "make",
    [
        lambda: GradientBoostingClassifier(n_estimators=3),
        KNeighborsClassifier,
        SVC,
        lambda: machine(kernel="linear"),
        lambda: machine(method="isotonic"),
        lambda: machine(ensemble=True),
        lambda: vote(weights=[1, 2]),
        lambda: bag(max_features=2),
        lambda: BaggingClassifier(KNeighborsClassifier(), 3),
    ],
)
def test_other_classifiers_have_none(make: Callable[[], Any]) -> None:
    assert not has_form(bare(make(), X, Y))


@pytest.mark.parametrize(
    "step",
    [
        SimpleImputer(add_indicator=True),
        SimpleImputer(missing_values=0.0),
        MinMaxScaler(),
        "passthrough",
    ],
    ids=str,
)
def test_a_pipeline_with_another_step_has_none(step: Any) -> None:
    pipeline = make_pipeline(step, LogisticRegression()).fit(np.where(X > 0, X, 0.0), Y)
    ask = EstimatorScores(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y), "abc")
    assert portable_form(pipeline, ask) is None


@pytest.mark.parametrize("name", TREES)
def test_three_classes_have_no_form(name: str) -> None:
    params = N_TREES[name]
    if name == "xgboost":
        params = {**params, "objective": "multi:softprob"}
    assert not has_form(bare_plugin(name, X, np.arange(len(X)) % 3, **params))


@pytest.mark.parametrize("classes", [("no", "yes"), (1, 2)])
def test_classes_of_other_names_have_no_form(classes: tuple[Any, Any]) -> None:
    for classifier in (LogisticRegression(), RandomForestClassifier(3), machine()):
        assert not has_form(bare(classifier, X, np.array(classes)[Y]))


def categories() -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"c0": pd.Categorical(np.arange(200) % 4), "c1": random.normal(size=200)})
    return frame, (np.arange(200) % 2 + frame["c1"].to_numpy() > 0.5).astype(int)


def test_categorical_splits_of_histogram_boosting_have_no_form() -> None:
    frame, y = categories()
    classifier = HistGradientBoostingClassifier(
        max_iter=3, categorical_features=[0], min_samples_leaf=5
    )
    assert not has_form(bare(classifier, frame.to_numpy(dtype=float), y))


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_categorical_splits_of_other_libraries_have_no_form(name: str) -> None:
    frame, y = categories()
    more = {
        "lightgbm": {"min_data_per_group": 5, "cat_smooth": 1.0},
        "xgboost": {"enable_categorical": True, "max_cat_to_onehot": 1},
    }[name]
    classifier = plugin_or_skip(name).model.make_classifier({**N_TREES[name], **more}, 0)
    pipeline = Pipeline([("classifier", classifier.fit(frame, y))])
    assert portable_form(pipeline, lambda rows: np.full(len(rows), 0.5)) is None
    if name == "lightgbm":
        assert re.search(r"num_cat=[1-9]", pipeline[-1].booster_.model_to_string())
    else:
        assert '"split_condition": [' in "".join(
            pipeline[-1].get_booster().get_dump(dump_format="json")
        )


@pytest.mark.filterwarnings("ignore::UserWarning")  # of parameters that a booster does not use
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("lightgbm", {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1}),
        ("lightgbm", {"zero_as_missing": True}),
        ("lightgbm", {"linear_tree": True}),
        ("lightgbm", {"objective": "cross_entropy"}),
        ("xgboost", {"booster": "gblinear"}),
        ("xgboost", {"booster": "dart", "rate_drop": 0.5}),
        ("xgboost", {"objective": "binary:hinge"}),
    ],
    ids=str,
)
def test_another_way_of_boosting_has_no_form(name: str, params: dict[str, Any]) -> None:
    classifier = plugin_or_skip(name).model.make_classifier({**N_TREES[name], **params}, 0)
    assert not has_form(bare(classifier, with_gaps(X, 3), Y))


@pytest.mark.parametrize(
    ("classifier", "name"),
    [
        (HistGradientBoostingClassifier(max_iter=5), "_predictors"),
        (HistGradientBoostingClassifier(max_iter=5), "_baseline_prediction"),
        (HistGradientBoostingClassifier(max_iter=5), "classes_"),
        (ExtraTreesClassifier(5, random_state=0), "estimators_"),
        (LogisticRegression(), "coef_"),
        (machine(), "calibrated_classifiers_"),
        (network(), "coefs_"),
        (bag(), "estimators_features_"),
    ],
    ids=str,
)
def test_without_a_place_that_it_knows_of_the_library_is_asked(
    classifier: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = bare(classifier, X, Y)
    names = ["c0", "c1", "c2"]
    form = scores_of(pipeline, names)
    assert isinstance(form, PortableForm)
    monkeypatch.delattr(classifier, name)
    scores = scores_of(pipeline, names)
    assert isinstance(scores, EstimatorScores)
    monkeypatch.undo()  # scikit-learn itself needs it
    assert np.allclose(scores(X), form(X), rtol=0, atol=1e-12)


@pytest.mark.parametrize("classifier", [LogisticRegression(), RandomForestClassifier(3)])
def test_a_form_that_computes_otherwise_than_its_pipeline_is_not_given(classifier: Any) -> None:
    """So would a later version of a library that computes otherwise."""
    pipeline = bare(classifier, X, Y)
    ask = asked(pipeline)
    assert portable_form(pipeline, ask) is not None
    assert portable_form(pipeline, lambda rows: ask(rows) + 1e-9) is None


def test_a_measurement_that_no_row_had_is_filled_as_the_pipeline_fills_it() -> None:
    empty = X.copy()
    empty[:, 1] = np.nan
    pipeline = whole_plugin("rf", empty, Y, n_estimators=3)
    assert np.array_equal(form_of(pipeline)(X), asked(pipeline)(X))
