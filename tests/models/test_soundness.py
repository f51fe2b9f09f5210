"""What fitting could not have made is refused before anything is computed with it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import skops.io
from paths import ROOT
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from small_models import COLUMNS, SMALL, X, load, refused, rewritten, saved, states_of, y

from waterflow_cli.models.estimator_files import EstimatorFile, save_estimator
from waterflow_cli.models.portable.tree_structure import UnsoundError, check_links

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def edited(name, change):
    """Give the file of a plugin's model of which something was changed in memory."""
    pipeline = load(name, saved(name))
    change(pipeline)
    return save_estimator(pipeline)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_what_was_fitted_is_sound(name):
    assert load(name, saved(name)).predict_proba(X).shape == (80, 2)


# --- forests -------------------------------------------------------------------------------------


def put(name, place, value):
    """Set an array of a tree, of which scikit-learn shows the memory itself."""

    def change(pipeline):
        classifier = pipeline[-1]
        if hasattr(classifier, "named_estimators_"):
            classifier = classifier.named_estimators_["trees"]
        array = getattr(classifier.estimators_[1].tree_, name)
        array[place] = value

    return change


@pytest.mark.parametrize("name", ["rf", "extra-trees", "blend"])
@pytest.mark.parametrize(
    ("change", "field"),
    [
        (put("children_left", 0, 10**6), "left_child"),
        (put("children_left", 0, 0), "left_child"),
        (put("children_left", 0, -7), "left_child"),
        (put("children_right", 0, 1), "left_child"),
        (put("children_right", 0, -1), "right_child"),
        (put("feature", 0, len(COLUMNS)), "feature"),
        (put("feature", 0, -1), "feature"),
        (put("threshold", 0, np.nan), "threshold"),
        (put("value", 0, np.inf), "values"),
    ],
)
def test_a_node_that_leads_elsewhere_is_refused(name, change, field):
    said = f"Model {name} is malformed: Tree is not as fitting makes it ({field}). It was refused"
    assert refused(name, edited(name, change)) == f"{said}, and nothing was computed with it."


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("n_features_in_", 8), ("n_outputs_", 2), ("n_classes_", 3), ("classes_", np.arange(3))],
)
def test_a_tree_that_its_owner_tells_otherwise_is_refused(attribute, value):
    def change(pipeline):
        setattr(pipeline[-1].estimators_[2], attribute, value)

    assert f"({attribute})" in refused("rf", edited("rf", change))


@pytest.mark.parametrize("n_jobs", [10**6, "all", -(10**6)])
def test_more_threads_than_a_machine_has_are_refused(n_jobs):
    def change(pipeline):
        pipeline[-1].n_jobs = n_jobs

    assert "(n_jobs)" in refused("rf", edited("rf", change))


def test_a_tree_is_not_made_of_arguments_that_do_not_fit():
    """scikit-learn reads as many numbers of classes as there are outputs, wherever that ends."""

    def change(members):
        schema = json.loads(members["schema.json"])
        for state in states_of(schema, "Tree"):
            n_outputs = state["__reduce__"]["args"]["content"][2]
            n_outputs.update(content="100000000", __id__=1)
        members["schema.json"] = json.dumps(schema).encode()

    assert "(n_outputs)" in refused("rf", rewritten(saved("rf"), change))


def test_gradient_boosting_of_a_stranger_is_checked_too():
    fitted = GradientBoostingClassifier(n_estimators=3).fit(X, y)
    fitted.estimators_[1, 0].tree_.children_left[0] = 10**6
    stored = EstimatorFile(save_estimator(Pipeline([("c", fitted)])))
    with pytest.raises(UnsoundError, match="left_child"):
        stored.build(COLUMNS)


def test_an_estimator_inside_another_one_is_checked():
    forest = RandomForestClassifier(3).fit(X, y)
    forest.estimators_[0].tree_.feature[0] = 50
    outer = CalibratedClassifierCV(LogisticRegression(), cv=2).fit(X, y)
    outer.calibrated_classifiers_[1].kept = {"beside": [(forest,)]}
    with pytest.raises(UnsoundError, match="feature"):
        EstimatorFile(save_estimator(Pipeline([("c", outer)]))).build(COLUMNS)


# --- histogram gradient boosting -----------------------------------------------------------------


def put_node(field, place, value):
    def change(pipeline):
        nodes = pipeline[-1]._predictors[1][0].nodes
        nodes[field][place] = value(nodes) if callable(value) else value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put_node("left", 0, 10**6),
        put_node("left", 0, 0),
        put_node("right", 0, lambda nodes: nodes["left"][0]),
        put_node("is_leaf", -1, 0),
        put_node("is_leaf", 0, 1),
        put_node("feature_idx", 0, len(COLUMNS)),
        put_node("feature_idx", 0, -1),
        put_node("num_threshold", 0, np.nan),
        put_node("value", -1, np.nan),
        put_node("is_categorical", 0, 1),
    ],
)
def test_a_boosted_tree_that_is_none_is_refused(change):
    assert "TreePredictor is not as fitting makes it" in refused("hgb", edited("hgb", change))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda each: each._predictors[0].append(each._predictors[1][0]), "_predictors"),
        (lambda each: each.__dict__.update(_predictors=[]), "_predictors"),
        (lambda each: each.__dict__.update(n_trees_per_iteration_=2), "_predictors"),
        (lambda each: each.__dict__.update(n_features_in_=3), "feature_idx"),
        (lambda each: each.__dict__.update(_preprocessor="x"), "_preprocessor"),
        (lambda each: each.__dict__.update(_baseline_prediction=1.0), "_baseline_prediction"),
        (lambda each: each._bin_mapper.is_categorical_.fill(1), "is_categorical_"),
    ],
)
def test_boosting_whose_parts_do_not_fit_is_refused(change, field):
    assert f"({field})" in refused("hgb", edited("hgb", lambda pipeline: change(pipeline[-1])))


# --- the others ----------------------------------------------------------------------------------


def put_attribute(attribute, value):
    def change(pipeline):
        part = pipeline[-1]
        if attribute in ("statistics_", "scale_", "mean_"):
            part = pipeline[0 if attribute == "statistics_" else 1]
        elif hasattr(part, "calibrated_classifiers_"):
            part = part.calibrated_classifiers_[0].estimator
        old = getattr(part, attribute)
        setattr(part, attribute, value(old) if callable(value) else value)

    return change


def shorter(array):
    return array[..., :-1].copy()


def with_nan(array):
    return np.where(np.arange(array.size).reshape(array.shape) == 0, np.nan, array)


@pytest.mark.parametrize(
    ("name", "attribute", "value"),
    [
        ("svm", "support_vectors_", shorter),
        ("svm", "support_vectors_", with_nan),
        ("svm", "support_vectors_", lambda array: array.astype("f4")),
        ("svm", "support_", shorter),
        ("svm", "_n_support", lambda counts: counts + 1),
        ("svm", "_n_support", lambda counts: counts * np.array([-1, 1], dtype=np.int32)),
        ("svm", "_dual_coef_", shorter),
        ("svm", "_dual_coef_", with_nan),
        ("svm", "_intercept_", lambda array: array[:0]),
        ("svm", "_probA", lambda array: np.zeros(5)),
        ("svm", "_n_support", shorter),
        ("svm", "kernel", "precomputed"),
        ("svm", "degree", -1),
        ("svm", "_gamma", np.inf),
        ("svm", "_sparse", True),
        ("mlp", "coefs_", lambda arrays: [arrays[0][:-1], *arrays[1:]]),
        ("mlp", "coefs_", lambda arrays: [with_nan(array) for array in arrays]),
        ("mlp", "intercepts_", lambda arrays: arrays[:-1]),
        ("mlp", "n_layers_", 9),
        ("logreg", "coef_", shorter),
        ("logreg", "coef_", with_nan),
        ("logreg", "intercept_", 0.5),
        ("logreg", "classes_", lambda classes: np.array([1, 0])),
        ("logreg", "n_features_in_", None),
        ("logreg", "statistics_", shorter),
        ("logreg", "statistics_", with_nan),
        ("logreg", "scale_", np.zeros_like),
        ("logreg", "mean_", with_nan),
        ("gp", "vectors_", with_nan),
        ("gp", "weights_", shorter),
        ("gp", "centre_", np.inf),
        ("gp", "scale_", shorter),
        ("blend", "weights", [1.0]),
        ("blend", "estimators_", lambda members: []),
    ],
)
def test_an_array_that_does_not_fit_is_refused(name, attribute, value):
    said = refused(name, edited(name, put_attribute(attribute, value)))
    assert f"({attribute})" in said


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("estimators_features_", lambda columns: [each + 9 for each in columns]),
        ("estimators_features_", lambda columns: columns[:1]),
        ("n_estimators", 0),
    ],
)
def test_bagged_columns_that_are_not_there_are_refused(attribute, value):
    def change(pipeline):
        bagging = BaggingClassifier(LogisticRegression(), 3).fit(X.to_numpy(), y)
        old = getattr(bagging, attribute)
        setattr(bagging, attribute, value(old) if callable(value) else value)
        pipeline.steps[-1] = ("classifier", bagging)

    assert f"({attribute})" in refused("logreg", edited("logreg", change))


def test_a_generator_that_would_read_beyond_its_words_is_refused():
    def change(pipeline):
        state = pipeline[-1]._random_state
        kind, words, _, *rest = state.get_state()
        state.set_state((kind, words, 10**6, *rest))

    assert "RandomState is not as fitting makes it (pos)" in refused("mlp", edited("mlp", change))


def test_a_model_for_other_measurements_is_refused():
    with pytest.raises(UnsoundError, match="feature_names_in_"):
        EstimatorFile(saved("logreg")).build(COLUMNS[::-1])
    fitted = LogisticRegression().fit(X.to_numpy(), y)
    with pytest.raises(UnsoundError, match="n_features_in_"):
        EstimatorFile(save_estimator(Pipeline([("c", fitted)]))).build(COLUMNS[:4])


@pytest.mark.parametrize("estimator", [LogisticRegression(), {"a": 1}, Pipeline([("a", "b")])])
def test_what_is_no_pipeline_with_probabilities_is_refused(estimator):
    with pytest.raises(UnsoundError):
        EstimatorFile(save_estimator(estimator)).build(COLUMNS)


def test_compiled_code_that_nobody_checks_needs_a_plugin_that_declares_it():
    fitted = Pipeline([("c", KNeighborsClassifier(algorithm="brute").fit(X, y))])
    stored = EstimatorFile(save_estimator(fitted))
    kind = "sklearn.neighbors._classification.KNeighborsClassifier"
    assert stored.strangers() == [kind]
    assert stored.strangers([kind]) == []
    assert stored.build(COLUMNS).predict_proba(X).shape == (80, 2)


# --- the file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lightgbm.basic.Booster", "sklearn.tree._tree.Tree"])
@pytest.mark.parametrize("loader", ["ConstructorFromReduceNode", "TypeNode", "ListNode"])
def test_what_is_checked_before_it_is_built_is_built_in_one_way_only(kind, loader):
    """A booster that is called with a text would read it unchecked."""
    if kind.startswith("lightgbm"):
        saved("lightgbm")

    def change(members):
        schema = json.loads(members["schema.json"])
        module, _, name = kind.rpartition(".")
        nothing = {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode"}
        state = {"__class__": name, "__module__": module, "__loader__": loader, "__id__": 5}
        state["content"] = [] if loader == "ListNode" else {**nothing, "content": [], "__id__": 6}
        (pipeline,) = states_of(schema, "Pipeline")
        pipeline["content"]["content"]["verbose"] = state
        members["schema.json"] = json.dumps(schema).encode()

    stored = EstimatorFile(rewritten(saved("logreg"), change))
    with pytest.raises(UnsoundError, match="loader"):
        stored.build(COLUMNS)


def test_an_archive_that_would_fill_the_disk_is_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * (64 << 20))
    with pytest.raises(ValueError, match="too large unpacked"):
        EstimatorFile(file.getvalue())


def test_numbers_of_another_machines_order_are_refused():
    def change(pipeline):
        pipeline[-1].coef_ = pipeline[-1].coef_.astype(">f8")

    assert "(coef_)" in refused("logreg", edited("logreg", change))


def test_a_chain_of_many_nodes_takes_no_time():
    n = 1_000_000
    left = np.arange(1, n + 1)
    is_leaf = np.zeros(n, dtype=bool)
    is_leaf[-1] = True
    with pytest.raises(UnsoundError):
        check_links("Tree", (left, left), is_leaf, [n])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*sorted(SMALL), "archive"])
def test_no_mutation_ends_or_stops_a_process(name, tmp_path):
    if name != "archive":
        saved(name)
    fuzz = [sys.executable, str(ROOT / "benchmarks" / "fuzz_models.py"), "--number", "150"]
    done = subprocess.run(
        [*fuzz, "--plugin", name], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert f"{name}: 150 tried" in done.stdout
    assert " 0 crashed or hung" in done.stdout


def test_skops_itself_would_build_what_is_refused_here():
    data = edited("rf", put("children_left", 0, 10**6))
    trusted = skops.io.get_untrusted_types(data=data)
    assert skops.io.loads(data, trusted=trusted)
