"""Where a long job writes: straight to its outputs, or to rows that are kept until all are there.

With kept rows a killed job can go on. For each output a part file beside it holds the rows that
were finished, as plain text (or as Arrow's, for Parquet), and a journal beside the first output
lists, after each batch, how far the inputs were read and how long each part then was. The next run
cuts the parts back to the last entry and goes on from there. In the end the parts are put into
their final form: outputs therefore hold the same bytes however often the job was stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Self
from zlib import crc32

from waterflow_cli.common.effects import effects
from waterflow_cli.common.errors import DataRefusedError, InputError, ModelError, UsageError
from waterflow_cli.common.interrupts import interrupts_held_back
from waterflow_cli.common.messages import marked, tr
from waterflow_cli.tables.csv_blocks import Position
from waterflow_cli.tables.outputs import (
    PART_SUFFIX,
    STDOUT,
    OutputFile,
    OutputGroup,
    check_output,
    lock_file,
    part_prefix,
    publish,
    write_errors,
)
from waterflow_cli.tables.sources import STDIN
from waterflow_cli.tables.writing import (
    TableWriter,
    is_kept_as_written,
    kept_writer,
    open_table_writer,
    output_format,
    write_kept,
)

_CHECK_BYTES = 1 << 20
# The journal's last entry: all rows are there.
_FINISHED = {"finished": True}


@dataclass(frozen=True)
class Checkpoint:
    """How far a job came.

    Attributes
    ----------
    n_inputs : int
        Inputs that are done.
    position : Position, optional
        Where the next one goes on; None for its start.
    counts : dict
        JSON of what was counted so far.
    """

    n_inputs: int
    position: Position | None
    counts: dict[str, Any]


class DirectOutputs(OutputGroup):
    """Outputs that are written as they will be: a killed job starts anew."""

    start: Checkpoint | None = None

    def __init__(self, *, force: bool, inputs: Sequence[str], excel: str | None = None) -> None:
        super().__init__(force=force, inputs=inputs)
        self._excel = excel

    @contextmanager
    def writer(self, path: str) -> Iterator[TableWriter]:
        """Open an output until all of it is written."""
        with self.open(path) as sink, open_table_writer(path, sink, self._excel) as writer:
            yield writer

    def save(self, checkpoint: Checkpoint) -> None:
        """Do nothing: there is no going on from here."""

    def __exit__(self, *_: object) -> None:
        self.discard()


class ResumableOutputs:
    """Outputs whose finished rows survive a kill.

    Parameters
    ----------
    paths : sequence of str
        All outputs of the job.
    job : dict
        JSON of what decides the bytes: ``model``, ``options`` and ``inputs``, see `describe_input`.

    Raises
    ------
    UsageError
        If another command is writing there, or an earlier run had other options.
    InputError, ModelError
        If an earlier run had another input or model.
    """

    def __init__(self, paths: Sequence[str], job: Mapping[str, Any], *, force: bool) -> None:
        self._paths, self._force = paths, force
        self._inputs = [each["path"] for each in job["inputs"]]
        self._job = json.loads(json.dumps({**job, "outputs": list(paths)}))
        self._extents: dict[str, _Extent] = {}
        self._journal_path = _work_path(paths[0], "journal")
        self._keeps_rows = False
        self.start: Checkpoint | None = None

    @contextmanager
    def writer(self, path: str) -> Iterator[TableWriter]:
        """Open an output until all of it is written."""
        extent = self._extents.get(path, _Extent())
        with _KeptRows(path, extent) as kept:
            self._extents[path] = extent
            excel = self._job["options"].get("excel")
            yield kept_writer(path, kept, started=extent.length > 0, excel=excel)
            kept.sync()

    def save(self, checkpoint: Checkpoint) -> None:
        """Add an entry to the journal."""
        kept = {path: asdict(extent) for path, extent in self._extents.items()}
        self._note({**asdict(checkpoint), "kept": kept})
        self._keeps_rows = True

    def finish(self) -> Mapping[str, Path]:
        """Put the kept rows into the outputs' formats; give the part file of each output."""
        self._note(_FINISHED)
        self._finished = {
            path: _work_path(path, "kept") if is_kept_as_written(path) else _convert_kept(path)
            for path in self._extents
        }
        return self._finished

    def publish(self) -> None:
        """Give all outputs, which are finished, their names."""
        with interrupts_held_back():
            for path, part in self._finished.items():
                publish(part, Path(path), force=self._force)
                _remove_parts(path)
            self._keeps_rows = False

    def __enter__(self) -> Self:
        if STDOUT in self._paths:
            raise UsageError("--resume: standard output cannot be gone on with; name a file.")
        if not self._journal_path.exists():
            self._check_outputs()
        with write_errors(self._paths[0]):
            self._journal = self._journal_path.open("a+b")
        try:
            _lock(self._journal.fileno(), self._paths[0])
            self._go_on()
        except BaseException:
            self._journal.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, DataRefusedError):
            self._keeps_rows = False  # the answer is no
        self._clear_up()

    def _clear_up(self) -> None:
        """Give up the outputs; all parts go where there is nothing to go on with."""
        with interrupts_held_back():
            self._journal.close()
            if not self._keeps_rows:
                for path in self._extents:
                    _remove_parts(path)
                self._journal_path.unlink(missing_ok=True)
            effects.forget(self._clear_up)

    def _check_outputs(self) -> None:
        for path in self._paths:
            output_format(path)
            check_output(path, force=self._force, inputs=self._inputs)

    def _go_on(self) -> None:
        """Read the journal, and take up the last checkpoint of which the rows are there."""
        entries = self._read_entries()
        if entries:
            _compare_jobs(entries.pop(0), self._job, self._paths[0])
        checkpoints = [entry for entry in entries if entry != _FINISHED]
        finished = len(checkpoints) < len(entries)
        if checkpoints and self._can_go_on(checkpoints[-1]["kept"], finished=finished):
            last = checkpoints[-1]
            position = Position(*last["position"]) if last["position"] else None
            self.start = Checkpoint(last["n_inputs"], position, last["counts"])
            self._keeps_rows = True
            effects.begun.append(self._clear_up)
            return
        self._check_outputs()
        effects.begun.append(self._clear_up)
        for path in self._extents:
            _remove_parts(path)
        self._extents.clear()
        self._journal.truncate(0)
        self._note(self._job)

    def _read_entries(self) -> list[dict[str, Any]]:
        """Read the journal; what a kill or a full disk cut off in mid-line is dropped."""
        entries, length = [], 0
        self._journal.seek(0)
        for line in self._journal:
            if not line.endswith(b"\n"):
                break
            try:
                entries.append(json.loads(line))
            except ValueError:
                break
            length += len(line)
        self._journal.truncate(length)
        return entries

    def _can_go_on(self, kept: Mapping[str, Mapping[str, int]], *, finished: bool) -> bool:
        """Tell whether all kept rows are there, and are what was written."""
        for path, fields in kept.items():
            if finished and _is_published(path):
                _remove_parts(path)
                continue
            check_output(path, force=self._force, inputs=self._inputs)
            self._extents[path] = _Extent(**fields)
            if not self._extents[path].matches(_work_path(path, "kept")):
                return False
        return True

    def _note(self, entry: Mapping[str, Any]) -> None:
        with write_errors(self._paths[0]):
            self._journal.write(json.dumps(entry).encode() + b"\n")
            self._journal.flush()


# Without `publish` none of a job's outputs appears.
JobOutputs = DirectOutputs | ResumableOutputs


@dataclass
class _Extent:
    """How much of an output's rows is kept, and the CRC-32 of it."""

    length: int = 0
    checksum: int = 0

    def matches(self, path: Path) -> bool:
        """Tell whether a file starts with that."""
        found = _Extent()
        try:
            with path.open("rb") as file:
                while data := file.read(min(_CHECK_BYTES, self.length - found.length)):
                    found.add(data)
        except FileNotFoundError:
            return False
        return found == self

    def add(self, data: Any) -> None:
        """Count what was written after the rest."""
        self.length += memoryview(data).nbytes
        self.checksum = crc32(data, self.checksum)


class _KeptRows(OutputFile):
    """The finished rows of an output, beside it; what is beyond their extent is dropped."""

    def __init__(self, path: str, extent: _Extent) -> None:
        super().__init__(_open_part(path, "kept"), path)
        _lock(self.fileno(), path)
        with write_errors(path):
            os.ftruncate(self.fileno(), extent.length)
            os.lseek(self.fileno(), extent.length, os.SEEK_SET)
        self._extent = extent

    def write(self, data: Any) -> int:
        """Write all of some bytes."""
        n_written = super().write(data)
        self._extent.add(data)
        return n_written


def drop_kept_rows(path: str) -> None:
    """Remove what an earlier job with this first output kept, so that the next begins anew.

    Raises
    ------
    UsageError
        If that job is still running.
    """
    journal = _work_path(path, "journal")
    with suppress(FileNotFoundError), journal.open("rb") as file:
        _lock(file.fileno(), path)
        with suppress(ValueError, KeyError):  # nothing was kept before the first line was there
            for output in json.loads(file.readline())["outputs"]:
                _remove_parts(output)
        journal.unlink()


def describe_input(path: str) -> dict[str, Any]:
    """Tell an input from what it may become: its size, and when it was last written.

    Raises
    ------
    UsageError
        For standard input, which cannot be read a second time.
    InputError
        If it cannot be found.
    """
    if path == STDIN:
        raise UsageError("--resume: standard input cannot be read again; name a file.")
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as exc:
        raise InputError(
            path, "cannot be opened ({cause}).", cause=getattr(exc, "strerror", exc)
        ) from exc
    return {"path": path, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def _work_path(path: str, kind: str) -> Path:
    target = Path(path)
    return target.with_name(f"{part_prefix(target)}.{kind}{PART_SUFFIX}")


def _lock(descriptor: int, path: str) -> None:
    with suppress(OSError):  # a file system without locks
        try:
            lock_file(descriptor)
        except BlockingIOError as exc:
            raise UsageError(
                "{path}: another command is writing it.", tr("Wait for its end."), path=path
            ) from exc


def _open_part(path: str, kind: str) -> int:
    with write_errors(path):
        return os.open(_work_path(path, kind), os.O_WRONLY | os.O_CREAT, 0o600)


def _convert_kept(path: str) -> Path:
    """Write the kept rows of an output in its own format, to a part of a known name."""
    with (
        OutputFile(_open_part(path, "ready"), path) as sink,
        _work_path(path, "kept").open("rb") as kept,
    ):
        os.ftruncate(sink.fileno(), 0)
        write_kept(path, kept, sink)
        sink.sync()
    return _work_path(path, "ready")


def _remove_parts(path: str) -> None:
    for kind in ("kept", "ready"):  # in this order: see `_is_published`
        _work_path(path, kind).unlink(missing_ok=True)


def _is_published(path: str) -> bool:
    """Tell whether a finished output has its final name already, by a link or a rename."""
    target, kept, ready = Path(path), _work_path(path, "kept"), _work_path(path, "ready")
    if not target.exists():
        return False
    if ready.exists():
        return ready.samefile(target)
    return not kept.exists() or kept.samefile(target)


def _compare_jobs(earlier: Mapping[str, Any], job: Mapping[str, Any], path: str) -> None:
    """Refuse to go on with another job than was begun."""
    anew = tr(
        "To start anew, run once without --resume; the rows kept for {path} are then dropped.",
        path=path,
    )
    for before, now in zip_longest(earlier["inputs"], job["inputs"]):
        if before != now:
            raise InputError((now or before)["path"], "changed since the job was begun.", hint=anew)
    if earlier["model"] != job["model"]:
        raise ModelError(
            "{path} was begun with another model ({model}).",
            anew,
            path=path,
            model=earlier["model"],
        )
    spoken = earlier.get("language", job.get("language"))
    if spoken != job.get("language"):
        problem = marked("{path} was begun in another language: go on with --lang {code}.")
    elif earlier != job:
        problem = marked("{path} was begun with other options, or another version.")
    else:
        return
    raise UsageError(problem, anew, path=path, code=spoken)
