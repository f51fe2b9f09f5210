"""Rows that are copies of one another, to the last digit or nearly so: they must share a fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.models.reference import HashArray, hash_rows

if TYPE_CHECKING:
    import pandas as pd

# A row is near another where it lies this much nearer to it than to rows drawn at random. Rows with
# so few measurements, or so coarse ones, that more than one in a thousand would are not judged.
_NEAR, _BY_CHANCE = 0.02, 1e-3
_N_LANDMARKS, _LANDMARK = 200, 5
# Copies stay about as many where one measurement is left out, or the reach is wider; what is equal
# or near by chance becomes more.
_AS_MANY, _WIDER = 1.5, 4.0
# Where fewer of the rows that are equal to others seem to be copies, none is; nor where they are
# fewer than so many times what chance makes.
_MOST_OF_EQUALS, _OFTEN_ENOUGH = 0.5, 100
# Fewer near copies are chance, or one sample that was analysed twice.
FEWEST_NEAR, FEWEST_NEAR_SHARE = 20, 0.01
# So many rows are looked at for near copies; the others only where these hold some.
MOST_SEARCHED = 20_000
# How far, in standard deviations, a missing cell lies from one that is not.
_GAP = 2.0
# Standard deviations of a normal distribution from one quartile to the other.
_QUARTILES = 1.349


@dataclass(frozen=True)
class Copies:
    """Which rows are copies of which.

    Attributes
    ----------
    sources : ndarray of int64, shape (n_samples,)
        Position of the first row that a row is a copy of; its own where it is of none.
    n_exact, n_near : int
        Rows that repeat an earlier row; those that nearly do, and are none of the former.
    """

    sources: IntArray
    n_exact: int
    n_near: int

    @property
    def any(self) -> bool:
        """Whether there is a copy."""
        return bool(self.n_exact + self.n_near)


def relative_sources(labels: IntArray | HashArray) -> IntArray:
    """Give for each row the first one with its label, by position.

    >>> relative_sources(np.array([7, 3, 7, 3])).tolist()
    [0, 1, 0, 1]
    """
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.int64)


def find_copies(X: pd.DataFrame, seed: int = 0) -> Copies:
    """Find copies among rows, shape (n_samples, n_measurements); NaN is missing.

    Rows whose measurements are so coarse that equal rows come about by chance are none. Near
    copies are taken for such from 1 % of the rows on, and where there are 20.
    """
    exact = _exact_sources(X)
    distinct = np.flatnonzero(exact == np.arange(len(X)))
    near = _near_sources(X.iloc[distinct], seed)
    n_near = int((near != np.arange(len(distinct))).sum())
    sources = np.arange(len(X))
    sources[distinct] = distinct[near]
    return Copies(sources[exact], len(X) - len(distinct), n_near)


def _exact_sources(X: pd.DataFrame) -> IntArray:
    """Give for each row the first row that it repeats, unless that is a matter of chance.

    Where measurements are coarse, leaving one of them out makes far more rows equal; copies stay as
    many as they are.
    """
    every, X = np.arange(len(X)), X.loc[:, (X.nunique() > 1).to_numpy()]
    hashes = hash_rows(X)
    counts = _counts(hashes)
    repeated = (counts > 1) & X.notna().any(axis=1).to_numpy()
    if not repeated.any():
        return every
    copied = repeated
    for name in X:
        without = _counts(hash_rows(X.drop(columns=name)))
        copied = copied & (without < _AS_MANY * counts)
    is_most = copied.sum() >= _MOST_OF_EQUALS * repeated.sum()
    if not is_most or copied.sum() <= _OFTEN_ENOUGH * _equal_by_chance(X):
        return every
    return np.where(copied, relative_sources(hashes), every)


def _equal_by_chance(X: pd.DataFrame) -> float:
    """Say how many pairs of rows were equal if measurements were independent of one another."""
    shares = [X[name].value_counts(dropna=False, normalize=True).to_numpy() for name in X]
    return float(len(X) ** 2 / 2 * np.prod([(each**2).sum() for each in shares]))


def _counts(hashes: HashArray) -> IntArray:
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse])


def _near_sources(X: pd.DataFrame, seed: int) -> IntArray:
    """Give for each row the first row that it nearly repeats; its own position for the others."""
    every, random = np.arange(len(X)), np.random.default_rng(seed)
    values = standardised(X)
    if len(X) < FEWEST_NEAR or not values.shape[1]:
        return every
    landmarks = values[random.choice(len(X), min(_N_LANDMARKS, len(X)), replace=False)]
    search = _Search(with_gaps(values), with_gaps(landmarks, like=values))
    tellable = np.flatnonzero(_chance(values, landmarks, search) <= _BY_CHANCE)
    searched = random.permutation(tellable)[:MOST_SEARCHED]
    (rows, found), (wider, _) = search.pairs(searched), search.pairs(searched, _WIDER)
    fewest = max(FEWEST_NEAR, FEWEST_NEAR_SHARE * len(searched))
    if len(np.unique(rows)) < fewest or len(wider) > _AS_MANY * len(rows):
        return every
    if len(searched) < len(tellable):
        rows, found = search.pairs(tellable)
    links = coo_array((np.ones(len(rows), dtype=bool), (rows, found)), shape=(len(X), len(X)))
    return relative_sources(connected_components(links, directed=False)[1])


class _Search:
    """Looks for rows that lie far nearer to each other than to the landmarks, drawn at random."""

    def __init__(self, points: FloatArray, landmarks: FloatArray) -> None:
        self._points, self._landmarks = points, cKDTree(landmarks)
        self._tree = cKDTree(points, balanced_tree=False, compact_nodes=False)

    def reach(self, rows: IntArray) -> FloatArray:
        """Say how far each row's near copies may lie."""
        nearest = [min(_LANDMARK, self._landmarks.n)]
        return np.asarray(_NEAR * self._landmarks.query(self._points[rows], k=nearest)[0][:, 0])

    def pairs(self, rows: IntArray, widened: float = 1.0) -> tuple[IntArray, IntArray]:
        """Pair rows with neighbours that they nearly repeat, or that lie in a wider reach."""
        if not len(rows):
            return rows, rows
        reach, points = widened * self.reach(rows), self._points[rows]
        most = float(reach.max()) * (1 + 1e-9)
        distance, found = self._tree.query(points, k=4, distance_upper_bound=most)
        near = (distance <= reach[:, None]) & (found != rows[:, None])
        return np.repeat(rows, near.sum(axis=1)), np.asarray(found[near], dtype=np.int64)


def _chance(values: FloatArray, landmarks: FloatArray, search: _Search) -> FloatArray:
    """Say how many other rows lie near each row by chance, as if measurements were independent."""
    drawn = np.linspace(0, len(values) - 1, _N_LANDMARKS).astype(np.int64)
    usual = np.median(search.reach(drawn))
    apart = np.abs(landmarks[:, None] - landmarks[None])
    is_pair = ~np.isnan(apart) & ~np.eye(len(landmarks), dtype=bool)[:, :, None]
    n_pairs = is_pair.sum(axis=(0, 1))
    share = ((apart <= usual) & is_pair).sum(axis=(0, 1)) + 1
    logs = np.where(np.isnan(values), 0.0, np.log(np.minimum(share / np.maximum(n_pairs, 1), 1)))
    return np.asarray(len(values) * np.exp(logs.sum(axis=1)))


def standardised(X: pd.DataFrame) -> FloatArray:
    """Scale the measurements that vary, by median and quartiles, which outliers do not move."""
    values = X.to_numpy(np.float64)
    values = values[:, [len(np.unique(each[~np.isnan(each)])) > 1 for each in values.T]]
    if not values.size:
        return values
    return np.asarray((values - np.nanmedian(values, axis=0)) / spreads(values))


def spreads(values: FloatArray) -> FloatArray:
    """Give a spread of each column that outliers do not move; of nearly equal values, their range.

    >>> spreads(np.array([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0], [3.0, 7.0], [900.0, 8.0]])).round(2)
    array([1.48, 1.  ])
    """
    least, low, high, most = np.nanquantile(values, (0, 0.25, 0.75, 1), axis=0)
    return np.asarray(np.where(high > low, (high - low) / _QUARTILES, most - least))


def with_gaps(values: FloatArray, like: FloatArray | None = None) -> FloatArray:
    """Fill missing cells, and set rows apart that miss other cells.

    Shape (n_samples, n_measurements, and one for each of these that has gaps).
    """
    missing = np.isnan(values)
    has_gaps = np.isnan(values if like is None else like).any(axis=0)
    return np.hstack([np.where(missing, 0.0, values), _GAP * missing[:, has_gaps]])
