"""Whether the nodes of decision trees are trees, before compiled code walks down them.

A child outside its tree ends the process, one that leads back never ends. The nodes of all trees of
a file are checked together: a forest has hundreds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray


class UnsoundError(Exception):
    """A part of an estimator is not as fitting makes it.

    Parameters
    ----------
    part : object
        Whose class is named; or the name.
    field : str
        What is wrong in it.
    """

    def __init__(self, part: Any, field: str) -> None:
        self.part = part if isinstance(part, str) else type(part).__name__
        self.field = field
        super().__init__(f"{self.part}.{field}")


def need(holds: Any, part: Any, field: str) -> None:
    """Raise where something does not hold.

    Raises
    ------
    UnsoundError
        Naming the part and the field.
    """
    if not holds:
        raise UnsoundError(part, field)


def check_links(
    part: str,
    children: tuple[IntArray, IntArray],
    is_leaf: BoolArray,
    sizes: Sequence[int],
    *,
    is_whole: bool = True,
) -> None:
    """Check that binary trees, one after the other, are trees.

    In all libraries a child is made after its parent and so has a higher number: no way leads back.
    A node is the child of one other, and the first of a tree of none.

    Parameters
    ----------
    children : pair of ndarray of int64, shape (n_nodes,)
        Left and right, counted within their own tree.
    sizes : sequence of int
        Nodes of each tree.
    is_whole : bool
        Whether each node must be reached.
    """
    counts = np.asarray(sizes, dtype=np.int64)
    need(len(counts) and (counts > 0).all(), part, "node_count")
    firsts = np.cumsum(counts) - counts
    first, size = (np.repeat(each, counts)[~is_leaf] for each in (firsts, counts))
    own = np.flatnonzero(~is_leaf) - first
    reached = np.zeros(len(is_leaf), dtype=np.int64)
    reached[firsts] = 1
    for name, side in zip(("left_child", "right_child"), children, strict=True):
        child = side[~is_leaf]
        need(((child > own) & (child < size)).all(), part, name)
        reached += np.bincount(child + first, minlength=len(reached))
    need((reached == 1).all() if is_whole else (reached <= 1).all(), part, "left_child")


def check_tree_state(arguments: Any, state: Any) -> None:
    """Check that scikit-learn can make a Tree of a state; `check_trees` checks what is in it."""
    part = "Tree"
    need(type(arguments) is tuple and len(arguments) == 3, part, "arguments")
    n_features, n_classes, n_outputs = arguments
    need(is_count(n_features), part, "n_features")
    need(is_array(n_classes, "iu", 1) and len(n_classes), part, "n_classes")
    need(n_classes.min() >= 1, part, "n_classes")
    need(is_count(n_outputs) and n_outputs == len(n_classes), part, "n_outputs")
    need(type(state) is dict and {*state} >= {"max_depth", "node_count"}, part, "state")
    nodes, values = state.get("nodes"), state.get("values")
    need(is_array(nodes, "V", 1) and len(nodes), part, "nodes")
    names = ("left_child", "right_child", "feature", "threshold")
    need({*names} <= {*(nodes.dtype.names or ())}, part, "nodes")
    need(all(nodes.dtype[name].kind in "if" for name in names), part, "nodes")
    need(is_count(state["node_count"]) and state["node_count"] == len(nodes), part, "node_count")
    need(is_count(state["max_depth"], 0) and state["max_depth"] <= len(nodes), part, "max_depth")
    need(is_array(values, "f", 3), part, "values")
    need(values.shape == (len(nodes), n_outputs, n_classes.max()), part, "values")


def check_trees(trees: Sequence[tuple[tuple[Any, ...], Mapping[str, Any]]]) -> None:
    """Check the nodes of the Trees of arguments and states that `check_tree_state` accepted."""
    if not trees:
        return
    fields = ("left_child", "right_child", "feature", "threshold")
    nodes = [state["nodes"] for _, state in trees]
    left, right, feature, threshold = (
        np.concatenate([each[name] for each in nodes]) for name in fields
    )
    sizes, is_leaf = list(map(len, nodes)), left == -1
    need((right[is_leaf] == -1).all(), "Tree", "right_child")
    check_links("Tree", (left, right), is_leaf, sizes)
    _check_splits(
        "Tree", feature, threshold, ~is_leaf, np.repeat([each[0] for each, _ in trees], sizes)
    )
    need(all(np.isfinite(state["values"]).all() for _, state in trees), "Tree", "values")


def check_predictors(predictors: Sequence[Any]) -> None:
    """Check all trees of histogram gradient boosting together."""
    part = "TreePredictor"
    for each in predictors:
        need(is_array(vars(each).get("nodes"), "V", 1) and len(each.nodes), part, "nodes")
        need(vars(each).get("raw_left_cat_bitsets") is not None, part, "raw_left_cat_bitsets")
        for name in ("raw_left_cat_bitsets", "binned_left_cat_bitsets"):
            bitsets = vars(each).get(name)
            need(is_array(bitsets, "u", 2) and bitsets.dtype == np.uint32, part, name)
    if not predictors:
        return
    nodes = np.concatenate([each.nodes for each in predictors])
    left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
    is_leaf = nodes["is_leaf"] != 0
    check_links(part, (left, right), is_leaf, [len(each.nodes) for each in predictors])
    _check_splits(part, nodes["feature_idx"], nodes["num_threshold"], ~is_leaf, None)
    need(np.isfinite(nodes["value"]).all(), part, "value")
    need(not nodes["is_categorical"].any(), part, "is_categorical")


def _check_splits(
    part: str, feature: IntArray, threshold: FloatArray, is_split: BoolArray, n_features: Any
) -> None:
    asked = feature[is_split]
    need((asked >= 0).all(), part, "feature")
    if n_features is not None:
        need((asked < n_features[is_split]).all(), part, "feature")
    # Not finite: scikit-learn splits off missing values at infinity.
    need(not np.isnan(threshold[is_split]).any(), part, "threshold")


def is_a(part: Any, name: str) -> bool:
    """Say whether an object is of a class, named in full, or of one that is made of it."""
    return any(f"{cls.__module__}.{cls.__qualname__}" == name for cls in type(part).__mro__)


def is_count(value: Any, least: int = 1) -> bool:
    """Say whether a value is a whole number of 32 bits, and at least so many."""
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return bool(is_whole and least <= value < 1 << 31)


def is_array(value: Any, kinds: str, n_dimensions: int) -> bool:
    """Say whether a value is a plain array of some kinds of NumPy's, in this machine's order."""
    return (
        type(value) is np.ndarray
        and value.dtype.kind in kinds
        and value.dtype.isnative
        and value.ndim == n_dimensions
    )


def is_number(value: Any) -> bool:
    """Say whether a value is a finite number that double precision can hold."""
    try:
        is_one = isinstance(value, (int, float, np.integer, np.floating))
        return is_one and math.isfinite(value)
    except OverflowError:
        return False
