"""Read tables in batches: the one way in which every command reads a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePath
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from waterflow_cli.common.errors import InputError
from waterflow_cli.common.messages import Message, tr
from waterflow_cli.tables.csv_blocks import (
    BLOCK_BYTES,
    MAX_ROW_BYTES,
    Block,
    Position,
    RowSyntax,
    cut_block,
    parse_block,
    split_blocks,
    without_notes,
)
from waterflow_cli.tables.dialect import PARQUET, Dialect, StartReader
from waterflow_cli.tables.encodings import SAMPLE_BYTES, TextStream
from waterflow_cli.tables.headers import Header, check_header
from waterflow_cli.tables.json_files import holds_json, open_json
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.tables.row_ends import count_lines, whole_rows
from waterflow_cli.tables.sources import (
    PARQUET_MAGIC,
    STDIN,
    check_unpacked,
    open_source,
    open_to_seek,
    refuse_other_kind,
    share_read,
    size_of,
)
from waterflow_cli.tables.table import NO_NAMES, Batch, Table, is_text, plain_column

if TYPE_CHECKING:
    import io


Opener = Callable[[str], AbstractContextManager["io.BufferedReader"]]
PARQUET_ROWS = 1 << 16
# About as many as tell the marks of numbers in a text file.
_PARQUET_SAMPLE = 1 << 13
# Enough to tell how long a row is.
_SAMPLE_BYTES = 1 << 16
_LARGEST_BLOCK = 64 << 20
# Of longer ones that many rows refer to, a batch might take all memory.
_LONGEST_TEXT = _LARGEST_BLOCK // PARQUET_ROWS
# A row group whose pages are larger, and so many times the file, is made to fill a memory.
_MOST_PAGE_BYTES, _MOST_PAGE_TIMES = 256 << 20, 100
# What Arrow raises on damaged files, and on what it cannot read of whole ones.
_PARQUET_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError)
# A line that holds one of these is no blank line. A block of blank lines alone is no batch; few
# need a closer look.
_PRINTABLE = re.compile(rb"[!#-~]")


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
    """Open a file of text cells, JSON or Parquet, plain or compressed, or standard input.

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
        ahead = stream.peek(8)
        refuse_other_kind(ahead, path, is_text=False)
        if ahead.startswith(PARQUET_MAGIC):
            with open_to_seek(stream) as file:
                yield _open_parquet(file, path, names, batch_rows or PARQUET_ROWS)
        elif PurePath(path).suffix.lower() == ".parquet":
            raise InputError(path, "is named .parquet, and is no Parquet file.")
        else:
            table = _open_text(stream, path, names, options, batch_rows, block_bytes)
            yield table if path == STDIN else replace(table, share_read=partial(share_read, stream))


def _open_text(
    stream: io.BufferedReader,
    path: str,
    names: Header,
    options: ReadingOptions,
    batch_rows: int | None,
    block_bytes: int,
) -> Table:
    """Open text: JSON, or else a table of cells."""
    text = TextStream(stream, path, options.encoding)
    start = text.read(SAMPLE_BYTES)
    if holds_json(start):
        return open_json(
            text, start, path, names, options, batch_rows=batch_rows, block_bytes=block_bytes
        )
    return _TextTable(text, start, path, names, options).open(batch_rows, block_bytes)


class _TextTable:
    """A text file that is being read."""

    def __init__(
        self, text: TextStream, start: bytes, path: str, names: Header, options: ReadingOptions
    ) -> None:
        self._text = text
        reader = StartReader(path, names, options)
        start = _whole_start(text, start, reader, path)
        refuse_other_kind(start, path, is_text=True)
        self._whole = start
        self._start = reader.read(start, self._text.encoding)
        dialect, self._names = self._start.dialect, names.laid_out(self._start.columns)
        self._rows = _row_syntax(path, self._start.columns, dialect, self._names)
        self._first = Position(len(start) - len(self._start.rest), dialect.first_line)
        self._notes: list[int] = []

    def open(self, batch_rows: int | None, block_bytes: int) -> Table:
        """Present the file as a table."""
        if batch_rows is not None:
            rest = self._start.rest[:_SAMPLE_BYTES]
            row_bytes = len(rest) / max(1, count_lines(rest))
            block_bytes = max(1, min(round(batch_rows * row_bytes), _LARGEST_BLOCK))
        return Table(
            path=self._rows.path,
            columns=self._start.columns,
            _dialect=self._dialect,
            _blocks=partial(self._tasks, block_bytes),
            units=self._start.units,
            sample=self._sample,
            names=self._names,
            remarks=partial(remark_on_notes, self._notes),
            whole_text=self._whole if self._text.is_at_end else None,
        )

    def _dialect(self) -> Dialect:
        text = self._text
        return replace(self._start.dialect, encoding=text.encoding, doubtful=text.doubtful)

    def _tasks(self, block_bytes: int, position: Position | None) -> Iterator[Callable[[], Batch]]:
        position = position or self._first
        ahead = self._pass_over(position.offset - self._first.offset)
        blocks = split_blocks(ahead, self._text.read, self._rows, position, block_bytes)
        return _parsing(without_notes(blocks, self._rows, self._notes), self._parse)

    def _parse(self, block: Block) -> Batch:
        return parse_block(block, self._rows, check_utf8=not self._text.is_decoded)

    def _sample(self) -> Batch | None:
        """Parse the first rows, the same ones however the file is read later."""
        rows = self._start.rest
        if self._text.is_at_end and not rows.endswith(b"\n"):
            rows += b"\n"
        rows = whole_rows(rows, self._rows.sep)
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


def _parsing(
    blocks: Iterable[Block], parse: Callable[[Block], Batch]
) -> Iterator[Callable[[], Batch]]:
    """Yield the blocks that hold rows as calls that parse them."""
    for block in blocks:
        is_blank = not block.data.strip(b"\r\n")
        if not is_blank and (_PRINTABLE.search(block.data) or len(parse(block))):
            yield partial(parse, block)


def _whole_start(text: TextStream, start: bytes, reader: StartReader, path: str) -> bytes:
    """Give the first bytes, and more where the header does not end in them."""
    if text.is_at_end or reader.holds_rows(start):
        return start
    # All there may be, at once: to look again after each piece costs the square of their number.
    start += text.read(MAX_ROW_BYTES)
    is_cut = len(start) > MAX_ROW_BYTES or not text.is_at_end
    if is_cut and not reader.holds_rows(start):
        raise InputError(
            path,
            "the header does not end within {size} MiB.",
            size=MAX_ROW_BYTES >> 20,
            hint=tr("Check that this is a table of text, and that its header closes each quote."),
        )
    return start


def remark_on_notes(lines: Sequence[int]) -> list[str]:
    """Say which lines below a table are notes, if any are."""
    if not lines:
        return []
    first, last = lines[0], lines[-1]
    return [
        Message("notes below the rows not read (lines {first} to {last})", first=first, last=last)
    ]


def _row_syntax(path: str, columns: Sequence[str], dialect: Dialect, names: Header) -> RowSyntax:
    """Say how the rows are written; only what follows the last known column may be left out."""
    known = [number for number, name in enumerate(columns, 1) if names.column_of(name)]
    n_needed = max(known, default=len(columns))
    return RowSyntax(
        path=path,
        columns=columns,
        sep=dialect.sep,
        n_needed=n_needed,
        ends_in_separator=dialect.ends_in_separator,
    )


@dataclass(frozen=True, kw_only=True)
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
    cut_line : int, optional
        Physical line below the file's last one, where that has no line end.
    """

    stream: io.BufferedReader
    line: int
    n_passed: int = 0
    notes: range = range(0)
    cut_line: int | None = None


def part_tasks(
    path: str,
    columns: Sequence[str],
    dialect: Dialect,
    names: Header,
    part: FilePart,
    encoding: str | None = None,
) -> Iterator[Callable[[], Batch]]:
    """Yield the batches of a part of a text file as calls that parse them; see `Table.tasks`.

    Columns, dialect and names are the whole file's; the encoding is what the user says that it is.
    """
    text = TextStream(part.stream, path, encoding, found=dialect.encoding, line=part.line)
    start = b""
    while count_lines(start) <= part.n_passed and (more := text.read(BLOCK_BYTES)):
        start += more
    ahead = b"".join(start.splitlines(keepends=True)[part.n_passed :])
    rows = _row_syntax(path, columns, dialect, names)
    blocks = (
        block._replace(is_ended=block.end.line != part.cut_line)
        for block in split_blocks(ahead, text.read, rows, Position(0, part.line + part.n_passed))
    )
    if part.notes:
        first = part.notes.start
        blocks = (cut_block(block, first) for block in blocks if block.line < first)
    yield from _parsing(blocks, partial(parse_block, rows=rows, check_utf8=not text.is_decoded))


def _parquet_file(source: IO[bytes], size: int, path: str) -> pq.ParquetFile:
    """Open a Parquet file, its text in dictionaries where batches of it might take all memory."""
    try:
        metadata = pq.read_metadata(source)
        for number in range(metadata.num_row_groups):  # pages are unpacked whole
            n_bytes = metadata.row_group(number).total_byte_size
            check_unpacked(n_bytes, size, path, _MOST_PAGE_BYTES, _MOST_PAGE_TIMES)
        texts = [each.name for each in metadata.schema.to_arrow_schema() if is_text(each.type)]
        is_long = _longest_text(source, metadata, texts) > _LONGEST_TEXT
        told = {"read_dictionary": texts} if is_long else {}
        return pq.ParquetFile(source, metadata=metadata, **told)
    except _PARQUET_ERRORS as exc:
        raise InputError(path, "the Parquet file is damaged or cut short.") from exc


def _open_parquet(source: IO[bytes], path: str, names: Header, batch_rows: int) -> Table:
    size = size_of(source)
    file = _parquet_file(source, size, path)
    columns, n_rows = file.schema_arrow.names, file.metadata.num_rows
    check_header(columns, path, 1)

    n_read = n_bytes = 0

    def sample() -> Batch | None:
        if not any(is_text(each.type) for each in file.schema_arrow):
            return None
        try:
            whole = next(file.iter_batches(batch_size=_PARQUET_SAMPLE), None)
            if whole is None:
                return None
            return _as_text_file(_batch_of(columns, next(_bounded(whole, path)), 0))
        except _PARQUET_ERRORS as exc:
            raise InputError(path, "the Parquet file is damaged.") from exc

    def tasks(position: Position | None) -> Iterator[Callable[[], Batch]]:
        nonlocal n_read, n_bytes
        n_passed = position.offset if position else 0
        try:
            batches = file.iter_batches(batch_size=batch_rows)
            for whole in (part for batch in batches for part in _bounded(batch, path)):
                records = whole.slice(max(0, n_passed - n_read))
                first, n_read = n_read + len(whole) - len(records), n_read + len(whole)
                if not len(records):
                    continue
                batch = _batch_of(columns, records, first)
                n_bytes += sum(cells.nbytes for cells in batch.columns.values())
                check_unpacked(n_bytes, size, path)
                yield partial(_ready, batch)
        except _PARQUET_ERRORS as exc:
            raise InputError(path, "the Parquet file is damaged.", line=n_read + 2) from exc

    return Table(
        path=path,
        columns=columns,
        _dialect=lambda: PARQUET,
        _blocks=tasks,
        sample=sample,
        names=names,
        share_read=lambda: n_read / n_rows if n_rows else None,
    )


def _longest_text(source: IO[bytes], metadata: pq.FileMetaData, texts: Sequence[str]) -> int:
    """Tell how long a text may be that a row only refers to: in the dictionaries of its columns."""
    if not texts:
        return 0
    file = pq.ParquetFile(source, metadata=metadata, read_dictionary=texts)
    groups = range(metadata.num_row_groups)
    # With its first row the whole dictionary of a row group is read.
    firsts = (file.iter_batches(1, row_groups=[group], columns=texts) for group in groups)
    return max(
        (_row_bytes(each) for each in filter(None, (next(f, None) for f in firsts))), default=0
    )


def _row_bytes(records: pa.RecordBatch) -> int:
    """Tell how much text a row may refer to in dictionaries."""
    texts = [cells.dictionary for cells in records.columns if pa.types.is_dictionary(cells.type)]
    return sum(pc.max(pc.binary_length(text)).as_py() or 0 for text in texts if len(text))


def _bounded(records: pa.RecordBatch, path: str) -> Iterator[pa.RecordBatch]:
    """Cut rows so that the text in their dictionaries takes a bounded place in each."""
    records.validate(full=True)  # text that is not UTF-8 would fail much later
    if (longest := _row_bytes(records)) > MAX_ROW_BYTES:
        raise InputError(path, "the row is longer than {limit} MiB.", limit=MAX_ROW_BYTES >> 20)
    n_rows = max(1, _LARGEST_BLOCK // max(1, longest))
    for first in range(0, max(1, len(records)), n_rows):
        yield records.slice(first, n_rows)


def _batch_of(columns: Sequence[str], records: pa.RecordBatch, first: int) -> Batch:
    """Present rows of a Parquet file, of which so many stand before them."""
    named = dict(zip(columns, map(plain_column, records.columns), strict=True))
    last = first + len(records)
    lines = np.arange(first + 2, last + 2, dtype=np.int64)
    return Batch(columns=named, lines=lines, end=Position(last, last + 2))


def _as_text_file(batch: Batch) -> Batch:
    """Give the rows with text as a text file would have it: without nulls."""
    columns = {
        name: pc.fill_null(cells, "") if pa.types.is_string(cells.type) else cells
        for name, cells in batch.columns.items()
    }
    return replace(batch, columns=columns)


def _ready(batch: Batch) -> Batch:
    return batch
