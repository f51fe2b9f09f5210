"""The walk down an ensemble of trees, compiled: for so many rows that importing numba is worth it.

Eight rows are walked down a tree at the same time, so that one row's wait for memory is another's
work; more than that find no room in the registers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray, compiled
from waterflow_cli.models.portable.masks import DE_BRUIJN as _DE_BRUIJN
from waterflow_cli.models.portable.masks import PLACE_SHIFT as _PLACE_SHIFT
from waterflow_cli.models.portable.trees import (
    CHILD_SHIFT,
    COLUMN_MASK,
    LEAF_BITS,
    LEAF_RANK,
    RANK_SHIFT,
)

if TYPE_CHECKING:
    from waterflow_cli.models.portable.trees import Trees

# Unsigned: numba looks whether a signed place is negative, and counts from the end then.
_LEAF_BITS, _COLUMN_MASK, _LEAF_RANK = map(np.uint64, (LEAF_BITS, COLUMN_MASK, LEAF_RANK))
_RANK_SHIFT, _CHILD_SHIFT = np.uint64(RANK_SHIFT), np.uint64(CHILD_SHIFT)
_MOST_USUAL = 1e300
_N_BINS = 4096
_MOST_SCALE = float(np.finfo(np.float64).max)
# Few enough rows that their ranks stay in the cache while tree after tree reads them.
_ROWS_AT_ONCE = 8192


class RankTable(NamedTuple):
    """Finds a value's rank among sorted thresholds: a bin narrows it down, bisection ends it.

    Attributes
    ----------
    thresholds : ndarray of float64
        Those of all columns, one after the other.
    starts : ndarray of int64, shape (n_columns,)
        Where each column's begin.
    measurements, missing_right
        See `waterflow_cli.models.portable.trees.Trees`.
    low, scale : ndarray of float64, shape (n_columns,)
        First threshold, and bins per unit.
    bins : ndarray of int64, shape (n_columns, n_bins + 1)
        How many thresholds lie before each bin.
    rounds : bool
        Whether values are rounded to single precision first.
    """

    thresholds: FloatArray
    starts: IntArray
    measurements: IntArray
    missing_right: BoolArray
    low: FloatArray
    scale: FloatArray
    bins: IntArray
    rounds: bool


def rank_table(trees: Trees) -> RankTable:
    """Prepare the thresholds of an ensemble."""
    columns = np.split(trees.thresholds, trees.ends[:-1])
    low = np.array([known[0] if len(known) else 0.0 for known in columns])
    # The threshold beyond which only what is missing lies would stretch the bins.
    usual = [known[np.abs(known) < _MOST_USUAL] for known in columns]
    span = np.array([np.ptp(known) if len(known) else 0.0 for known in usual])
    with np.errstate(over="ignore"):
        scale = np.divide(_N_BINS, span, out=np.ones_like(span), where=span > 0)
    # Thresholds closer than that share a bin.
    scale = np.minimum(scale, _MOST_SCALE)
    bins = np.zeros((len(columns), _N_BINS + 1), dtype=np.int64)
    for place, known in enumerate(columns):
        with np.errstate(over="ignore"):
            bin_of = np.minimum((known - low[place]) * scale[place], _N_BINS - 1).astype(np.int64)
        bins[place, 1:] = np.cumsum(np.bincount(bin_of, minlength=_N_BINS))
    starts = np.concatenate([np.zeros(1, dtype=np.int64), trees.ends[:-1]])
    return RankTable(
        thresholds=trees.thresholds,
        starts=starts,
        measurements=trees.measurements,
        missing_right=trees.missing_right,
        low=low,
        scale=scale,
        bins=bins,
        rounds=trees.rounds,
    )


def sums_of(trees: Trees, X: FloatArray) -> FloatArray:
    """Add up the leaves that each row reaches, in the order of the trees; shape (n_samples,)."""
    kind = np.float32 if trees.link == "logistic_single" else np.float64
    sums = np.full(len(X), trees.start, dtype=kind)
    words, values, small = trees.words.view(np.uint64), trees.values, trees.masks
    for first in range(0, len(X), _ROWS_AT_ONCE):
        part = X[first : first + _ROWS_AT_ONCE]
        ranks = np.empty((len(part), len(trees.ends)), dtype=np.uint32)
        _rank_values(part, trees.ranks, ranks)
        here = sums[first : first + len(part)]
        if small is None:
            _walk(ranks, words, values.astype(kind, copy=False), trees.roots, here)
        else:
            _join(ranks, small.masks, small.starts, small.values.astype(kind, copy=False), here)
    return np.asarray(sums)


@compiled
def _rank_values(X, table, ranks):  # type: ignore[no-untyped-def]
    """Count, for each value, the thresholds below it: value <= threshold k if rank <= k."""
    thresholds, starts, measurements, missing_right, low, scale, bins, rounds = table
    last_bin = bins.shape[1] - 2
    for column in range(len(starts)):
        start = starts[column]
        for row in range(X.shape[0]):
            value = X[row, measurements[column]]
            if rounds:
                value = np.float64(np.float32(value))
            place = (value - low[column]) * scale[column]
            if not place >= 0:
                is_right = missing_right[column] and np.isnan(value)
                ranks[row, column] = bins[column, last_bin + 1] if is_right else 0
                continue
            number = last_bin if place > last_bin else np.int64(place)
            rank, above = bins[column, number], bins[column, number + 1]
            while rank < above:
                middle = (rank + above) >> 1
                if thresholds[start + middle] < value:
                    rank = middle + 1
                else:
                    above = middle
            ranks[row, column] = rank


@numba.njit(inline="always")
def _leave(left, masks, starts, ranks, row):  # type: ignore[no-untyped-def]
    """Join the masks of a row, those of two columns at a time."""
    n_columns = len(starts)
    left[:] = masks[starts[0] + ranks[row, 0]]
    for column in range(1, n_columns, 2):
        other = min(column + 1, n_columns - 1)
        one = masks[starts[column] + ranks[row, column]]
        two = masks[starts[other] + ranks[row, other]]
        for tree in range(len(left)):
            left[tree] &= one[tree] & two[tree]


@numba.njit(inline="always")
def _leaf(values, tree, left):  # type: ignore[no-untyped-def]
    mask = np.uint64(left[tree])
    return values[tree, ((mask & (~mask + np.uint64(1))) * _DE_BRUIJN) >> _PLACE_SHIFT]


@compiled
def _join(ranks, masks, starts, values, sums):  # type: ignore[no-untyped-def]
    """Add to each sum the values of the leaves that all masks leave, tree after tree.

    Four rows at a time, for each waits for its own sum.
    """
    n_rows, n_trees = ranks.shape[0], masks.shape[1]
    left = np.empty((4, n_trees), dtype=masks.dtype)
    a, b, c, d = left[0], left[1], left[2], left[3]
    fours = n_rows - n_rows % 4
    for row in range(0, fours, 4):
        _leave(a, masks, starts, ranks, row)
        _leave(b, masks, starts, ranks, row + 1)
        _leave(c, masks, starts, ranks, row + 2)
        _leave(d, masks, starts, ranks, row + 3)
        p, q, r, s = sums[row], sums[row + 1], sums[row + 2], sums[row + 3]
        for tree in range(n_trees):
            p += _leaf(values, tree, a)
            q += _leaf(values, tree, b)
            r += _leaf(values, tree, c)
            s += _leaf(values, tree, d)
        sums[row], sums[row + 1], sums[row + 2], sums[row + 3] = p, q, r, s
    for row in range(fours, n_rows):
        _leave(a, masks, starts, ranks, row)
        for tree in range(n_trees):
            sums[row] += _leaf(values, tree, a)


@numba.njit(inline="always")
def _step(word, words, ranks, row):  # type: ignore[no-untyped-def]
    goes_right = ranks[row, word & _COLUMN_MASK] > ((word >> _RANK_SHIFT) & _LEAF_RANK)
    return words[(word >> _CHILD_SHIFT) + np.uint64(goes_right)]


@compiled
def _walk(ranks, words, values, roots, sums):  # type: ignore[no-untyped-def]
    """Add to each sum the value of the leaf that its row reaches, tree after tree."""
    n_rows = ranks.shape[0]
    eights = n_rows - n_rows % 8
    for root in roots:
        top = words[root]
        for row in range(0, eights, 8):
            a = b = c = d = e = f = g = h = top
            while True:
                for _ in range(2):
                    a = _step(a, words, ranks, row)
                    b = _step(b, words, ranks, row + 1)
                    c = _step(c, words, ranks, row + 2)
                    d = _step(d, words, ranks, row + 3)
                    e = _step(e, words, ranks, row + 4)
                    f = _step(f, words, ranks, row + 5)
                    g = _step(g, words, ranks, row + 6)
                    h = _step(h, words, ranks, row + 7)
                if (a & b & c & d & e & f & g & h) & _LEAF_BITS == _LEAF_BITS:
                    break
            sums[row] += values[a >> _CHILD_SHIFT]
            sums[row + 1] += values[b >> _CHILD_SHIFT]
            sums[row + 2] += values[c >> _CHILD_SHIFT]
            sums[row + 3] += values[d >> _CHILD_SHIFT]
            sums[row + 4] += values[e >> _CHILD_SHIFT]
            sums[row + 5] += values[f >> _CHILD_SHIFT]
            sums[row + 6] += values[g >> _CHILD_SHIFT]
            sums[row + 7] += values[h >> _CHILD_SHIFT]
        for row in range(eights, n_rows):
            a = top
            while a & _LEAF_BITS != _LEAF_BITS:
                a = _step(a, words, ranks, row)
            sums[row] += values[a >> _CHILD_SHIFT]
