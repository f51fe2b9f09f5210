"""Trees as libraries keep them become words: breadth first, each tree behind the one before."""

from __future__ import annotations

import numpy as np

from waterflow_cli.models.portable.packing import Tree, pack
from waterflow_cli.models.portable.trees import (
    CHILD_SHIFT,
    COLUMN_MASK,
    LEAF_RANK,
    RANK_SHIFT,
    Trees,
)

MOST = float(np.finfo(np.float64).max)
# The left child of the root is a node, and was numbered after its right child, a leaf.
TREE = Tree(
    is_leaf=np.array([False, True, False, True, True]),
    feature=np.array([3, 0, 1, 0, 0]),
    threshold=np.array([np.inf, 0.0, 2.0, 0.0, 0.0]),
    left=np.array([2, 0, 3, 0, 0]),
    right=np.array([1, 0, 4, 0, 0]),
    value=np.array([0.0, 0.1, 0.0, 0.3, 0.4]),
    missing_left=np.array([True, True, False, True, True]),
)


def packed(*members: Tree, filled: bool = False) -> Trees:
    return pack(members, filled=filled, link="mean", rounds=False, start=0.0, slope=1.0)


def unpacked(ensemble: Trees) -> list[tuple[int, int, int]]:
    words = ensemble.words
    parts = words >> CHILD_SHIFT, (words >> RANK_SHIFT) & LEAF_RANK, words & COLUMN_MASK
    return list(zip(*(part.tolist() for part in parts), strict=True))


def test_nodes_stand_in_order_of_depth_with_siblings_side_by_side() -> None:
    ensemble = packed(TREE)
    assert unpacked(ensemble) == [
        (1, 0, 1),
        (3, 0, 0),
        (2, LEAF_RANK, 0),
        (3, LEAF_RANK, 0),
        (4, LEAF_RANK, 0),
    ]
    assert ensemble.values.tolist() == [0.0, 0.0, 0.1, 0.3, 0.4]


def test_a_column_is_a_measurement_and_a_way_of_what_is_missing() -> None:
    ensemble = packed(TREE, TREE._replace(missing_left=~TREE.missing_left))
    assert ensemble.measurements.tolist() == [1, 1, 3, 3]
    assert ensemble.missing_right.tolist() == [False, True, False, True]


def test_where_nothing_is_missing_each_measurement_has_one_column() -> None:
    ensemble = packed(TREE, TREE._replace(missing_left=~TREE.missing_left), filled=True)
    assert ensemble.measurements.tolist() == [1, 3]
    assert not ensemble.missing_right.any()


def test_thresholds_rise_stand_once_and_are_finite() -> None:
    lower = TREE._replace(threshold=np.array([-np.inf, 0.0, -1.0, 0.0, 0.0]))
    ensemble = packed(TREE, lower, TREE)
    assert ensemble.thresholds.tolist() == [-1.0, 2.0, -MOST, MOST]
    assert ensemble.ends.tolist() == [2, 4]
    assert ensemble.roots.tolist() == [0, 5, 10]


def test_leaves_alone_have_a_column_that_asks_nothing() -> None:
    leaf = Tree(*(np.array(each)[3:4] for each in TREE))
    ensemble = packed(leaf, leaf)
    ensemble.check(4)
    assert len(ensemble.thresholds) == 0
    assert ensemble.ends.tolist() == [0]
    assert ensemble.apply(np.zeros((2, 4))).tolist() == [0.3, 0.3]
