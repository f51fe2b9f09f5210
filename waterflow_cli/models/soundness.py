"""Whether a stored estimator is one that fitting could have made.

Compiled code trusts the arrays that it is given, and takes what they say for places in memory.
Hashes do not help, for whoever edits an array can make them anew. So each part is held against what
fitting makes before anything is computed with it; `estimator_files` hands the parts over as it
builds them. Whether trees are trees is for `tree_structure`, and for `boosters` before a library of
its own rebuilds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.models.portable.tree_structure import (
    UnsoundError,
    is_a,
    is_array,
    is_count,
    is_number,
    need,
)

_MOST_THREADS = 256
_KERNELS = ("linear", "poly", "rbf", "sigmoid")
_REGRESSION = ("one_class", "epsilon_svr", "nu_svr")
_MERSENNE_WORDS = 624


def check_pipeline(pipeline: Any, measurements: Sequence[str]) -> None:
    """Check what is asked for probabilities of samples; its parts were checked."""
    n_features = len(measurements)
    need(is_a(pipeline, "sklearn.pipeline.Pipeline"), pipeline, "type")
    steps = vars(pipeline).get("steps")
    need(type(steps) is list and len(steps), pipeline, "steps")
    need(all(type(each) is tuple and len(each) == 2 for each in steps), pipeline, "steps")
    names = getattr(steps[0][1], "feature_names_in_", None)
    if names is not None:
        fits = is_array(names, "OU", 1) and names.tolist() == list(measurements)
        need(fits, steps[0][1], "feature_names_in_")
    for _, step in steps:
        found = getattr(step, "n_features_in_", n_features)
        need(is_count(found) and found == n_features, step, "n_features_in_")
        if not _keeps_width(step):
            break
    last = steps[-1][1]
    need(callable(getattr(type(last), "predict_proba", None)), last, "predict_proba")
    classes = getattr(last, "classes_", None)
    if classes is not None:
        need(is_array(classes, "iufb", 1) and classes.tolist() == [0, 1], last, "classes_")


def _keeps_width(step: Any) -> bool:
    if is_a(step, "sklearn.impute._base.SimpleImputer"):
        return bool(step.keep_empty_features) and step.indicator_ is None
    return is_a(step, "sklearn.preprocessing._data.StandardScaler")


def check_part(part: Any) -> None:
    """Check an object of an estimator on its own, by its class and those that this is made of.

    An estimator that was not fitted, such as the pattern of a forest's trees, has nothing to check.
    """
    kind = type(part)
    if kind not in _CHECKS_OF:
        names = (f"{cls.__module__}.{cls.__qualname__}" for cls in kind.__mro__)
        _CHECKS_OF[kind] = [_CHECKS[name] for name in names if name in _CHECKS]
    for check in _CHECKS_OF[kind]:
        check(part)


# --- what the parts must be ----------------------------------------------------------------------


def _need_floats(owner: Any, name: str, shape: tuple[int, ...]) -> FloatArray:
    """Give an array of finite numbers in double precision of a given shape (-1: any length)."""
    value = vars(owner).get(name)
    need(is_array(value, "f", len(shape)) and value.dtype.itemsize == 8, owner, name)
    fits = all(wanted in (-1, found) for wanted, found in zip(shape, value.shape, strict=True))
    need(fits and np.isfinite(value).all(), owner, name)
    return np.asarray(value)


def _need_classes(owner: Any) -> int:
    classes = vars(owner).get("classes_")
    need(is_array(classes, "iufbUO", 1) and len(classes) >= 1, owner, "classes_")
    return len(vars(owner)["classes_"])


def _n_features(owner: Any) -> int:
    found = getattr(owner, "n_features_in_", None)
    need(is_count(found), owner, "n_features_in_")
    return int(found)  # type: ignore[arg-type]


def _check_estimator(estimator: Any) -> None:
    """Check the counts of columns and of threads: too many threads end the process."""
    known = vars(estimator)
    if "n_features_in_" in known:
        _n_features(estimator)
    for name in ("n_jobs", "n_threads", "nthread"):
        n_jobs = known.get(name)
        need(
            n_jobs is None or (is_count(n_jobs, -_MOST_THREADS) and n_jobs <= _MOST_THREADS),
            estimator,
            name,
        )


def _check_decision_tree(estimator: Any) -> None:
    known = vars(estimator)
    if "tree_" not in known:
        return
    tree = known["tree_"]
    need(is_a(tree, "sklearn.tree._tree.Tree"), estimator, "tree_")
    need(tree.n_features == _n_features(estimator), estimator, "n_features_in_")
    need(is_count(known.get("n_outputs_")), estimator, "n_outputs_")
    need(tree.n_outputs == known["n_outputs_"], estimator, "n_outputs_")
    if "n_classes_" in known:
        need(np.array_equal(np.ravel(known["n_classes_"]), tree.n_classes), estimator, "n_classes_")
    if tree.n_outputs == 1 and "classes_" in known:
        need(_need_classes(estimator) == tree.max_n_classes, estimator, "classes_")


def _check_members(ensemble: Any, members: Sequence[Any]) -> None:
    """Check the trees of an ensemble, which hands rows to them unchecked."""
    n_features = _n_features(ensemble)
    need(len(members) > 0, ensemble, "estimators_")
    for each in members:
        need(is_a(each, "sklearn.tree._classes.BaseDecisionTree"), ensemble, "estimators_")
        need("tree_" in vars(each), ensemble, "estimators_")
        need(each.n_features_in_ == n_features, each, "n_features_in_")


def _check_forest(forest: Any) -> None:
    known = vars(forest)
    if "estimators_" not in known:
        return
    members = known["estimators_"]
    need(type(members) is list, forest, "estimators_")
    _check_members(forest, members)
    need(is_count(known.get("n_outputs_")), forest, "n_outputs_")
    for each in members:
        need(each.n_outputs_ == known["n_outputs_"], each, "n_outputs_")
        if "n_classes_" in known:
            same = np.array_equal(np.ravel(each.tree_.n_classes), np.ravel(known["n_classes_"]))
            need(same, each, "n_classes_")
    if "n_classes_" in known and known["n_outputs_"] == 1:
        need(_need_classes(forest) == known["n_classes_"], forest, "classes_")


def _check_gradient_boosting(boosting: Any) -> None:
    known = vars(boosting)
    if "estimators_" not in known:
        return
    members = known["estimators_"]
    need(is_array(members, "O", 2), boosting, "estimators_")
    _check_members(boosting, members.ravel().tolist())
    per_iteration = known.get("n_trees_per_iteration_")
    need(members.shape[1] == per_iteration, boosting, "n_trees_per_iteration_")
    for each in members.flat:
        need(each.tree_.n_outputs == each.tree_.max_n_classes == 1, each, "n_outputs_")


def _check_histogram_boosting(boosting: Any) -> None:
    known = vars(boosting)
    predictors = known.get("_predictors")
    if predictors is None:
        return
    n_features, per_iteration = _n_features(boosting), known.get("n_trees_per_iteration_")
    need(is_count(per_iteration), boosting, "n_trees_per_iteration_")
    need(type(predictors) is list and len(predictors), boosting, "_predictors")
    for row in predictors:
        need(type(row) is list and len(row) == per_iteration, boosting, "_predictors")
        for each in row:
            name = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
            need(is_a(each, name), boosting, "_predictors")
            need(is_array(vars(each).get("nodes"), "V", 1), each, "nodes")
            asked = each.nodes["feature_idx"][each.nodes["is_leaf"] == 0]
            need((asked < n_features).all(), each, "feature_idx")
    _need_floats(boosting, "_baseline_prediction", (1, per_iteration))
    if "classes_" in known:
        expected = 2 if per_iteration == 1 else per_iteration
        need(_need_classes(boosting) == expected, boosting, "classes_")
    # Categories would be told by tables of bits; a measurement is a number.
    need(known.get("_preprocessor") is None, boosting, "_preprocessor")
    bins = known.get("_bin_mapper")
    kinds: Any = vars(bins).get("is_categorical_") if hasattr(bins, "__dict__") else None
    need(is_array(kinds, "u", 1), bins, "is_categorical_")
    need(len(kinds) == n_features and not kinds.any(), bins, "is_categorical_")


def _check_vector_machine(machine: Any) -> None:
    known = vars(machine)
    if "support_vectors_" not in known:
        return
    is_regression = known.get("_impl", type(machine)._impl) in _REGRESSION
    n_classes = 2 if is_regression else _need_classes(machine)
    need(n_classes >= 2, machine, "classes_")
    vectors = _need_floats(machine, "support_vectors_", (-1, _n_features(machine)))
    need(len(vectors) and vectors.flags.c_contiguous, machine, "support_vectors_")
    counts, support = known.get("_n_support"), known.get("support_")
    for name, value, length in (
        ("_n_support", counts, n_classes),
        ("support_", support, len(vectors)),
    ):
        need(is_array(value, "i", 1) and value.dtype == np.int32, machine, name)
        need(len(value) == length and value.min() >= 0, machine, name)
    total = counts[0] if is_regression else counts.sum()
    need(total == len(vectors), machine, "_n_support")
    n_pairs = 1 if is_regression else n_classes * (n_classes - 1) // 2
    for name in ("_dual_coef_", "dual_coef_"):
        _need_floats(machine, name, (1 if is_regression else n_classes - 1, len(vectors)))
    for name in ("_intercept_", "intercept_"):
        _need_floats(machine, name, (n_pairs,))
    for name in ("_probA", "_probB"):
        need(len(_need_floats(machine, name, (-1,))) in (0, n_pairs), machine, name)
    need("_impl" not in known and known.get("_sparse") is False, machine, "_sparse")
    need(known.get("kernel") in _KERNELS, machine, "kernel")
    need(is_count(known.get("degree"), 0), machine, "degree")
    for name in ("_gamma", "coef0", "cache_size"):
        need(is_number(known.get(name)), machine, name)


def _check_gaussian_process(process: Any) -> None:
    if "vectors_" not in vars(process):
        return
    vectors = _need_floats(process, "vectors_", (-1, _n_features(process)))
    _need_floats(process, "weights_", (len(vectors),))
    need(is_number(vars(process).get("centre_")), process, "centre_")


def _check_network(network: Any) -> None:
    known = vars(network)
    if "coefs_" not in known:
        return
    weights, offsets = known["coefs_"], known.get("intercepts_")
    need(type(weights) is list and len(weights), network, "coefs_")
    need(type(offsets) is list and len(offsets) == len(weights), network, "intercepts_")
    need(known.get("n_layers_") == len(weights) + 1, network, "n_layers_")
    for weight, offset in zip(weights, offsets, strict=True):
        need(is_array(weight, "f", 2) and np.isfinite(weight).all(), network, "coefs_")
        need(is_array(offset, "f", 1) and np.isfinite(offset).all(), network, "intercepts_")
        need(offset.shape == weight.shape[1:], network, "intercepts_")
    need(weights[0].shape[0] == _n_features(network), network, "coefs_")
    need(all(one.shape[1] == two.shape[0] for one, two in pairwise(weights)), network, "coefs_")
    need(known.get("n_outputs_") == weights[-1].shape[1], network, "n_outputs_")


def _check_linear(estimator: Any) -> None:
    known = vars(estimator)
    if "coef_" not in known:
        return
    n_classes = _need_classes(estimator)
    rows = 1 if n_classes == 2 else n_classes
    _need_floats(estimator, "coef_", (rows, _n_features(estimator)))
    _need_floats(estimator, "intercept_", (rows,))


def _check_imputer(imputer: Any) -> None:
    if "statistics_" in vars(imputer):
        statistics = vars(imputer)["statistics_"]
        need(is_array(statistics, "fiuOb", 1), imputer, "statistics_")
        need(len(statistics) == _n_features(imputer), imputer, "statistics_")
        if statistics.dtype.kind == "f":
            need(not np.isinf(statistics).any(), imputer, "statistics_")
            if vars(imputer).get("keep_empty_features"):
                need(not np.isnan(statistics).any(), imputer, "statistics_")
        need("indicator_" in vars(imputer), imputer, "indicator_")


def _check_scaler(scaler: Any) -> None:
    for name in ("mean_", "scale_", "var_"):
        if vars(scaler).get(name) is not None:
            _need_floats(scaler, name, (_n_features(scaler),))
    scale = vars(scaler).get("scale_")
    need(scale is None or (scale > 0).all(), scaler, "scale_")


def _check_calibrated(calibrated: Any) -> None:
    known = vars(calibrated)
    if "calibrated_classifiers_" not in known:
        return
    members = known["calibrated_classifiers_"]
    need(type(members) is list and len(members), calibrated, "calibrated_classifiers_")
    name = "sklearn.calibration._CalibratedClassifier"
    for each in members:
        need(is_a(each, name), calibrated, "calibrated_classifiers_")
        inner = getattr(vars(each).get("estimator"), "n_features_in_", None)
        need(inner == _n_features(calibrated), each, "estimator")
        lines, classes = vars(each).get("calibrators"), vars(each).get("classes")
        need(is_array(classes, "iufbUO", 1), each, "classes")
        expected = 1 if len(classes) == 2 else len(classes)
        need(type(lines) is list and len(lines) == expected, each, "calibrators")


def _check_sigmoid(line: Any) -> None:
    for name in ("a_", "b_"):
        need(name not in vars(line) or is_number(vars(line)[name]), line, name)


def _check_isotonic(line: Any) -> None:
    if "X_thresholds_" in vars(line):
        x = _need_floats(line, "X_thresholds_", (-1,))
        _need_floats(line, "y_thresholds_", (len(x),))
        need(len(x) and (np.diff(x) >= 0).all(), line, "X_thresholds_")


def _check_voting(voting: Any) -> None:
    known = vars(voting)
    if "estimators_" not in known:
        return
    members, weights = known["estimators_"], known.get("weights")
    need(type(members) is list and len(members), voting, "estimators_")
    for each in members:
        need(callable(getattr(type(each), "predict", None)), voting, "estimators_")
    need(
        len({getattr(each, "n_features_in_", None) for each in members}) == 1, voting, "estimators_"
    )
    need(weights is None or len(weights) == len(members), voting, "weights")
    need(weights is None or all(map(is_number, weights)), voting, "weights")


def _check_bagging(bagging: Any) -> None:
    known = vars(bagging)
    if "estimators_" not in known:
        return
    members, columns = known["estimators_"], known.get("estimators_features_")
    need(type(members) is list and len(members), bagging, "estimators_")
    need(known.get("n_estimators") == len(members), bagging, "n_estimators")
    need(type(columns) is list and len(columns) == len(members), bagging, "estimators_features_")
    for each, chosen in zip(members, columns, strict=True):
        need(is_array(chosen, "iu", 1) and len(chosen), bagging, "estimators_features_")
        in_range = chosen.min() >= 0 and chosen.max() < _n_features(bagging)
        need(in_range, bagging, "estimators_features_")
        need(getattr(each, "n_features_in_", None) == len(chosen), each, "n_features_in_")


def _check_labels(encoder: Any) -> None:
    if "classes_" in vars(encoder):
        _need_classes(encoder)


def _check_random_state(state: Any) -> None:
    """Check where a generator reads next; it does not check that itself."""
    position = state.get_state(legacy=False)["state"].get("pos", 0)
    need(is_count(position, 0) and position <= _MERSENNE_WORDS, state, "pos")


def _check_generator(generator: Any) -> None:
    state = generator.bit_generator.state
    inner = state.get("state")
    if state["bit_generator"] == "MT19937":
        need(0 <= inner["pos"] <= _MERSENNE_WORDS, generator, "pos")


def _check_sparse(matrix: Any) -> None:
    try:
        matrix.check_format(full_check=True)
    except (AttributeError, TypeError, ValueError) as exc:
        raise UnsoundError(matrix, "indices") from exc


# By class, once asked for.
_CHECKS_OF: dict[type, list[Callable[[Any], None]]] = {}
# Each also stands for the classes that are made of it.
_CHECKS: dict[str, Callable[[Any], None]] = {
    "numpy.random._generator.Generator": _check_generator,
    "numpy.random.mtrand.RandomState": _check_random_state,
    "scipy.sparse._base._spbase": _check_sparse,
    "sklearn.base.BaseEstimator": _check_estimator,
    "sklearn.calibration.CalibratedClassifierCV": _check_calibrated,
    "sklearn.calibration._SigmoidCalibration": _check_sigmoid,
    "sklearn.ensemble._bagging.BaseBagging": _check_bagging,
    "sklearn.ensemble._forest.BaseForest": _check_forest,
    "sklearn.ensemble._gb.BaseGradientBoosting": _check_gradient_boosting,
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting": (
        _check_histogram_boosting
    ),
    "sklearn.ensemble._voting._BaseVoting": _check_voting,
    "sklearn.impute._base.SimpleImputer": _check_imputer,
    "sklearn.isotonic.IsotonicRegression": _check_isotonic,
    "sklearn.linear_model._base.LinearClassifierMixin": _check_linear,
    "sklearn.neural_network._multilayer_perceptron.BaseMultilayerPerceptron": _check_network,
    "sklearn.preprocessing._data.StandardScaler": _check_scaler,
    "sklearn.preprocessing._label.LabelBinarizer": _check_labels,
    "sklearn.preprocessing._label.LabelEncoder": _check_labels,
    "sklearn.svm._base.BaseLibSVM": _check_vector_machine,
    "sklearn.tree._classes.BaseDecisionTree": _check_decision_tree,
    "waterflow_plugins.gaussian_process.GaussianProcess": _check_gaussian_process,
}
