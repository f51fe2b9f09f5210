"""Read tables in batches: the one way in which every command reads a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import PurePath
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from waterflow_cli.common.errors import InputError
from waterflow_cli.common.messages import Message, tr
from waterflow_cli.tables.csv_blocks import (
    BLOCK_BYTES,
    MAX_ROW_BYTES,
    Block,
    Position,
    count_lines,
    parse_block,
    split_blocks,
    whole_rows,
)
from waterflow_cli.tables.dialect import Dialect, StartReader
from waterflow_cli.tables.encodings import SAMPLE_BYTES, TextStream
from waterflow_cli.tables.footnotes import cut_block, without_notes
from waterflow_cli.tables.headers import Header, HeaderMatch, check_header
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.tables.row_rules import RowFinding
from waterflow_cli.tables.sources import PARQUET_MAGIC, STDIN, open_source, open_to_seek, share_read

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator, Mapping

    from waterflow_cli.common.arrays import IntArray
    from waterflow_cli.tables.numbers import NumberMarks

Opener = Callable[[str], AbstractContextManager["io.BufferedReader"]]
NO_NAMES = Header({})
PARQUET_ROWS = 1 << 16
# Enough to tell how long a row is.
_SAMPLE_BYTES = 1 << 16
_LARGEST_BLOCK = 64 << 20
# What Arrow raises on damaged files, and on what it cannot read of whole ones.
_PARQUET_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError)
# A line that holds one of these is no blank line. A block of blank lines alone is no batch; few
# need a closer look.
_PRINTABLE = re.compile(rb"[!#-~]")


@dataclass(frozen=True)
class Batch:
    """Some rows of a table, as they were written.

    Attributes
    ----------
    columns : dict of str to pyarrow.Array, each of shape (n_rows,)
        By header name, in the file's order: text for CSV, the file's own types for Parquet.
    lines : ndarray of int64, shape (n_rows,)
        Physical lines, the header being line 1. In Parquet a row's line is its number plus 1.
    findings : dict of int to RowFinding
        Rows that are no rows of the table (ragged, NUL bytes), by position in the batch.
    raw : bytes
        The text of the rows; empty for Parquet.
    end : Position, optional
        Where the rows after these start.
    cell_lines : dict of str to ndarray of int64, each of shape (n_rows,)
        Physical lines of the cells, by column, where they come from other lines than their row.
    """

    columns: dict[str, pa.Array]
    lines: IntArray
    findings: dict[int, RowFinding] = field(default_factory=dict)
    raw: bytes = b""
    first_line: int = 0
    end: Position | None = None
    cell_lines: Mapping[str, IntArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    def plain_rows(self) -> pa.Array | None:
        """Give the rows as they stand in the file, each with its LF, without copying them.

        None where a row may not be what a writer makes of its cells: in Parquet, and where the
        text holds quotes, CR, or lines that are no rows of the table.
        """
        if not self.raw or self.findings or b'"' in self.raw or b"\r" in self.raw:
            return None
        ends = np.flatnonzero(np.frombuffer(self.raw, dtype=np.uint8) == ord("\n")) + 1
        if len(ends) != len(self) or ends[-1] != len(self.raw):
            return None
        bounds = np.concatenate(([0], ends)).astype(np.int32)
        return pa.StringArray.from_buffers(len(self), pa.py_buffer(bounds), pa.py_buffer(self.raw))

    def raw_rows(self, rows: IntArray) -> list[str]:
        """Give the text of some rows as it stands in the file, without the line end."""
        if not self.raw:
            return [
                ",".join(_cell_text(column[int(row)]) for column in self.columns.values())
                for row in rows
            ]
        texts = self.raw.splitlines(keepends=True)
        ends = np.append(self.lines[1:], self.first_line + len(texts)) - self.first_line
        starts = self.lines - self.first_line
        return [_row_text(texts[starts[row] : ends[row]]) for row in rows]


@dataclass(frozen=True)
class Table:
    """An open input.

    Attributes
    ----------
    path : str
        As the user typed it.
    columns : list of str
        The header as written.
    units : dict of str to str
        By column: its unit, where the file has a row of units.
    sample : callable
        Gives the first rows, None where they have their numbers as such.
    names : Header
        What its columns may be called, and what they are.
    marks : NumberMarks, optional
        What the numbers are written with, where that is known already.
    share_read : callable
        Tells how much of the file was read: 0 to 1, None if that cannot be known.
    remarks : callable
        Says what else there is to know of how the file is read, at its end.
    """

    path: str
    columns: list[str]
    _dialect: Callable[[], Dialect]
    _blocks: Callable[[Position | None], Iterator[Callable[[], Batch]]]
    units: Mapping[str, str] = field(default_factory=dict)
    sample: Callable[[], Batch | None] = field(default=lambda: None)
    names: Header = NO_NAMES
    marks: NumberMarks | None = None
    share_read: Callable[[], float | None] = field(default=lambda: None)
    remarks: Callable[[], list[str]] = field(default=list)

    @property
    def dialect(self) -> Dialect:
        """How the file is written, as far as it is known."""
        return self._dialect()

    @cached_property
    def match(self) -> HeaderMatch:
        """Which of its columns is which; see `Header.match`."""
        return self.names.match(self.columns, self.path)

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in order; a table can be read once.

        Raises
        ------
        InputError
            If the file cannot be read to its end, or has no row.
        """
        for parse in self.tasks():
            yield parse()

    def tasks(self, start: Position | None = None) -> Iterator[Callable[[], Batch]]:
        """Yield the batches as calls that parse them, for workers to run in any order.

        Parameters
        ----------
        start : Position, optional
            Where an earlier batch of the same table ended; the rows before it are passed over.
        """
        empty = start is None
        for task in self._blocks(start):
            empty = False
            yield task
        if empty:
            raise no_rows(self.path)


def table_of(
    batch: Batch, path: str, dialect: Dialect, names: Header, marks: NumberMarks | None = None
) -> Table:
    """Present a batch as an open table."""
    return Table(
        path,
        list(batch.columns),
        lambda: dialect,
        lambda _: iter([lambda: batch]),
        names=names,
        marks=marks,
    )


def no_rows(path: str) -> InputError:
    """Build the error for a file that has no row."""
    return InputError(
        path, tr("has a header and no rows."), hint=tr("At least one row is expected.")
    )


@contextmanager
def open_table(
    path: str,
    names: Header = NO_NAMES,
    options: ReadingOptions = AS_FOUND,
    *,
    batch_rows: int | None = None,
    block_bytes: int = BLOCK_BYTES,
    opener: Opener = open_source,
) -> Iterator[Table]:
    """Open a CSV, TSV or Parquet file, plain or compressed, or standard input.

    Parameters
    ----------
    path : str
        A file or ``-``.
    names : Header
        Names by which the line of the header is found.
    options : ReadingOptions
        What the user said of how to read it.
    batch_rows : int, optional
        About how many rows make a batch; it bounds memory. Default: by `block_bytes`.
    block_bytes : int
        About how much text makes a batch.
    opener : callable
        Gives the bytes, decompressed, where the path is no file of this machine.

    Raises
    ------
    InputError
        If the file is missing, empty, damaged, binary or has an unusable header.
    """
    with opener(path) as stream:
        if stream.peek(4)[:4] == PARQUET_MAGIC:
            with open_to_seek(stream) as file:
                yield _open_parquet(file, path, names, batch_rows or PARQUET_ROWS)
        elif PurePath(path).suffix.lower() == ".parquet":
            raise InputError(path, tr("is named .parquet, and is no Parquet file."))
        else:
            yield _TextTable(stream, path, names, options).open(batch_rows, block_bytes)


def _row_text(texts: list[bytes]) -> str:
    """Join the lines of a row, without the blank lines that may follow it."""
    lines = [text.decode("utf-8") for text in texts]
    while len(lines) > 1 and not lines[-1].strip():
        lines.pop()
    return "".join(lines).rstrip("\r\n")


def _cell_text(cell: pa.Scalar) -> str:
    return str(cell) if cell.is_valid else ""


class _TextTable:
    """A text file that is being read."""

    def __init__(
        self, stream: io.BufferedReader, path: str, names: Header, options: ReadingOptions
    ) -> None:
        self._path, self._stream, self._names = path, stream, names
        self._text = TextStream(stream, path, options.encoding)
        reader = StartReader(path, names, options)
        start = self._read_start(reader)
        self._start = reader.read(start, self._text.encoding)
        self._sep = self._start.dialect.sep
        self._n_columns = len(self._start.columns)
        used = len(start) - len(self._start.rest)
        self._first = Position(used, self._start.dialect.first_line)
        self._notes: list[int] = []

    def open(self, batch_rows: int | None, block_bytes: int) -> Table:
        """Present the file as a table."""
        if batch_rows is not None:
            rest = self._start.rest[:_SAMPLE_BYTES]
            row_bytes = len(rest) / max(1, count_lines(rest))
            block_bytes = max(1, min(round(batch_rows * row_bytes), _LARGEST_BLOCK))
        return Table(
            self._path,
            self._start.columns,
            lambda: replace(self._start.dialect, encoding=self._text.encoding),
            partial(self._tasks, block_bytes),
            self._start.units,
            self._sample,
            self._names,
            share_read=partial(share_read, self._stream) if self._path != STDIN else lambda: None,
            remarks=self._remarks,
        )

    def _tasks(self, block_bytes: int, position: Position | None) -> Iterator[Callable[[], Batch]]:
        position = position or self._first
        ahead = self._pass_over(position.offset - self._first.offset)
        blocks = split_blocks(
            ahead,
            self._text,
            path=self._path,
            sep=self._sep,
            position=position,
            block_bytes=block_bytes,
        )
        for block in without_notes(blocks, self._sep, self._n_columns, self._notes):
            if _PRINTABLE.search(block.data) or len(self._parse(block)):
                yield partial(self._parse, block)

    def _parse(self, block: Block) -> Batch:
        names, check_utf8 = self._start.columns, not self._text.is_decoded
        return _parse_rows(block, names, self._sep, self._path, check_utf8=check_utf8)

    def _sample(self) -> Batch | None:
        """Parse the first rows, the same ones however the file is read later."""
        rows = self._start.rest
        if self._text.is_at_end and not rows.endswith(b"\n"):
            rows += b"\n"
        rows = whole_rows(rows, self._sep)
        if not rows.strip():
            return None
        line = self._first.line
        return self._parse(Block(rows, line, Position(0, line + count_lines(rows))))

    def _pass_over(self, n_bytes: int) -> bytes:
        """Drop some bytes of what was read ahead, and of the text where there are more."""
        ahead = self._start.rest
        while len(ahead) < n_bytes and (more := self._text.read(BLOCK_BYTES)):
            n_bytes, ahead = n_bytes - len(ahead), more
        return ahead[n_bytes:]

    def _read_start(self, reader: StartReader) -> bytes:
        """Read the first bytes, and more while the header does not end in them."""
        start = self._text.read(SAMPLE_BYTES)
        while not self._text.is_at_end and not reader.holds_rows(start):
            start += self._text.read(SAMPLE_BYTES)
            if len(start) > MAX_ROW_BYTES:
                raise InputError(
                    self._path,
                    tr("the header does not end within {size} MiB.", size=MAX_ROW_BYTES >> 20),
                    hint=tr(
                        "Check that this is a table of text, and that its header closes each quote."
                    ),
                )
        return start

    def _remarks(self) -> list[str]:
        return remark_on_notes(self._notes)


def remark_on_notes(lines: Sequence[int]) -> list[str]:
    """Say which lines below a table are notes, if any are."""
    if not lines:
        return []
    first, last = lines[0], lines[-1]
    return [
        Message("notes below the rows not read (lines {first} to {last})", first=first, last=last)
    ]


@dataclass(frozen=True)
class FilePart:
    """Some whole lines of a text file, of which it is known how it is written.

    Attributes
    ----------
    stream : BufferedReader
        The lines, in the file's own encoding.
    line : int
        Physical line on which the part starts.
    n_passed : int
        Lines at its start that are no rows: the header, or the end of a row of the part before.
    notes : range
        Physical lines of the notes below the table.
    """

    stream: io.BufferedReader
    line: int
    n_passed: int = 0
    notes: range = range(0)


def part_tasks(
    path: str, columns: Sequence[str], dialect: Dialect, part: FilePart, encoding: str | None = None
) -> Iterator[Callable[[], Batch]]:
    """Yield the batches of a part of a text file as calls that parse them; see `Table.tasks`.

    Parameters
    ----------
    columns : sequence of str
        The file's header.
    dialect : Dialect
        How all of the file is written.
    encoding : str, optional
        What the user says that it is.
    """
    text = TextStream(part.stream, path, encoding, found=dialect.encoding, line=part.line)
    start = b""
    while count_lines(start) <= part.n_passed and (more := text.read(BLOCK_BYTES)):
        start += more
    rows = b"".join(start.splitlines(keepends=True)[part.n_passed :])
    position = Position(0, part.line + part.n_passed)
    parse = partial(
        _parse_rows, columns=columns, sep=dialect.sep, path=path, check_utf8=not text.is_decoded
    )
    for block in split_blocks(rows, text, path=path, sep=dialect.sep, position=position):
        if part.notes and block.line >= part.notes.start:
            continue
        whole = cut_block(block, part.notes.start) if part.notes else block
        if _PRINTABLE.search(whole.data) or len(parse(whole)):
            yield partial(parse, whole)


def _parse_rows(
    block: Block, columns: Sequence[str], sep: str, path: str, *, check_utf8: bool
) -> Batch:
    parsed = parse_block(block, n_columns=len(columns), sep=sep, path=path, check_utf8=check_utf8)
    named = dict(zip(columns, parsed.columns, strict=True))
    return Batch(named, parsed.lines, parsed.findings, block.data, block.line, block.end)


def _open_parquet(source: IO[bytes], path: str, names: Header, batch_rows: int) -> Table:
    try:
        file = pq.ParquetFile(source)
        columns = file.schema_arrow.names
    except _PARQUET_ERRORS as exc:
        raise InputError(path, tr("the Parquet file is damaged or cut short.")) from exc
    check_header(columns, path, 1)

    n_read = 0

    def tasks(position: Position | None) -> Iterator[Callable[[], Batch]]:
        nonlocal n_read
        n_passed = position.offset if position else 0
        try:
            for whole in file.iter_batches(batch_size=batch_rows):
                whole.validate(full=True)  # text that is not UTF-8 would fail much later
                records = whole.slice(max(0, n_passed - n_read))
                first, n_read = n_read + len(whole) - len(records), n_read + len(whole)
                if not len(records):
                    continue
                named = dict(zip(columns, map(plain_column, records.columns), strict=True))
                lines = np.arange(first + 2, n_read + 2, dtype=np.int64)
                yield partial(_ready, Batch(named, lines, end=Position(n_read, n_read + 2)))
        except _PARQUET_ERRORS as exc:
            raise InputError(path, tr("the Parquet file is damaged."), line=n_read + 2) from exc

    def share() -> float | None:
        return n_read / file.metadata.num_rows if file.metadata.num_rows else None

    dialect = Dialect("parquet", "", 1, 2)
    return Table(path, columns, lambda: dialect, tasks, names=names, share_read=share)


def _ready(batch: Batch) -> Batch:
    return batch


def plain_column(column: pa.Array) -> pa.Array:
    """Give a column of a Parquet file or a frame without dictionaries, and text as `string`."""
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode()
    # Text comes as string_view and, from pandas, as large_string; one kind of it is enough.
    kind = column.type
    is_other_text = pa.types.is_string_view(kind) or pa.types.is_large_string(kind)
    return column.cast(pa.string()) if is_other_text else column
