"""Make the portable form of a fitted pipeline, where each of its steps is known.

A step is known by its exact class and what fitting left in it; of a library that is not installed
none is. A form is given only if it gives what the pipeline gives on rows that were made up for it:
the same bits for trees, within 1e-12 for others. Where a private place of a library is gone, or a
version of it computes otherwise, there is no form, and the library is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.models.portable.form import PortableForm, load_form, save_form
from waterflow_cli.models.portable.logistic import log_single
from waterflow_cli.models.portable.packing import Tree, pack
from waterflow_cli.models.portable.parts import (
    Fill,
    Linear,
    Mean,
    Network,
    Part,
    Scale,
    Steps,
    SupportVectors,
)
from waterflow_cli.models.portable.trees import Trees

_TOLERANCE = 1e-12
_N_ROWS = 256
# Libraries refuse what single precision cannot hold.
_MOST_PROBED = 1e30
_GAPS = 0.1
# LightGBM takes what is no further from zero for zero.
_ZERO = float(np.float32(1e-35))

MakeForm = Callable[[Any], Part]


class _UnknownError(Exception):
    """A step, or something that is set in one, has no portable form."""


def portable_form(
    pipeline: Any, ask: Callable[[FloatArray], FloatArray], *, make: MakeForm | None = None
) -> PortableForm | None:
    """Make the portable form of a fitted pipeline; None where it has none.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted; no samplers.
    ask : callable
        Gives the pipeline's P(class 1) of rows of shape (n_samples, n_measurements).
    make : callable, optional
        Makes the form of pipelines that are not known here.
    """
    try:
        n = int(pipeline[0].n_features_in_)
        form = PortableForm(n, (make or _steps_of)(pipeline))
        form = load_form(save_form(form))
        rows = made_up_rows(form)
        found, expected = form(rows), ask(rows)
    except Exception:  # noqa: BLE001 - what is not as expected has no form, and is asked itself
        return None
    exact = any(isinstance(part, Trees) for part in _last_of(form))
    close = np.array_equal(found, expected) if exact else _are_close(found, expected)
    return form if close else None


def _last_of(form: PortableForm) -> Sequence[Part]:
    return form.root.parts[-1:] if isinstance(form.root, Steps) else [form.root]


def _steps_of(pipeline: Any) -> Part:
    steps = [step for _, step in pipeline.steps]
    filled = any(_name_of(step) == _IMPUTER for step in steps)
    return Steps([_part_of(step, filled=filled) for step in steps])


def _are_close(found: FloatArray, expected: FloatArray) -> bool:
    return np.allclose(found, expected, rtol=0, atol=_TOLERANCE)


def made_up_rows(form: PortableForm) -> FloatArray:
    """Make rows of values that trees ask for, of usual and of unusual ones, and of none."""
    random = np.random.default_rng(0)
    centre, scale = np.zeros(form.n_measurements), np.ones(form.n_measurements)
    X = random.normal(size=(_N_ROWS, form.n_measurements))
    for part in form.parts:
        if isinstance(part, Scale):
            centre, scale = part.centre, part.scale
        elif isinstance(part, Trees):
            known = np.split(part.thresholds, part.ends[:-1])
            for measurement, each in zip(part.measurements, known, strict=True):
                if len(each):
                    X[::2, measurement] = random.choice(each, len(X[::2]))
    X = np.clip(X, -_MOST_PROBED, _MOST_PROBED) * scale + centre
    X[-8:] *= 1e6
    if form.takes_gaps:
        X[random.random(X.shape) < _GAPS] = np.nan
    return X


# --- scikit-learn --------------------------------------------------------------------------------


def _name_of(step: Any) -> str:
    return f"{type(step).__module__}.{type(step).__qualname__}"


def _part_of(step: Any, *, filled: bool) -> Part:
    name = _name_of(step)
    if name in _TREES:
        _need_classes(step)
        return _TREES[name](step, filled)
    _need(name in _PARTS)
    return _PARTS[name](step)


def _need(holds: Any) -> None:
    if not holds:
        raise _UnknownError


def _need_classes(step: Any) -> None:
    _need(list(step.classes_) == [0, 1])


def _fill(step: Any) -> Part:
    _need(step.indicator_ is None and len(step.statistics_) == step.n_features_in_)
    _need(isinstance(step.missing_values, float) and np.isnan(step.missing_values))
    _need(np.isfinite(step.statistics_.astype(np.float64)).all())
    return Fill(step.statistics_.astype(np.float64))


def _scale(step: Any) -> Part:
    n = step.n_features_in_
    centre = step.mean_ if step.with_mean else np.zeros(n)
    return Scale(centre, step.scale_ if step.with_std else np.ones(n))


def _linear(step: Any) -> Part:
    _need_classes(step)
    return Linear(float(step.intercept_[0]), np.array(step.coef_[0]))


def _support_vectors(step: Any) -> Part:
    _need_classes(step)
    (calibrated,) = step.calibrated_classifiers_
    (sigmoid,), machine = calibrated.calibrators, calibrated.estimator
    _need(_name_of(sigmoid) == "sklearn.calibration._SigmoidCalibration")
    _need(_name_of(machine) == "sklearn.svm._classes.SVC" and machine.kernel == "rbf")
    return SupportVectors(
        gamma=float(machine._gamma),
        intercept=float(machine.intercept_[0]),
        slope=float(sigmoid.a_),
        offset=float(sigmoid.b_),
        vectors=np.ravel(machine.support_vectors_),
        weights=np.array(machine.dual_coef_[0]),
    )


def _gaussian_process(step: Any) -> Part:
    return SupportVectors(
        gamma=0.5,
        intercept=step.centre_,
        slope=-2.0,
        offset=0.0,
        vectors=np.ravel(step.vectors_),
        weights=step.weights_,
    )


def _perceptron(step: Any) -> Part:
    _need_classes(step)
    _need(step.out_activation_ == "logistic")
    widths = [step.n_features_in_, *(len(each) for each in step.intercepts_)]
    return Network(
        activation=step.activation,
        widths=np.array(widths),
        weights=np.concatenate([each.ravel() for each in step.coefs_]),
        biases=np.concatenate(step.intercepts_),
    )


def _bag(step: Any) -> Part:
    _need_classes(step)
    every = np.arange(step.n_features_in_)
    _need(all(np.array_equal(each, every) for each in step.estimators_features_))
    return Mean([_part_of(member, filled=True) for member in step.estimators_])


def _vote(step: Any) -> Part:
    _need_classes(step)
    _need(step.voting == "soft" and step.weights is None)
    return Mean([_part_of(member, filled=True) for member in step.estimators_])


def _forest(step: Any, filled: bool) -> Part:
    trees = [_forest_tree(each.tree_.__getstate__()) for each in step.estimators_]
    return pack(trees, filled=filled, link="mean", rounds=True, start=0.0, slope=1.0)


def _forest_tree(state: Any) -> Tree:
    nodes = state["nodes"]
    return Tree(
        is_leaf=nodes["left_child"] < 0,
        feature=nodes["feature"].astype(np.int64),
        threshold=nodes["threshold"],
        left=nodes["left_child"].astype(np.int64),
        right=nodes["right_child"].astype(np.int64),
        value=state["values"][:, 0, 1],
        missing_left=nodes["missing_go_to_left"].astype(bool),
    )


def _histogram_trees(step: Any, filled: bool) -> Part:
    nodes = [predictor.nodes for (predictor,) in step._predictors]
    _need(not any(each["is_categorical"].any() for each in nodes))
    start = float(step._baseline_prediction.item())
    trees = [
        Tree(
            is_leaf=each["is_leaf"].astype(bool),
            feature=each["feature_idx"].astype(np.int64),
            threshold=each["num_threshold"],
            left=each["left"].astype(np.int64),
            right=each["right"].astype(np.int64),
            value=each["value"],
            missing_left=each["missing_go_to_left"].astype(bool),
        )
        for each in nodes
    ]
    return pack(trees, filled=filled, link="logistic", rounds=False, start=start, slope=1.0)


# --- LightGBM and XGBoost ------------------------------------------------------------------------


def _lightgbm(step: Any, filled: bool) -> Part:
    head, *blocks = step.booster_.model_to_string().partition("\nend of trees")[0].split("\nTree=")
    objective = re.search(r"^objective=binary sigmoid:([0-9.e+-]+)$", head, re.MULTILINE)
    _need(objective is not None and "average_output" not in head)
    trees = [_lightgbm_tree(block) for block in blocks]
    slope = float(objective[1])  # type: ignore[index]
    return pack(trees, filled=filled, link="logistic", rounds=False, start=0.0, slope=slope)


def _lightgbm_tree(block: str) -> Tree:
    lines = dict(line.split("=", 1) for line in block.splitlines()[1:] if line)
    _need(lines["num_cat"] == "0" and lines.get("is_linear", "0") == "0")
    leaves = _numbers(lines["leaf_value"], float)
    n_splits = len(leaves) - 1
    fields = ("split_feature", "left_child", "right_child", "decision_type")
    feature, left, right, kind = (_numbers(lines[name], int)[:n_splits] for name in fields)
    threshold = _numbers(lines["threshold"], float)[:n_splits]
    # Bits 2 and 3 say what counts as missing: 0 nothing, and NaN is zero then; 1 zero; 2 NaN.
    missing = kind >> 2
    _need((missing != 1).all())
    missing_left = np.where(missing == 2, kind & 2 != 0, threshold >= 0)
    is_near = np.abs(threshold) <= _ZERO
    beside = np.where(threshold < 0, np.nextafter(-_ZERO, -np.inf), _ZERO)
    threshold = np.where(is_near, beside, threshold)
    left, right = (np.where(side < 0, n_splits + ~side, side) for side in (left, right))
    behind, none = np.zeros(len(leaves)), np.zeros(len(leaves), dtype=np.int64)
    return Tree(
        is_leaf=np.arange(n_splits + len(leaves)) >= n_splits,
        feature=np.concatenate([feature, none]),
        threshold=np.concatenate([threshold, behind]),
        left=np.concatenate([left, none]),
        right=np.concatenate([right, none]),
        value=np.concatenate([np.zeros(n_splits), leaves]),
        missing_left=np.concatenate([missing_left, none == 0]),
    )


def _numbers(text: str, kind: type) -> Any:
    return np.array(list(map(kind, text.split())), dtype=np.float64 if kind is float else np.int64)


def _xgboost(step: Any, filled: bool) -> Part:
    learner = json.loads(step.get_booster().save_raw("json"))["learner"]
    booster = learner["gradient_booster"]
    _need(learner["objective"]["name"] == "binary:logistic" and booster["name"] == "gbtree")
    share = np.float32(learner["learner_model_param"]["base_score"].strip("[]"))
    start = -log_single(np.float32(1) / share - np.float32(1))
    trees = [_xgboost_tree(each) for each in booster["model"]["trees"]]
    return pack(trees, filled=filled, link="logistic_single", rounds=True, start=start, slope=1.0)


def _xgboost_tree(content: dict[str, Any]) -> Tree:
    _need(not content["categories_nodes"] and not any(content.get("split_type", ())))
    value = np.array(content["split_conditions"], dtype=np.float32)
    left = np.array(content["left_children"])
    return Tree(
        is_leaf=left < 0,
        feature=np.array(content["split_indices"]),
        # XGBoost goes left below the threshold, and not at it.
        threshold=np.nextafter(value, np.float32(-np.inf)).astype(np.float64),
        left=left,
        right=np.array(content["right_children"]),
        value=value.astype(np.float64),
        missing_left=np.array(content["default_left"]).astype(bool),
    )


_IMPUTER = "sklearn.impute._base.SimpleImputer"
_PARTS: dict[str, Callable[[Any], Part]] = {
    _IMPUTER: _fill,
    "sklearn.preprocessing._data.StandardScaler": _scale,
    "waterflow_plugins.gaussian_process.LengthScaler": _scale,
    "waterflow_plugins.gaussian_process.GaussianProcess": _gaussian_process,
    "sklearn.linear_model._logistic.LogisticRegression": _linear,
    "sklearn.calibration.CalibratedClassifierCV": _support_vectors,
    "sklearn.neural_network._multilayer_perceptron.MLPClassifier": _perceptron,
    "sklearn.ensemble._bagging.BaggingClassifier": _bag,
    "sklearn.ensemble._voting.VotingClassifier": _vote,
}
_TREES: dict[str, Callable[[Any, bool], Part]] = {
    "sklearn.ensemble._forest.RandomForestClassifier": _forest,
    "sklearn.ensemble._forest.ExtraTreesClassifier": _forest,
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier": (
        _histogram_trees
    ),
    "lightgbm.sklearn.LGBMClassifier": _lightgbm,
    "xgboost.sklearn.XGBClassifier": _xgboost,
}
