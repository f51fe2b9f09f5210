"""Write outputs whole or not at all, in the format that their suffix names."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from waterflow_cli.errors import UsageError, WaterflowError
from waterflow_cli.sources import STDIN

STDOUT = STDIN
_TEXT_FORMATS = {".csv": ",", ".tsv": "\t", ".jsonl": ""}
_COMPRESSIONS = (".gz", ".zst")
_GZIP_LEVEL = 6
# Of the output's name in that of its part file, which may be no longer than 255 bytes.
_PART_NAME_CHARACTERS = 50


class TableWriter(Protocol):
    """Writes batches of rows to an open output."""

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        """Write some rows; each call brings the same columns."""


def check_outputs(
    paths: Mapping[str, str | None], *, force: bool, inputs: Sequence[str] = ()
) -> None:
    """Refuse outputs before any work is done for them.

    Parameters
    ----------
    paths : mapping of str to str or None
        By the option that names them; None where it is not given.

    Raises
    ------
    UsageError
        See `check_output`; also if two of them are one file.
    """
    named_by: dict[Path, str] = {}
    for option, path in paths.items():
        if path is None:
            continue
        check_output(path, force=force, inputs=inputs)
        other = named_by.setdefault(Path(path).resolve(), option)
        if other != option:
            raise UsageError(f"{path}: is both {other} and {option}; name two files.")


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
        if _is_same_file(source, path):
            raise UsageError(
                f"{path}: is an input; the output must be another file.",
                "Nothing was written. Choose another name with -o.",
            )
    if not force:
        raise UsageError(f"{path}: exists already.", "To replace it: --force")


def _is_same_file(source: str, path: str) -> bool:
    try:
        return source != STDIN and Path(source).samefile(path)
    except OSError:  # an input that cannot be found is refused when it is opened
        return False


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
        with _stdout_errors():
            sys.stdout.flush()
            # A file of its own: sys.stdout's may be unbuffered, and then write only a part.
            with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as sink:
                yield sink
        return
    check_output(path, force=force, inputs=inputs)
    target = Path(path)
    with _write_errors(path):
        name = target.name[:_PART_NAME_CHARACTERS]
        part = tempfile.NamedTemporaryFile(  # noqa: SIM115 (closed below, before it is renamed)
            dir=target.parent, prefix=f".{name}.", suffix=".part", delete=False
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


@contextmanager
def _stdout_errors() -> Iterator[None]:
    if sys.stdout is None:
        raise UsageError("Standard output is closed.", "Name a file to write to.")
    try:
        yield
    except (BrokenPipeError, WaterflowError):
        raise
    except OSError as exc:
        raise UsageError(f"Standard output cannot be written ({exc.strerror or exc}).") from exc


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
        with ParquetTableWriter(sink) as parquet:
            yield parquet
        return
    with _compressed(sink, compression) as stream:
        separator = _TEXT_FORMATS[kind]
        yield DelimitedWriter(stream, separator) if separator else JsonLinesWriter(stream)


@contextmanager
def _compressed(sink: IO[bytes], compression: str) -> Iterator[IO[bytes]]:
    if compression == ".gz":
        # No time and no name in the header: equal rows give equal bytes.
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, sink, mtime=0) as stream:
            yield cast("IO[bytes]", stream)
    elif compression == ".zst":
        with pa.CompressedOutputStream(pa.PythonFile(_Unclosed(sink), "w"), "zstd") as stream:
            yield stream
    else:
        yield sink


class _Unclosed(io.RawIOBase):
    """A stream that stays open though Arrow closes what it wrote to: it is still to be synced."""

    def __init__(self, sink: IO[bytes]) -> None:
        super().__init__()
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._sink.write(data)


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
        cells = [self._quote(_convert(text_of, name, column)) for name, column in columns.items()]
        self._write_lines(cells)

    def _write_lines(self, cells: list[pa.Array]) -> None:
        if len(cells) == 1:  # a line that is empty would be no row
            cells = [pc.if_else(pc.equal(cells[0], ""), '""', cells[0])]
        *first, last = cells
        ended = pc.binary_join_element_wise(last, "", "\n")
        lines = pc.binary_join_element_wise(*first, ended, self._separator) if first else ended
        self._sink.write(text_bytes(lines))

    def _quote(self, column: pa.Array) -> pa.Array:
        # To look for a byte in all cells at once costs next to nothing; most columns end here.
        text = bytes(text_bytes(column))
        if not any(mark in text for mark in (self._separator.encode(), b'"', b"\n", b"\r")):
            return column
        special = pc.match_substring_regex(column, self._special)
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
            values = _convert(_json_of, name, column)
            pieces += [f"{', ' if position else '{'}{json.dumps(name)}: ", values]
        self._sink.write(text_bytes(pc.binary_join_element_wise(*pieces, "}\n", "")))


class ParquetTableWriter:
    """Parquet, with row groups of a fixed size however the rows arrive.

    As a context it ends the file; where an error ends it, the file stays without its end.
    """

    ROW_GROUP = 1 << 17

    def __init__(self, sink: IO[bytes]) -> None:
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
                self._writer.write_table(rest, self.ROW_GROUP)
            self._writer.close()
        self._writer.is_open = False  # else it would write to the closed part file when collected

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        """Write some rows.

        Raises
        ------
        UsageError
            If a column's type is not that of the rows before.
        """
        table = pa.table(dict(columns))
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._sink, table.schema)
        for field, before in zip(table.schema, self._writer.schema, strict=True):
            if field.type != before.type:
                raise UsageError(
                    f"The column '{field.name}' holds {field.type} here and {before.type} before; "
                    "a Parquet file holds one type a column.",
                    "Write to .csv, .tsv or .jsonl, or the inputs one by one.",
                )
        self._pending.append(table)
        while sum(map(len, self._pending)) >= self.ROW_GROUP:
            waiting = pa.concat_tables(self._pending)
            self._writer.write_table(waiting.slice(0, self.ROW_GROUP), self.ROW_GROUP)
            self._pending = [waiting.slice(self.ROW_GROUP)]


def path_text(path: str) -> str:
    r"""Write a file's name as text; bytes in it that are no UTF-8 are shown as ``\udcXX``."""
    return path.encode("utf-8", "backslashreplace").decode()


def _convert(convert: Callable[[pa.Array], pa.Array], name: str, column: pa.Array) -> pa.Array:
    try:
        return convert(column)
    except pa.ArrowException as exc:  # lists, structures, bytes
        raise UsageError(
            f"The column '{name}' holds {column.type}, which cannot be written as text.",
            "Write to .parquet instead.",
        ) from exc


def text_of(column: pa.Array) -> pa.Array:
    """Write values as text: strings as they are, numbers in their shortest exact form."""
    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    return pc.fill_null(column, "") if column.null_count else column


def _json_of(column: pa.Array) -> pa.Array:
    kind = column.type
    text = column.cast(pa.string())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return pc.fill_null(text, "null")
    if pa.types.is_floating(kind):  # JSON knows neither NaN nor infinities
        return pc.if_else(pc.fill_null(pc.is_finite(column), False), text, "null")
    special = pc.fill_null(pc.match_substring_regex(text, r'["\\\x00-\x1f]'), False)
    quoted = pc.binary_join_element_wise('"', text, '"', "")
    if pc.any(special).as_py():
        escaped = [
            json.dumps(cell, ensure_ascii=False) for cell in text.filter(special).to_pylist()
        ]
        quoted = pc.replace_with_mask(quoted, special, pa.array(escaped, pa.string()))
    return pc.fill_null(quoted, "null")


def text_bytes(column: pa.Array) -> pa.Buffer:
    """Give the text of all cells, one after the other, without copying it."""
    if not len(column):
        return pa.py_buffer(b"")
    _, offsets, text = column.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)
    start, stop = int(ends[column.offset]), int(ends[column.offset + len(column)])
    return text.slice(start, stop - start) if stop > start else pa.py_buffer(b"")
