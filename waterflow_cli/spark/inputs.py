"""The inputs of a command as Spark reads them: whole files, parts of text, row groups."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.samples.cells import marks_of
from waterflow_cli.samples.opening import is_table_of_results, open_samples
from waterflow_cli.samples.profiles import fitting_profiles
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.spark import worker
from waterflow_cli.spark.files import HadoopFiles, InputFile
from waterflow_cli.spark.formats import FileBytes, RowFormat, quoted
from waterflow_cli.spark.settings import MAX_SPLIT, bytes_of
from waterflow_cli.spark.survey import TextFile, lay_out, parts_within_a_row, surveys_of
from waterflow_cli.spark.worker import Task
from waterflow_cli.tables.dialect import PARQUET, Dialect
from waterflow_cli.tables.encodings import SAMPLE_BYTES
from waterflow_cli.tables.headers import check_header
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.tables.sources import PARQUET_MAGIC, compression
from waterflow_cli.tables.table import Batch, Table, is_text, plain_column, table_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

# Enough to tell how a file is read, and that there is more.
_START_BYTES = SAMPLE_BYTES + (1 << 16)
_LEAST_SPLIT, _TASKS_PER_CORE = 8 << 20, 3
# What one value of Spark, and one task's memory, can hold.
_LARGEST_WHOLE = 1 << 30
# In these each byte of ASCII is itself, so lines can be told apart before they are decoded.
_LINEWISE = re.compile(r"utf-8|utf-8 with BOM|ascii|cp125\d|iso8859-\d+")
_NO_LINES = np.zeros(0, dtype=np.int64)
_OPEN_COST = "spark.sql.files.openCostInBytes"
_MAX_PARTITIONS, _NO_LIMIT = "spark.sql.files.maxPartitionNum", (1 << 31) - 1


@dataclass(kw_only=True)
class SparkInputs:
    """Files, in the order of the command, and sorted by how Spark reads them.

    Attributes
    ----------
    whole, parquet : list of InputFile
        What tasks take as they are; what Spark's own reader parts.
    parted : dict of str to TextFile
        Large text files, by `path_of` their URIs.
    """

    spark: SparkSession
    hadoop: HadoopFiles
    files: list[InputFile]
    schema: TableSchema
    reading: ReadingOptions
    whole: list[InputFile] = field(default_factory=list)
    parquet: list[InputFile] = field(default_factory=list)
    parted: dict[str, TextFile] = field(default_factory=dict)
    _is_surveyed: bool = False

    def __post_init__(self) -> None:
        self.n_cores = max(1, int(self.spark.sparkContext.defaultParallelism))
        self.split_bytes = self._plan_split()
        self._by_path = {file.path: file for file in reversed(self.files)}
        refuse_names(self.files)
        for file in self.files:
            self._sort(file)
        # Each task reads one part: a file costs as much to open as a part to read.
        for key in (MAX_SPLIT, _OPEN_COST):
            self.spark.conf.set(key, str(self.split_bytes))
        # A site's own limit would put several parts into one partition.
        self.spark.conf.set(_MAX_PARTITIONS, str(_NO_LIMIT))

    @property
    def names(self) -> list[str]:
        """What the files are called, in order."""
        return [file.name for file in self.files]

    @property
    def n_bytes(self) -> int:
        """Of all files, as stored."""
        return sum(file.n_bytes for file in self.files)

    def _plan_split(self) -> int:
        """Choose how many bytes make a part: some parts for each core, none too small."""
        conf = self.spark.sparkContext.getConf()
        most = bytes_of(conf.get(MAX_SPLIT, "128m"))
        share = self.n_bytes // (_TASKS_PER_CORE * self.n_cores) + 1
        return min(most, max(_LEAST_SPLIT, share))

    def _sort(self, file: InputFile) -> None:
        if file.n_bytes <= self.split_bytes:
            self.whole.append(file)
            return
        start = self.hadoop.read_start(file, _START_BYTES)
        is_parquet = start.startswith(PARQUET_MAGIC)
        if is_parquet and not (self._has_numbers_as_text(file) or self._is_of_results(file)):
            self.parquet.append(file)
            return
        if not is_parquet and (text := self._parted(file, start)) is not None:
            self.parted[file.path] = text
        elif file.n_bytes > _LARGEST_WHOLE:
            hint = tr("Unpack it, write it as UTF-8 with line ends LF, or cut it into files.")
            if self._is_of_results(file):
                hint = tr("Cut it into files, no sample into two, or use the local engine.")
            raise InputError(
                file.name,
                "must be read by one executor, and is larger than {limit} MiB.",
                limit=_LARGEST_WHOLE >> 20,
                hint=hint,
            )
        else:
            self.whole.append(file)

    def _has_numbers_as_text(self, file: InputFile) -> bool:
        """Say whether the first rows of a Parquet file must tell how its numbers are written."""
        names = self.schema.header.renamed(self.reading.renames)
        found = [(names.column_of(each.name), each.type) for each in self._columns_of(file)]
        text = [name[0] for name, kind in found if name and is_text(kind)]
        return any(self.schema.kinds[name].is_numeric for name in text)

    def _parted(self, file: InputFile, start: bytes) -> TextFile | None:
        """Describe a text file whose lines can be told apart; None for any other."""
        if compression(start) or b"\n" not in start or self._is_of_results(file):
            return None
        with self._open(file.name, start) as table:
            if not table.dialect.sep:  # JSON, whose parts a survey of quotes knows nothing of
                return None
            if (first := table.sample()) is not None and first.cells is not None:
                return None  # it lies on its side: its rows are none of samples
            text = TextFile(
                file=file,
                columns=table.columns,
                dialect=table.dialect,
                units=table.units,
                names=table.names,
                marks=marks_of(self.schema, table, self.reading),
                first_rows=table.first_rows,
                # The local engine chooses by the same bytes, where they tell.
                is_told=self.reading.encoding is not None or not start[:SAMPLE_BYTES].isascii(),
                is_ended=self.hadoop.read_start(file, 1, file.n_bytes - 1) in (b"\n", b"\r"),
            )
        return text if can_be_parted(text.dialect, start, self.split_bytes) else None

    def _is_of_results(self, file: InputFile) -> bool:
        """Say whether a file has one row for each result: none of its samples ends before it."""
        start = self.hadoop.read_start(file, _START_BYTES)
        if self.reading.profile is None and start.startswith(PARQUET_MAGIC):
            return bool(fitting_profiles(self._columns_of(file).names))
        opener = worker.opener_of(start)
        return is_table_of_results(file.name, self.schema, self.reading, opener)

    def _open(self, name: str, data: bytes) -> AbstractContextManager[Table]:
        return open_samples(name, self.schema, self.reading, opener=worker.opener_of(data))

    @contextmanager
    def open_first(self) -> Iterator[Table]:
        """Open the first file as far as its start tells: columns, dialect, some rows."""
        file = self.files[0]
        if file in self.parquet:
            columns = self._columns_of(file)
            yield self._empty_table(file.name, columns)
            return
        with self._open(file.name, self._first_bytes(file)) as table:
            is_parted = file.path in self.parted
            yield replace(table, sample=partial(_sample, table)) if is_parted else table

    def _empty_table(self, name: str, columns: pa.Schema) -> Table:
        no_cells = {field_.name: plain_column(pa.array([], field_.type)) for field_ in columns}
        batch = Batch(columns=no_cells, lines=_NO_LINES)
        names = self.schema.header.renamed(self.reading.renames)
        return table_of(list(no_cells), lambda: batch, name, PARQUET, names)

    def _first_bytes(self, file: InputFile) -> bytes:
        """Read the start of a file; all of it where its end tells how it is read."""
        start = self.hadoop.read_start(file, _START_BYTES)
        needs_end = start.startswith(PARQUET_MAGIC) or compression(start) == "zip"
        if needs_end or file.n_bytes <= _LEAST_SPLIT or self._is_of_results(file):
            return self.hadoop.read_start(file, file.n_bytes)
        return start

    def _columns_of(self, file: InputFile) -> pa.Schema:
        footer = self.hadoop.read_footer(file)
        try:
            columns = pq.read_schema(io.BytesIO(PARQUET_MAGIC + footer)).remove_metadata()
        except (pa.ArrowException, OSError) as exc:
            raise InputError(file.name, "the Parquet file is damaged or cut short.") from exc
        check_header(columns.names, file.name, 1)
        return columns

    def survey(self) -> None:
        """Find out where the parts of the large text files stand in them, by one pass."""
        if not self.parted or self._is_surveyed:
            return
        self._is_surveyed = True
        found = self._map_lines(partial(worker.survey_parts, self.parted), worker.SURVEY)
        surveys = surveys_of(row.asDict() for row in found)
        ends: defaultdict[str, dict[int, bytes]] = defaultdict(dict)
        if wanted := parts_within_a_row(surveys):
            for row in self._map_lines(partial(worker.read_ends, self.parted, wanted), worker.ENDS):
                ends[row["path"]][row["start"]] = bytes(row["end"])
        for path, text in self.parted.items():
            self.parted[path] = lay_out(text, surveys.get(path, {}), ends[path])

    def _map_lines(self, call: Any, schema: pa.Schema) -> Any:
        return self._lines().mapInArrow(call, _spark_schema(schema)).collect()

    def rows(self, task: Task) -> DataFrame:
        """Give what a task makes of all inputs, as a frame of its format; nothing is run yet."""
        read: list[tuple[DataFrame, Any]] = []
        if self.whole:
            contents = self._contents(task.row_format)
            read.append((contents, partial(worker.read_files, self._by_path)))
        if self.parted:
            read.append((self._lines(), partial(worker.read_parts, self.parted)))
        if self.parquet:
            columns, *others = {self._columns_of(file) for file in self.parquet}
            if others:
                raise UsageError(
                    "The Parquet files hold columns of different types.",
                    tr("Score them one by one."),
                )
            groups = self._row_groups(columns)
            read.append((groups, partial(worker.read_row_groups, self._by_path, columns)))
        schema = _spark_schema(task.row_format.schema)
        made = (
            frame.mapInArrow(partial(worker.run_task, task, call), schema) for frame, call in read
        )
        return reduce(lambda first, other: first.union(other), made)

    def _contents(self, row_format: RowFormat) -> DataFrame:
        from pyspark.sql.functions import col

        read = self.spark.read.format("binaryFile").load(_patterns(self.whole))
        contents = read.select("path", col("content").alias("data"))
        if isinstance(row_format, FileBytes) and not row_format.is_text:
            return contents  # a task for each file, whose rows are then fetched in order
        n_parts = sum(file.n_bytes for file in self.whole) // self.split_bytes + 1
        return contents.coalesce(max(n_parts, _TASKS_PER_CORE * self.n_cores))

    def _lines(self) -> DataFrame:
        from pyspark.sql.functions import col

        files = [file for file in self.files if file.path in self.parted]
        read = self.spark.read.option("lineSep", "\n").text(_patterns(files))
        return read.select(
            _of_first_row("_metadata.file_path").alias("path"),
            _of_first_row("_metadata.file_block_start").alias("start"),
            col("value").cast("binary").alias("data"),
        )

    def _row_groups(self, columns: pa.Schema) -> DataFrame:
        from pyspark.sql.functions import col

        read = self.spark.read.parquet(*_patterns(self.parquet))
        return read.select(
            _of_first_row("_metadata.file_path").alias("path"),
            col("_metadata.row_index").alias("row_index"),
            # Spark would take a point in a name for a part of one, and the file may have "path".
            *(col(quoted(name)).alias(str(number)) for number, name in enumerate(columns.names)),
        )


def refuse_names(files: Sequence[InputFile]) -> None:
    """Refuse files that Spark would read once, or not at all: a UsageError, or an InputError."""
    seen: set[str] = set()
    for file in files:
        if file.path in seen:
            raise UsageError(
                "{path}: is named twice.",
                tr("--engine spark reads each file once: name it once."),
                path=file.name,
            )
        seen.add(file.path)
    for file in files:
        if file.uri.rpartition("/")[2].startswith(("_", ".")):
            raise InputError(
                file.name,
                "Spark passes over files whose names start with _ or a point.",
                hint=tr("Give it another name."),
            )


def can_be_parted(dialect: Dialect, start: bytes, split_bytes: int) -> bool:
    """Say, by its start, whether a text file can be read in parts of so many bytes."""
    # The first part must hold all that is above the first row.
    above = start.splitlines(keepends=True)[: dialect.first_line - 1]
    is_linewise = _LINEWISE.fullmatch(dialect.encoding) is not None
    return is_linewise and sum(map(len, above)) <= split_bytes


def _sample(table: Table) -> Batch:
    """Give the first rows of a table; none where no row ends in what was read of it."""
    no_cells = {name: pa.array([], pa.string()) for name in table.columns}
    return table.sample() or Batch(columns=no_cells, lines=_NO_LINES)


def _of_first_row(name: str) -> Column:
    """Give a column's value in the first row of each partition alone, for it costs in each."""
    from pyspark.sql.functions import col, monotonically_increasing_id, when

    return when(monotonically_increasing_id() % (1 << 33) == 0, col(name))


def _patterns(files: Sequence[InputFile]) -> list[str]:
    """Write URIs as the patterns that match just them, for Spark takes each path for one."""
    return [re.sub(r"([\[\]{}*?\\])", r"\\\1", file.uri) for file in files]


def _spark_schema(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)
