"""Files by their URI, as Spark's JVM sees them: any file system that Hadoop knows."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.samples.opening import expand_inputs
from waterflow_cli.spark.jvm import find_java_context, view_java
from waterflow_cli.tables.databases.addresses import refuse_databases
from waterflow_cli.tables.sources import STDIN, is_uri

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PATTERN = re.compile(r"[*?\[{]")
_PARTITION = re.compile(r"[^=]+=")
_CREDENTIALS = re.compile(r"://[^/@]*:[^/]*@")
_LOCAL = "file://"  # how `path_of` starts for files of this machine
_FOOTER_BYTES = 8


@dataclass(frozen=True)
class InputFile:
    """A file that is to be read.

    Attributes
    ----------
    name : str
        As the user typed it, or as it was found in a folder or by a pattern.
    n_bytes : int
        As stored.
    number : int
        Among the inputs, from 0.
    """

    name: str
    uri: str
    n_bytes: int
    number: int = 0

    @property
    def path(self) -> str:
        """Its `path_of`."""
        return path_of(self.uri)


def refuse_credentials(path: str) -> None:
    """Refuse a URI that holds a password: it would stand in outputs, messages and records."""
    if is_uri(path) and _CREDENTIALS.search(path):
        raise UsageError(
            "{path}: holds a password.",
            tr(
                "Leave it out of the URI: credentials belong into Spark's own files (docs/scale.md)"
            ),
            path=_CREDENTIALS.sub("://***@", path),
        )


def refuse_missing(paths: Sequence[str]) -> None:
    """Refuse paths of this machine that are not there, before Spark is started for them.

    Raises
    ------
    InputError
        If a file is not there.
    UsageError
        If a pattern matches nothing, standard input is named, or a URI holds a password.
    """
    refuse_databases("--engine spark", paths)
    for path in paths:
        refuse_credentials(path)
        if path == STDIN:
            raise UsageError(
                "--engine spark: the executors cannot read this command's standard input.",
                tr("Name a file, a folder or a URI."),
            )
        for name in [] if is_uri(path) else expand_inputs((path,)):
            if not Path(name).exists():
                raise InputError(name, "no such file.", hint=tr("Check the name and the folder."))


def path_of(uri: str, *, is_escaped: bool = False) -> str:
    """Give one form of a path, by which answers of Spark are matched with what was asked.

    Parameters
    ----------
    uri : str
        As Hadoop writes a path.
    is_escaped : bool
        Whether it is a URI in earnest, in which ``%20`` is a space.

    >>> path_of("file:///tmp/a%20b.csv", is_escaped=True) == path_of("file:/tmp/a b.csv")
    True
    """
    scheme, _, rest = uri.partition(":")
    host, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "", rest)
    path = slash + path
    return f"{scheme}://{host}{unquote(path) if is_escaped else path}"


def true_path(uri: str) -> str:
    """Give the path of a URI, without the links by which a file of this machine may be reached."""
    path = path_of(uri)
    local = path.removeprefix(_LOCAL)
    return path if local == path else f"{_LOCAL}{os.path.realpath(local)}"


def local_paths(files: Sequence[InputFile]) -> list[str]:
    """Give the paths of those inputs that are files of this machine, however they are named."""
    return [file.path.removeprefix(_LOCAL) for file in files if file.path.startswith(f"{_LOCAL}/")]


class Entry(NamedTuple):
    """What stands in a folder."""

    name: str
    uri: str
    is_folder: bool
    n_bytes: int


class Files(ABC):
    """Files and folders, as inputs and outputs are checked against them."""

    def list_inputs(self, paths: Sequence[str]) -> list[InputFile]:
        """Find the files that some paths, folders and patterns name, in order.

        Raises
        ------
        InputError, UsageError
            As `refuse_missing`; also if a folder is empty of files, or one cannot be reached.
        """
        refuse_missing(paths)
        found: list[InputFile] = []
        for path in paths:
            for name in [path] if is_uri(path) else expand_inputs((path,)):
                found += self._list(name)
        return [replace(file, number=number) for number, file in enumerate(found)]

    @abstractmethod
    def _list(self, name: str) -> list[InputFile]:
        """Find the files that a path names."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Say whether there is a file or folder."""

    @abstractmethod
    def is_folder(self, path: str) -> bool:
        """Say whether there is a folder."""

    @abstractmethod
    def names_in(self, path: str) -> list[str]:
        """Give the names of what a folder holds."""

    @abstractmethod
    def uri_of(self, path: str) -> str:
        """Give a path's URI: that of this machine's files where it names no scheme."""


class LocalFiles(Files):
    """What this machine knows before Spark is started; of what a URI names, nothing is known."""

    def _list(self, name: str) -> list[InputFile]:
        if is_uri(name):
            return []
        path = Path(name)
        try:
            if not path.is_dir():
                return [InputFile(name, self.uri_of(name), path.stat().st_size)]
            entries = [
                Entry(each.name, self.uri_of(str(each)), each.is_dir(), each.stat().st_size)
                for each in path.iterdir()
            ]
        except OSError as exc:
            raise InputError(name, "cannot be opened ({cause}).", cause=exc.strerror) from exc
        return list_folder(name, entries)

    def exists(self, path: str) -> bool:
        """Say whether there is a file or folder."""
        return os.path.lexists(local_path(path))

    def is_folder(self, path: str) -> bool:
        """Say whether there is a folder."""
        return os.path.isdir(local_path(path))  # noqa: PTH112 (Path.is_dir may raise)

    def names_in(self, path: str) -> list[str]:
        """Give the names of what a folder holds."""
        try:
            return os.listdir(local_path(path))  # noqa: PTH208 (names alone)
        except OSError as exc:
            raise UsageError(
                "{path}: cannot be written ({strerror}).", path=path, strerror=exc.strerror
            ) from exc

    def uri_of(self, path: str) -> str:
        """Give a path's URI."""
        return path if is_uri(path) else f"file:{Path(path).absolute()}"


def local_path(uri: str) -> str:
    """Give the path of this machine's file that a URI of `LocalFiles` names."""
    return uri.removeprefix("file:")


def list_folder(name: str, entries: Sequence[Entry]) -> list[InputFile]:
    """Give the files of a folder, by what stands in it.

    Raises
    ------
    InputError
        If it holds no file, a folder, or a name that Hadoop does not take.
    """
    found = []
    for entry in entries:
        if ":" in entry.name:
            raise InputError(
                f"{name.rstrip('/')}/{entry.name}",
                "cannot be opened.",
                hint=tr("Hadoop takes no colon in a name: give it another."),
            )
        if entry.name.startswith(("_", ".")):
            continue
        if entry.is_folder:
            problem = (
                tr("is partitioned by folders, which hold one of its columns.")
                if _PARTITION.match(entry.name)
                else tr("holds the folder {folder}.", folder=entry.name)
            )
            raise InputError(name, problem, hint=tr("Name the files in them, with a pattern: */*"))
        found.append(InputFile(f"{name.rstrip('/')}/{entry.name}", entry.uri, entry.n_bytes))
    if not found:
        raise InputError(name, "is a folder without files.")
    return sorted(found, key=lambda each: each.name)


class HadoopFiles(Files):
    """What Spark's JVM knows, and does with files and folders beside reading and writing rows."""

    def __init__(self, spark: SparkSession) -> None:
        self._java = view_java(spark.sparkContext)
        self._conf = find_java_context(spark.sparkContext).hadoopConfiguration()

    def _list(self, name: str) -> list[InputFile]:
        with self._input_errors(name):
            files, path = self._open(name)
            if is_uri(name) and _PATTERN.search(name):
                matches = [self._input(each) for each in files.globStatus(path) or []]
                if not matches:
                    raise UsageError(
                        "No file matches '{path}'.",
                        tr("Check the pattern and the folder."),
                        path=name,
                    )
                return sorted(matches, key=lambda each: each.name)
            status = files.getFileStatus(path)
            if not status.isDirectory():
                return [InputFile(name, status.getPath().toString(), status.getLen())]
            entries = [
                Entry(
                    status.getPath().getName(),
                    status.getPath().toString(),
                    status.isDirectory(),
                    status.getLen(),
                )
                for status in files.listStatus(path)
            ]
            return list_folder(name, entries)

    def _input(self, status: Any) -> InputFile:
        uri = status.getPath().toString()
        if status.isDirectory():
            raise InputError(uri, "is a folder, not a file.", hint=tr("Name the files in it."))
        return InputFile(uri, uri, status.getLen())

    def read_footer(self, file: InputFile) -> bytes:
        """Read what ends a Parquet file: its metadata, their length, and the magic bytes."""
        end = self.read_start(file, _FOOTER_BYTES, max(0, file.n_bytes - _FOOTER_BYTES))
        n_bytes = int.from_bytes(end[:4], "little") + _FOOTER_BYTES
        return self.read_start(file, n_bytes, max(0, file.n_bytes - n_bytes))

    def read_start(self, file: InputFile, n_bytes: int, offset: int = 0) -> bytes:
        """Read the first bytes of a file, or those after an offset."""
        with self._input_errors(file.name):
            files, path = self._open(file.uri)
            with closing(files.open(path)) as stream:
                stream.seek(offset)
                return bytes(stream.readNBytes(n_bytes))

    def exists(self, path: str) -> bool:
        """Say whether there is a file or folder."""
        with self._output(path) as (files, target):
            return bool(files.exists(target))

    def is_folder(self, path: str) -> bool:
        """Say whether there is a folder."""
        with self._output(path) as (files, target):
            return bool(files.exists(target) and files.getFileStatus(target).isDirectory())

    def names_in(self, path: str) -> list[str]:
        """Give the names of what a folder holds."""
        with self._output(path) as (files, target):
            return [status.getPath().getName() for status in files.listStatus(target)]

    def write(self, path: str, content: bytes = b"") -> None:
        """Write a small file, and make the folders above it."""
        with self._output(path) as (files, target), closing(files.create(target, True)) as stream:
            stream.write(content)

    def read(self, path: str) -> bytes | None:
        """Read a small file; None where there is none."""
        with self._output(path) as (files, target):
            if not files.exists(target):
                return None
            with closing(files.open(target)) as stream:
                return bytes(stream.readAllBytes())

    def delete(self, path: str) -> None:
        """Delete a file, or a folder with all that is in it."""
        with self._output(path) as (files, target):
            files.delete(target, True)

    def delete_small(self, folder: str, prefix: str, n_bytes: int) -> None:
        """Delete files in a folder that have so many bytes or fewer, by their names' start."""
        with self._output(folder) as (files, target):
            for status in files.listStatus(target):
                path = status.getPath()
                is_small = status.isFile() and status.getLen() <= n_bytes
                if is_small and path.getName().startswith(prefix):
                    files.delete(path, False)

    def rename(self, path: str, other: str) -> None:
        """Give a file or folder another name, which is not taken, or raise a UsageError."""
        with self._output(other) as (files, target):
            if not files.rename(self._open(path)[1], target):
                raise UsageError(
                    "{path}: cannot be written (renaming {source} failed).", path=other, source=path
                )

    def upload(self, local: Path, path: str) -> None:
        """Copy a file of this machine; it appears under its name when all of it is there."""
        with self._output(path) as (files, target):
            part = f"{target.toString()}.part"
            source = self._java.org.apache.hadoop.fs.Path(local.absolute().as_uri())
            try:
                files.copyFromLocalFile(False, True, source, self._open(part)[1])
            except BaseException:
                with suppress(Exception):  # the first error is the one to tell
                    self.delete(part)
                raise
            files.delete(target, False)
            self.rename(part, path)

    def uri_of(self, path: str) -> str:
        """Give a path's URI: that of this machine's files where it names no scheme."""
        with self._output(path) as (files, target):
            return str(files.makeQualified(target).toString())

    def _open(self, path: str) -> tuple[Any, Any]:
        """Give the file system of a path, and the path as it takes it."""
        java_path = self._java.org.apache.hadoop.fs.Path
        if is_uri(path):
            target = java_path(path)
        else:  # not through a URI's text: a name may hold a colon or a percent sign
            full = str(Path(path).absolute())
            target = java_path(self._java.java.net.URI("file", None, full, None, None))
        return target.getFileSystem(self._conf), target

    @contextmanager
    def _input_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as exc:
            if (cause := _java_cause(exc)) is None:
                raise
            if "FileNotFoundException" in cause:
                raise InputError(
                    name, "no such file.", hint=tr("Check the name and the folder.")
                ) from exc
            raise InputError(
                name, "cannot be opened ({cause}).", cause=cause, hint=_scheme_hint(cause)
            ) from exc

    @contextmanager
    def _output(self, path: str) -> Iterator[tuple[Any, Any]]:
        """Give what `_open` gives; what goes wrong with it meanwhile is told of the path."""
        try:
            yield self._open(path)
        except Exception as exc:
            if (cause := _java_cause(exc)) is None:
                raise
            raise UsageError(
                "{path}: cannot be written ({strerror}).",
                _scheme_hint(cause),
                path=path,
                strerror=cause,
            ) from exc


def _java_cause(exc: Exception) -> str | None:
    """Give what Java says is wrong, in one line; None for what is no Java exception."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    if isinstance(exc, PySparkException):  # it has a class of its own for some of Java's
        return str(exc).splitlines()[0][:300]
    if not isinstance(exc, Py4JJavaError):
        return None
    return str(exc.java_exception.toString()).splitlines()[0][:300]


def _scheme_hint(cause: str) -> str | None:
    if "URISyntaxException" in cause:
        return tr("Hadoop takes no colon in a name: give it another.")
    if "No FileSystem for scheme" not in cause and "ClassNotFoundException" not in cause:
        return None
    return tr(
        "Spark lacks what reads that scheme: --spark-conf spark.jars.packages=… (docs/scale.md)"
    )
