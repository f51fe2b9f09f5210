"""Write outputs whole or not at all, in the format that their suffix names."""

from __future__ import annotations

import gzip
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from waterflow_cli.errors import UsageError, WaterflowError
from waterflow_cli.sources import STDIN

STDOUT = STDIN
_TEXT_FORMATS = {".csv": ",", ".tsv": "\t", ".jsonl": ""}
_COMPRESSIONS = (".gz", ".zst")
_GZIP_LEVEL = 6


class TableWriter(Protocol):
    """Writes batches of rows to an open output."""

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        """Write some rows; each call brings the same columns."""

    def close(self) -> None:
        """Write what must stand at the end."""


def check_output(path: str, *, force: bool, inputs: Sequence[str] = ()) -> None:
    """Refuse an output before any work is done for it.

    Raises
    ------
    UsageError
        If it exists and is not to be replaced, is an input, no regular file, or its folder is
        missing or not writable.
    """
    if path == STDOUT:
        return
    target = Path(path)
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as exc:
        raise UsageError(f"{path}: cannot be written ({exc.strerror}).") from exc
    if mode is not None:
        _check_existing(path, mode, force=force, inputs=inputs)
    folder = target.parent
    if not folder.is_dir():
        raise UsageError(f"{path}: cannot be written, there is no folder {folder}.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: cannot be written, the folder {folder} is not writable.")


def _check_existing(path: str, mode: int, *, force: bool, inputs: Sequence[str]) -> None:
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path}: is a folder.", "Name a file in it.")
    if not stat.S_ISREG(mode):
        raise UsageError(
            f"{path}: is no regular file, and will not be replaced.",
            f"Write to standard output instead: -o - > {path}",
        )
    for source in inputs:
        if source != STDIN and Path(source).exists() and Path(source).samefile(path):
            raise UsageError(
                f"{path}: is an input; the output must be another file.",
                "Nothing was written. Choose another name with -o.",
            )
    if not force:
        raise UsageError(f"{path}: exists already.", "To replace it: --force")


@contextmanager
def open_output(path: str, *, force: bool, inputs: Sequence[str] = ()) -> Iterator[IO[bytes]]:
    """Open an output that appears under its name only when all of it was written.

    Parameters
    ----------
    path : str
        A file, or ``-`` for standard output.
    force : bool
        Whether an existing file is replaced.
    inputs : sequence of str
        What the output must not be.

    Raises
    ------
    UsageError
        See `check_output`; also if the disk is full.
    """
    if path == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    check_output(path, force=force, inputs=inputs)
    target = Path(path)
    with _write_errors(path):
        part = tempfile.NamedTemporaryFile(  # noqa: SIM115 (closed below, before it is renamed)
            dir=target.parent, prefix=f".{target.name}.", suffix=".part", delete=False
        )
    try:
        with _write_errors(path):
            with part:
                yield cast("IO[bytes]", part)
                part.flush()
                os.fsync(part.fileno())
            _publish(Path(part.name), target, force=force)
    finally:
        Path(part.name).unlink(missing_ok=True)


def _publish(part: Path, target: Path, *, force: bool) -> None:
    umask = os.umask(0)
    os.umask(umask)
    part.chmod(0o666 & ~umask)
    if force:
        part.replace(target)
        return
    try:  # unlike a rename, a link never replaces a file that came into being meanwhile
        target.hardlink_to(part)
    except FileExistsError as exc:
        raise UsageError(f"{target}: exists already.", "To replace it: --force") from exc
    except OSError:  # a file system without hard links
        part.replace(target)


@contextmanager
def _write_errors(path: str) -> Iterator[None]:
    try:
        yield
    except WaterflowError:
        raise
    except OSError as exc:
        raise UsageError(
            f"{path}: cannot be written ({exc.strerror or exc}).",
            "Nothing was left under that name by this command.",
        ) from exc


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
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes[-1:] == [".parquet"]:
        return ".parquet", ""
    compression = suffixes.pop() if suffixes and suffixes[-1] in _COMPRESSIONS else ""
    if not suffixes or suffixes[-1] not in _TEXT_FORMATS:
        raise UsageError(
            f"{path}: its suffix names no format.",
            "Use .csv, .tsv or .jsonl (also with .gz or .zst), .parquet, or - for CSV on stdout.",
        )
    return suffixes[-1], compression


@contextmanager
def open_table_writer(path: str, sink: IO[bytes]) -> Iterator[TableWriter]:
    """Give the writer that suits an output's suffix, over an open sink."""
    kind, compression = output_format(path)
    if kind == ".parquet":
        writer: TableWriter = ParquetTableWriter(sink)
        yield writer
        writer.close()
        return
    with _compressed(sink, compression) as stream:
        separator = _TEXT_FORMATS[kind]
        writer = DelimitedWriter(stream, separator) if separator else JsonLinesWriter(stream)
        yield writer
        writer.close()


@contextmanager
def _compressed(sink: IO[bytes], compression: str) -> Iterator[IO[bytes]]:
    if compression == ".gz":
        # No time and no name in the header: equal rows give equal bytes.
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, sink, mtime=0) as stream:
            yield cast("IO[bytes]", stream)
    elif compression == ".zst":
        with pa.CompressedOutputStream(pa.PythonFile(sink, "w"), "zstd") as stream:
            yield stream
    else:
        yield sink


class DelimitedWriter:
    """CSV or TSV: a header, LF line ends, quotes only where a cell needs them."""

    def __init__(self, sink: IO[bytes], separator: str) -> None:
        self._sink, self._separator = sink, separator
        self._special = f'[{separator}"\r\n]'
        self._started = False

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        """Write some rows."""
        if not self._started:
            header = [self._quote(pa.array([name])) for name in columns]
            self._write_lines(header)
            self._started = True
        self._write_lines([self._quote(text_of(column)) for column in columns.values()])

    def close(self) -> None:
        """Nothing stands at the end."""

    def _write_lines(self, cells: list[pa.Array]) -> None:
        lines = pc.binary_join_element_wise(*cells, self._separator)
        _write_joined(self._sink, lines, "\n")

    def _quote(self, column: pa.Array) -> pa.Array:
        special = pc.match_substring_regex(column, self._special)
        if not pc.any(special).as_py():
            return column
        doubled = pc.replace_substring(column, '"', '""')
        return pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), column)


class JsonLinesWriter:
    """One JSON object a line: text as strings, numbers as numbers, missing as null."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        """Write some rows."""
        pieces: list[Any] = []
        for position, (name, column) in enumerate(columns.items()):
            pieces += [f"{', ' if position else '{'}{json.dumps(name)}: ", _json_of(column)]
        _write_joined(self._sink, pc.binary_join_element_wise(*pieces, ""), "}\n")

    def close(self) -> None:
        """Nothing stands at the end."""


class ParquetTableWriter:
    """Parquet, with row groups of a fixed size however the rows arrive."""

    ROW_GROUP = 1 << 17

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._writer: pq.ParquetWriter | None = None
        self._pending: list[pa.Table] = []

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        """Write some rows."""
        table = pa.table(dict(columns))
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._sink, table.schema)
        self._pending.append(table)
        while sum(map(len, self._pending)) >= self.ROW_GROUP:
            waiting = pa.concat_tables(self._pending)
            self._writer.write_table(waiting.slice(0, self.ROW_GROUP), self.ROW_GROUP)
            self._pending = [waiting.slice(self.ROW_GROUP)]

    def close(self) -> None:
        """Write the last row group and the footer."""
        if self._writer is not None:
            rest = pa.concat_tables(self._pending)
            if len(rest):
                self._writer.write_table(rest, self.ROW_GROUP)
            self._writer.close()


def text_of(column: pa.Array) -> pa.Array:
    """Write values as text: strings as they are, numbers in their shortest exact form."""
    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    return pc.fill_null(column, "") if column.null_count else column


def _json_of(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return pc.fill_null(column.cast(pa.string()), "null")
    text = column.cast(pa.string())
    special = pc.fill_null(pc.match_substring_regex(text, r'["\\\x00-\x1f]'), False)
    quoted = pc.binary_join_element_wise('"', text, '"', "")
    if pc.any(special).as_py():
        escaped = [
            json.dumps(cell, ensure_ascii=False) for cell in text.filter(special).to_pylist()
        ]
        quoted = pc.replace_with_mask(quoted, special, pa.array(escaped, pa.string()))
    return pc.fill_null(quoted, "null")


def _write_joined(sink: IO[bytes], lines: pa.Array, end: str) -> None:
    """Write each line and its end: the array's one buffer of text is what the file holds."""
    if not len(lines):
        return
    ended = pc.binary_join_element_wise(lines, "", end)
    offsets = pa.Array.from_buffers(pa.int32(), len(ended) + 1, [None, ended.buffers()[1]])
    start, stop = offsets[ended.offset].as_py(), offsets[ended.offset + len(ended)].as_py()
    sink.write(ended.buffers()[2].slice(start, stop - start))
