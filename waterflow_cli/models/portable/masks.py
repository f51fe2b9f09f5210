"""Small trees without a walk: which leaf a row reaches is the AND of a few words.

Each node has a mask of the leaves that remain when a row goes right at it: all but those to its
left. The leaf that a row reaches is the leftmost that all its masks leave, as in QuickScorer
(Lucchese et al. 2015, "QuickScorer: a fast algorithm to rank documents with additive ensembles of
regression trees"). A value goes right at all nodes below its rank; so for each column and rank the
masks of every tree are joined beforehand, and a row needs one line of this table for each column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from waterflow_cli.models.portable.trees import Trees

# Bits of a mask, and with them the leaves of the largest tree.
_WIDTHS: dict[int, npt.DTypeLike] = {16: np.uint16, 32: np.uint32, 64: np.uint64}
_MOST_LEAVES = max(_WIDTHS)
# The table is to stay in the cache.
_MOST_BYTES = 4 << 20
# Powers of two times this differ in their highest six bits (a de Bruijn sequence): the place of a
# bit without counting.
DE_BRUIJN, PLACE_SHIFT = np.uint64(0x03F79D71B4CB0A89), np.uint64(58)


class MaskTable(NamedTuple):
    """An ensemble of small trees.

    Attributes
    ----------
    masks : ndarray of uint16, uint32 or uint64, shape (n_lines, n_trees)
        For each column and rank the leaves that remain in each tree.
    starts : ndarray of int64, shape (n_columns,)
        The line of each column's lowest rank.
    values : ndarray of float64, shape (n_trees, 64)
        The leaves' values, each at the place that its bit has by `DE_BRUIJN`.
    """

    masks: npt.NDArray[np.unsignedinteger[Any]]
    starts: IntArray
    values: FloatArray


def mask_table(trees: Trees) -> MaskTable | None:
    """Make the table of an ensemble; None where its trees are too large, or too many."""
    column, rank, child = trees.nodes
    is_leaf = child == np.arange(len(child))
    firsts = np.append(trees.roots, len(child))
    tree = np.repeat(np.arange(len(trees.roots)), np.diff(firsts))
    n_leaves = int(np.bincount(tree, is_leaf).max())
    n_lines = len(trees.thresholds) + len(trees.ends)
    width = min((bits for bits in _WIDTHS if bits >= n_leaves), default=0)
    if not width or n_lines * len(trees.roots) * width // 8 > _MOST_BYTES:
        return None
    first, count = _leaves_below(child, is_leaf)
    bits = np.uint64(1) << first.astype(np.uint64)
    values = np.zeros((len(trees.roots), _MOST_LEAVES))
    place = ((bits * DE_BRUIJN) >> PLACE_SHIFT).astype(np.int64)
    values[tree[is_leaf], place[is_leaf]] = trees.values[is_leaf]
    starts = np.concatenate([[0], trees.ends[:-1]]) + np.arange(len(trees.ends))
    masks = np.full((n_lines, len(trees.roots)), ~np.uint64(0))
    split = np.flatnonzero(~is_leaf)
    left = child[split]
    gone = ((np.uint64(1) << count[left].astype(np.uint64)) - np.uint64(1)) << first[left].astype(
        np.uint64
    )
    lines = starts[column[split]] + rank[split] + 1
    np.bitwise_and.at(masks, (lines, tree[split]), ~gone)
    for start, end in zip(starts, np.append(starts[1:], n_lines), strict=True):
        np.bitwise_and.accumulate(masks[start:end], axis=0, out=masks[start:end])
    return MaskTable(masks.astype(_WIDTHS[width]), starts, values)


def _leaves_below(child: IntArray, is_leaf: BoolArray) -> tuple[IntArray, IntArray]:
    """Give for each node the number of its first leaf from the left, and how many it has."""
    n = len(child)
    count = is_leaf.astype(np.int64)
    for node in range(n - 1, -1, -1):  # children come after their parents
        if not is_leaf[node]:
            count[node] = count[child[node]] + count[child[node] + 1]
    first = np.zeros(n, dtype=np.int64)
    for node in range(n):
        if not is_leaf[node]:
            first[child[node]] = first[node]
            first[child[node] + 1] = first[node] + count[child[node]]
    return first, count
