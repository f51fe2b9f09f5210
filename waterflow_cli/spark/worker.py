"""What runs on the executors: bytes that Spark read -> tables -> rows that Spark writes.

Only these functions and the plain values that they are given reach an executor. They call the same
code as the local engine, with whole files or with parts of them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits

from waterflow_cli.common.arrays import text_bytes
from waterflow_cli.common.errors import InputError, WaterflowError
from waterflow_cli.common.messages import tr, use_language
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.scoring.job import FileHeader, refuse_other_header
from waterflow_cli.spark.files import InputFile, path_of
from waterflow_cli.spark.formats import Origin, RowFormat
from waterflow_cli.spark.remote import check_versions, encode_error
from waterflow_cli.spark.survey import PartPosition, end_of_row, survey
from waterflow_cli.tables.csv_blocks import Position, count_lines
from waterflow_cli.tables.dialect import Dialect
from waterflow_cli.tables.headers import Header
from waterflow_cli.tables.numbers import NumberMarks
from waterflow_cli.tables.reading import FilePart, Opener, part_tasks, remark_on_notes
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.tables.sources import decompressed
from waterflow_cli.tables.table import Batch, Table, plain_column
from waterflow_cli.validation.batches import CheckedBatch
from waterflow_cli.validation.pass_over import Pass

Batches = Iterator[pa.RecordBatch]
_WITHIN = Position(0, 0)
SURVEY = pa.schema(
    [
        ("path", pa.string()),
        ("start", pa.int64()),
        ("n_lines", pa.int64()),
        ("encoding", pa.string()),
        ("leaves_open", pa.bool_()),
        ("stays_open", pa.bool_()),
        ("tail", pa.binary()),
    ]
)
ENDS = pa.schema([("path", pa.string()), ("start", pa.int64()), ("end", pa.binary())])


# Turns a checked batch into encoded rows; and what begins with a table, or a part of one, by giving
# the pass over it and how each batch of it is encoded.
Encode = Callable[[CheckedBatch], Any]
Start = Callable[[Table], tuple[Pass, Encode]]


class Job(Protocol):
    """What is done with all inputs; it is sent to the executors."""

    @property
    def reading(self) -> ReadingOptions:
        """How files are to be read."""

    @property
    def schema(self) -> TableSchema:
        """What the rows are checked against."""

    def start(self, row_format: RowFormat) -> Start:
        """Begin it, on an executor."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What each task is told.

    Attributes
    ----------
    counts : pyspark.Accumulator
        Takes what is counted of each table.
    language : str
        Of reasons and messages.
    versions : mapping of str to str
        Of the libraries on the driver.
    header : tuple
        Columns and units of the first file; all others must have the same. None: any will do.
    """

    job: Job
    row_format: RowFormat
    counts: Any
    language: str
    versions: Mapping[str, str]
    first_file: str
    header: FileHeader | None

    def run(self, tables: Iterable[tuple[Table, Origin]]) -> Batches:
        """Do the work with some tables, and yield rows in the format asked for."""
        with sending_errors(), threadpool_limits(limits=1):
            use_language(self.language)
            check_versions(self.versions)
            begin = None
            for table, origin in tables:
                begin = begin or self.job.start(self.row_format)
                self._check_header(table)
                file, encode = begin(table)
                # A part may have no row of its own; a file that is read whole must.
                for encoded in file.map(encode, _WITHIN if origin[1] else None):
                    if encoded is not None:
                        yield from self.row_format.batches(encoded, origin)
                self.counts.add([(origin, file.counts)])

    def _check_header(self, table: Table) -> None:
        if self.header is not None:
            refuse_other_header(table, self.header, self.first_file)


@contextmanager
def sending_errors() -> Iterator[None]:
    """Send an error of ours to the driver, as the one text that Spark carries."""
    try:
        yield
    except WaterflowError as exc:
        raise RuntimeError(encode_error(exc)) from None


@dataclass(frozen=True)
class WholeFiles:
    """Reads files that one task takes whole: small ones, and those that cannot be parted.

    Parameters
    ----------
    files : mapping of str to InputFile
        By path.
    """

    task: Task
    files: Mapping[str, InputFile]

    def __call__(self, batches: Batches) -> Batches:
        """Turn ``path`` and ``data`` into rows."""
        return self.task.run(self._tables(batches))

    def _tables(self, batches: Batches) -> Iterator[tuple[Table, Origin]]:
        for batch in batches:
            for path, data in zip(batch.column("path"), batch.column("data"), strict=True):
                file = self.files[path_of(path.as_py())]
                opener = opener_of(data.as_buffer())
                job = self.task.job
                with open_samples(file.name, job.schema, job.reading, opener=opener) as table:
                    yield table, (file.number, 0)


def opener_of(data: Any) -> Opener:
    """Give what opens some bytes as if they were a file."""

    @contextmanager
    def opener(path: str) -> Iterator[io.BufferedReader]:
        raw: Any = io.BytesIO(data)
        with io.BufferedReader(raw) as opened, decompressed(opened, path) as stream:
            yield stream

    return opener


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """A text file that is read in parts, and what its start tells of all of it.

    Attributes
    ----------
    columns : list of str
        The header as written.
    dialect : Dialect
        How the file is written.
    units, names, marks : object
        See `reading.Table`.
    notes : range
        Physical lines of the notes below the table.
    positions : mapping of int to (int, PartPosition)
        By the byte with which a part starts: its number, from 1, and where it stands.
    """

    file: InputFile
    columns: list[str]
    dialect: Dialect
    units: Mapping[str, str]
    names: Header
    marks: NumberMarks
    notes: range = range(0)
    positions: Mapping[int, tuple[int, PartPosition]] = field(default_factory=dict)

    @property
    def n_above(self) -> int:
        """Physical lines above the first row; all of them are in the first part."""
        return self.dialect.first_line - 1


@dataclass(frozen=True)
class FileParts:
    """Reads parts of large text files, each in a task of its own."""

    task: Task
    files: Mapping[str, TextFile]

    def __call__(self, batches: Batches) -> Batches:
        """Turn ``path``, ``start`` and the lines in ``data`` into rows."""
        return self.task.run(self._tables(batches))

    def _tables(self, batches: Batches) -> Iterator[tuple[Table, Origin]]:
        for path, start, chunks in _parts(batches):
            text = self.files[path]
            if start not in text.positions:
                raise changed(text.file.name)
            number, position = text.positions[start]
            lines = _Lines(chunks, position)
            yield self._table(text, lines, position), (text.file.number, number)
            if lines.n_read != position.n_lines:
                raise changed(text.file.name)

    def _table(self, text: TextFile, lines: _Lines, position: PartPosition) -> Table:
        part = FilePart(
            io.BufferedReader(lines, 1 << 20),
            position.line,
            text.n_above if position.line == 1 else position.n_passed,
            text.notes,
        )
        name, said = text.file.name, self.task.job.reading.encoding
        tasks = part_tasks(name, text.columns, text.dialect, part, said)
        return Table(
            path=name,
            columns=text.columns,
            _dialect=lambda: text.dialect,
            _blocks=lambda _: tasks,
            units=text.units,
            names=text.names,
            marks=text.marks,
            remarks=partial(remark_on_notes, text.notes),
        )


def changed(name: str) -> InputError:
    """Build the error for a file that is no more what it was."""
    return InputError(
        name,
        "was changed while it was read.",
        hint=tr("Run the command again when nothing writes to it."),
    )


class _Lines(io.RawIOBase):
    """The lines of a part, and what later parts hold of its last row, as a stream."""

    def __init__(self, chunks: Iterator[bytes], position: PartPosition) -> None:
        super().__init__()
        self._chunks, self._rest = chunks, position.rest
        self._ahead = memoryview(b"")
        self.n_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._ahead:
            chunk = next(self._chunks, None)
            if chunk is None:
                chunk, self._rest = self._rest, b""
            else:
                self.n_read += count_lines(chunk)
            self._ahead = memoryview(chunk)
        data = self._ahead[: len(buffer)]
        self._ahead = self._ahead[len(data) :]
        buffer[: len(data)] = data
        return len(data)


@dataclass(frozen=True)
class ParquetParts:
    """Reads row groups of large Parquet files.

    Attributes
    ----------
    columns : mapping of str to pyarrow.Schema
        By `path_of` the URI: the file's own, to which Spark's types are cast.
    """

    task: Task
    files: Mapping[str, InputFile]
    columns: Mapping[str, pa.Schema]

    def __call__(self, batches: Batches) -> Batches:
        """Turn ``path``, ``row_index`` and the file's columns, by their numbers, into rows."""
        return self.task.run(self._tables(batches))

    def _tables(self, batches: Batches) -> Iterator[tuple[Table, Origin]]:
        first = next(filter(len, batches), None)
        if first is None:
            return
        path = path_of(first.column("path")[0].as_py(), is_escaped=True)
        file, columns = self.files[path], self.columns[path]
        start = first.column("row_index")[0].as_py()

        def tasks(_: Position | None) -> Iterator[Callable[[], Batch]]:
            for batch in chain([first], batches):
                lines = batch.column("row_index").to_numpy() + 2
                named = {
                    field.name: plain_column(batch.column(str(number)).cast(field.type))
                    for number, field in enumerate(columns)
                }
                yield partial(Batch, columns=named, lines=lines.astype(np.int64))

        dialect, job = (
            Dialect(encoding="parquet", sep="", header_line=1, first_line=2),
            self.task.job,
        )
        names = job.schema.header.renamed(job.reading.renames)
        table = Table(
            path=file.name,
            columns=columns.names,
            _dialect=lambda: dialect,
            _blocks=tasks,
            names=names,
        )
        yield table, (file.number, start)


def survey_parts(starts: Mapping[str, tuple[str, int]], batches: Batches) -> Batches:
    """Look at parts of text files; see `survey`.

    Parameters
    ----------
    starts : mapping of str to (str, int)
        By `path_of` the URIs of the files: the separator, and the lines above the first row.
    """
    for path, start, chunks in _parts(batches):
        sep, n_above = starts[path]
        found = survey(chunks, sep, 0 if start else n_above)
        row = {"path": path, "start": start, **vars(found)}
        yield pa.RecordBatch.from_pylist([row], SURVEY)


def read_ends(
    separators: Mapping[str, str], wanted: frozenset[tuple[str, int]], batches: Batches
) -> Batches:
    """Read the ends of rows that start in earlier parts; see `end_of_row`.

    Parameters
    ----------
    wanted : set of (str, int)
        The parts, by file and first byte.
    """
    for path, start, chunks in _parts(batches):
        if (path, start) in wanted:
            row = {"path": path, "start": start, "end": end_of_row(chunks, separators[path])}
            yield pa.RecordBatch.from_pylist([row], ENDS)


def _parts(batches: Batches) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """Yield the one part of a file that a task is given, if it is given one."""
    first = next(filter(len, batches), None)
    if first is None:
        return
    path, start = first.column("path")[0].as_py(), first.column("start")[0].as_py()
    lines = (_join_lines(batch.column("data")) for batch in chain([first], batches) if len(batch))
    yield path_of(path, is_escaped=True), start, lines


def _join_lines(lines: pa.Array) -> bytes:
    """Put lines together, each with its LF; shape (n_lines,), of bytes."""
    ended = pc.binary_join_element_wise(lines, pa.scalar(b""), pa.scalar(b"\n"))
    return bytes(text_bytes(ended))
