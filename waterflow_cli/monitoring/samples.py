"""The one pass of `monitor` over a file: exact counts of all rows, and a sample of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.common.json import path_text
from waterflow_cli.common.messages import tr
from waterflow_cli.common.progress import Report, say_nothing
from waterflow_cli.models.reference import first_of_equals, hash_rows
from waterflow_cli.monitoring.groups import ONE_GROUP, Grouping
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.validation.pass_over import PassOptions, RowCounts, pass_over

if TYPE_CHECKING:
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.validation.batches import CheckedBatch

# Rows kept of the file, and of each of its groups.
SAMPLE_ROWS, GROUP_ROWS = 10_000, 1_000
MISSING, BELOW, ABOVE = 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class SampledRows:
    """Rows of a file, drawn with equal chances.

    Attributes
    ----------
    X : DataFrame of shape (n_rows, n_measurements)
        As read, also where a value breaks the schema; NaN where there is none.
    cell_codes : ndarray of int8, shape (n_rows, n_measurements)
        Of each cell: `MISSING`, `BELOW` or `ABOVE` a bound, or 0.
    invalid : ndarray of bool, shape (n_rows,)
        Rows that the model would not judge.
    label : ndarray of float64, shape (n_rows,)
        1, 0 or NaN.
    n_in_all : int
        Rows that they were drawn from.
    n_copies : int
        Rows that were drawn too, and left out: they repeat another one.
    """

    X: pd.DataFrame
    cell_codes: np.ndarray
    invalid: BoolArray
    label: FloatArray
    n_in_all: int
    n_copies: int = 0

    def __len__(self) -> int:
        return len(self.invalid)

    @property
    def measurements(self) -> list[str]:
        """Names of the columns."""
        return [str(name) for name in self.X]

    def take(self, rows: IntArray, *, n_copies: int = 0) -> SampledRows:
        """Give some of the rows, by position."""
        return SampledRows(
            X=self.X.iloc[rows].reset_index(drop=True),
            cell_codes=self.cell_codes[rows],
            invalid=self.invalid[rows],
            label=self.label[rows],
            n_in_all=self.n_in_all,
            n_copies=n_copies,
        )

    def without_copies(self) -> SampledRows:
        """Keep one of rows whose measurements are all equal."""
        rows = first_of_equals(hash_rows(self.X))
        return self.take(rows, n_copies=len(self) - len(rows))


@dataclass(frozen=True, kw_only=True)
class MonitoredFile:
    """What one pass over a file gave.

    Attributes
    ----------
    reading : str
        How it was read.
    counts : RowCounts
        Of all rows.
    n_without_group : int
        Rows that are in no group.
    rows : SampledRows
        Of the whole file.
    units : dict of str to str
        By measurement, those of the schema.
    groups : dict of str to SampledRows
        Of each group; none where no groups were asked for.
    """

    path: str
    reading: str
    counts: RowCounts
    n_without_group: int
    alarms: Sequence[str]
    units: Mapping[str, str]
    rows: SampledRows
    groups: Mapping[str, SampledRows]


def sample_file(
    path: str,
    schema: TableSchema,
    measurements: Sequence[str],
    reading: ReadingOptions = AS_FOUND,
    *,
    grouping: Grouping = ONE_GROUP,
    with_labels: bool = False,
    seed: int = 0,
    jobs: int = 1,
    report: Report = say_nothing,
) -> MonitoredFile:
    """Read a file once; count all of its rows, and keep a sample of bounded size.

    Parameters
    ----------
    measurements : sequence of str
        The model's; one that the file lacks is missing throughout.
    with_labels : bool
        Whether the label's column is needed; without it, it is not looked at.
    seed : int
        Of the rows drawn.

    Raises
    ------
    InputError
        If the file cannot be read, or lacks a required column.
    UsageError
        If it has no column that was named.
    """
    options = PassOptions(reading=reading, without_label=not with_labels, jobs=jobs)
    with pass_over(path, schema, options, report=report) as file:
        if with_labels:
            file.require_label(
                tr("Leave out --labels, or say which it is: --rename 'NAME IN FILE=NAME'.")
            )
        groups = grouping.open(file.table, file.columns)
        kept = _Reservoir(SAMPLE_ROWS, np.random.default_rng(seed), measurements, n_groups=1)
        by_group = _Reservoir(GROUP_ROWS, np.random.default_rng(seed + 1), measurements)
        pick = partial(_Picked.of, measurements=measurements, schema=schema)
        for checked in file.batches():
            kept.add(np.zeros(len(checked.batch), dtype=np.int64), checked, pick)
            for numbers, ready in groups.take(checked):
                by_group.add(numbers, ready, pick)
        for numbers, ready in groups.take_rest():
            by_group.add(numbers, ready, pick)
        (rows,) = kept.finish()
        return MonitoredFile(
            path=path_text(path),
            reading=file.reading,
            counts=file.counts,
            n_without_group=groups.n_without,
            alarms=file.counts.cells.alarms(schema),
            units=schema.units,
            rows=rows,
            groups=dict(zip(groups.names, by_group.finish(), strict=True)),
        )


@dataclass(frozen=True)
class _Picked:
    """Some rows as one table of numbers, with their groups and what they were drawn by.

    Attributes
    ----------
    numbers : ndarray of float64, shape (n_rows, n_measurements + 1)
        The measurements, then the label.
    cell_codes : ndarray of int8, shape (n_rows, n_measurements + 1)
        As in `SampledRows`; last, whether the row is invalid.
    """

    group: IntArray
    priority: FloatArray
    numbers: FloatArray
    cell_codes: np.ndarray

    @classmethod
    def of(
        cls,
        checked: CheckedBatch,
        rows: IntArray,
        group: IntArray,
        priority: FloatArray,
        *,
        measurements: Sequence[str],
        schema: TableSchema,
    ) -> _Picked:
        """Take rows of a batch."""
        numbers = np.full((len(rows), len(measurements) + 1), np.nan)
        cell_codes = np.zeros((len(rows), len(measurements) + 1), dtype=np.int8)
        for place, name in enumerate(measurements):
            if name not in checked.numbers:
                cell_codes[:, place] = MISSING
                continue
            numbers[:, place] = checked.numbers[name][rows]
            cell_codes[checked.missing[name][rows], place] = MISSING
            if censored := checked.censored.get(name):
                cell_codes[censored.below[rows], place] = BELOW
                cell_codes[censored.above[rows], place] = ABOVE
        if schema.label in checked.numbers:
            label = checked.numbers[schema.label][rows]
            numbers[:, -1] = np.where((label == 0) | (label == 1), label, np.nan)
        cell_codes[:, -1] = checked.invalid[rows]
        return cls(group, priority, numbers, cell_codes)

    @classmethod
    def none(cls, n_measurements: int) -> _Picked:
        """Take no row."""
        numbers = np.empty((0, n_measurements + 1))
        cell_codes = np.empty(numbers.shape, dtype=np.int8)
        return cls(np.empty(0, dtype=np.int64), np.empty(0), numbers, cell_codes)

    def take(self, rows: IntArray) -> _Picked:
        """Give some of the rows, by position."""
        return _Picked(
            self.group[rows], self.priority[rows], self.numbers[rows], self.cell_codes[rows]
        )


class _Reservoir:
    """Keeps of each group the rows with the smallest random numbers (Vitter 1985 gives others).

    A row that cannot be among them any more is never taken over, so most batches cost one
    comparison a row.
    """

    def __init__(
        self,
        n_rows: int,
        random: np.random.Generator,
        measurements: Sequence[str],
        *,
        n_groups: int = 0,
    ) -> None:
        self._n_rows, self._random, self._measurements = n_rows, random, list(measurements)
        self._parts = [_Picked.none(len(measurements))]
        self._n_held = self._n_after_last = 0
        self._bounds = np.ones(n_groups)
        self._counts: Counter[int] = Counter()

    def add(
        self,
        group: IntArray,
        checked: CheckedBatch,
        pick: Callable[[CheckedBatch, IntArray, IntArray, FloatArray], _Picked],
    ) -> None:
        """Look at the rows of a batch; a group below 0 is none."""
        priority = self._random.random(len(group))
        n_groups = max(int(group.max(initial=-1)) + 1, len(self._bounds))
        self._bounds = np.append(self._bounds, np.ones(n_groups - len(self._bounds)))
        for number, count in enumerate(np.bincount(group[group >= 0], minlength=n_groups)):
            self._counts[number] += int(count)
        inside = np.flatnonzero(group >= 0)
        near = inside[priority[inside] < self._bounds[group[inside]]]
        if len(near):
            self._parts.append(pick(checked, near, group[near], priority[near]))
            self._n_held += len(near)
        if self._n_held > 2 * self._n_after_last + self._n_rows:
            self._thin_out()

    def _thin_out(self) -> None:
        held = self._join()
        order = np.lexsort((held.priority, held.group))
        sorted_group = held.group[order]
        starts = np.searchsorted(sorted_group, sorted_group)
        rank = np.arange(len(order)) - starts
        last = rank == self._n_rows - 1
        self._bounds[sorted_group[last]] = held.priority[order[last]]
        self._parts = [held.take(np.sort(order[rank < self._n_rows]))]
        self._n_held = self._n_after_last = len(self._parts[0].group)

    def _join(self) -> _Picked:
        return _Picked(
            *(
                np.concatenate([getattr(part, name) for part in self._parts])
                for name in ("group", "priority", "numbers", "cell_codes")
            )
        )

    def finish(self) -> list[SampledRows]:
        """Give the rows kept of each group, in the order of their numbers."""
        self._thin_out()
        (held,) = self._parts
        return [
            self._rows_of(held.take(np.flatnonzero(held.group == number)), number)
            for number in range(len(self._bounds))
        ]

    def _rows_of(self, own: _Picked, group: int) -> SampledRows:
        return SampledRows(
            X=pd.DataFrame(own.numbers[:, :-1], columns=self._measurements),
            cell_codes=own.cell_codes[:, :-1],
            invalid=own.cell_codes[:, -1].astype(bool),
            label=own.numbers[:, -1],
            n_in_all=self._counts[group],
        )
