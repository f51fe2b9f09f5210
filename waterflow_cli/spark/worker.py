"""What runs on the executors: bytes that Spark read -> tables -> rows that Spark writes.

Only these functions and the plain values that they are given reach an executor. They call the same
code as the local engine, with whole files or with parts of them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits

from waterflow_cli.common.arrays import text_bytes
from waterflow_cli.common.errors import WaterflowError
from waterflow_cli.common.messages import chosen_language, use_language
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.scoring.job import FileHeader, refuse_other_header, refuse_other_mark
from waterflow_cli.spark.files import InputFile, path_of
from waterflow_cli.spark.formats import Origin, RowFormat
from waterflow_cli.spark.remote import check_versions, encode_error, expected_versions
from waterflow_cli.spark.survey import PartPosition, TextFile, end_of_row, survey
from waterflow_cli.tables.csv_blocks import Position
from waterflow_cli.tables.dialect import PARQUET
from waterflow_cli.tables.reading import FilePart, Opener, part_tasks, remark_on_notes
from waterflow_cli.tables.row_ends import count_lines
from waterflow_cli.tables.sources import FilledStream, changed, decompressed
from waterflow_cli.tables.table import Batch, Table, plain_column
from waterflow_cli.validation.batches import CheckedBatch
from waterflow_cli.validation.pass_over import Pass, PassOptions

Batches = Iterator[pa.RecordBatch]
Tables = Iterator[tuple[Table, Origin]]
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


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is done with all inputs; it is sent to the executors.

    Attributes
    ----------
    is_portable : bool
        Whether no estimator is asked, so that few libraries decide what comes out.
    """

    schema: TableSchema
    options: PassOptions
    is_portable: bool = True

    def start(self, row_format: RowFormat) -> Start:
        """Begin it, on an executor."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Task:
    """What each task is told.

    Attributes
    ----------
    counts : pyspark.Accumulator
        Takes what is counted of each table.
    header : tuple
        Columns and units of the first file; all others must have the same. None: any will do.
    language : str
        Of reasons and messages.
    versions : mapping of str to str
        Of the libraries on the driver.
    """

    job: Job
    row_format: RowFormat
    counts: Any
    first_file: str
    header: FileHeader | None
    language: str = field(default_factory=chosen_language)
    versions: Mapping[str, str] = field(default_factory=expected_versions)


def run_task(task: Task, read: Callable[[Job, Batches], Tables], batches: Batches) -> Batches:
    """Do the work with what is read of some batches, and yield rows in the format asked for."""
    use_language(task.language)
    begin = None
    try:
        with threadpool_limits(limits=1):
            check_versions(task.versions)
            for table, origin in read(task.job, batches):
                begin = begin or task.job.start(task.row_format)
                if task.header is not None:
                    refuse_other_header(table, task.header, task.first_file)
                file, encode = begin(table)
                if task.header is not None:
                    refuse_other_mark(file, task.header, task.first_file)
                # A part may have no row of its own; a file that is read whole must.
                for encoded in file.map(encode, _WITHIN if origin[1] else None):
                    if encoded is not None:
                        yield from task.row_format.batches(encoded, origin)
                task.counts.add([(origin, file.counts)])
    except WaterflowError as exc:  # its text is all that Spark carries to the driver
        raise RuntimeError(encode_error(exc)) from None


def read_files(files: Mapping[str, InputFile], job: Job, batches: Batches) -> Tables:
    """Read files from ``path`` and ``data``: small ones, and those that cannot be parted."""
    for batch in batches:
        for path, data in zip(batch.column("path"), batch.column("data"), strict=True):
            file = files[path_of(path.as_py())]
            opener = opener_of(data.as_buffer())
            with open_samples(file.name, job.schema, job.options.reading, opener=opener) as table:
                yield table, (file.number, 0)


def opener_of(data: Any) -> Opener:
    """Give what opens some bytes as if they were a file."""

    @contextmanager
    def opener(path: str) -> Iterator[io.BufferedReader]:
        raw: Any = io.BytesIO(data)
        with io.BufferedReader(raw) as opened, decompressed(opened, path) as stream:
            yield stream

    return opener


def read_parts(files: Mapping[str, TextFile], job: Job, batches: Batches) -> Tables:
    """Read a part of a large text file from ``path``, ``start`` and its lines in ``data``."""
    for path, start, chunks in _parts(batches):
        text = files[path]
        if start not in text.positions:
            raise changed(text.file.name)
        position = text.positions[start]
        lines = _Lines(chunks, position)
        table = _table_of_part(text, lines, position, job.options.reading.encoding)
        yield table, (text.file.number, position.number)
        if lines.n_read != position.n_lines:
            raise changed(text.file.name)


def _table_of_part(
    text: TextFile, lines: _Lines, position: PartPosition, encoding: str | None
) -> Table:
    part = FilePart(
        stream=io.BufferedReader(lines, 1 << 20),
        line=position.line,
        n_passed=text.n_above if position.line == 1 else position.n_passed,
        notes=text.notes,
        cut_line=None if text.is_ended else text.notes.stop,
    )
    tasks = part_tasks(text.file.name, text.columns, text.dialect, text.names, part, encoding)
    return Table(
        path=text.file.name,
        columns=text.columns,
        _dialect=lambda: text.dialect,
        _blocks=lambda _: tasks,
        units=text.units,
        sample=lambda: text.first_rows,
        names=text.names,
        marks=text.marks,
        remarks=partial(remark_on_notes, text.notes),
    )


class _Lines(FilledStream):
    """The lines of a part, and what later parts hold of its last row, as a stream."""

    def __init__(self, chunks: Iterator[bytes], position: PartPosition) -> None:
        super().__init__()
        self._chunks, self._rest = chunks, position.rest
        self._ahead = memoryview(b"")
        self.n_read = 0

    def next_bytes(self, n_bytes: int) -> memoryview:
        if not self._ahead:
            chunk = next(self._chunks, None)
            if chunk is None:
                chunk, self._rest = self._rest, b""
            else:
                self.n_read += count_lines(chunk)
            self._ahead = memoryview(chunk)
        data, self._ahead = self._ahead[:n_bytes], self._ahead[n_bytes:]
        return data


def read_row_groups(
    files: Mapping[str, InputFile], columns: pa.Schema, job: Job, batches: Batches
) -> Tables:
    """Read row groups of a large Parquet file from ``path``, ``row_index`` and its columns.

    Parameters
    ----------
    columns : pyarrow.Schema
        The files' own, by whose numbers Spark's columns go, and to whose types they are cast.
    """
    first = next(filter(len, batches), None)
    if first is None:
        return
    file = files[path_of(first.column("path")[0].as_py(), is_escaped=True)]
    start = first.column("row_index")[0].as_py()

    def tasks(_: Position | None) -> Iterator[Callable[[], Batch]]:
        for batch in chain([first], batches):
            lines = batch.column("row_index").to_numpy() + 2
            named = {
                field.name: plain_column(batch.column(str(number)).cast(field.type))
                for number, field in enumerate(columns)
            }
            yield partial(Batch, columns=named, lines=lines.astype(np.int64))

    table = Table(
        path=file.name,
        columns=columns.names,
        _dialect=lambda: PARQUET,
        _blocks=tasks,
        names=job.schema.header.renamed(job.options.reading.renames),
    )
    yield table, (file.number, start)


def survey_parts(files: Mapping[str, TextFile], batches: Batches) -> Batches:
    """Look at parts of text files; see `survey`."""
    for path, start, chunks in _parts(batches):
        text = files[path]
        found = survey(chunks, text.dialect.sep, 0 if start else text.n_above)
        row = {"path": path, "start": start, **vars(found)}
        yield pa.RecordBatch.from_pylist([row], SURVEY)


def read_ends(
    files: Mapping[str, TextFile], wanted: frozenset[tuple[str, int]], batches: Batches
) -> Batches:
    """Read the ends of rows that start before the parts wanted; see `end_of_row`."""
    for path, start, chunks in _parts(batches):
        if (path, start) in wanted:
            end = end_of_row(chunks, files[path].dialect.sep)
            row = {"path": path, "start": start, "end": end}
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
