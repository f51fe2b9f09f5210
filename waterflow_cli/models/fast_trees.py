"""Score forests and boosted trees several times faster than scikit-learn, with equal bits.

scikit-learn walks one row at a time down each tree, and waits for memory at every step. Here

- each measurement is replaced by its *rank* among the thresholds that the ensemble itself uses,
  found once a row. Comparing ranks answers every question that the trees ask of the value;
- a node is one 64-bit word: child, rank of the threshold, measurement. Siblings are neighbours, so
  a step is ``child + (rank of the value > rank of the threshold)``, without a branch. A leaf
  points at itself: it can be stepped on any number of times;
- twelve rows are walked down a tree at the same time, so that one row's wait is another's work;
- the leaves' values are added in the order in which scikit-learn adds them. Floating-point sums
  depend on their order, so this is what makes the bits equal.

    bits of a node    63 … 32   31 … 16   15 … 0
                      child     rank      measurement
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numba
import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray

Words = npt.NDArray[np.uint64]

# No value has the highest rank: it marks a leaf, on which every comparison says "stay".
_LEAF_RANK = 0xFFFF
_LEAF_BITS = np.uint64(_LEAF_RANK << 16)
_LOW_BITS = np.uint64(0xFFFF)
_RANK_SHIFT, _CHILD_SHIFT = np.uint64(16), np.uint64(32)
_N_BINS = 4096
# Few enough rows that their ranks stay in the cache while tree after tree reads them.
_ROWS_AT_ONCE = 8192


class _Tree(NamedTuple):
    """A tree as scikit-learn keeps it; arrays of shape (n_nodes,)."""

    is_leaf: BoolArray
    feature: IntArray
    threshold: FloatArray
    left: IntArray
    right: IntArray
    value: FloatArray


class RankTable(NamedTuple):
    """Finds a value's rank among sorted thresholds: a bin narrows it down, bisection ends it.

    Attributes
    ----------
    thresholds : ndarray of float64
        Those of all measurements, one after the other.
    starts : ndarray of int64, shape (n_measurements + 1,)
        Where each measurement's begin.
    low, scale : ndarray of float64, shape (n_measurements,)
        First threshold, and bins per unit.
    bins : ndarray of int64, shape (n_measurements, n_bins + 1)
        How many thresholds lie before each bin.
    single : bool
        Whether values are rounded to float32 first, as scikit-learn's forests do.
    """

    thresholds: FloatArray
    starts: IntArray
    low: FloatArray
    scale: FloatArray
    bins: IntArray
    single: bool


@dataclass(frozen=True, kw_only=True)
class PackedTrees:
    """An ensemble of trees, packed for scoring.

    Attributes
    ----------
    words : ndarray of uint64, shape (n_nodes,)
        The nodes of all trees, each tree's root first and its nodes in order of depth.
    values : ndarray of float64, shape (n_nodes,)
        What a row that ends in a node adds to its sum.
    roots : ndarray of int64, shape (n_trees,)
        Positions of the roots.
    start : float
        What each sum begins with.
    """

    words: Words
    values: FloatArray
    roots: IntArray
    start: float
    table: RankTable

    def sums(self, X: FloatArray) -> FloatArray:
        """Add up the leaves that each row reaches, in the order of the trees; shape (n_samples,).

        No value of X, of shape (n_samples, n_features), may be NaN.
        """
        sums = np.full(len(X), self.start)
        for first in range(0, len(X), _ROWS_AT_ONCE):
            part = X[first : first + _ROWS_AT_ONCE]
            ranks = np.empty(part.shape, dtype=np.uint16)
            _rank_values(part, self.table, ranks)
            _walk(ranks, self.words, self.values, self.roots, sums[first : first + len(part)])
        return sums


def pack_trees(classifier: Any) -> PackedTrees | None:
    """Pack a fitted forest or HistGradientBoostingClassifier; None where that cannot be.

    It can for two classes and plain trees.
    """
    if list(getattr(classifier, "classes_", [])) != [0, 1]:
        return None
    is_forest = type(classifier) in (RandomForestClassifier, ExtraTreesClassifier)
    if is_forest:
        trees, start = [_forest_tree(tree.tree_) for tree in classifier.estimators_], 0.0
    elif type(classifier) is HistGradientBoostingClassifier:
        trees, start = _boosted_trees(classifier)
    else:
        return None
    return _pack(trees, classifier.n_features_in_, start=start, single=is_forest) if trees else None


def positive_probability(classifier: Any, packed: PackedTrees, X: FloatArray) -> FloatArray:
    """Compute what ``classifier.predict_proba(X)[:, 1]`` gives, to the last bit.

    A missing value takes a way of its own through each tree, which ranks cannot tell: where one
    is missing, all the rows are left to scikit-learn.
    """
    if np.isnan(X).any():
        return np.asarray(classifier.predict_proba(X)[:, 1])
    sums = packed.sums(X)
    if type(classifier) is HistGradientBoostingClassifier:
        return np.asarray(expit(sums))
    sums /= len(packed.roots)
    return sums


def _boosted_trees(classifier: Any) -> tuple[list[_Tree], float]:
    """Give the trees, none where they are not plain, and what sums begin with.

    scikit-learn keeps them in private places. Where one is gone, scikit-learn is asked instead.
    """
    try:
        nodes = [predictor.nodes for (predictor,) in classifier._predictors]
        is_plain = not any(tree["is_categorical"].any() for tree in nodes)
        start = float(classifier._baseline_prediction.item())
    except (AttributeError, TypeError, ValueError):
        return [], 0.0
    return list(map(_boosted_tree, nodes)) if is_plain else [], start


def _forest_tree(tree: Any) -> _Tree:
    left = tree.children_left.astype(np.int64)
    return _Tree(
        left < 0,
        tree.feature.astype(np.int64),
        tree.threshold,
        left,
        tree.children_right.astype(np.int64),
        tree.value[:, 0, 1],
    )


def _boosted_tree(nodes: Any) -> _Tree:
    return _Tree(
        nodes["is_leaf"].astype(bool),
        nodes["feature_idx"].astype(np.int64),
        nodes["num_threshold"],
        nodes["left"].astype(np.int64),
        nodes["right"].astype(np.int64),
        nodes["value"],
    )


def _pack(trees: list[_Tree], n_features: int, *, start: float, single: bool) -> PackedTrees | None:
    thresholds = [
        np.unique(np.concatenate([t.threshold[~t.is_leaf & (t.feature == f)] for t in trees]))
        for f in range(n_features)
    ]
    finite = all(np.isfinite(each).all() for each in thresholds)
    n_nodes = sum(len(tree.value) for tree in trees)
    fits = max(map(len, thresholds)) < _LEAF_RANK and n_features <= _LEAF_RANK
    if not (finite and fits and n_nodes < 1 << 32):
        return None
    words, values, roots, first = [], [], [], 0
    for tree in trees:
        order = _by_depth(tree)
        words.append(_pack_nodes(tree, order, thresholds, first))
        values.append(tree.value[order])
        roots.append(first)
        first += len(order)
    return PackedTrees(
        words=np.concatenate(words),
        values=np.concatenate(values).astype(np.float64),
        roots=np.array(roots, dtype=np.int64),
        start=start,
        table=_rank_table(thresholds, single=single),
    )


def _by_depth(tree: _Tree) -> IntArray:
    """List the nodes of a tree level by level, the children of a node side by side."""
    levels = [np.zeros(1, dtype=np.int64)]
    while len(parents := levels[-1][~tree.is_leaf[levels[-1]]]):
        levels.append(np.column_stack([tree.left[parents], tree.right[parents]]).ravel())
    return np.concatenate(levels)


def _pack_nodes(tree: _Tree, order: IntArray, thresholds: list[FloatArray], first: int) -> Words:
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(first, first + len(order))
    is_leaf, feature = tree.is_leaf[order], tree.feature[order]
    rank = np.full(len(order), _LEAF_RANK)
    for f, known in enumerate(thresholds):
        asks = ~is_leaf & (feature == f)
        rank[asks] = np.searchsorted(known, tree.threshold[order][asks])
    child = np.where(is_leaf, position[order], position[tree.left[order]])
    word = (child << 32) | (rank << 16) | np.where(is_leaf, 0, feature)
    return word.astype(np.uint64)


def _rank_table(thresholds: list[FloatArray], *, single: bool) -> RankTable:
    low = np.array([known[0] if len(known) else 0.0 for known in thresholds])
    span = np.array([np.ptp(known) if len(known) else 0.0 for known in thresholds])
    scale = np.divide(_N_BINS, span, out=np.ones_like(span), where=span > 0)
    bins = np.zeros((len(thresholds), _N_BINS + 1), dtype=np.int64)
    for f, known in enumerate(thresholds):
        bin_of = np.minimum((known - low[f]) * scale[f], _N_BINS - 1).astype(np.int64)
        bins[f, 1:] = np.cumsum(np.bincount(bin_of, minlength=_N_BINS))
    starts = np.cumsum([0, *map(len, thresholds)])
    return RankTable(np.concatenate(thresholds), starts, low, scale, bins, single)


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function when it is first called, once for all processes where that can be."""
    try:
        return cast("Callable[..., None]", numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # there is no folder to keep the compiled code in
        return cast("Callable[..., None]", numba.njit(nogil=True)(function))


@_compiled
def _rank_values(X, table, ranks):  # type: ignore[no-untyped-def]
    """Count, for each value, the thresholds below it: value <= threshold k if rank <= k."""
    thresholds, starts, low, scale, bins, single = table
    last_bin = bins.shape[1] - 2
    for f in range(X.shape[1]):
        start = starts[f]
        for row in range(X.shape[0]):
            value = np.float64(np.float32(X[row, f])) if single else X[row, f]
            place = (value - low[f]) * scale[f]
            if not place >= 0:
                ranks[row, f] = 0
                continue
            number = last_bin if place > last_bin else np.int64(place)
            rank, above = bins[f, number], bins[f, number + 1]
            while rank < above:
                middle = (rank + above) >> 1
                if thresholds[start + middle] < value:
                    rank = middle + 1
                else:
                    above = middle
            ranks[row, f] = rank


@numba.njit(inline="always")
def _step(word, words, ranks, row):  # type: ignore[no-untyped-def]
    goes_right = ranks[row, np.int64(word & _LOW_BITS)] > ((word >> _RANK_SHIFT) & _LOW_BITS)
    return words[(word >> _CHILD_SHIFT) + np.uint64(goes_right)]


@_compiled
def _walk(ranks, words, values, roots, sums):  # type: ignore[no-untyped-def]
    """Add to each sum the value of the leaf that its row reaches, tree after tree."""
    n_rows = ranks.shape[0]
    twelves = n_rows - n_rows % 12
    for root in roots:
        top = words[root]
        for row in range(0, twelves, 12):
            a = b = c = d = e = f = g = h = i = j = k = m = top
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
                    i = _step(i, words, ranks, row + 8)
                    j = _step(j, words, ranks, row + 9)
                    k = _step(k, words, ranks, row + 10)
                    m = _step(m, words, ranks, row + 11)
                if (a & b & c & d & e & f & g & h & i & j & k & m) & _LEAF_BITS == _LEAF_BITS:
                    break
            sums[row] += values[a >> _CHILD_SHIFT]
            sums[row + 1] += values[b >> _CHILD_SHIFT]
            sums[row + 2] += values[c >> _CHILD_SHIFT]
            sums[row + 3] += values[d >> _CHILD_SHIFT]
            sums[row + 4] += values[e >> _CHILD_SHIFT]
            sums[row + 5] += values[f >> _CHILD_SHIFT]
            sums[row + 6] += values[g >> _CHILD_SHIFT]
            sums[row + 7] += values[h >> _CHILD_SHIFT]
            sums[row + 8] += values[i >> _CHILD_SHIFT]
            sums[row + 9] += values[j >> _CHILD_SHIFT]
            sums[row + 10] += values[k >> _CHILD_SHIFT]
            sums[row + 11] += values[m >> _CHILD_SHIFT]
        for row in range(twelves, n_rows):
            a = top
            while a & _LEAF_BITS != _LEAF_BITS:
                a = _step(a, words, ranks, row)
            sums[row] += values[a >> _CHILD_SHIFT]
