"""What disturbs a command at its n-th step: a signal, or a call that fails.

A step is a line or a call of Python, or a call of the system; the latter needs strace.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PACKAGE = str(Path(__file__).parents[1] / "waterflow_cli")
# Where outputs are published, versions registered, and what became of a command is told.
TRACED = (
    contextlib.__file__,
    *(
        f"{PACKAGE}/{name}"
        for name in (
            *("main.py", "commands/", "common/effects.py", "common/interrupts.py", "registry/"),
            *("scoring/job.py", "scoring/outputs.py", "tables/outputs.py", "training/runs/log.py"),
            *("training/retraining/retrainer.py", "validation/report.py"),
        )
    ),
)
# Where a process says that it was disturbed, and how many steps it counted; and what strace saw.
MARK, COUNT, TRACE = (
    Path(tempfile.gettempdir(), f"{kind}-{os.getpid()}") for kind in ("mark", "count", "trace")
)
_WRITES = "write,writev,pwrite64,sendfile,copy_file_range,ftruncate"
_NAMES = "rename,renameat,renameat2,link,linkat,mkdir,fsync,fdatasync"
_TRACED_CALL = re.compile(r"^\w+\(.*$", re.MULTILINE)


class Disturber:
    """Counts the steps of a process, and disturbs the n-th.

    Attributes
    ----------
    at_end_only : bool
        Whether it disturbs no step before the last point of a command.
    """

    at_end_only = False

    def __init__(self) -> None:
        self.n_steps, self._last = 0, 0

    def prepare(self) -> None:
        """Do what is to be done before the command begins."""

    def start(self, n: int, nth: int) -> None:
        """Count from here, in the process that is to be disturbed; with n = 0 nothing happens."""
        self.n_steps, self._last = 0, n

    @contextlib.contextmanager
    def watching(self, pid: int, n: int, nth: int) -> Iterator[None]:
        """Stand beside the process that is to be disturbed, until it has ended."""
        yield

    def has_disturbed(self) -> bool:
        """Tell, in the process itself, whether the n-th step has come."""
        return MARK.exists()

    def leave(self) -> None:
        """Say how many steps there were."""
        COUNT.write_text(str(self.n_steps))


class Killing(Disturber):
    """Sends a signal before the n-th line that runs from now on."""

    at_end_only = True

    def start(self, n: int, nth: int) -> None:
        super().start(n, nth)
        self._number = SIGNALS[nth % len(SIGNALS)]
        frame: Any = sys._getframe(1)
        sys.settrace(self)
        while frame is not None:
            if frame.f_code.co_filename.startswith(TRACED):
                frame.f_trace = self
            frame = frame.f_back

    def __call__(self, frame: Any, event: str, arg: object) -> Any:
        if not frame.f_code.co_filename.startswith(TRACED):
            return None
        if event == "line":
            self.n_steps += 1
            if self.n_steps == self._last:
                MARK.write_text(f"{signal.Signals(self._number).name} {_place(frame)}")
                os.kill(os.getpid(), self._number)
        return self


class Failing(Disturber):
    """Lets the n-th call fail that opens for writing, writes, renames, syncs or asks sqlite."""

    def prepare(self) -> None:
        """Put the counting calls in the place of those of the libraries."""
        for name in ("write", "writev", "pwrite", "sendfile", "truncate", "ftruncate", "mkdir"):
            setattr(os, name, self._counted(getattr(os, name)))
        for name in ("replace", "rename", "link", "fsync", "fdatasync"):
            setattr(os, name, self._counted(getattr(os, name)))
        opened, opened_descriptor, connect = io.open, os.open, sqlite3.connect

        def open_file(file: Any, mode: str = "r", *args: Any, **named: Any) -> Any:
            if set(mode) & set("wax+") and not isinstance(file, int) and file not in (MARK, COUNT):
                self._count(self._fail_io)
            return opened(file, mode, *args, **named)

        def open_descriptor(path: Any, flags: int, *args: Any, **named: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR):
                self._count(self._fail_io)
            return opened_descriptor(path, flags, *args, **named)

        def connect_counting(*args: Any, **named: Any) -> Any:
            self._count(self._fail_sqlite)
            return connect(*args, **{"factory": self._connection(), **named})

        io.open = builtins.open = open_file  # type: ignore[assignment]
        os.open = open_descriptor
        sqlite3.connect = sqlite3.dbapi2.connect = connect_counting

    def _connection(self) -> type[sqlite3.Connection]:
        """Make the connections of which each call is counted, SQLAlchemy's too."""
        count = partial(self._count, self._fail_sqlite)

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def counting(*args: Any) -> Any:
                count()
                return call(*args)

            return counting

        class Cursor(sqlite3.Cursor):
            execute = counted(sqlite3.Cursor.execute)
            executemany = counted(sqlite3.Cursor.executemany)
            executescript = counted(sqlite3.Cursor.executescript)
            fetchone = counted(sqlite3.Cursor.fetchone)
            fetchmany = counted(sqlite3.Cursor.fetchmany)
            fetchall = counted(sqlite3.Cursor.fetchall)

        class Connection(sqlite3.Connection):
            def cursor(self, *_: Any) -> Any:
                return super().cursor(Cursor)

            def execute(self, *args: Any) -> Any:
                return self.cursor().execute(*args)

            commit = counted(sqlite3.Connection.commit)

        return Connection

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            self._count(self._fail_io)
            return call(*args, **named)

        return counted

    def _count(self, fail: Callable[[], None]) -> None:
        self.n_steps += 1
        if self.n_steps == self._last:
            MARK.write_text(_place(sys._getframe(2)))
            fail()

    def _fail_io(self) -> None:
        number = (errno.ENOSPC, errno.EIO)[self._last % 2]
        raise OSError(number, os.strerror(number))

    def _fail_sqlite(self) -> None:
        said = ("disk I/O error", "database or disk is full")[self._last % 2]
        raise sqlite3.OperationalError(said)


class Tracing(Disturber):
    """Lets strace disturb the n-th call of the system, whoever makes it: sqlite and pyarrow too.

    Attributes
    ----------
    calls : str
        Those that count, as strace names them.
    """

    calls: str

    def __init__(self) -> None:
        super().__init__()
        self._names: list[str] = []

    def _injection(self, n: int, nth: int) -> str:
        raise NotImplementedError

    def prepare(self) -> None:
        """Let a process wait until it is watched."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})

    def start(self, n: int, nth: int) -> None:
        signal.sigwait({signal.SIGUSR1})

    @contextlib.contextmanager
    def watching(self, pid: int, n: int, nth: int) -> Iterator[None]:
        options = ["-y", "-o", str(TRACE), "-e", f"trace={self.calls}", "-p", str(pid)]
        if n:
            # strace counts the calls of each name by themselves.
            name, injected = self._names[n - 1], self._injection(n, nth)
            nth_of_name = self._names[:n].count(name)
            options += ["-e", f"inject={name}:{injected}:when={nth_of_name}"]
        with subprocess.Popen(("strace", *options), stderr=subprocess.DEVNULL):
            while "TracerPid:\t0" in Path(f"/proc/{pid}/status").read_text():
                time.sleep(0.002)
            os.kill(pid, signal.SIGUSR1)
            yield
        calls = _TRACED_CALL.findall(TRACE.read_text(errors="replace"))
        if not n:
            self._names = [call.partition("(")[0] for call in calls]
            COUNT.write_text(str(len(calls)))
            return
        disturbed = [call for call in calls if call.startswith(f"{name}(")][nth_of_name - 1 :]
        if disturbed:
            MARK.write_text(f"{injected} {_without_content(disturbed[0])}")

    def has_disturbed(self) -> bool:
        return "(INJECTED)" in TRACE.read_text(errors="replace")

    def leave(self) -> None:
        """Do nothing: who watches counts."""


class SystemKilling(Tracing):
    """Sends a signal at the n-th call that opens, closes, locks or changes a file."""

    at_end_only = True
    calls = f"{_WRITES},{_NAMES},openat,close,unlink,unlinkat,rmdir,flock,chmod,fchmod"

    def _injection(self, n: int, nth: int) -> str:
        return f"signal={SIGNALS[nth % len(SIGNALS)].name}"


class SystemFailing(Tracing):
    """Lets the n-th call fail that writes, makes a name, syncs, or reads as sqlite does."""

    calls = f"{_WRITES},{_NAMES},pread64"

    def _injection(self, n: int, nth: int) -> str:
        return f"error={('ENOSPC', 'EIO')[n % 2]}"


def _without_content(call: str) -> str:
    return re.sub(r'"(?:[^"\\]|\\.)*"(?:\.\.\.)?', '"…"', call) if "write" in call else call


def _place(frame: Any) -> str:
    """Name the lines of ours that led to a call."""
    places = []
    while frame is not None and len(places) < 3:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE):
            places.append(f"{Path(code.co_filename).stem}.{code.co_qualname}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(places)
