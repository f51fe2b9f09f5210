"""Commands that are disturbed at one of their last steps: by a signal, or by a call that fails.

Each command runs in one folder, in a forked process that has all imports behind it, up to a
function with which its end begins. There it forks for each step that is to be disturbed: what
comes before is paid for once. The folder is put back after each, and what the command said is
held against what lies in the folder and in its store. It is a program of its own, for forks of
one that has threads and locks hang:

    python tests/disturbed.py --commands train,promote --kinds signals --tries 200
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import pkgutil
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import traceback
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from disturbers import (
    COUNT,
    MARK,
    SIGNALS,
    Disturber,
    Failing,
    Killing,
    SystemFailing,
    SystemKilling,
)
from learnable import write_learnable

TIMEOUT_S = 180
# The exit code of a try that came to the next point undisturbed.
AT_NEXT_POINT = 97
_disturber: Disturber | None = None
AS_BEFORE = "Error: Interrupted; outputs and models are as they were before."
_IN_PLACE = re.compile(
    r"^(?:Error: Interrupted; in place are|Warning: In place all the same): (.*)\.$", re.MULTILINE
)


@dataclass(frozen=True)
class Command:
    """A command line, what it writes, and where its end begins.

    Attributes
    ----------
    points : tuple of str
        Functions before which all that was begun in the store is done; with the last one the end
        begins.
    """

    name: str
    args: tuple[str, ...]
    points: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    code: int = 0


KINDS: dict[str, Callable[[], Disturber]] = {
    "signals": Killing,
    "failures": Failing,
    "system-signals": SystemKilling,
    "system-failures": SystemFailing,
}
START = "waterflow_cli.main._run"
STORE = ("--tracking-uri", "sqlite:///mlflow.db")
QUICK = ("--plugin", "logreg", "--balance", "none", "--calibrate", "none", "--test-size", "0.3")
RETRAINER = "waterflow_cli.training.retraining.retrainer"
LOG = "waterflow_cli.training.runs.log"
COMMANDS = (
    Command(
        "score",
        (
            *("score", "bad.csv", "-o", "out.csv", "--rejects", "rejects.csv"),
            *("--manifest", "job.json", "--jobs", "1", *STORE),
        ),
        (START, "waterflow_cli.scoring.outputs.DirectOutputs.finish"),
        ("out.csv", "rejects.csv", "job.json"),
    ),
    Command(
        "validate",
        (
            *("validate", "bad.csv", "--good", "good.csv", "--bad", "invalid.csv", "--jobs", "1"),
            *("-o", "found.csv", "--format", "csv"),
        ),
        (START, "waterflow_cli.commands.validate._write"),
        ("good.csv", "invalid.csv", "found.csv"),
    ),
    Command(
        "train",
        ("train", "in.csv", *QUICK, "--report", "page.html", *STORE),
        (
            START,
            *(f"{LOG}.{name}" for name in ("log_start", "log_result", "log_model", "register")),
        ),
        ("page.html",),
    ),
    Command(
        "promote",
        ("models", "promote", "2", "--force", *STORE),
        (START, "waterflow_cli.registry.versions._changed_model"),
    ),
    Command(
        "retrain",
        ("retrain", "--with", "new.csv", "--promote", *STORE),
        (
            START,
            *(f"{RETRAINER}.{name}" for name in ("_log_origin", "log_result", "log_model")),
            f"{RETRAINER}.register",
        ),
    ),
    Command(
        "import",
        ("models", "import", "model.zip", *STORE),
        (
            START,
            "waterflow_cli.registry.archives.log_archive",
            "waterflow_cli.registry.archives.register",
        ),
    ),
    Command(
        "explore",
        ("explore", "few.csv", "-o", "page.html"),
        (START, "waterflow_cli.commands.explore._show"),
        ("page.html",),
    ),
)


def prepare(folder: Path) -> None:
    """Make the files that the commands need, and a store with two versions."""
    write_learnable(folder / "in.csv", 240, seed=3)
    write_learnable(folder / "new.csv", 240, seed=4)
    for args in (
        ("train", "in.csv", *QUICK, *STORE),
        ("models", "export", "1", "-o", "model.zip", *STORE),
        ("models", "import", "model.zip", *STORE),
    ):
        done = Disturbance(folder).run(args)
        assert done.code == 0, done
    new = folder / "new.csv"
    new.write_text(new.read_text().replace("\nS", "\nN"))  # other samples than those of before
    rows = (folder / "in.csv").read_text().splitlines(keepends=True)[:40]
    (folder / "few.csv").write_text("".join(rows[:20]))  # too few for the quick models
    broken = f"bad{',99' * rows[0].count(',')}\n"
    (folder / "bad.csv").write_text("".join([*rows, broken, broken]))


@dataclass(frozen=True)
class Done:
    """What a disturbed command left."""

    code: int
    said: str


@dataclass(frozen=True)
class Facts:
    """What stands in a folder and its store."""

    files: dict[str, bytes]
    aliases: dict[tuple[str, int], frozenset[str]]
    runs: Counter[str]
    broken: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path) -> Facts:
        files = {
            path.name: path.read_bytes()
            for path in folder.iterdir()
            if path.is_file() and not path.name.startswith("mlflow.db")
        }
        broken = [name for name in files if name.endswith((".part", ".lock"))]
        with closing(sqlite3.connect(folder / "mlflow.db")) as store:
            if store.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                broken.append("integrity")
            runs = Counter(status for (status,) in store.execute("SELECT status FROM runs"))
            aliases = {
                (name, int(version)): frozenset(
                    alias
                    for (alias,) in store.execute(
                        "SELECT alias FROM registered_model_aliases WHERE name=? AND version=?",
                        (name, version),
                    )
                )
                for name, version in store.execute("SELECT name, version FROM model_versions")
            }
            known = store.execute("SELECT COUNT(*) FROM registered_model_aliases").fetchone()[0]
            if known != sum(map(len, aliases.values())):
                broken.append("an alias without its version")
            for (place,) in store.execute(
                "SELECT m.artifact_location FROM model_versions v JOIN logged_models m "
                "ON 'models:/' || m.model_id = v.source"
            ):
                model = Path(place.removeprefix("file://"))
                if not (any(model.rglob("MLmodel")) and any(model.rglob("*manifest*"))):
                    broken.append(f"{model} is not whole")
        if runs["RUNNING"]:
            broken.append("RUNNING")
        return cls(files, aliases, runs, tuple(broken))

    def new(self, before: Facts) -> set[str]:
        """Name what was put in place, in the words of the messages."""
        found = {name for name, content in self.files.items() if before.files.get(name) != content}
        for (name, version), aliases in self.aliases.items():
            added = aliases - before.aliases.get((name, version), frozenset())
            if added or (name, version) not in before.aliases:
                shown = ", ".join(sorted(f"@{alias}" for alias in added)) or "without an alias"
                found.add(f"{name} version {version} ({shown})")
        return found


def said_in_place(said: str) -> set[str]:
    """Take from a message what it says is in place."""
    found = _IN_PLACE.search(said)
    if found is None:
        return set()
    items = re.split(r", (?!@)", found[1])
    return {re.sub(r"\((@.*)\)", _sorted_aliases, item) for item in items}


def _sorted_aliases(found: re.Match[str]) -> str:
    return f"({', '.join(sorted(found[1].split(', ')))})"


class Disturbance:
    """Runs commands in one folder, each in a process of its own."""

    def __init__(self, folder: Path, arm: Callable[[], None] = lambda: None) -> None:
        self.folder, self._arm = folder, arm

    def run(self, args: Sequence[str]) -> Done:
        """Run a command, with what disturbs it in place."""
        said = self.folder.parent / "said"
        MARK.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            self._be_command(args, said)
        return Done(wait_for(pid), said.read_text())

    def _be_command(self, args: Sequence[str], said: Path) -> None:
        code = 99
        try:
            enter(self.folder, said)
            self._arm()
            from waterflow_cli.main import main

            main(list(args))
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else 0
        except BaseException:  # noqa: BLE001 (what main lets out is a traceback on the screen)
            traceback.print_exc()
        leave(code)


def enter(folder: Path, said: Path) -> None:
    """Let this process be one of its own: its folder, its streams, its time."""
    signal.alarm(TIMEOUT_S)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    os.chdir(folder)
    scratch_of(folder).mkdir(exist_ok=True)
    tempfile.tempdir = str(scratch_of(folder))
    speak_into(said)


def scratch_of(folder: Path) -> Path:
    return folder.parent / "scratch"


def speak_into(said: Path) -> None:
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def leave(code: int) -> None:
    """End as a process does, but without what was to be done at its exit."""
    sys.settrace(None)
    if _disturber is not None:
        _disturber.leave()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def wait_for(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


class Snapshot:
    """The content of a folder and of that of temporary files, which can be put back.

    Files are written again where they lie: a process may have them open.
    """

    def __init__(self, folder: Path) -> None:
        self._roots = folder, scratch_of(folder)
        self._files = {path: path.read_bytes() for path in self._found() if path.is_file()}
        self._folders = {path for path in self._found() if path.is_dir()}

    def _found(self) -> list[Path]:
        return sorted((path for root in self._roots for path in root.rglob("*")), reverse=True)

    def put_back(self) -> None:
        for path in self._found():
            if path.is_dir() and path not in self._folders:
                path.rmdir()
            elif not path.is_dir() and path not in self._files:
                path.unlink()
        for path in self._folders:
            path.mkdir(parents=True, exist_ok=True)
        for path, content in self._files.items():
            if not path.exists() or path.read_bytes() != content:
                with path.open("r+b" if path.exists() else "wb") as file:
                    file.truncate(0)
                    file.write(content)


# --- disturbed at each step ---------------------------------------------------------------------


@dataclass(frozen=True)
class Try:
    """What a command left, and what stood in its folder then.

    Attributes
    ----------
    kind : str
        What disturbed it, of `KINDS`.
    step : str
        Where it was disturbed; empty where it was not.
    n_steps : int
        How many steps there were, where none was to be disturbed.
    """

    kind: str
    step: str
    n_steps: int
    done: Done
    facts: Facts


def disturb(
    folder: Path, command: Command, disturbers: Mapping[str, Disturber], n_tries: int
) -> Iterator[Try]:
    """Run a command, and from each of its points try what some of the steps from there do to it.

    Steps belong to the last point that was called.
    """
    results, said = folder.parent / "results", folder.parent / "said"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    fluent = importlib.import_module("mlflow.tracking.fluent")

    def attempt(point: str, kind: str, n: int, nth: int) -> bool:
        """Fork; True in the process that is to go on with the command."""
        global _disturber
        MARK.unlink(missing_ok=True)
        runs, disturber = fluent._active_run_stack.get(), disturbers[kind]
        pid = os.fork()
        if pid == 0:
            _disturber = disturber
            fluent._active_run_stack.set(runs)  # MLflow forgets them in a fork
            signal.alarm(TIMEOUT_S)
            speak_into(said)
            disturber.start(n, nth)
            return True
        with disturber.watching(pid, n, nth):
            code = wait_for(pid)
        step = f"{n} {MARK.read_text()}" if MARK.exists() else ""
        n_steps = 0 if n else int(COUNT.read_text())
        done = Done(code, said.read_text())
        content = pickle.dumps(Try(kind, step, n_steps, done, Facts.of(folder)))
        (results / f"{point} {kind} {n:06d}").write_bytes(content)
        return False

    def attempt_each(point: str, kind: str, n_points: int) -> bool:
        snapshot = Snapshot(folder)
        if attempt(point, kind, 0, 0):
            return True
        for nth, n in enumerate(_evenly(max(1, n_tries // n_points), int(COUNT.read_text()))):
            snapshot.put_back()
            if attempt(point, kind, n, nth):
                return True
        snapshot.put_back()
        return False

    def pause(owner: Any, name: str, number: int) -> None:
        original = getattr(owner, name)
        n_points = len(command.points)

        def begin(*args: Any, **named: Any) -> Any:
            setattr(owner, name, original)
            if _disturber is not None:
                if not _disturber.has_disturbed():
                    leave(AT_NEXT_POINT)
                return original(*args, **named)
            signal.alarm(0)
            for kind, disturber in disturbers.items():
                if disturber.at_end_only and number < n_points - 1:
                    continue
                if attempt_each(f"{number}", kind, 1 if disturber.at_end_only else n_points):
                    break
            return original(*args, **named)

        setattr(owner, name, begin)

    def arm() -> None:
        for disturber in disturbers.values():
            disturber.prepare()
        for number, point in enumerate(command.points):
            owner, _, name = point.rpartition(".")
            pause(pkgutil.resolve_name(owner), name, number)

    stem = Disturbance(folder, arm).run(command.args)
    assert stem.code in (0, 1), stem
    for result in sorted(results.iterdir()):
        yield pickle.loads(result.read_bytes())


def _evenly(n: int, n_steps: int) -> Sequence[int]:
    """Choose so many steps, each from the middle of its share."""
    n = min(n, n_steps)
    return [1 + n_steps * (2 * i + 1) // (2 * n) for i in range(n)]


# --- what must hold -------------------------------------------------------------------------------


def find_faults(
    command: Command, before: Facts, whole: Facts, done: Done, after: Facts
) -> list[str]:
    """Say what is not as it must be after a command that was disturbed."""
    faults = list(after.broken)
    new, said = after.new(before), said_in_place(done.said)
    if "Traceback" in done.said or done.code not in {command.code, 0, 1, 2, 3, 4, 130}:
        faults.append(f"it ended with {done.code}")
    for name in command.outputs:
        if name in new and not _is_whole(name, after.files[name], whole.files[name]):
            faults.append(f"{name} is not whole")
    if done.code == command.code:
        if new != whole.new(before):
            faults.append(f"it ended well with {sorted(new)}")
    elif said != new:
        faults.append(f"it says {sorted(said)} where there is {sorted(new)}")
    elif not new and done.code == 130 and AS_BEFORE not in done.said:
        faults.append("it does not say that all is as before")
    registered = set(after.aliases) - set(before.aliases)
    n_registered, n_in_use = len(registered), sum(bool(after.aliases[each]) for each in registered)
    if not n_in_use <= (after.runs - before.runs)["FINISHED"] <= n_registered:
        faults.append(f"runs {dict(after.runs)} for {n_registered} versions")
    return faults


def _is_whole(name: str, content: bytes, expected: bytes) -> bool:
    if name.endswith(".csv"):
        return content == expected
    return content.rstrip().endswith((b"</html>", b"}"))


def disturb_command(
    folder: Path, command: Command, kinds: Sequence[str], n_tries: int
) -> Iterator[tuple[str, list[str]]]:
    """Disturb a command at so many of its steps; say how often each kind did, and the faults."""
    snapshot, before = Snapshot(folder), Facts.of(folder)
    tries = list(disturb(folder, command, {kind: KINDS[kind]() for kind in kinds}, n_tries))
    snapshot.put_back()
    whole = [each for each in tries if not each.step][-1]
    command = replace(command, code=whole.done.code)
    for kind in kinds:
        of_kind = [each for each in tries if each.kind == kind]
        disturbed = [each for each in of_kind if each.step]
        faults = [
            f"{command.name}, {each.step}: {'; '.join(found)}: {each.done.said[-1500:]!r}"
            for each in disturbed
            if (found := find_faults(command, before, whole.facts, each.done, each.facts))
        ]
        n_steps = sum(each.n_steps for each in of_kind)
        count = f"{command.name}: {len(disturbed)} {kind} at {n_steps} steps"
        yield f"{count}, {len(faults)} faults", faults


def import_what_is_needed() -> None:
    """Import before the forks what the commands would import in each of them."""
    for name in (
        *("scoring.job", "training.runs.log", "registry.archives", "exploration.page"),
        *("exploration.report", "training.retraining.retrainer", "commands.validate", "main"),
    ):
        importlib.import_module(f"waterflow_cli.{name}")
    for name in ("waterflow_plugins.logreg", "matplotlib.figure", "mlflow.pyfunc", "skops.io"):
        importlib.import_module(name)


def main() -> None:
    """Disturb commands as the options say, and end with 1 where something did not hold."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--commands", default=",".join(each.name for each in COMMANDS))
    parser.add_argument("--kinds", default="signals,failures")
    parser.add_argument("--tries", type=int, default=200, help="of each command and kind")
    asked = parser.parse_args()
    for name in list(os.environ):
        if name.startswith(("WATERFLOW_", "MLFLOW_TRACKING")):
            del os.environ[name]
    os.environ |= {"LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    import_what_is_needed()
    n_faults = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "work")
        folder.mkdir()
        prepare(folder)
        for command in COMMANDS:
            if command.name in asked.commands.split(","):
                for count, faults in disturb_command(
                    folder, command, asked.kinds.split(","), asked.tries
                ):
                    sys.stdout.write("\n".join([count, *faults]) + "\n")
                    sys.stdout.flush()
                    n_faults += len(faults)
    sys.exit(bool(n_faults))


if __name__ == "__main__":
    main()
