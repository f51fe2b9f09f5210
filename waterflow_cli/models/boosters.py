"""Check the models of LightGBM and XGBoost as they are stored, before their libraries read them.

Both are written by the library itself, LightGBM's as text and XGBoost's as UBJSON, and neither
library checks on reading that children and measurements are in range, or that no way leads back.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.models.portable.tree_structure import check_links, need

_LIGHTGBM, _XGBOOST = "lightgbm.Booster", "xgboost.Booster"
_INTEGER = re.compile(r"-?[0-9]{1,9}")
_NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]{1,3})?")
_MOST_THREADS = 256
_DEEPEST = 30
_HEAD = {"version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx"}
_HEAD |= {"objective", "feature_names", "feature_infos", "tree_sizes", "monotone_constraints"}
_OF_SPLITS = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
_OF_LEAVES = ("leaf_value",)
_SPLIT_NOTES = ("split_gain", "internal_value", "internal_weight", "internal_count")
_LEAF_NOTES = ("leaf_weight", "leaf_count")


def check_lightgbm(state: Any) -> None:
    """Check the state of a LightGBM Booster: a text with one block for each tree."""
    need(type(state) is dict and "handle" not in state, _LIGHTGBM, "handle")
    text: Any = state.get("_handle")
    need(type(text) is str and text.isascii() and "\0" not in text, _LIGHTGBM, "text")
    need(not state.get("_network"), _LIGHTGBM, "network")
    head, end, trees = text.partition("\n\n")
    lines = head.split("\n")
    need(end and lines[0] == "tree", _LIGHTGBM, "text")
    fields = _fields(_LIGHTGBM, [line for line in lines[1:] if line != "average_output"])
    need({*fields} <= _HEAD and "tree_sizes" in fields, _LIGHTGBM, "head")
    for name, value in (("num_class", "1"), ("num_tree_per_iteration", "1"), ("label_index", "0")):
        need(fields.get(name) == value, _LIGHTGBM, name)
    need(
        re.fullmatch("[a-z_]+( [a-z_]+:[0-9.e+-]+)*", fields.get("objective", "")),
        _LIGHTGBM,
        "objective",
    )
    n_features = int(_integers(fields, "max_feature_idx", 1)[0]) + 1
    for name in ("feature_names", "feature_infos"):
        need(len(fields.get(name, "").split(" ")) == n_features, _LIGHTGBM, name)
    start = 0
    for number, size in enumerate(_integers(fields, "tree_sizes", None)):
        block = trees[start : start + int(size)]
        first, _, rest = block.partition("\n")
        need(size > 0 and first == f"Tree={number}", _LIGHTGBM, "tree_sizes")
        need(rest.endswith("\n") and "\n\n" not in rest.rstrip("\n"), _LIGHTGBM, "tree_sizes")
        _check_lightgbm_tree(_fields(_LIGHTGBM, rest.rstrip("\n").split("\n")), n_features)
        start += int(size)
    need(trees[start:].startswith("end of trees\n"), _LIGHTGBM, "tree_sizes")


def _check_lightgbm_tree(fields: dict[str, str], n_features: int) -> None:
    known = {"num_leaves", "num_cat", "is_linear", "shrinkage"}
    known |= {*_OF_SPLITS, *_OF_LEAVES, *_SPLIT_NOTES, *_LEAF_NOTES}
    need({*fields} <= known, _LIGHTGBM, "tree")
    need(fields.get("num_cat") == "0", _LIGHTGBM, "num_cat")
    need(fields.get("is_linear", "0") == "0", _LIGHTGBM, "is_linear")
    n_leaves = int(_integers(fields, "num_leaves", 1)[0])
    need(1 <= n_leaves <= len(fields.get("leaf_value", "")), _LIGHTGBM, "num_leaves")
    _floats(fields, "shrinkage", 1)
    _floats(fields, "leaf_value", n_leaves)
    n_splits = n_leaves - 1
    for notes, length in ((_SPLIT_NOTES, n_splits), (_LEAF_NOTES, n_leaves)):
        for name in notes:
            if fields.get(name):
                need(len(fields[name].split(" ")) == length, _LIGHTGBM, name)
    if not n_splits:
        return
    _floats(fields, "threshold", n_splits)
    feature, kind, left, right = (
        _integers(fields, name, n_splits) for name in _OF_SPLITS if name != "threshold"
    )
    need(((feature >= 0) & (feature < n_features)).all(), _LIGHTGBM, "split_feature")
    need(((kind >= 0) & (kind < 16) & (kind % 2 == 0)).all(), _LIGHTGBM, "decision_type")
    # A leaf is the complement of its number; here it stands behind the splits.
    children = tuple(np.where(side < 0, n_splits + ~side, side) for side in (left, right))
    leaves = np.zeros(n_splits + n_leaves, dtype=bool)
    leaves[n_splits:] = True
    padded = tuple(np.concatenate([side, np.zeros(n_leaves, np.int64)]) for side in children)
    check_links(_LIGHTGBM, (padded[0], padded[1]), leaves, [n_splits + n_leaves])


def _fields(part: str, lines: list[str]) -> dict[str, str]:
    pairs = [line.partition("=") for line in lines]
    need(all(sign for _, sign, _ in pairs), part, "text")
    fields = {name: value for name, _, value in pairs}
    need(len(fields) == len(pairs), part, "text")
    return fields


def _integers(fields: dict[str, str], name: str, n: int | None) -> IntArray:
    tokens = fields.get(name, "").split(" ") if fields.get(name) else []
    need(n in (None, len(tokens)) and all(map(_INTEGER.fullmatch, tokens)), _LIGHTGBM, name)
    return np.array(list(map(int, tokens)), dtype=np.int64)


def _floats(fields: dict[str, str], name: str, n: int) -> FloatArray:
    tokens = fields.get(name, "").split(" ")
    need(len(tokens) == n and all(map(_NUMBER.fullmatch, tokens)), _LIGHTGBM, name)
    try:
        values = np.array(list(map(float, tokens)))
    except ValueError:
        values = np.full(n, np.nan)
    need(np.isfinite(values).all(), _LIGHTGBM, name)
    return values


def check_xgboost(state: Any) -> None:
    """Check the state of an XGBoost Booster: its configuration and its model, in UBJSON."""
    need(type(state) is dict and type(state.get("handle")) is bytearray, _XGBOOST, "handle")
    content = _UbjsonReader(bytes(state["handle"])).read()
    need(type(content) is dict and {*content} == {"Config", "Model"}, _XGBOOST, "handle")
    _check_threads(content["Config"])
    model = content["Model"]
    need(type(model) is dict and {*model} == {"learner", "version"}, _XGBOOST, "Model")
    learner = _dict(model["learner"], "learner")
    params = _dict(learner.get("learner_model_param"), "learner_model_param")
    n_features = _count(params, "num_feature")
    need(_count(params, "num_class") == 0, _XGBOOST, "num_class")
    need(params.get("num_target", "1") == "1", _XGBOOST, "num_target")
    for name in ("feature_names", "feature_types"):
        names: Any = learner.get(name, [])
        need(type(names) is list and len(names) in (0, n_features), _XGBOOST, name)
        need(all(type(each) is str for each in names), _XGBOOST, name)
    attributes = _dict(learner.get("attributes", {}), "attributes")
    need(all(type(each) is str for each in attributes.values()), _XGBOOST, "attributes")
    booster = _dict(learner.get("gradient_booster"), "gradient_booster")
    need(booster.get("name") in ("gbtree", "dart"), _XGBOOST, "name")
    inner = _dict(booster.get("gbtree", booster), "gbtree")
    n_trees = _check_forest(_dict(inner.get("model"), "model"), n_features)
    if booster["name"] == "dart":
        weights = _array(booster.get("weight_drop"), "weight_drop", n_trees)
        need(np.isfinite(weights).all(), _XGBOOST, "weight_drop")


def _check_forest(model: dict[str, Any], n_features: int) -> int:
    params = _dict(model.get("gbtree_model_param"), "gbtree_model_param")
    trees: Any = model.get("trees")
    categories = _dict(model.get("cats", {}), "cats")
    need(type(trees) is list and len(trees) == _count(params, "num_trees"), _XGBOOST, "num_trees")
    need(_count(params, "num_parallel_tree") >= 1, _XGBOOST, "num_parallel_tree")
    need(not any(len(each) for each in categories.values()), _XGBOOST, "cats")
    need(not _array(model.get("tree_info"), "tree_info", len(trees)).any(), _XGBOOST, "tree_info")
    if "iteration_indptr" in model:
        ends = _array(model["iteration_indptr"], "iteration_indptr", None)
        need(len(ends) and ends[0] == 0 and ends[-1] == len(trees), _XGBOOST, "iteration_indptr")
        need((np.diff(ends) >= 0).all(), _XGBOOST, "iteration_indptr")
    for number, tree in enumerate(trees):
        # XGBoost puts each in the place that it names, and reads from all places.
        need(_dict(tree, "trees").get("id") == number, _XGBOOST, "id")
        _check_xgboost_tree(tree, n_features)
    return len(trees)


def _check_xgboost_tree(tree: dict[str, Any], n_features: int) -> None:
    params = _dict(tree.get("tree_param"), "tree_param")
    n = _count(params, "num_nodes")
    need(n >= 1 and _count(params, "num_feature") == n_features, _XGBOOST, "tree_param")
    need(params.get("size_leaf_vector") in ("0", "1"), _XGBOOST, "size_leaf_vector")
    _count(params, "num_deleted")
    for name in ("categories", "categories_nodes", "categories_segments", "categories_sizes"):
        _array(tree.get(name, []), name, 0)
    for name in ("base_weights", "loss_changes", "sum_hessian", "default_left"):
        _array(tree.get(name), name, n)
    left, right, feature, parent, kind = (
        _array(tree.get(name), name, n).astype(np.int64)
        for name in ("left_children", "right_children", "split_indices", "parents", "split_type")
    )
    value = _array(tree.get("split_conditions"), "split_conditions", n)
    need(value.dtype.kind == "f" and np.isfinite(value).all(), _XGBOOST, "split_conditions")
    need(not kind.any(), _XGBOOST, "split_type")
    is_leaf = left == -1
    need((right[is_leaf] == -1).all(), _XGBOOST, "right_children")
    # Nodes that pruning took out stay in their places, and no way leads to them.
    check_links(_XGBOOST, (left, right), is_leaf, [n], is_whole=False)
    splits = np.flatnonzero(~is_leaf)
    asked = feature[splits]
    need(((asked >= 0) & (asked < n_features)).all(), _XGBOOST, "split_indices")
    for side in (left, right):
        need((parent[side[splits]] == splits).all(), _XGBOOST, "parents")
    need(parent[0] in (-1, 2**31 - 1), _XGBOOST, "parents")


def _check_threads(config: Any) -> None:
    """Threads beyond what a machine has end the process."""
    if isinstance(config, dict):
        for name, value in config.items():
            if name in ("nthread", "n_jobs"):
                fits = type(value) is str and _INTEGER.fullmatch(value)
                need(fits and abs(int(value)) <= _MOST_THREADS, _XGBOOST, name)
            _check_threads(value)
    elif isinstance(config, list):
        for value in config:
            _check_threads(value)


def _dict(value: Any, name: str) -> dict[str, Any]:
    need(type(value) is dict, _XGBOOST, name)
    return dict(value)


def _count(params: dict[str, Any], name: str) -> int:
    text = params.get(name)
    need(type(text) is str and re.fullmatch("[0-9]{1,9}", text), _XGBOOST, name)
    return int(text)  # type: ignore[arg-type]


def _array(value: Any, name: str, n: int | None) -> Any:
    """Give an array of numbers; a list of whole ones is another way to store it."""
    if type(value) is list:
        need(all(type(each) is int for each in value), _XGBOOST, name)
        value = np.array(value, dtype=np.int64)
    need(type(value) is np.ndarray and n in (None, len(value)), _XGBOOST, name)
    return value


# Numbers by their markers.
_SCALARS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}


class _UbjsonReader:
    """Reads what XGBoost writes of UBJSON (Universal Binary JSON, draft 12), and no more.

    Lengths are 64 bits, names stand once in an object, and nothing follows the end.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self) -> Any:
        """Give the content; arrays of one type are ndarrays."""
        value = self._value(self._marker(), 0)
        need(self._at == len(self._data), _XGBOOST, "handle")
        return value

    def _take(self, n: int) -> bytes:
        need(0 <= n <= len(self._data) - self._at, _XGBOOST, "handle")
        self._at += n
        return self._data[self._at - n : self._at]

    def _marker(self) -> str:
        return self._take(1).decode("latin-1")

    def _length(self) -> int:
        need(self._marker() == "L", _XGBOOST, "handle")
        return int(struct.unpack(">q", self._take(8))[0])

    def _text(self) -> str:
        return self._take(self._length()).decode("utf-8", "surrogateescape")

    def _value(self, marker: str, depth: int) -> Any:
        need(depth < _DEEPEST, _XGBOOST, "handle")
        if marker == "{":
            return self._object(depth)
        if marker == "[":
            return self._array(depth)
        if marker == "S":
            return self._text()
        if marker in "TFN":
            return {"T": True, "F": False, "N": None}[marker]
        need(marker in _SCALARS, _XGBOOST, "handle")
        kind = np.dtype(_SCALARS[marker])
        return np.frombuffer(self._take(kind.itemsize), kind)[0].item()

    def _object(self, depth: int) -> dict[str, Any]:
        content: dict[str, Any] = {}
        while (marker := self._marker()) != "}":
            need(marker == "L", _XGBOOST, "handle")
            self._at -= 1
            name = self._text()
            need(name not in content, _XGBOOST, "handle")
            content[name] = self._value(self._marker(), depth + 1)
        return content

    def _array(self, depth: int) -> Any:
        marker = self._marker()
        if marker == "$":
            kind = np.dtype(_SCALARS.get(self._marker(), ">V1"))
            need(kind.kind != "V" and self._marker() == "#", _XGBOOST, "handle")
            length = self._length()
            need(0 <= length <= len(self._data), _XGBOOST, "handle")
            return np.frombuffer(self._take(length * kind.itemsize), kind)
        need(marker == "#", _XGBOOST, "handle")
        length = self._length()
        need(0 <= length <= len(self._data) - self._at, _XGBOOST, "handle")
        return [self._value(self._marker(), depth + 1) for _ in range(length)]
