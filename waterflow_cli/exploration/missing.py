"""What is missing in an explored file: together, by label, by site and by time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from waterflow_cli.common.arrays import BoolArray
from waterflow_cli.common.messages import Message
from waterflow_cli.exploration.samples import Samples, Texts, find_periods
from waterflow_cli.exploration.sections import Absent

_Group = tuple[str, int, tuple[float, ...]]
_N_PATTERNS = 10
_N_SITES = 12
_N_PERIODS = 24


@dataclass(frozen=True)
class Pattern:
    """Measurements that are missing together.

    Expected are the rows with just this pattern if each measurement were missing by itself.
    """

    names: tuple[str, ...]
    n_rows: int
    expected: float


@dataclass(frozen=True, kw_only=True)
class MissingByGroup:
    """Shares of missing values by site or by period.

    Attributes
    ----------
    groups : sequence of (str, int, tuple of float)
        Name, rows and the share missing of each measurement.
    n_groups, n_unplaced : int
        Groups in all, of which some may not be shown; rows without one.
    """

    column: str
    names: tuple[str, ...]
    groups: Sequence[_Group]
    n_groups: int
    n_unplaced: int


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What is missing, and what is missing together.

    Attributes
    ----------
    share : float
        Of all cells of measurements.
    n_complete : int
        Rows with every measurement.
    patterns : tuple of Pattern
        The most frequent; the first may be the one that misses nothing.
    by_label : dict of str to (float, float), optional
        Share missing where the label is 0, and where it is 1.
    """

    share: float
    n_complete: int
    patterns: tuple[Pattern, ...]
    n_patterns: int
    by_label: Mapping[str, tuple[float, float]] | None
    by_site: MissingByGroup | Absent
    by_date: MissingByGroup | Absent


def describe_missing(samples: Samples) -> Missing | Absent:
    """Find what is missing, together and by label, site and time."""
    if not samples.X or not len(samples):
        return Absent(Message("no row of measurements is left."))
    names = tuple(samples.missing)
    mask = np.column_stack(list(samples.missing.values()))
    packed, counts = np.unique(np.packbits(mask, axis=1), axis=0, return_counts=True)
    # bit order: as `packbits` took them
    kinds = np.unpackbits(packed, axis=1, count=len(names)).astype(bool)
    shares = mask.mean(axis=0)
    expected = np.where(kinds, shares, 1 - shares).prod(axis=1) * len(mask)
    order = np.argsort(-counts, kind="stable")[:_N_PATTERNS]
    patterns = tuple(
        Pattern(
            tuple(name for name, absent in zip(names, kinds[row], strict=True) if absent),
            int(counts[row]),
            float(expected[row]),
        )
        for row in order
    )
    return Missing(
        share=float(mask.mean()),
        n_complete=int((~mask.any(axis=1)).sum()),
        patterns=patterns,
        n_patterns=len(counts),
        by_label=_missing_by_label(samples),
        by_site=_by_site(samples, mask, names),
        by_date=_by_date(samples, mask, names),
    )


def _missing_by_label(samples: Samples) -> dict[str, tuple[float, float]] | None:
    label = samples.label
    if label is None or not ((label == 0).any() and (label == 1).any()):
        return None
    return {
        name: (float(mask[label == 0].mean()), float(mask[label == 1].mean()))
        for name, mask in samples.missing.items()
    }


def _by_site(samples: Samples, mask: BoolArray, names: tuple[str, ...]) -> MissingByGroup | Absent:
    if samples.site is None:
        return Absent(Message("no column of sites was found; name one with --site COLUMN."))
    return _group_section(samples.site, mask, names)


def _by_date(samples: Samples, mask: BoolArray, names: tuple[str, ...]) -> MissingByGroup | Absent:
    if samples.date is None:
        return Absent(Message("no column of dates was found; name one with --date COLUMN."))
    periods = find_periods(samples.date.values)
    known = sorted({period for period in periods if period})
    if not known:
        return Absent(
            Message("no date was recognised in the column {column}.", column=samples.date.column)
        )
    place = {period: code for code, period in enumerate(known)}
    by_text = np.array([place[each] if each else -1 for each in periods] + [-1], dtype=np.int64)
    texts = Texts(samples.date.column, known, by_text[samples.date.codes])
    return _group_section(texts, mask, names, by_time=True)


def _group_section(
    texts: Texts, mask: BoolArray, names: tuple[str, ...], *, by_time: bool = False
) -> MissingByGroup | Absent:
    """Describe the latest groups, or the largest."""
    placed = texts.codes >= 0
    codes, n_groups = texts.codes[placed], len(texts.values)
    rows = np.bincount(codes, minlength=n_groups)
    absent = np.column_stack(
        [np.bincount(codes, weights=column[placed], minlength=n_groups) for column in mask.T]
    )
    groups = [
        (texts.values[code], int(rows[code]), tuple((absent[code] / rows[code]).tolist()))
        for code in np.flatnonzero(rows).tolist()
    ]
    if not groups:
        return Absent(Message("the column {column} is empty.", column=texts.column))
    largest = sorted(groups, key=lambda group: (-group[1], group[0]))
    return MissingByGroup(
        column=texts.column,
        names=names,
        groups=sorted(groups)[-_N_PERIODS:] if by_time else largest[:_N_SITES],
        n_groups=len(groups),
        n_unplaced=int((~placed).sum()),
    )
