"""Forests and boosted trees, packed so that each step down a tree reads one word.

scikit-learn walks one row at a time down each tree, and waits for memory at every step. Here

- each measurement is replaced by its *rank* among the thresholds that the ensemble itself uses,
  found once a row. Comparing ranks answers every question that the trees ask of the value;
- a node is one 64-bit word: child, rank of the threshold, column. Siblings are neighbours, so a
  step is ``child + (rank of the value > rank of the threshold)``, without a branch. A leaf points
  at itself: it can be stepped on any number of times;
- a column of ranks is a measurement together with the way of what is missing: such a value ranks
  below all thresholds in one column, and above all in another;
- the leaves' values are added in the order in which the libraries add them. Floating-point sums
  depend on their order, so this is what makes the bits equal.

    bits of a node    62 … 36   35 … 12   11 … 0
                      child     rank      column
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.models.portable.logistic import expit, expit_single
from waterflow_cli.models.portable.tree_structure import need

if TYPE_CHECKING:
    from waterflow_cli.models.portable.compiled import RankTable
    from waterflow_cli.models.portable.masks import MaskTable

COLUMN_BITS, RANK_BITS, CHILD_BITS = 12, 24, 27
RANK_SHIFT, CHILD_SHIFT = COLUMN_BITS, COLUMN_BITS + RANK_BITS
COLUMN_MASK = (1 << COLUMN_BITS) - 1
# No value has the highest rank: it marks a leaf, on which every comparison says "stay".
LEAF_RANK = (1 << RANK_BITS) - 1
LEAF_BITS = LEAF_RANK << COLUMN_BITS
# How a sum becomes a probability.
_LINKS = ("mean", "logistic", "logistic_single")
# Rows times trees after which importing the compiled walk (some 0.5 CPU seconds) has cost no more
# than NumPy's has so far.
_WORTH_COMPILING = 1_000_000
# As many of these as there can be nodes do not add up to more than single precision holds.
_MOST_VALUE = 1e30
# Trees as deep as that are no sensible ones, and would take long to walk down.
_MOST_LEVELS = 1000
# Bounds the memory of NumPy's walk: positions at a time.
_CELLS_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Trees:
    """An ensemble of trees.

    Attributes
    ----------
    link : str
        ``mean`` of the trees, ``logistic`` function of `slope` times their sum, or
        ``logistic_single``, XGBoost's, which adds in single precision.
    rounds : bool
        Whether values are rounded to single precision before they are compared.
    start : float
        What each sum begins with.
    words : ndarray of int64, shape (n_nodes,)
        The nodes of all trees, each tree's root first and its nodes in order of depth.
    values : ndarray of float64, shape (n_nodes,)
        What a row that ends in a node adds to its sum.
    roots : ndarray of int64, shape (n_trees,)
        Positions of the roots.
    thresholds : ndarray of float64
        Those of all columns of ranks, one after the other, each column's rising.
    ends : ndarray of int64, shape (n_columns,)
        Where each column's thresholds end.
    measurements : ndarray of int64, shape (n_columns,)
        Of which measurement a column is.
    missing_right : ndarray of bool, shape (n_columns,)
        Whether what is missing goes right.
    """

    kind: ClassVar[str] = "trees"
    arrays: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("words", "roots", "ends", "measurements"), "i8"),
        **dict.fromkeys(("values", "thresholds"), "f8"),
        "missing_right": "b1",
    }
    link: str
    rounds: bool
    start: float
    slope: float
    words: IntArray
    values: FloatArray
    roots: IntArray
    thresholds: FloatArray
    ends: IntArray
    measurements: IntArray
    missing_right: BoolArray

    def check(self, n_columns: int) -> None:
        """See `waterflow_cli.models.portable.parts.Part`."""
        need(self.link in _LINKS, self.kind, "link")
        n = len(self.ends)
        need(0 < n <= 1 << COLUMN_BITS, self.kind, "ends")
        # Compared and not subtracted: a difference of extremes turns its sign.
        need((self.ends >= self._starts).all(), self.kind, "ends")
        need(self.ends[0] >= 0 and self.ends[-1] == len(self.thresholds), self.kind, "ends")
        lengths = self.ends - self._starts
        need((lengths < LEAF_RANK).all(), self.kind, "thresholds")
        rises = np.ones(len(self.thresholds), dtype=bool)
        rises[1:] = self.thresholds[1:] > self.thresholds[:-1]
        rises[self._starts[lengths > 0]] = True
        need(rises.all(), self.kind, "thresholds")
        need(len(self.measurements) == n and len(self.missing_right) == n, self.kind, "columns")
        fits = (self.measurements >= 0) & (self.measurements < n_columns)
        need(fits.all(), self.kind, "measurements")
        self._check_values()
        self._check_nodes(lengths)

    def _check_values(self) -> None:
        """Check that every sum is a number, also in single precision, and its link's a share."""
        need(0 < self.slope <= _MOST_VALUE, self.kind, "slope")
        need(abs(self.start) <= _MOST_VALUE, self.kind, "start")
        need((np.abs(self.values) <= _MOST_VALUE).all(), self.kind, "values")
        if self.link == "mean":
            need(self.start == 0, self.kind, "start")
            need(((self.values >= 0) & (self.values <= 1)).all(), self.kind, "values")

    def _check_nodes(self, lengths: IntArray) -> None:
        """Check that each tree is one: a child comes after its parent, and has no other."""
        n = len(self.words)
        need(0 < n <= 1 << CHILD_BITS and len(self.values) == n, self.kind, "words")
        roots = self.roots
        need(len(roots) and roots[0] == 0 and (roots[1:] > roots[:-1]).all(), self.kind, "roots")
        need(roots[-1] < n, self.kind, "roots")
        column, rank, child = self.nodes
        own = np.arange(n)
        is_leaf = rank == LEAF_RANK
        need((child[is_leaf] == own[is_leaf]).all(), self.kind, "leaves")
        need((column < len(lengths)).all(), self.kind, "column")
        asks = ~is_leaf
        need((rank[asks] < lengths[column[asks]]).all(), self.kind, "rank")
        # In order of depth the pairs of children stand one after the other behind the root.
        sizes = np.diff(roots, append=n)
        n_splits = np.add.reduceat(asks, roots, dtype=np.int64)
        need((2 * n_splits + 1 == sizes).all(), self.kind, "roots")
        is_first = np.ones(n, dtype=bool)
        is_first[roots] = False
        is_first[np.flatnonzero(is_first)[1::2]] = False
        expected = np.flatnonzero(is_first)
        need(np.array_equal(child[asks], expected), self.kind, "child")
        need((child[asks] > own[asks]).all(), self.kind, "child")
        need(_count_levels(roots, sizes, child, asks) <= _MOST_LEVELS, self.kind, "depth")

    @property
    def nodes(self) -> tuple[IntArray, IntArray, IntArray]:
        """The column, the rank and the child of each node."""
        words = self.words
        return words & COLUMN_MASK, (words >> RANK_SHIFT) & LEAF_RANK, words >> CHILD_SHIFT

    @cached_property
    def _starts(self) -> IntArray:
        return np.concatenate([np.zeros(1, dtype=np.int64), self.ends[:-1]])

    @cached_property
    def _pace(self) -> _Pace:
        return _Pace()

    @cached_property
    def ranks(self) -> RankTable:
        """The thresholds, prepared for many rows."""
        from waterflow_cli.models.portable.compiled import rank_table

        return rank_table(self)

    @cached_property
    def masks(self) -> MaskTable | None:
        """Small trees, prepared for many rows."""
        from waterflow_cli.models.portable.masks import mask_table

        return mask_table(self)

    def expect(self, n_rows: int) -> None:
        """Be told that about so many rows will come."""
        self._pace.add(n_rows * len(self.roots))

    def apply(self, X: FloatArray) -> FloatArray:
        """See `waterflow_cli.models.portable.parts.Part`."""
        if self._pace.add(len(X) * len(self.roots)):
            from waterflow_cli.models.portable.compiled import sums_of

            sums = sums_of(self, X)
        else:
            sums = self._sums(X)
        if self.link == "mean":
            return sums / len(self.roots)
        if self.link == "logistic":
            return expit(self.slope * sums)
        return expit_single(sums.astype(np.float32)).astype(np.float64)

    def _sums(self, X: FloatArray) -> FloatArray:
        """Add up the leaves that each row reaches, in the order of the trees."""
        n_rows = max(_CELLS_AT_ONCE // len(self.roots), 1)
        parts = [self._walk(X[first : first + n_rows]) for first in range(0, len(X), n_rows)]
        return np.concatenate([np.empty(0), *parts])

    def _walk(self, X: FloatArray) -> FloatArray:
        ranks, n_columns = self._ranks(X).ravel(), len(self.ends)
        first = np.tile(np.arange(len(X)) * n_columns, len(self.roots))
        words = np.repeat(self.words[self.roots], len(X))
        going = np.flatnonzero((words & LEAF_BITS) != LEAF_BITS)
        while len(going):
            here = words[going]
            value = ranks[first[going] + (here & COLUMN_MASK)]
            goes_right = value > ((here >> RANK_SHIFT) & LEAF_RANK)
            words[going] = here = self.words[(here >> CHILD_SHIFT) + goes_right]
            going = going[(here & LEAF_BITS) != LEAF_BITS]
        leaves = self.values[words >> CHILD_SHIFT].reshape(len(self.roots), len(X))
        # A plain sum would add in pairs.
        single = self.link == "logistic_single"
        terms = np.concatenate([np.full((1, len(X)), self.start), leaves])
        sums: FloatArray = np.cumsum(terms.astype(np.float32) if single else terms, axis=0)[-1]
        return sums

    def _ranks(self, X: FloatArray) -> IntArray:
        """Count, for each value, the thresholds below it: value <= threshold k if rank <= k."""
        ranks = np.empty((len(X), len(self.ends)), dtype=np.int64)
        columns = zip(self._starts, self.ends, self.measurements, self.missing_right, strict=True)
        for place, (start, end, measurement, missing_right) in enumerate(columns):
            values = X[:, measurement]
            if self.rounds:
                with np.errstate(over="ignore"):
                    values = values.astype(np.float32).astype(np.float64)
            ranks[:, place] = np.searchsorted(self.thresholds[start:end], values)
            if not missing_right:  # NumPy sorts what is missing behind all others
                ranks[np.isnan(values), place] = 0
        return ranks


def _count_levels(roots: IntArray, sizes: IntArray, child: IntArray, asks: BoolArray) -> int:
    """Count the levels of the deepest tree below its root, but no further than is let through."""
    splits = np.flatnonzero(asks)
    starts, ends = roots, roots + sizes
    for n_levels in range(_MOST_LEVELS + 1):
        # The next level begins with the children of the first node that asks in this one.
        place = np.searchsorted(splits, starts)
        inside = place < np.searchsorted(splits, ends)
        if not inside.any():
            return n_levels
        starts, ends = child[splits[place[inside]]], ends[inside]
    return _MOST_LEVELS + 1


class _Pace:
    """Counts the work of an ensemble, which threads may share."""

    def __init__(self) -> None:
        self._lock, self._work = Lock(), 0

    def add(self, work: int) -> bool:
        """Add rows times trees, and say whether they are many."""
        with self._lock:
            self._work += work
            return self._work > _WORTH_COMPILING
