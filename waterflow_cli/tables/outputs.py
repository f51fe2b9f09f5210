"""Publish outputs whole or not at all."""

from __future__ import annotations

import io
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any, Self
from zlib import crc32

from waterflow_cli.common.effects import effects
from waterflow_cli.common.errors import UsageError, WaterflowError
from waterflow_cli.common.interrupts import interrupts_held_back
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.databases.addresses import is_database
from waterflow_cli.tables.databases.writing import check_target, write_table
from waterflow_cli.tables.sources import STDIN

STDOUT = STDIN
PART_SUFFIX = ".part"
# What the tempfile module puts into names.
_RANDOM_TOKEN = re.compile(r"\.[a-z0-9_]{8}")
# Of the output's name in that of its part file, which may be no longer than 255 bytes.
_PART_NAME_CHARACTERS = 50


def check_distinct(outputs: Iterable[tuple[str, str | None]]) -> None:
    """Refuse two outputs that are one file, by a UsageError that names both options.

    Parameters
    ----------
    outputs : iterable of (str, str or None)
        The option that names it, and the path; None where it is not given.
    """
    named_by: dict[Path, str] = {}
    for option, path in outputs:
        if path is not None:
            other = named_by.setdefault(Path(path).resolve(), option)
            if other != option:
                raise UsageError(
                    "{path}: is both {other} and {option}; name two files.",
                    path=path,
                    other=other,
                    option=option,
                )


def check_outputs(
    outputs: Iterable[tuple[str, str | None]], *, force: bool, inputs: Sequence[str] = ()
) -> None:
    """Refuse outputs before any work is done for them; see `check_output`, `check_distinct`."""
    named = list(outputs)
    for _, path in named:
        if path is not None:
            check_output(path, force=force, inputs=inputs)
    check_distinct(named)


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
    if is_database(path):
        check_target(path, force=force, inputs=inputs)
        return
    try:
        _check_existing(path, Path(path).stat().st_mode, force=force, inputs=inputs)
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise UsageError(
            "{path}: cannot be written ({strerror}).", path=path, strerror=exc.strerror
        ) from exc
    folder = Path(path).parent
    if not folder.is_dir():
        raise UsageError(
            "{path}: cannot be written, there is no folder {folder}.", path=path, folder=folder
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(
            "{path}: cannot be written, the folder {folder} is not writable.",
            path=path,
            folder=folder,
        )


def _check_existing(path: str, mode: int, *, force: bool, inputs: Sequence[str]) -> None:
    if stat.S_ISDIR(mode):
        raise UsageError("{path}: is a folder.", tr("Name a file in it."), path=path)
    if not stat.S_ISREG(mode):
        raise UsageError(
            "{path}: is no regular file, and will not be replaced.",
            tr("Write to standard output instead: -o - > {path}", path=path),
            path=path,
        )
    if any(_is_same_file(source, path) for source in inputs):
        raise input_error(path)
    if not force:
        raise exists_error(path)


def exists_error(path: str) -> UsageError:
    """Build the error for an output that is there, and not to be replaced."""
    return UsageError("{path}: exists already.", tr("To replace it: --force"), path=path)


def input_error(path: str) -> UsageError:
    """Build the error for an output that is, or holds, an input."""
    return UsageError(
        "{path}: is an input; the output must be another file.",
        tr("Nothing was written. Choose another name."),
        path=path,
    )


def _is_same_file(source: str, path: str) -> bool:
    try:
        return source != STDIN and Path(source).samefile(path)
    except OSError:  # an input that cannot be found is refused when it is opened
        return False


class OutputFile(io.RawIOBase):
    """An open output, which closes its descriptor; what goes wrong is an error that names it."""

    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__()
        self._descriptor, self._name = descriptor, name

    def writable(self) -> bool:
        """Say that this stream can be written."""
        return True

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._descriptor

    def write(self, data: Any) -> int:
        """Write all of some bytes.

        Raises
        ------
        UsageError
            If they cannot be written, for example because the disk is full.
        BrokenPipeError
            If nobody reads them any more.
        """
        view = memoryview(data).cast("B")
        n_written = 0
        with write_errors(self._name):
            while n_written < len(view):
                n_written += os.write(self._descriptor, view[n_written:])
        return n_written

    def sync(self) -> None:
        """Wait until the disk holds what was written, where it is a file."""
        if self._name != STDOUT:
            with write_errors(self._name):
                os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the descriptor."""
        if not self.closed:
            super().close()
            os.close(self._descriptor)


class OutputGroup:
    """The outputs of one command: all appear under their names at its end, or none does.

    Until then each is a part file beside its final place. A part file is locked: those of a
    command that was killed are not, and the next command that writes there removes them.

    Parameters
    ----------
    force : bool
        Whether existing files are replaced.
    inputs : sequence of str
        What no output may be.
    """

    def __init__(self, *, force: bool, inputs: Sequence[str] = ()) -> None:
        self._force, self._inputs = force, inputs
        self._parts: dict[str, Path] = {}

    @contextmanager
    def open(self, path: str) -> Iterator[OutputFile]:
        """Open an output, or standard output for ``-``, until all of it is written.

        Raises
        ------
        UsageError
            See `check_output`; also if the disk is full.
        """
        with _open_stdout() if path == STDOUT else self._open_part(path) as file:
            yield file
            file.sync()

    def write_page(self, path: str | None, text: str) -> None:
        """Write a page to the output that a user named for it, if any."""
        if path is not None:
            with self.open(path) as sink:
                sink.write(text.encode("utf-8", "backslashreplace"))

    def _open_part(self, path: str) -> OutputFile:
        check_output(path, force=self._force, inputs=self._inputs)
        target = Path(path)
        place: dict[str, Any] = {}  # rows for a database wait in the folder of such files
        if not is_database(path):
            remove_stale_parts(target)
            place = {"dir": target.parent, "prefix": f"{part_prefix(target)}."}
        with interrupts_held_back(), write_errors(path):
            descriptor, name = tempfile.mkstemp(suffix=PART_SUFFIX, **place)
            self._parts[path] = Path(name)
            if self.discard not in effects.begun:
                effects.begun.append(self.discard)
        with suppress(OSError):  # a file system without locks
            lock_file(descriptor)
        return OutputFile(descriptor, path)

    def __enter__(self) -> Self:
        return self

    def finish(self) -> Mapping[str, Path]:
        """Give the part file of each output, all of which are written."""
        return self._parts

    def publish(self) -> None:
        """Give all outputs their names."""
        with interrupts_held_back():
            try:
                # A database may refuse; the files come after it.
                for path in sorted(self._parts, key=is_database, reverse=True):
                    if is_database(path):
                        write_table(self._parts[path], path, force=self._force)
                        effects.outputs.append(path)
                    else:
                        publish(self._parts[path], Path(path), force=self._force)
            finally:
                self.discard()

    def discard(self) -> None:
        """Remove the part files."""
        with interrupts_held_back(), suppress(OSError):  # the wall tries once more
            for part in self._parts.values():
                part.unlink(missing_ok=True)
            self._parts.clear()
            effects.forget(self.discard)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.publish()
        else:
            self.discard()


def write_page(path: str | None, text: str, *, force: bool) -> None:
    """Write a page to the output that a user named for it, if any; see `open_output`."""
    with OutputGroup(force=force) as outputs:
        outputs.write_page(path, text)


@contextmanager
def open_output(path: str, *, force: bool, inputs: Sequence[str] = ()) -> Iterator[OutputFile]:
    """Open an output that appears under its name only when all of it was written.

    See `OutputGroup.open`.
    """
    with OutputGroup(force=force, inputs=inputs) as outputs, outputs.open(path) as file:
        yield file


def _open_stdout() -> OutputFile:
    if sys.stdout is None:
        raise UsageError("Standard output is closed.", tr("Name a file to write to."))
    with write_errors(STDOUT):
        sys.stdout.flush()
        return OutputFile(os.dup(sys.stdout.fileno()), STDOUT)


def part_prefix(target: Path) -> str:
    """Give the start of the names of an output's part files, which no other output shares."""
    name = target.name
    if len(name) > _PART_NAME_CHARACTERS:
        name = f"{name[:_PART_NAME_CHARACTERS]}~{crc32(os.fsencode(name)):08x}"
    return f".{name}"


def remove_stale_parts(target: Path) -> None:
    """Remove the part files that killed commands left beside an output."""
    prefix = part_prefix(target)
    try:
        names = os.listdir(target.parent)  # noqa: PTH208 (all of them before the first is removed)
    except PermissionError:  # one can write to a folder that one cannot list
        return
    for path in map(target.parent.joinpath, names):
        token = path.name.removeprefix(prefix).removesuffix(PART_SUFFIX)
        if path.name == f"{prefix}{token}{PART_SUFFIX}" and _RANDOM_TOKEN.fullmatch(token):
            with suppress(OSError), path.open("rb") as file:
                lock_file(file.fileno())
                path.unlink()


def lock_file(descriptor: int) -> None:
    """Lock an open file as long as it is open.

    Raises
    ------
    OSError
        BlockingIOError if another process holds the lock, any other where there are no locks.
    """
    flock(descriptor, LOCK_EX | LOCK_NB)


def publish(part: Path, target: Path, *, force: bool) -> None:
    """Give a whole part file its final name, where that is free or to be replaced."""
    umask = os.umask(0)
    os.umask(umask)
    with write_errors(str(target)):
        part.chmod(0o666 & ~umask)
        if force:
            part.replace(target)
        else:
            _link(part, target)
    effects.outputs.append(str(target))


def _link(part: Path, target: Path) -> None:
    try:  # unlike a rename, a link never replaces a file that came into being meanwhile
        target.hardlink_to(part)
    except FileExistsError as exc:
        raise exists_error(str(target)) from exc
    except OSError:  # a file system without hard links
        part.replace(target)


@contextmanager
def write_errors(path: str) -> Iterator[None]:
    """Turn what the system says of an output into an error that names it."""
    try:
        yield
    except (BrokenPipeError, WaterflowError):
        raise
    except OSError as exc:
        reason = exc.strerror or exc
        if path == STDOUT:
            raise UsageError(
                "Standard output cannot be written ({strerror}).", strerror=reason
            ) from exc
        raise UsageError(
            "{path}: cannot be written ({strerror}).",
            tr("Nothing was left under that name by this command."),
            path=path,
            strerror=reason,
        ) from exc
