"""One pass over the rows of a file: what every command does with a table that it is given.

A file is opened with the match of its header; its rows are checked, held against limits where that
is asked for, and counted, batch by batch and by as many workers as may be; and the command's own
work is done with each batch by the same workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from waterflow_cli.common.errors import InputError
from waterflow_cli.common.messages import joined
from waterflow_cli.common.progress import Report, say_nothing
from waterflow_cli.common.workers import map_in_order
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.tables.sources import open_source
from waterflow_cli.validation.cell_counts import CellCounts
from waterflow_cli.validation.columns_beside import ColumnsBeside
from waterflow_cli.validation.limit_checks import LimitCounts, check_limits
from waterflow_cli.validation.row_checker import RowChecker

if TYPE_CHECKING:
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.tables.csv_blocks import Position
    from waterflow_cli.tables.reading import Opener
    from waterflow_cli.tables.table import Batch, Table
    from waterflow_cli.validation.batches import CheckedBatch
    from waterflow_cli.validation.limits import LimitProfile

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class PassOptions:
    """What is to be done with the rows of a table.

    Attributes
    ----------
    reading : ReadingOptions
        What the user said of how to read it.
    without_label : bool
        Leave the label's column out: it is neither required nor checked.
    measurements : sequence of str, optional
        Those of a model: a batch holds each, missing throughout where the file lacks it. Default:
        those of the schema that the file has.
    may_lack : bool
        Whether a file may lack columns of those that may be missing in each row.
    jobs, batch_rows : int
        How many batches are worked on at once, and about how many rows make one.
    """

    reading: ReadingOptions = AS_FOUND
    without_label: bool = False
    measurements: Sequence[str] | None = None
    may_lack: bool = False
    limits: Sequence[LimitProfile] = ()
    jobs: int = 1
    batch_rows: int | None = None


PLAIN = PassOptions()


@dataclass(kw_only=True)
class RowCounts:
    """What was counted of some rows.

    Attributes
    ----------
    n_invalid : int
        Rows that break a rule.
    dialects : dict of str to str
        How each file was read.
    limits : LimitCounts, optional
        How often values lie above and below limits, where that was asked for.
    """

    n_rows: int = 0
    n_invalid: int = 0
    cells: CellCounts = field(default_factory=CellCounts)
    dialects: dict[str, str] = field(default_factory=dict)
    limits: LimitCounts | None = None

    def add(self, other: RowCounts) -> None:
        """Add what was counted of other rows."""
        self.n_rows += other.n_rows
        self.n_invalid += other.n_invalid
        self.cells.add(other.cells)
        self.dialects |= other.dialects
        if self.limits is None:
            self.limits = other.limits
        elif other.limits is not None:
            self.limits.add(other.limits)


class Pass:
    """One pass over the rows of an open table.

    Parameters
    ----------
    counts : RowCounts, optional
        What is counted is added to it.
    report : callable
        Is told, after each batch, how many rows were counted and what share of the table was read.
    """

    def __init__(
        self,
        table: Table,
        schema: TableSchema,
        options: PassOptions = PLAIN,
        counts: RowCounts | None = None,
        report: Report = say_nothing,
    ) -> None:
        self.table, self.schema = table, schema
        self._options, self._report = options, report
        asked = options.measurements
        self._measurements = schema.measurements if asked is None else asked
        self.counts = counts or RowCounts()

    @cached_property
    def checker(self) -> RowChecker:
        """What checks the rows; made when it is first asked for.

        Who knows more than that a column is not there refuses the table before.
        """
        options = self._options
        return RowChecker(
            self.schema,
            self.table,
            options.reading,
            without_label=options.without_label,
            may_lack=options.may_lack,
        )

    @cached_property
    def beside(self) -> ColumnsBeside:
        """The columns that are read for the limits alone."""
        options, taken = self._options, self.checker.columns.values()
        marks = self.checker.marks
        return ColumnsBeside.of(self.table, taken, options.limits, options.reading, marks)

    def refuse_unfit(self) -> None:
        """Refuse a table that lacks required columns; see `RowChecker`."""
        _ = self.beside if self._options.limits else self.checker

    @property
    def columns(self) -> dict[str, str]:
        """Schema column to column of the file."""
        return self.checker.columns

    @property
    def reading(self) -> str:
        """How the table is read, as far as it is known: all of it once the last row was."""
        beside = self.beside.describe() if self._options.limits else ()
        return joined([self.checker.reading, *beside], "")

    def require_label(self, hint: str) -> None:
        """Raise an InputError with the hint for a table without the label's column."""
        label = self.schema.label
        if label not in self.columns:
            raise InputError(
                self.table.path,
                "column {label} (the label) not found in the header.",
                label=label,
                line=self.table.dialect.header_line,
                hint=hint,
            )

    def check(self, batch: Batch) -> CheckedBatch:
        """Check the rows of a batch, and hold them against the limits."""
        checked = self.checker.check(batch)
        for name in self._options.measurements or ():
            if name not in checked.numbers:
                checked.numbers[name] = np.full(len(batch), np.nan)
                checked.missing[name] = checked.whole.copy()
        if not (limits := self._options.limits):
            return checked
        beside = self.beside.results(checked)
        flags = check_limits(checked, limits, self._measurements, beside, self.beside.unread)
        return replace(checked, flags=flags)

    def batches(self) -> Iterator[CheckedBatch]:
        """Check and count all rows, and yield the batches in order."""
        return self.map(lambda checked: checked)

    def map(
        self, work: Callable[[CheckedBatch], Result], start: Position | None = None
    ) -> Iterator[Result]:
        """Check and count all rows, and yield what the work makes of each batch, in order.

        Parameters
        ----------
        work : callable
            Called by several workers at once.
        start : Position, optional
            Where an earlier pass ended; the rows before it are passed over.
        """

        def call(parse: Callable[[], Batch]) -> tuple[RowCounts, Result]:
            checked = self.check(parse())
            return self._count(checked), work(checked)

        self.refuse_unfit()
        # Values that must be unique are looked up in order.
        jobs = 1 if self.schema.has_unique else self._options.jobs
        for counted, result in map_in_order(call, self.table.tasks(start), jobs):
            self.counts.add(counted)
            yield result
            self._report(self.counts.n_rows, self.table.share_read())
        self.counts.dialects[self.table.path] = self.reading

    def _count(self, checked: CheckedBatch) -> RowCounts:
        counts = RowCounts(
            n_rows=len(checked.batch),
            n_invalid=int(checked.invalid.sum()),
            cells=CellCounts.of(checked, self.schema),
        )
        if checked.flags is not None:
            counts.limits = LimitCounts(
                profiles=self._options.limits, measurements=self._measurements
            )
            counts.limits.add(checked.flags)
        return counts


@contextmanager
def pass_over(
    path: str,
    schema: TableSchema,
    options: PassOptions = PLAIN,
    counts: RowCounts | None = None,
    report: Report = say_nothing,
    *,
    opener: Opener = open_source,
) -> Iterator[Pass]:
    """Open a file for one pass over its rows; see `Pass`, and `open_table` for the opener.

    Raises
    ------
    InputError, UsageError
        As `open_samples` and, when the columns are asked for, `RowChecker` raise them.
    """
    reading, batch_rows = options.reading, options.batch_rows
    with open_samples(path, schema, reading, batch_rows=batch_rows, opener=opener) as table:
        yield Pass(table, schema, options, counts, report)
