"""Pack trees as libraries keep them into `waterflow_cli.models.portable.trees.Trees`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.models.portable.trees import CHILD_SHIFT, LEAF_RANK, RANK_SHIFT, Trees

_MOST = float(np.finfo(np.float64).max)


class Tree(NamedTuple):
    """A tree; arrays of shape (n_nodes,), the root first.

    A value goes left if it is at most the threshold. Children of leaves mean nothing.
    """

    is_leaf: BoolArray
    feature: IntArray
    threshold: FloatArray
    left: IntArray
    right: IntArray
    value: FloatArray
    missing_left: BoolArray


def pack(trees: Sequence[Tree], *, filled: bool, **more: Any) -> Trees:
    """Pack trees.

    Parameters
    ----------
    filled : bool
        Whether no value will be missing.
    **more : object
        The numbers of `waterflow_cli.models.portable.trees.Trees`.
    """
    trees = [_tidy(tree, filled=filled) for tree in trees]
    split = [~tree.is_leaf for tree in trees]
    # A column is a measurement and the way of what is missing.
    keys = [2 * tree.feature + ~tree.missing_left for tree in trees]
    columns, thresholds = [0], [np.empty(0)]
    asked = np.concatenate([key[mask] for key, mask in zip(keys, split, strict=True)])
    values = np.concatenate([t.threshold[mask] for t, mask in zip(trees, split, strict=True)])
    if len(asked):
        columns = np.unique(asked).tolist()
        thresholds = [np.unique(values[asked == column]) for column in columns]
    words, leaves, roots, first = [], [], [], 0
    for tree, key in zip(trees, keys, strict=True):
        order = _by_depth(tree)
        words.append(_words(tree, order, np.searchsorted(columns, key), thresholds, first))
        leaves.append(tree.value[order])
        roots.append(first)
        first += len(order)
    return Trees(
        words=np.concatenate(words),
        values=np.concatenate(leaves).astype(np.float64),
        roots=np.array(roots, dtype=np.int64),
        thresholds=np.concatenate(thresholds),
        ends=np.cumsum(list(map(len, thresholds))),
        measurements=np.array(columns) // 2,
        missing_right=np.array(columns) % 2 == 1,
        **more,
    )


def _tidy(tree: Tree, *, filled: bool) -> Tree:
    """Make thresholds finite: what is beyond the largest number is missing."""
    missing_left = np.ones_like(tree.is_leaf) if filled else tree.missing_left
    threshold = np.clip(tree.threshold, -_MOST, _MOST)
    return tree._replace(threshold=threshold, missing_left=missing_left)


def _by_depth(tree: Tree) -> IntArray:
    """List the nodes of a tree level by level, the children of a node side by side."""
    levels = [np.zeros(1, dtype=np.int64)]
    while len(parents := levels[-1][~tree.is_leaf[levels[-1]]]):
        levels.append(np.column_stack([tree.left[parents], tree.right[parents]]).ravel())
    return np.concatenate(levels)


def _words(
    tree: Tree, order: IntArray, column: IntArray, thresholds: Sequence[FloatArray], first: int
) -> IntArray:
    position = np.zeros(len(tree.value), dtype=np.int64)
    position[order] = np.arange(first, first + len(order))
    is_leaf, column = tree.is_leaf[order], column[order]
    rank = np.full(len(order), LEAF_RANK)
    for place, known in enumerate(thresholds):
        asks = ~is_leaf & (column == place)
        rank[asks] = np.searchsorted(known, tree.threshold[order][asks])
    child = np.where(is_leaf, position[order], position[np.where(is_leaf, 0, tree.left[order])])
    words: IntArray = (child << CHILD_SHIFT) | (rank << RANK_SHIFT) | np.where(is_leaf, 0, column)
    return words
