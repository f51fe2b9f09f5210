"""Write tables in the format that the output's suffix names."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from waterflow_cli.common.arrays import (
    arrow_numbers,
    arrow_texts,
    as_bools,
    cell_bounds,
    empty_cells,
    filled,
    joined,
    text_bytes,
    where_else,
)
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.databases.addresses import is_database
from waterflow_cli.tables.numbers import PLAIN_MARKS, NumberMarks
from waterflow_cli.tables.outputs import STDOUT

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_COMPRESSIONS = (".gz", ".zst")
# Nothing can be added to a file of these.
_MADE_AT_THE_END = (".parquet", ".xlsx")
_GZIP_LEVEL = 6
_COPY_BYTES = 1 << 20


class Sink(Protocol):
    """What takes bytes."""

    def write(self, data: Any, /) -> int:
        """Write all of some bytes."""


class TableWriter(ABC):
    """Writes batches of rows, each with the same columns, to an open output.

    Attributes
    ----------
    marks : NumberMarks
        What the numbers among texts are written with, for formats with numbers of their own.
    numeric : collection of str
        The columns of text that hold numbers; in others a number is kept as it is written.
    """

    marks: NumberMarks = PLAIN_MARKS
    numeric: Collection[str] = ()

    @property
    def findings(self) -> TableWriter | None:
        """What takes the findings of the rows; None where the format holds one table."""
        return None

    @abstractmethod
    def encode(self, columns: Mapping[str, pa.Array]) -> Any:
        """Put some rows into the output's format; threads may do so at the same time.

        Raises
        ------
        UsageError
            If a column holds values that the format cannot.
        """

    @abstractmethod
    def append(self, encoded: Any) -> None:
        """Write what `encode` gave, after what was written before."""

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        """Write some rows."""
        self.append(self.encode(columns))


def output_format(path: str) -> tuple[str, str]:
    """Tell an output's format and compression by its suffixes.

    >>> output_format("out.csv.gz")
    ('.csv', '.gz')
    >>> output_format("-")
    ('.csv', '')

    Raises
    ------
    UsageError
        If the suffix names no format.
    """
    if path == STDOUT:
        return ".csv", ""
    if is_database(path):  # its rows wait in such a file until all are there
        return ".parquet", ""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes[-1:] in ([kind] for kind in _MADE_AT_THE_END):
        return suffixes[-1], ""
    compression = suffixes.pop() if suffixes and suffixes[-1] in _COMPRESSIONS else ""
    if not suffixes or suffixes[-1] not in (*_SEPARATORS, ".jsonl"):
        raise UsageError(
            "{path}: its suffix names no format.",
            tr(
                "Use .csv, .tsv or .jsonl (also with .gz or .zst), .xlsx, .parquet, or - for "
                "CSV on stdout."
            ),
            path=path,
        )
    return suffixes[-1], compression


def names_format(path: str) -> bool:
    """Tell whether an output's suffix names a format."""
    try:
        output_format(path)
    except UsageError:
        return False
    return True


@contextmanager
def open_table_writer(path: str, sink: Sink, excel: str | None = None) -> Iterator[TableWriter]:
    """Give the writer that suits an output's suffix, over an open sink.

    Parameters
    ----------
    excel : str, optional
        The language of the Excel that is to open a .csv as it is: ``fr``.
    """
    kind, compression = output_format(path)
    if kind in _MADE_AT_THE_END:
        with _whole_writer(kind, sink) as whole:
            yield whole
    else:
        with _compressed(sink, compression) as stream:
            yield kept_writer(path, stream, started=False, excel=excel)


def kept_writer(path: str, sink: Sink, *, started: bool, excel: str | None = None) -> BytesWriter:
    """Give the writer of rows that are kept for an output, in a form that can be added to.

    Parameters
    ----------
    started : bool
        Whether the sink holds rows already.
    """
    kind, _ = output_format(path)
    if kind in _MADE_AT_THE_END:
        return ArrowWriter(sink, started=started)
    if kind == ".jsonl":
        return JsonLinesWriter(sink, started=started)
    if excel and kind == ".csv":
        from waterflow_cli.tables.workbook_writing import FrenchWriter

        return FrenchWriter(sink, started=started)
    return DelimitedWriter(sink, _SEPARATORS[kind], started=started)


def is_kept_as_written(path: str) -> bool:
    """Tell whether an output's kept rows are the output, byte for byte."""
    kind, compression = output_format(path)
    return kind not in _MADE_AT_THE_END and not compression


def write_kept(path: str, kept: io.BufferedReader, sink: Sink) -> None:
    """Write the rows that were kept for an output, in its own format."""
    kind, compression = output_format(path)
    if kind in _MADE_AT_THE_END:
        with _whole_writer(kind, sink) as whole:
            for columns in _read_arrow(kept):
                whole.write(columns)
    else:
        with _compressed(sink, compression) as stream:
            shutil.copyfileobj(kept, stream, _COPY_BYTES)


def _whole_writer(kind: str, sink: Sink) -> AbstractContextManager[TableWriter]:
    if kind == ".parquet":
        return ParquetTableWriter(sink)
    from waterflow_cli.tables.workbook_writing import WorkbookWriter

    return WorkbookWriter(sink)


@contextmanager
def _compressed(sink: Sink, compression: str) -> Iterator[Sink]:
    if compression == ".gz":
        # No time and no name in the header: equal rows give equal bytes.
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, cast("Any", sink), mtime=0) as stream:
            yield stream
    elif compression == ".zst":
        with pa.CompressedOutputStream(pa.PythonFile(Unclosed(sink), "w"), "zstd") as stream:
            yield stream
    else:
        yield sink


class Unclosed(io.RawIOBase):
    """A stream that stays open though a library closes it: what it holds is to be synced."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def writable(self) -> bool:
        """Say that this stream can be written."""
        return True

    def write(self, data: Any) -> int:
        """Hand on some bytes."""
        return self._sink.write(data)


class EncodedRows(NamedTuple):
    """Rows as bytes, and what stands before the first of them in the output."""

    head: Any
    body: Any


class BytesWriter(TableWriter):
    """A format whose rows are bytes that can be put one after the other; see `kept_writer`."""

    def __init__(self, sink: Sink, *, started: bool = False) -> None:
        self._sink, self._started = sink, started

    def append(self, encoded: EncodedRows) -> None:
        """Write rows."""
        if not self._started:
            self._sink.write(encoded.head)
            self._started = True
        self._sink.write(encoded.body)


class DelimitedWriter(BytesWriter):
    """CSV or TSV: a header, LF line ends, quotes only where a cell needs them."""

    def __init__(self, sink: Sink, separator: str, *, started: bool = False) -> None:
        super().__init__(sink, started=started)
        self.separator = separator
        self._special = f'[{separator}"\r\n]'

    def encode(self, columns: Mapping[str, pa.Array]) -> EncodedRows:
        """Write rows as text."""
        return EncodedRows(self._header(columns), self._lines(self._cells(columns)))

    def encode_after(
        self, plain: pa.Array, names: Iterable[str], columns: Mapping[str, pa.Array]
    ) -> EncodedRows:
        """Write rows of which the first cells are text already.

        Parameters
        ----------
        plain : pyarrow.Array of string
            Rows with this separator, each with its LF, of cells that need no quotes.
        names : iterable of str
            The columns of those cells.
        columns : mapping of str to pyarrow.Array
            What follows them.
        """
        bounds = cell_bounds(plain) - cell_bounds(plain)[0]
        text = np.frombuffer(text_bytes(plain), dtype=np.uint8).copy()
        text[bounds[1:] - 1] = ord(self.separator)  # in place of the LF
        first = pa.StringArray.from_buffers(len(plain), pa.py_buffer(bounds), pa.py_buffer(text))
        rest = joined(*self._cells(columns), separator=self.separator)
        lines = joined(first, rest, "\n")
        return EncodedRows(self._header((*names, *columns)), text_bytes(lines))

    def _header(self, names: Iterable[str]) -> pa.Buffer:
        return self._lines([self._quote(arrow_texts([name])) for name in names])

    def _cells(self, columns: Mapping[str, pa.Array]) -> list[pa.Array]:
        return [self._quote(converted(text_of, name, column)) for name, column in columns.items()]

    def _lines(self, cells: list[pa.Array]) -> pa.Buffer:
        if len(cells) == 1:  # a line that is empty would be no row
            is_empty = arrow_numbers(empty_cells(cells[0]))
            cells = [where_else(is_empty, '""', cells[0])]
        *first, last = cells
        ended = joined(last, "\n")
        lines = joined(*first, ended, separator=self.separator) if first else ended
        return text_bytes(lines)

    def _quote(self, column: pa.Array) -> pa.Array:
        # To look for a byte in all cells at once costs next to nothing; most columns end here.
        text = bytes(text_bytes(column))
        if not any(mark in text for mark in (self.separator.encode(), b'"', b"\n", b"\r")):
            return column
        special = pc.match_substring_regex(column, self._special)
        doubled = pc.replace_substring(column, '"', '""')
        return where_else(special, joined('"', doubled, '"'), column)


class JsonLinesWriter(BytesWriter):
    """One JSON object a line: text as strings, numbers as numbers, missing as null."""

    def encode(self, columns: Mapping[str, pa.Array]) -> EncodedRows:
        """Write rows as text."""
        pieces: list[Any] = []
        for position, (name, column) in enumerate(columns.items()):
            values = converted(_json_of, name, column)
            pieces += [f"{', ' if position else '{'}{json.dumps(name)}: ", values]
        return EncodedRows(b"", text_bytes(joined(*pieces, "}\n")))


class ArrowWriter(BytesWriter):
    """Arrow streams, one for each batch: what a Parquet file is made of in the end."""

    def encode(self, columns: Mapping[str, pa.Array]) -> EncodedRows:
        """Write rows as an Arrow stream."""
        batch = pa.record_batch(dict(columns))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        return EncodedRows(b"", sink.getvalue())


def _read_arrow(source: io.BufferedReader) -> Iterator[dict[str, pa.Array]]:
    """Yield the batches that an `ArrowWriter` wrote."""
    while source.peek(1):
        with pa.ipc.open_stream(source) as stream:
            for batch in stream:
                yield dict(zip(batch.schema.names, batch.columns, strict=True))


class ParquetTableWriter(TableWriter):
    """Parquet, with row groups of a fixed size however the rows arrive.

    As a context it ends the file; where an error ends it, the file stays without its end.
    """

    ROW_GROUP = 1 << 17

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._writer: pq.ParquetWriter | None = None
        self._pending: list[pa.Table] = []

    def __enter__(self) -> ParquetTableWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is None:
            return
        if kind is None:
            rest = pa.concat_tables(self._pending)
            if len(rest):
                self._write_group(self._writer, rest)
            self._writer.close()
        self._writer.is_open = False  # else it would write to the closed part file when collected

    def encode(self, columns: Mapping[str, pa.Array]) -> pa.Table:
        """Make a table of the rows."""
        return pa.table(dict(columns))

    def append(self, encoded: pa.Table) -> None:
        """Write a table; see `check_types`."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._sink, encoded.schema)
        check_types(encoded.schema, self._writer.schema)
        self._pending.append(encoded)
        while sum(map(len, self._pending)) >= self.ROW_GROUP:
            waiting = pa.concat_tables(self._pending)
            self._write_group(self._writer, waiting.slice(0, self.ROW_GROUP))
            self._pending = [waiting.slice(self.ROW_GROUP)]

    def _write_group(self, writer: pq.ParquetWriter, rows: pa.Table) -> None:
        # In one piece, for Parquet ends its pages where a piece ends.
        writer.write_table(rows.combine_chunks(), self.ROW_GROUP)


def check_types(columns: pa.Schema, before: pa.Schema) -> None:
    """Refuse columns that do not hold what they held in the rows before, by a UsageError."""
    for column, earlier in zip(columns, before, strict=True):
        if column.type != earlier.type:
            raise UsageError(
                "The column '{column}' holds {type} here and {earlier} before; a "
                "Parquet file holds one type a column.",
                tr("Write to .csv, .tsv or .jsonl, or the inputs one by one."),
                column=column.name,
                type=column.type,
                earlier=earlier.type,
            )


def converted(convert: Callable[[pa.Array], pa.Array], name: str, column: pa.Array) -> pa.Array:
    """Convert a column to text; what cannot be is a UsageError that names it."""
    try:
        return convert(column)
    except pa.ArrowException as exc:  # lists, structures, bytes
        raise UsageError(
            "The column '{name}' holds {type}, which cannot be written as text.",
            tr("Write to .parquet instead."),
            name=name,
            type=column.type,
        ) from exc


def text_of(column: pa.Array) -> pa.Array:
    """Write values as text: strings as they are, numbers in their shortest exact form."""
    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    return filled(column, "")


def _json_of(column: pa.Array) -> pa.Array:
    kind = column.type
    text = column.cast(pa.string())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return filled(text, "null")
    if pa.types.is_floating(kind):  # JSON knows neither NaN nor infinities
        return filled(where_else(pc.is_finite(column), text, "null"), "null")
    special = arrow_numbers(
        as_bools(pc.match_substring_regex(text, r'["\\\x00-\x1f]')) & as_bools(text.is_valid())
    )
    quoted = joined('"', text, '"')
    if pc.any(special).as_py():
        escaped = [
            json.dumps(cell, ensure_ascii=False) for cell in text.filter(special).to_pylist()
        ]
        quoted = pc.replace_with_mask(quoted, special, arrow_texts(escaped))
    return filled(quoted, "null")
