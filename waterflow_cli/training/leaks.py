"""Leaks that are in a file: what was done to its rows before, and honest folds cannot see.

Each look is made so that rows that nobody touched show nothing (benchmarks/bench_leaks.py), and
works on a bounded number of rows, drawn by a seed, where there are more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import stats
from scipy.spatial import cKDTree

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.common.json import without_nan
from waterflow_cli.common.messages import Message, joined, marked
from waterflow_cli.training.copies import Copies, spreads, standardised, with_gaps

if TYPE_CHECKING:
    import pandas as pd

LeakCode = Literal[
    "label_in_column",
    "imputed_by_class",
    "imputed",
    "oversampled",
    "copies",
    "near_copies",
    "invented_rows",
]
# How surely the labels of some rows must be other than those of all rows.
_ALPHA = 1e-4
# A value stands often if it does as many times as often as the third of its column.
_OFTEN = 4
_FEWEST_BY_CLASS, _FEWEST_IMPUTED, _IMPUTED_SHARE = 8, 20, 0.01
# Of the rows with a value that was put in by class, or that were made up, these bear one label.
_PURE = 0.9
_N_BESIDE = 200
# A middle of other values may have been taken before some rows went.
_NEAR_MIDDLE = 0.1
# Of rows of each class, as exactly a column must tell the label; and so many of each at least.
_TELLS, _FEWEST_TOLD = 0.99, 10
# Rows looked at for each label, and neighbours of each, between which a row may lie.
MOST_SEARCHED, _N_NEIGHBOURS = 1_000, 15
# Measurements that two rows must differ in by at least so many steps of their last digit.
_FEWEST_DIMENSIONS, _FEWEST_STEPS = 4, 20
FEWEST_ROWS, FEWEST_SHARE = 20, 0.01
# How far from all others a row that was made up lies, in usual distances; no measurement counts
# for more than so many standard deviations, for real ones have long tails.
_FAR, _MOST_APART = 2.5, 4.0
MOST_COMPARED = 20_000


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Something in a file that makes figures too good.

    Attributes
    ----------
    n_rows : int
        Rows that show it.
    of : int
        Rows that were looked at.
    column : str
        The measurement; empty where it is about whole rows.
    value : float
        That stands often; NaN elsewhere.
    label : int or None
        What those rows bear, where it is one label.
    """

    code: LeakCode
    n_rows: int
    of: int
    column: str = ""
    value: float = np.nan
    label: int | None = None

    @property
    def is_kept_together(self) -> bool:
        """Whether folds that keep copies together are honest all the same."""
        return self.code in ("copies", "near_copies")

    def content(self) -> dict[str, Any]:
        """Put it into a JSON object."""
        content: dict[str, Any] = without_nan(asdict(self))
        return content

    def describe(self) -> Message:
        """Say what was found, and what makes it so."""
        return Message(
            _TEXTS[self.code],
            count=f"{self.n_rows:,}",
            of=f"{self.of:,}",
            column=self.column,
            value=f"{self.value:.6g}",
            label=_LABELS[self.label or 0],
        )


_LABELS = (Message("not potable"), Message("potable"))
_TEXTS: dict[LeakCode, str] = {
    "label_in_column": marked(
        "{column} tells the label: one cut of it is right in 99 % of the rows of each class"
    ),
    "imputed_by_class": marked(
        "{column} is {value} in {count} rows, nearly all labelled {label}: what was missing was "
        "filled in from rows of the same label"
    ),
    "imputed": marked(
        "{column} is {value} in {count} rows: what was missing was filled in from all rows"
    ),
    "oversampled": marked(
        "{count} of {of} rows labelled {label} that were looked at lie on a straight line between "
        "two others: they were made up to balance the classes, as SMOTE does"
    ),
    "copies": marked("rows that repeat the measurements of another: {count} of {of}"),
    "near_copies": marked(
        "rows that repeat the measurements of another but for some noise: {count} of {of}"
    ),
    "invented_rows": marked(
        "{count} of {of} rows, labelled {label}, lie far from all others and from each other: "
        "real samples do not"
    ),
}


def describe_leaks(leaks: Sequence[Leak]) -> Message:
    """Say what was found, one of each kind."""
    kinds = {each.code: each for each in reversed(leaks)}
    return joined((kinds[code].describe() for code in reversed(kinds)), "; ")


def find_leaks(X: pd.DataFrame, y: IntArray, copies: Copies, seed: int = 0) -> tuple[Leak, ...]:
    """Look for leaks in labelled rows.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_measurements)
        Floats, NaN where a value is missing.
    y : ndarray of int64, shape (n_samples,)
        Both 0 and 1 occur.
    copies : Copies
        Of these rows; of each, one is looked at for all else.
    """
    own = np.flatnonzero(copies.sources == np.arange(len(X)))
    found = [*_told_by_columns(X, y), *_imputed(X, y)]
    if copies.n_exact:
        found.append(Leak(code="copies", n_rows=copies.n_exact, of=len(X)))
    if copies.n_near:
        found.append(Leak(code="near_copies", n_rows=copies.n_near, of=len(X)))
    X, y = X.iloc[own], y[own]
    return (*found, *_oversampled(X, y, seed), *_invented(X, y, seed))


def _told_by_columns(X: pd.DataFrame, y: IntArray) -> Iterator[Leak]:
    """Find measurements one cut of which tells the label."""
    for name in X:
        values = X[name].to_numpy(np.float64)
        known = ~np.isnan(values)
        truth = y[known][np.argsort(values[known], kind="stable")]
        ordered = np.sort(values[known])
        totals = np.bincount(truth, minlength=2)
        if totals.min() < _FEWEST_TOLD:
            continue
        ends = np.append(ordered[1:] != ordered[:-1], True)
        above = 1 - np.cumsum(truth)[ends] / totals[1]
        balanced = (above + np.cumsum(1 - truth)[ends] / totals[0]) / 2
        if max(balanced.max(), 1 - balanced.min()) >= _TELLS:
            yield Leak(code="label_in_column", n_rows=int(known.sum()), of=len(X), column=str(name))


def _imputed(X: pd.DataFrame, y: IntArray) -> Iterator[Leak]:
    """Find values that were put in where one was missing: the middle of all rows, or of a class."""
    for name in X:
        values = X[name].to_numpy(np.float64)
        rows = np.flatnonzero(~np.isnan(values))
        yield from _imputed_in(str(name), values[rows], y[rows], len(X))


def _imputed_in(name: str, values: FloatArray, y: IntArray, n_rows: int) -> Iterator[Leak]:
    distinct, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(distinct) < 2 * _OFTEN or not 0 < y.sum() < len(y):
        return
    # One value for each class may have been put in; what stands third is natural.
    *_, usual, _, _ = np.sort(counts)
    often = np.flatnonzero(counts >= max(_FEWEST_BY_CLASS, _OFTEN * usual))
    tolerance = _NEAR_MIDDLE * float(spreads(distinct[:, None])[0])
    for number in often:
        value, here = float(distinct[number]), place == number
        if not _is_inside(values, value):  # so are bounds of non-detects
            continue
        n_here, label = int(here.sum()), int(2 * y[here].sum() > here.sum())
        leak = Leak(code="imputed", n_rows=n_here, of=n_rows, column=name, value=value)
        of_class = values[~here & (y == label)]
        if _is_of_class(values, y, here, label) and _is_middle(value, of_class, tolerance):
            yield replace(leak, code="imputed_by_class", label=label)
        elif n_here >= max(_FEWEST_IMPUTED, _IMPUTED_SHARE * len(values)) and _is_middle(
            value, values[~here], tolerance
        ):
            yield leak


def _is_inside(values: FloatArray, value: float) -> bool:
    """Say whether some values lie on each side of a value."""
    fewest = max(5.0, 0.01 * len(values))
    return bool(min((values < value).sum(), (values > value).sum()) >= fewest)


def _is_middle(value: float, others: FloatArray, tolerance: float) -> bool:
    """Say whether a value is the mean or the median of others."""
    if not len(others):
        return False
    middles = np.array([others.mean(), np.median(others)])
    return bool((np.abs(middles - value) <= tolerance).any())


def _is_of_class(values: FloatArray, y: IntArray, here: BoolArray, label: int) -> bool:
    """Say whether rows bear one label, and neither all rows nor those beside them explain it."""
    of_label = y == label
    n_here, n_same = int(here.sum()), int((here & of_label).sum())
    if n_same < _PURE * n_here:
        return False
    others = np.flatnonzero(~here)
    beside = others[np.argsort(np.abs(values[others] - values[here][0]), kind="stable")]
    near = beside[:_N_BESIDE]
    rates = of_label[others].mean(), (of_label[near].sum() + 1) / (len(near) + 2)
    return all(stats.binom.sf(n_same - 1, n_here, rate) < _ALPHA for rate in rates)


def _oversampled(X: pd.DataFrame, y: IntArray, seed: int) -> Iterator[Leak]:
    """Find rows on a straight line between two rows of their label (SMOTE, Chawla et al. 2002).

    Rows that nobody made lie on such a line by chance alone, and then as often between two rows of
    the other label.
    """
    whole = X.notna().all(axis=1).to_numpy()
    values, labels = X.to_numpy(np.float64)[whole], y[whole]
    steps = _steps(values)
    if len(values) < FEWEST_ROWS or not len(steps):
        return
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        drawn = np.random.default_rng(seed).permutation(rows)[:MOST_SEARCHED]
        others = np.flatnonzero(labels != label)
        n_between = int(_lie_between(values, steps, drawn, rows).sum())
        if n_between < max(FEWEST_ROWS, FEWEST_SHARE * len(drawn)):
            continue
        if n_between > 10 * _lie_between(values, steps, drawn, others).sum():
            yield Leak(code="oversampled", n_rows=n_between, of=len(drawn), label=label)


def _steps(values: FloatArray) -> FloatArray:
    """Give the step of each measurement's last digit; of floats in full, what counting loses."""
    steps = np.full(values.shape[1], np.nan)
    for number, column in enumerate(values.T):
        for decimals in range(7):
            if np.allclose(column, np.round(column, decimals), rtol=0, atol=1e-9):
                steps[number] = 10.0**-decimals
                break
        else:
            steps[number] = 1e-7 * max(float(np.abs(column).max()), 1e-3)
    return steps


def _lie_between(
    values: FloatArray, steps: FloatArray, rows: IntArray, among: IntArray
) -> BoolArray:
    """Say which rows lie between two of their neighbours among some rows."""
    between = np.zeros(len(rows), dtype=bool)
    if len(among) <= _N_NEIGHBOURS or not len(rows):
        return between
    spread = spreads(values)
    # Who made rows up measured nearness in the file's units, or scaled.
    for scale in (spread.max(), spread):
        scaled = values / np.where(scale > 0, scale, 1.0)
        tree = cKDTree(scaled[among], balanced_tree=False, compact_nodes=False)
        _, found = tree.query(scaled[rows], k=_N_NEIGHBOURS + 1)
        for start in range(0, len(rows), 256):
            part = slice(start, start + 256)
            between[part] |= _on_segments(values / steps, rows[part], among[found[part]])
    return between


def _on_segments(values: FloatArray, rows: IntArray, neighbours: IntArray) -> BoolArray:
    """Say which rows, in steps, lie on a segment between two of their neighbours."""
    away = values[neighbours] - values[rows][:, None]
    one, other = np.triu_indices(neighbours.shape[1], 1)
    start, along = away[:, one], away[:, other] - away[:, one]
    # The widest measurement says where on the segment; each other one is then off by its own
    # last digit, and by its share of that of the widest.
    length = np.abs(along)
    widest = length.argmax(axis=2)[:, :, None]
    span = np.take_along_axis(along, widest, axis=2)
    span = np.where(span == 0, np.nan, span)
    place = -np.take_along_axis(start, widest, axis=2) / span
    off = np.abs(start + place * along)
    fits = (off <= 1.05 * (1 + length / np.abs(span))).all(axis=2)
    inside = (place[:, :, 0] > 0) & (place[:, :, 0] < 1)
    tells = (length >= _FEWEST_STEPS).sum(axis=2) >= _FEWEST_DIMENSIONS
    return np.asarray((fits & inside & tells).any(axis=1))


def _invented(X: pd.DataFrame, y: IntArray, seed: int) -> Iterator[Leak]:
    """Find rows of one label that lie far from all others."""
    rows = np.random.default_rng(seed).permutation(len(X))[:MOST_COMPARED]
    if len(rows) < 2 * FEWEST_ROWS:
        return
    points = with_gaps(np.clip(standardised(X.iloc[rows]), -_MOST_APART, _MOST_APART))
    if points.shape[1] < _FEWEST_DIMENSIONS:
        return
    nearest = cKDTree(points).query(points, k=[2])[0][:, 0]
    far = np.flatnonzero(nearest > _FAR * np.median(nearest))
    label = int(2 * y[rows[far]].sum() > len(far))
    n_same = int((y[rows[far]] == label).sum())
    if len(far) < max(FEWEST_ROWS, FEWEST_SHARE * len(rows)) or n_same < _PURE * len(far):
        return
    if stats.binom.sf(n_same - 1, len(far), float((y == label).mean())) < _ALPHA:
        yield Leak(code="invented_rows", n_rows=n_same, of=len(rows), label=label)
