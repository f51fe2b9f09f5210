"""Read tables in batches: the one way in which every command reads a file."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from waterflow_cli.csv_blocks import (
    BLOCK_BYTES,
    MAX_ROW_BYTES,
    Block,
    RowFault,
    parse_block,
    split_blocks,
)
from waterflow_cli.dialect import Dialect, holds_header, read_header
from waterflow_cli.errors import InputError
from waterflow_cli.headers import check_header
from waterflow_cli.sources import PARQUET_MAGIC, open_source, open_to_seek

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator

    from waterflow_cli.arrays import IntArray

PARQUET_ROWS = 1 << 16
# What Arrow raises on damaged files, and on what it cannot read of whole ones.
_PARQUET_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError)
# A line that holds one of these is no blank line.
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
    faults : dict of int to RowFault
        Rows that are no rows of the table (ragged, NUL bytes), by position in the batch.
    raw : bytes
        The text of the rows; empty for Parquet.
    """

    columns: dict[str, pa.Array]
    lines: IntArray
    faults: dict[int, RowFault] = field(default_factory=dict)
    raw: bytes = b""
    first_line: int = 0

    def __len__(self) -> int:
        return len(self.lines)

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
    dialect : Dialect
        How the file is written.
    """

    path: str
    columns: list[str]
    dialect: Dialect
    _blocks: Callable[[], Iterator[Callable[[], Batch]]]

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in order; a table can be read once.

        Raises
        ------
        InputError
            If the file cannot be read to its end, or has no row.
        """
        for parse in self.tasks():
            yield parse()

    def tasks(self) -> Iterator[Callable[[], Batch]]:
        """Yield the batches as calls that parse them, for workers to run in any order."""
        empty = True
        for task in self._blocks():
            empty = False
            yield task
        if empty:
            raise InputError(
                self.path, "has a header and no rows.", hint="At least one row is expected."
            )


@contextmanager
def open_table(path: str, *, block_bytes: int = BLOCK_BYTES) -> Iterator[Table]:
    """Open a CSV, TSV or Parquet file, plain or compressed, or standard input.

    Parameters
    ----------
    path : str
        A file or ``-``.
    block_bytes : int
        About how much text makes a batch; it bounds memory.

    Raises
    ------
    InputError
        If the file is missing, empty, damaged, binary or has an unusable header.
    """
    with open_source(path) as stream:
        if stream.peek(4)[:4] == PARQUET_MAGIC:
            with open_to_seek(stream) as file:
                yield _open_parquet(file, path)
        elif PurePath(path).suffix.lower() == ".parquet":
            raise InputError(path, "is named .parquet, and is no Parquet file.")
        else:
            yield _open_text(stream, path, block_bytes)


def _row_text(texts: list[bytes]) -> str:
    """Join the lines of a row, without the blank lines that may follow it."""
    lines = [text.decode("utf-8") for text in texts]
    while len(lines) > 1 and not lines[-1].strip():
        lines.pop()
    return "".join(lines).rstrip("\r\n")


def _cell_text(cell: pa.Scalar) -> str:
    return str(cell) if cell.is_valid else ""


def _open_text(stream: io.BufferedReader, path: str, block_bytes: int) -> Table:
    dialect, columns, rest = read_header(_read_start(stream, path, block_bytes), path)
    sep, n_columns = dialect.sep, len(columns)

    def parse(block: Block) -> Batch:
        parsed = parse_block(block, n_columns=n_columns, sep=sep, path=path)
        named = dict(zip(columns, parsed.columns, strict=True))
        return Batch(named, parsed.lines, parsed.faults, block.data, block.line)

    def tasks() -> Iterator[Callable[[], Batch]]:
        blocks = split_blocks(
            rest, stream, path=path, sep=sep, line=dialect.first_line, block_bytes=block_bytes
        )
        for block in blocks:
            # A block of nothing but blank lines is no batch; few need a closer look.
            if _PRINTABLE.search(block.data) or len(parse(block)):
                yield partial(parse, block)

    return Table(path, columns, dialect, tasks)


def _read_start(stream: io.BufferedReader, path: str, block_bytes: int) -> bytes:
    """Read a block, and more while the header does not end in it."""
    start = stream.read(block_bytes)
    while not holds_header(start, path) and (more := stream.read(block_bytes)):
        start += more
        if len(start) > MAX_ROW_BYTES:
            raise InputError(
                path,
                f"the header does not end within {MAX_ROW_BYTES >> 20} MiB.",
                hint="Check that this is a table of text, and that its header closes each quote.",
            )
    return start


def _open_parquet(source: IO[bytes], path: str) -> Table:
    try:
        file = pq.ParquetFile(source)
        columns = file.schema_arrow.names
    except _PARQUET_ERRORS as exc:
        raise InputError(path, "the Parquet file is damaged or cut short.") from exc
    check_header(columns, path, 1)

    def tasks() -> Iterator[Callable[[], Batch]]:
        line = 2
        try:
            for records in file.iter_batches(batch_size=PARQUET_ROWS):
                records.validate(full=True)  # text that is not UTF-8 would fail much later
                named = dict(zip(columns, map(_plain, records.columns), strict=True))
                batch = Batch(named, np.arange(line, line + len(records), dtype=np.int64))
                line += len(records)
                yield partial(_ready, batch)
        except _PARQUET_ERRORS as exc:
            raise InputError(path, "the Parquet file is damaged.", line=line) from exc

    return Table(path, columns, Dialect("parquet", "", 1, 2), tasks)


def _ready(batch: Batch) -> Batch:
    return batch


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode()
    # Few of Arrow's functions take views of text.
    return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column
