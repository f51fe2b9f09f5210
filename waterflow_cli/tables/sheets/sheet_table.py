"""Open a workbook as a table."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from waterflow_cli.common.errors import InputError, shorten
from waterflow_cli.common.messages import Message
from waterflow_cli.tables.csv_blocks import Position, count_note_lines
from waterflow_cli.tables.dialect import Dialect, Start, StartReader
from waterflow_cli.tables.sheets.facts import letters_of
from waterflow_cli.tables.sheets.grid import Grid, arrow_columns, is_empty, line_of
from waterflow_cli.tables.sheets.headers import fill_merged, join_header
from waterflow_cli.tables.sheets.transposed import turn
from waterflow_cli.tables.sheets.workbook import read_sheet
from waterflow_cli.tables.table import Batch, CellNames, Table

if TYPE_CHECKING:
    from waterflow_cli.common.arrays import IntArray
    from waterflow_cli.tables.headers import Header
    from waterflow_cli.tables.reading_options import ReadingOptions

# So many first rows that hold something tell the header, and so many last ones the notes.
_TOP, _TAIL = 120, 60
_SAMPLE = 1 << 13
_ZIPPED = 1 << 9


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector still: a list for each row would send it through all of them."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


@_uncollected()
def open_workbook(
    file: IO[bytes], path: str, names: Header, options: ReadingOptions, batch_rows: int
) -> Table:
    """Open the sheet of a workbook that holds a table.

    Raises
    ------
    InputError, UsageError
        As `read_sheet` and `StartReader` raise them.
    """
    grid = read_sheet(file, path, names, options.sheet)
    try:
        start = _read_start(grid, path, names, options)
    except InputError:  # the names of samples may be titles, or come twice
        plain = Dialect(encoding=grid.form, sep="", header_line=1, first_line=2, sheet=grid.sheet)
        if table := turn([grid], path, names, plain):
            return table
        raise
    return _SheetTable(grid, start, path, names).open(batch_rows)


def _read_start(grid: Grid, path: str, names: Header, options: ReadingOptions) -> Start:
    """Find the header and the units as in a text file with a line for each row."""
    joined = None if options.header_line else join_header(grid, names)
    line = options.header_line if joined is None else joined + 1
    told = replace(options, sep="\t", header_line=line)
    lines, n_filled = [], 0
    for cells in grid.rows:
        line_text = "" if all(map(is_empty, cells)) else line_of(cells)
        lines.append(line_text)
        n_filled += bool(line_text)
        if n_filled > _TOP + (line or 0):
            break
    text = "".join(f"{each}\n" for each in lines).encode("utf-8", "replace")
    start = StartReader(path, names, told).read(text, grid.form)
    if joined is not None:
        grid.remarks.append(Message("names joined over the rows of the header"))
    dialect = replace(start.dialect, sep="", encoding=grid.form, sheet=grid.sheet)
    return replace(start, dialect=dialect)


class _SheetTable:
    """The table of a sheet."""

    def __init__(self, grid: Grid, start: Start, path: str, names: Header) -> None:
        self._grid, self._start, self._path, self._names = grid, start, path, names
        first = start.dialect.first_line - 1
        if unshared := fill_merged(grid, first):
            cells = shorten(f"{letters_of(each.left)}{each.top + 1}" for each in unshared)
            grid.remarks.append(
                Message("merged cells with a value for their first row alone: {cells}", cells=cells)
            )
        last = self._end_of_rows(first)
        empty = [""] * len(grid.rows[0])
        rows = [row for row in range(first, last) if grid.rows[row] != empty]
        self._lines: IntArray = np.array(rows, dtype=np.int64) + 1
        self._take_columns([grid.rows[row] for row in rows])

    def _end_of_rows(self, first: int) -> int:
        """Find where the rows end, above the notes."""
        rows = self._grid.rows
        from_ = max(first, len(rows) - _TAIL)
        tail = [
            "\t".join(line_of([cell]) for cell in cells if not is_empty(cell))
            for cells in rows[from_:]
        ]
        n_notes = count_note_lines("\n".join(tail).encode("utf-8", "replace"), "\t")
        if n_notes:
            n_rows = len(rows)
            self._grid.remarks.append(
                Message(
                    "notes below the rows not read (lines {first} to {last})",
                    first=n_rows - n_notes + 1,
                    last=n_rows,
                )
            )
        return len(rows) - n_notes

    def _take_columns(self, rows: Sequence[Sequence[Any]]) -> None:
        """Put the rows into columns: those that have a name or hold something."""
        cells: list[list[Any]] = [[] for _ in self._start.columns]
        # Few at a time: zip makes an iterator of each row, and the collector goes through them all.
        for first in range(0, len(rows), _ZIPPED):
            for column, part in enumerate(zip(*rows[first : first + _ZIPPED], strict=True)):
                cells[column] += part
        header = self._grid.rows[self._start.dialect.header_line - 1]
        taken = [
            column
            for column, title in enumerate(header)
            if not is_empty(title) or cells[column].count("") < len(cells[column])
        ]
        names = [self._start.columns[column] for column in taken]
        made = arrow_columns([cells[column] for column in taken])
        self._columns = dict(zip(names, made, strict=True))
        letters = {self._start.columns[column]: letters_of(column) for column in taken}
        self._cells = CellNames(self._grid.sheet, letters)

    def open(self, batch_rows: int) -> Table:
        """Present it as a table."""
        return Table(
            path=self._path,
            columns=list(self._columns),
            _dialect=lambda: self._start.dialect,
            _blocks=partial(self._tasks, batch_rows),
            units=self._start.units,
            sample=self._sample,
            names=self._names,
            remarks=lambda: list(self._grid.remarks),
            turned=partial(turn, [self._grid], self._path, self._names, self._start.dialect),
        )

    def _tasks(self, n_rows: int, start: Position | None) -> Iterator[Callable[[], Batch]]:
        for first in range(start.offset if start else 0, len(self._lines), n_rows):
            yield partial(self._batch, first, first + n_rows)

    def _batch(self, first: int, last: int) -> Batch:
        lines = self._lines[first:last]
        n_rows = len(lines)
        columns = {name: cells.slice(first, n_rows) for name, cells in self._columns.items()}
        end = Position(first + n_rows, int(lines[-1]) + 1 if n_rows else 0)
        return Batch(columns=columns, lines=lines, cells=self._cells, end=end)

    def _sample(self) -> Batch | None:
        if not len(self._lines) or not any(map(_is_text, self._columns.values())):
            return None
        return self._batch(0, _SAMPLE)


def _is_text(cells: pa.Array) -> bool:
    return bool(pa.types.is_string(cells.type))
