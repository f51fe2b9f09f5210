"""Where rows go: a folder of parts that Spark writes, or one file in the order of the inputs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path, PurePosixPath
from secrets import token_bytes
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa

from waterflow_cli.common.effects import effects
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.spark.files import (
    Files,
    HadoopFiles,
    InputFile,
    local_paths,
    path_of,
    refuse_credentials,
    true_path,
)
from waterflow_cli.spark.formats import (
    BATCH,
    FILE,
    NOWHERE,
    PART,
    ROWS,
    Columns,
    FileBytes,
    RowFormat,
    check_keys,
    quoted,
)
from waterflow_cli.spark.settings import OutputLayout
from waterflow_cli.tables.outputs import (
    STDOUT,
    OutputGroup,
    check_distinct,
    check_output,
    check_outputs,
    exists_error,
    input_error,
)
from waterflow_cli.tables.sources import is_uri
from waterflow_cli.tables.writing import (
    EncodedRows,
    TableWriter,
    kept_writer,
    open_table_writer,
    output_format,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameWriter

SUCCESS, UNFINISHED = "_SUCCESS", "_waterflow-unfinished"
_TEMPORARY = "_temporary"  # where Spark's tasks write; some do so when their job was stopped
_CODECS = {"": "none", ".gz": "gzip"}
# How long a part without a row is: Spark writes one, and no header, if its first task has none.
_EMPTY_BYTES = {"": 0, ".gz": 20}
_OWN_MARKER = {"mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}
# Names the folder in which the tasks of a job write, so that no other's are committed with them.
_ATTEMPT = "mapreduce.job.application.attempt.id"


def check_named(
    files: Files,
    named: Mapping[str, str | None],
    told: str,
    inputs: Sequence[InputFile],
    layout: OutputLayout,
    *,
    force: bool,
) -> dict[str, str]:
    """Check outputs beside each other, and give those for rows, by their options.

    Parameters
    ----------
    told : str
        The option of what is no rows, and is written to this machine.

    Raises
    ------
    UsageError
        If one holds a password, two are one or lie within each other, or what is told cannot be
        written.
    """
    given = {option: path for option, path in named.items() if path is not None}
    for path in given.values():
        refuse_credentials(path)
    check_distinct(given.items())
    places = {
        option: f"{path_of(files.uri_of(path))}/"
        for option, path in given.items()
        if path != STDOUT
    }
    for option, other in permutations(places, 2):
        if places[option].startswith(places[other]):
            raise UsageError(
                "{path}: {option} lies within {other}; name two places.",
                path=given[option],
                option=option,
                other=other,
            )
    check_outputs([(told, named[told])], force=force, inputs=local_paths(inputs))
    if layout.is_single and layout.keys:
        raise UsageError("--partition-by makes folders, and --single-file one file.")
    return {option: path for option, path in given.items() if option != told}


def check_folder(path: str, files: Files, *, force: bool, inputs: Sequence[InputFile]) -> bool:
    """Say whether a folder of parts replaces another; a UsageError where there can be none."""
    suffix = _format_of(_name_parts(path))[1]
    if suffix not in _CODECS:
        raise UsageError(
            "{path}: Spark writes no {suffix} parts.",
            tr("Use .gz, or write one file: --single-file"),
            path=path,
            suffix=suffix,
        )
    uri = files.uri_of(path.rstrip("/"))
    own = true_path(uri)
    if any(f"{true_path(file.uri)}/".startswith(f"{own}/") for file in inputs):
        raise input_error(path)
    if not files.exists(uri):
        return False
    if not files.is_folder(uri):
        raise UsageError(
            "{path}: is a file, and a folder of parts will not replace it.",
            tr("Choose another name, or write one file: --single-file"),
            path=path,
        )
    names = set(files.names_in(uri))
    if names <= {_TEMPORARY} or (UNFINISHED in names and SUCCESS not in names):
        return False
    if SUCCESS not in names:
        raise UsageError(
            "{path}: is a folder that no Spark job has finished.",
            tr("It will not be replaced. Choose another name."),
            path=path,
        )
    if not force:
        raise exists_error(path)
    return True


def _format_of(path: str) -> tuple[str, str]:
    """Tell an output's format and compression, but for one that only this machine writes."""
    if (found := output_format(path))[0] == ".xlsx":
        raise UsageError(
            "{path}: --engine spark writes no workbooks.",
            tr("Use .csv or .parquet."),
            path=path,
        )
    return found


def check_single(path: str, files: Files, *, force: bool, inputs: Sequence[InputFile]) -> None:
    """Refuse a file that cannot be written, by a UsageError; see `check_output`."""
    _format_of(path)
    if not is_uri(path):
        check_output(path, force=force, inputs=local_paths(inputs))
        return
    if path_of(files.uri_of(path)) in {file.path for file in inputs}:
        raise input_error(path)
    if files.exists(path) and not force:
        raise exists_error(path)


def _name_parts(path: str) -> str:
    """Give the name by whose suffix the parts of a folder are written: CSV where it has none."""
    named = path.rstrip("/")
    return named if PurePosixPath(named).suffix else f"{named}.csv"


class FolderOutput:
    """A folder of parts by Spark's commit protocol.

    Until its job has ended, the folder holds a file that says so, and no ``_SUCCESS``. Where it
    replaces another output, it is written beside that and takes its name at the end.

    Parameters
    ----------
    path : str
        Its suffix names the format of the parts; CSV where it names none.
    keys : sequence of str
        Columns whose values become folders within it.
    inputs : sequence of InputFile
        What it may not hold.

    Raises
    ------
    UsageError
        If it exists and is not to be replaced, is no output of such a job, holds an input, or its
        format cannot be written in parts.
    """

    def __init__(
        self,
        path: str,
        hadoop: HadoopFiles,
        *,
        keys: Sequence[str],
        force: bool,
        inputs: Sequence[InputFile],
    ) -> None:
        self.path, self._hadoop, self._keys = path, hadoop, tuple(keys)
        self._token = token_bytes(16)
        self._uri = hadoop.uri_of(path.rstrip("/"))
        self._is_replacing = check_folder(path, hadoop, force=force, inputs=inputs)
        self._format = _name_parts(path)
        self._kind, self._compression = output_format(self._format)
        folder, _, name = self._uri.rpartition("/")
        self._target = f"{folder}/.{name}.part" if self._is_replacing else self._uri
        self._replaced = f"{folder}/.{name}.{uuid4().hex}.old"

    def row_format(self, columns: pa.Schema) -> RowFormat:
        """Give the format in which it takes rows of such columns."""
        check_keys(self._keys, columns.names)
        if self._kind == ".parquet":
            return Columns(columns)
        return FileBytes(path=self._format, keys=self._keys, is_text=True)

    def write(self, rows: DataFrame) -> None:
        """Run the job whose rows go there."""
        self._hadoop.delete(self._target)  # what a killed job left
        self._hadoop.write(f"{self._target}/{UNFINISHED}", self._token)
        if self._kind == ".parquet":
            self._writer(rows).parquet(self._target)
            return
        lines = rows
        if self._keys:  # Spark puts each folder's rows together, and must keep their order
            lines = rows.sortWithinPartitions(*map(quoted, (*self._keys, BATCH)))
        value = f"cast({quoted(ROWS)} as string) as {quoted(ROWS)}"
        text = lines.selectExpr(value, *map(quoted, self._keys))
        self._writer(text).text(self._target, compression=_CODECS[self._compression])

    def _writer(self, rows: DataFrame) -> DataFrameWriter:
        writer = rows.write.mode("append").options(**_OWN_MARKER)
        writer = writer.option(_ATTEMPT, str(int.from_bytes(self._token[:3])))
        return writer.partitionBy(*self._keys) if self._keys else writer

    def publish(self) -> None:
        """Let it take its name, unless another command has begun to write there meanwhile."""
        if not self._is_own():
            raise UsageError(
                "{path}: another command has begun to write there.",
                tr("Its output stays. Run this command again, with another name."),
                path=self.path,
            )
        if self._kind != ".parquet":
            self._hadoop.delete_small(self._target, "part-", _EMPTY_BYTES[self._compression])
        self._hadoop.write(f"{self._target}/{SUCCESS}")
        self._hadoop.delete(f"{self._target}/{UNFINISHED}")
        if self._is_replacing:
            self._replace()
        effects.outputs.append(self.path)

    def _replace(self) -> None:
        """Put the new output in the place of the old one.

        The old one is moved away first, for deleting it takes its time: a command that is killed
        meanwhile would leave half of it under its name.
        """
        self._hadoop.rename(self._uri, self._replaced)
        try:
            self._hadoop.rename(self._target, self._uri)
        except BaseException:
            self._hadoop.rename(self._replaced, self._uri)
            raise
        self._hadoop.delete(self._replaced)

    def discard(self) -> None:
        """Remove what was written."""
        if self._is_own():
            self._hadoop.delete(self._target)

    def _is_own(self) -> bool:
        """Tell whether what lies there is this command's, and of no other that came after it."""
        return self._hadoop.read(f"{self._target}/{UNFINISHED}") == self._token


class SingleOutput:
    """One file, or standard output, in the order of the inputs: the bytes of the local engine.

    A UsageError says what `check_output` would say of it.
    """

    def __init__(
        self, path: str, hadoop: HadoopFiles, *, force: bool, inputs: Sequence[InputFile]
    ) -> None:
        check_single(path, hadoop, force=force, inputs=inputs)
        self.path, self._hadoop = path, hadoop
        self._kind, _ = output_format(path)
        self._group = OutputGroup(force=force, inputs=local_paths(inputs))
        self._scratch: Path | None = None

    def row_format(self, columns: pa.Schema) -> RowFormat:
        """Give the format in which it takes rows of such columns, whose names make the header."""
        encoder = kept_writer(self.path, NOWHERE, started=False)
        empty = {field.name: pa.array([], field.type) for field in columns}
        self._no_rows: EncodedRows = encoder.encode(empty)
        return FileBytes(path=self.path)

    def write(self, rows: DataFrame) -> None:
        """Run the job, and then fetch its rows part by part, in order."""
        from pyspark import StorageLevel

        path = self.path
        if is_uri(path):  # it is copied there when it is whole
            self._scratch = Path(tempfile.mkdtemp(prefix="waterflow-"))
            path = str(self._scratch / PurePosixPath(path).name)
        kept = rows.persist(StorageLevel.DISK_ONLY)
        try:
            kept.write.format("noop").mode("overwrite").save()
            with self._group.open(path) as sink, open_table_writer(path, sink) as writer:
                self._append(writer, self._no_rows.body)  # a file without rows has its header
                for body in _in_order(kept):
                    self._append(writer, body)
        finally:
            kept.unpersist()

    def _append(self, writer: TableWriter, body: bytes) -> None:
        if self._kind != ".parquet":
            writer.append(EncodedRows(self._no_rows.head, body))
            return
        with pa.ipc.open_stream(body) as stream:
            writer.append(stream.read_all())

    def publish(self) -> None:
        """Give it its name."""
        self._group.publish()
        if self._scratch is not None:
            effects.outputs.pop()  # which lies in the scratch folder
            self._hadoop.upload(self._scratch / PurePosixPath(self.path).name, self.path)
            effects.outputs.append(self.path)
            self.discard()

    def discard(self) -> None:
        """Remove what was written."""
        self._group.discard()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


# Without `publish` it does not appear, or has no ``_SUCCESS``.
RowsOutput = FolderOutput | SingleOutput


def _in_order(kept: DataFrame) -> Iterator[bytes]:
    """Fetch the bytes of all rows in the order of the inputs, some partitions at a time."""
    from pyspark.sql.functions import min as least
    from pyspark.sql.functions import spark_partition_id, struct

    context: Any = kept.sparkSession.sparkContext
    origins = kept.groupBy(spark_partition_id().alias("number")).agg(
        least(struct(quoted(FILE), quoted(PART))).alias("origin")
    )
    order = [row.number for row in sorted(origins.collect(), key=lambda row: tuple(row.origin))]
    rows = kept.select(quoted(ROWS)).rdd
    at_once = max(1, context.defaultParallelism)
    for first in range(0, len(order), at_once):
        for row in context.runJob(rows, iter, order[first : first + at_once]):
            yield bytes(row[0])
