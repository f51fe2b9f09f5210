"""The one pass of `monitor` over a file: exact counts of all rows, and a sample of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.common.json import path_text
from waterflow_cli.common.messages import tr
from waterflow_cli.common.progress import Report, say_nothing
from waterflow_cli.models.reference import first_of_equals, hash_rows
from waterflow_cli.monitoring.checks import DEFAULT_ALPHA
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
class MonitoringOptions:
    """What the user asked for.

    Attributes
    ----------
    with_labels : bool
        Whether the label's column is needed; without it, it is not looked at.
    alpha : float
        Bounds the chance that anything alarms where nothing changed.
    seed : int
        Of the rows drawn and of the joint test.
    """

    reading: ReadingOptions = AS_FOUND
    grouping: Grouping = ONE_GROUP
    with_labels: bool = False
    alpha: float = DEFAULT_ALPHA
    seed: int = 0
    jobs: int = 1


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

    def without_copies(self) -> SampledRows:
        """Keep one of rows whose measurements are all equal."""
        rows = first_of_equals(hash_rows(self.X))
        return replace(
            self,
            X=self.X.iloc[rows].reset_index(drop=True),
            cell_codes=self.cell_codes[rows],
            invalid=self.invalid[rows],
            label=self.label[rows],
            n_copies=len(self) - len(rows),
        )


@dataclass(frozen=True, kw_only=True)
class MonitoredFile:
    """What one pass over a file gave.

    Attributes
    ----------
    groups : dict of str to SampledRows
        Of each group; none where no groups were asked for.
    """

    path: str
    reading: str
    counts: RowCounts
    n_without_group: int
    alarms: Sequence[str]
    rows: SampledRows
    groups: Mapping[str, SampledRows]


def sample_file(
    path: str,
    schema: TableSchema,
    measurements: Sequence[str],
    options: MonitoringOptions,
    report: Report = say_nothing,
) -> MonitoredFile:
    """Read a file once; count all of its rows, and keep a sample of bounded size.

    Of the model's measurements, one that the file lacks is missing throughout.

    Raises
    ------
    InputError
        If the file cannot be read, or lacks a required column.
    UsageError
        If it has no column that was named.
    """
    passing = PassOptions(
        reading=options.reading, without_label=not options.with_labels, jobs=options.jobs
    )
    with pass_over(path, schema, passing, report=report) as file:
        if options.with_labels:
            file.require_label(
                tr("Leave out --labels, or say which it is: --rename 'NAME IN FILE=NAME'.")
            )
        groups = options.grouping.open(file.table, file.columns)
        kept = _Reservoir(SAMPLE_ROWS, options.seed, measurements, schema.label, 1)
        by_group = _Reservoir(GROUP_ROWS, options.seed + 1, measurements, schema.label, 0)
        for checked in file.batches():
            kept.add(np.zeros(len(checked.batch), dtype=np.int64), checked)
            for numbers, ready in groups.take(checked):
                by_group.add(numbers, ready)
        for numbers, ready in groups.take_rest():
            by_group.add(numbers, ready)
        (rows,) = kept.finish()
        return MonitoredFile(
            path=path_text(path),
            reading=file.reading,
            counts=file.counts,
            n_without_group=groups.n_without,
            alarms=list(file.counts.cells.alarms(schema)),
            rows=rows,
            groups=dict(zip(groups.names, by_group.finish(), strict=True)),
        )


class _Picked(NamedTuple):
    """Some rows as one table of numbers, with their groups and what they were drawn by.

    The label stands after the measurements, and after their codes whether the row is invalid.
    """

    group: IntArray
    priority: FloatArray
    numbers: FloatArray
    cell_codes: np.ndarray

    def take(self, rows: IntArray) -> _Picked:
        """Give some of the rows, by position."""
        return _Picked(*map(itemgetter(rows), self))


class _Reservoir:
    """Keeps of each group the rows with the smallest random numbers (Vitter 1985 gives others).

    A row that cannot be among them any more is never taken over, so most batches cost one
    comparison a row.
    """

    def __init__(
        self, n_rows: int, seed: int, measurements: Sequence[str], label: str | None, n_groups: int
    ) -> None:
        self._n_rows, self._random = n_rows, np.random.default_rng(seed)
        self._measurements, self._label = list(measurements), label
        none = np.arange(0)
        self._parts = [_Picked(none, none.astype(np.float64), *self._empty_table(0))]
        self._n_held = self._n_after_last = 0
        self._bounds = np.ones(n_groups)
        self._counts = np.zeros(n_groups, dtype=np.int64)

    def add(self, group: IntArray, checked: CheckedBatch) -> None:
        """Look at the rows of a batch; a group below 0 is none."""
        priority = self._random.random(len(group))
        counts = np.bincount(group[group >= 0], minlength=len(self._bounds))
        n_new = len(counts) - len(self._bounds)
        self._bounds = np.append(self._bounds, np.ones(n_new))
        self._counts = np.append(self._counts, np.zeros(n_new, dtype=np.int64)) + counts
        inside = np.flatnonzero(group >= 0)
        near = inside[priority[inside] < self._bounds[group[inside]]]
        if len(near):
            self._parts.append(_Picked(group[near], priority[near], *self._pick(checked, near)))
            self._n_held += len(near)
        if self._n_held > 2 * self._n_after_last + self._n_rows:
            self._thin_out()

    def _empty_table(self, n_rows: int) -> tuple[FloatArray, np.ndarray]:
        shape = n_rows, len(self._measurements) + 1
        return np.full(shape, np.nan), np.zeros(shape, dtype=np.int8)

    def _pick(self, checked: CheckedBatch, rows: IntArray) -> tuple[FloatArray, np.ndarray]:
        """Give the numbers and the cell codes of some rows of a batch."""
        numbers, cell_codes = self._empty_table(len(rows))
        for place, name in enumerate(self._measurements):
            if name not in checked.numbers:
                cell_codes[:, place] = MISSING
                continue
            numbers[:, place] = checked.numbers[name][rows]
            cell_codes[checked.missing[name][rows], place] = MISSING
            if censored := checked.censored.get(name):
                cell_codes[censored.below[rows], place] = BELOW
                cell_codes[censored.above[rows], place] = ABOVE
        if self._label in checked.numbers:
            label = checked.numbers[self._label][rows]
            numbers[:, -1] = np.where((label == 0) | (label == 1), label, np.nan)
        cell_codes[:, -1] = checked.invalid[rows]
        return numbers, cell_codes

    def _thin_out(self) -> None:
        held = _Picked(*map(np.concatenate, zip(*self._parts, strict=True)))
        order = np.lexsort((held.priority, held.group))
        sorted_group = held.group[order]
        starts = np.searchsorted(sorted_group, sorted_group)
        rank = np.arange(len(order)) - starts
        last = rank == self._n_rows - 1
        self._bounds[sorted_group[last]] = held.priority[order[last]]
        self._parts = [held.take(np.sort(order[rank < self._n_rows]))]
        self._n_held = self._n_after_last = len(self._parts[0].group)

    def finish(self) -> Iterator[SampledRows]:
        """Give the rows kept of each group, in the order of their numbers."""
        self._thin_out()
        (held,) = self._parts
        for number, n_in_all in enumerate(self._counts.tolist()):
            own = held.take(np.flatnonzero(held.group == number))
            yield SampledRows(
                X=pd.DataFrame(own.numbers[:, :-1], columns=self._measurements),
                cell_codes=own.cell_codes[:, :-1],
                invalid=own.cell_codes[:, -1].astype(bool),
                label=own.numbers[:, -1],
                n_in_all=n_in_all,
            )
