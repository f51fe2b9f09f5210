"""Run every command with odd values of its options: none may end with exit code 70.

    python benchmarks/fuzz_commands.py --number 5000

All run in one process, in a folder of their own, with a store that holds one small model. A command
that is not done in time is counted as late: a server that started, or a pipe that nobody writes to.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from waterflow_cli.commands import COMMANDS, load_command
from waterflow_cli.main import main

NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1",
    "0.5",
    "1e400",
    "-1e-400",
    "1e9",
    "9" * 30,
    "9" * 5000,
)
TEXTS = (
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "x" * 300,
        "x" * 30_000,
        "\ud800",
        "\udcff",
        "\u202eabc",
        "\x1b[31m",
        "a=b",
        "=",
        ":",
    ),
    *(
        "ph=1",
        "ph=",
        "=1",
        "ph=nan",
        "ph=mg/L",
        ",",
        ",,",
        "a,b",
        "@",
        "@champion",
        "@x",
        "%00",
        "%s",
        "{x}",
    ),
    *(
        "[",
        "(",
        "*",
        "**",
        "[!",
        "\\",
        "'",
        '"',
        "`",
        "$(x)",
        "-",
        "--",
        "é" * 200,
        "\u6c34",
        "fr",
        "water",
    ),
)
PATHS = (
    *(
        ".",
        "..",
        "/",
        "/dev/full",
        "/dev/null",
        "missing",
        "missing/x.csv",
        "folder",
        "folder/",
        "s.csv",
    ),
    *(
        "s.csv/x",
        "loop",
        "empty",
        "binary",
        "x.xlsx",
        "x.parquet",
        "x.csv.gz",
        "x.zip",
        "locked.db",
        "~",
    ),
    *(
        "a.toml",
        "a.yaml",
        "model",
        "/proc/self/mem",
        "/proc/1/mem",
        "\0.csv",
        "x" * 300 + ".csv",
        "*.csv",
    ),
    *(
        "s.csv\0",
        "\ud800.csv",
        "models:/waterflow/1",
        "models:/" + "x" * 300,
        "runs:/" + "0" * 32,
        "runs:/",
    ),
    *(
        "models:/m-" + "0" * 32,
        "models:/@",
        "1",
        "9" * 30,
        "duckdb:",
        "sqlite:",
        "sqlite:s.csv",
        "postgresql:",
    ),
)
URIS = (
    *(
        "http://127.0.0.1:1",
        "http://",
        "http://[",
        "https://x:y:z",
        "sqlite://",
        "sqlite:///",
        "sqlite:///.",
    ),
    *(
        "sqlite:////dev/full",
        "sqlite:////dev/null",
        "sqlite:///corrupt.db",
        "sqlite:///other.db",
        "file://",
    ),
    *(
        "sqlite:///s.csv/x.db",
        "sqlite:///missing/x.db",
        "sqlite:///a%00b",
        "sqlite:///" + "x" * 300,
        "file:x",
    ),
    *(
        "sqlite:///empty",
        "postgresql://127.0.0.1:1/x",
        "postgresql://",
        "mysql://x",
        "mssql:",
        "ftp://x/y",
    ),
    *(
        "file:///dev/null",
        "sqlite:///new.db?x=y",
        "sqlite:///new.db?timeout=z",
        "://",
        "http://a b",
        "\ud800",
    ),
    *(
        "sqlite:///\ud800.db",
        "sqlite:///loop",
        "databricks-uc",
        "uc:",
        "s3://x/y",
        "http://\udcff",
        "sqlite:///\udcff.db",
        "dbfs:/x",
    ),
)
VALUES = NUMBERS + TEXTS + PATHS + URIS
# What makes a command work, so that one odd value is all that is odd.
ARGUMENTS: dict[tuple[str, ...], list[str]] = {
    ("validate",): ["s.csv"],
    ("explore",): ["s.csv"],
    ("train",): ["few.csv", "--plugin", "logreg"],
    ("evaluate",): ["s.csv"],
    ("compare",): ["few.csv", "--plugin", "logreg", "--cv", "3x1"],
    ("retrain",): ["--with", "few.csv"],
    ("reproduce",): ["@champion", "--data", "few.csv"],
    ("score",): ["s.csv", "-o", "out.csv", "--force"],
    ("serve",): ["--model", "missing"],
    ("monitor",): ["s.csv"],
    ("replay",): ["scored.csv"],
    ("simulate",): ["--rows", "5", "-o", "made.csv", "--force"],
    ("plugins", "check"): ["missing"],
    ("plugins", "new"): ["own"],
    ("schemas", "show"): ["water"],
    ("profiles", "show"): ["wqp"],
    ("models", "show"): ["1"],
    ("models", "promote"): ["1"],
    ("models", "export"): ["1", "-o", "model.zip", "--force"],
    ("models", "import"): ["model.zip"],
}
# What starts a server of MLflow, or does the whole job each time.
LEFT_OUT = {("ui",), ("demo",)}


class LateError(BaseException):
    """A command that took too long."""


@dataclass(frozen=True)
class Target:
    """A command, what makes it work, and the options that can be odd."""

    path: tuple[str, ...]
    arguments: list[str]
    options: list[str]

    def with_odd(self, draw: random.Random, values: tuple[str, ...]) -> list[str]:
        """Put one or two odd values into its options, or in the place of an argument."""
        arguments = list(self.arguments)
        if arguments and draw.random() < 0.25:
            arguments[draw.randrange(len(arguments))] = draw.choice(values)
        for option in draw.sample(
            self.options, min(len(self.options), draw.choice((0, 1, 1, 1, 2)))
        ):
            arguments += [option, draw.choice(URIS if option == "--tracking-uri" else values)]
        return [*self.path, *arguments]


def find_targets() -> Iterator[Target]:
    """List all commands with their options, a flag being no odd one."""

    def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[Target]:
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                yield from walk(inner, (*path, name))
        elif path not in LEFT_OUT:
            options = [
                each.opts[0]
                for each in command.params
                if isinstance(each, click.Option) and not each.is_flag and not each.count
            ]
            yield Target(path, ARGUMENTS.get(path, []), options)

    for name in COMMANDS:
        yield from walk(load_command(name), (name,))


def run(arguments: list[str], timeout_s: float) -> tuple[int, str]:
    """Run a command line in this process; give its exit code and what it said."""

    def stop(*_: object) -> None:
        raise LateError

    said = io.StringIO()
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        with (
            Path(os.devnull).open("w") as out,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(said),
        ):
            main(arguments)
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 0
        return code, said.getvalue()
    except LateError:
        return -1, ""
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def set_up(folder: Path) -> None:
    """Make the files that the values name, and a store with one model, in the working folder."""
    os.chdir(folder)
    for rows, name in ((12, "s.csv"), (60, "few.csv")):
        assert run(["simulate", "--rows", str(rows), "--signal", "0.9", "-o", name], 60)[0] == 0
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    Path("empty").touch()
    Path("binary").write_bytes(bytes(range(256)) * 20)
    Path("a.toml").write_text("x = [\n")
    Path("a.yaml").write_text("columns: [\n")
    Path("corrupt.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 20)
    for name in ("other.db", "locked.db"):
        with contextlib.closing(sqlite3.connect(name)) as connection:
            connection.execute("CREATE TABLE x (y)")
    code, said = run(["train", "few.csv", "--plugin", "logreg", "--cv", "3x1"], 600)
    assert code == 0, said
    run(["models", "promote", "1", "--force"], 60)
    code, said = run(["score", "s.csv", "-o", "scored.csv"], 60)
    assert code == 0, said
    assert run(["models", "export", "1", "-o", "model.zip"], 60)[0] == 0


def fuzz(
    number: int, seed: int, timeout_s: float
) -> tuple[Counter[int], list[tuple[list[str], str]]]:
    """Run so many commands; count their exit codes, and keep those that met a defect."""
    draw, targets = random.Random(seed), list(find_targets())
    codes: Counter[int] = Counter()
    defects = []
    for n in range(number):
        arguments = targets[n % len(targets)].with_odd(draw, VALUES)
        code, said = run(arguments, timeout_s)
        if code == 70 and "LateError" in said:
            code = -1
        codes[code] += 1
        if code == 70 or len(said.encode("utf-8", "backslashreplace")) > 4_000:
            defects.append((arguments, said))
    return codes, defects


def show(arguments: list[str]) -> str:
    """Write a command line, long values shortened."""
    return " ".join(
        repr(each if len(each) < 60 else f"{each[:50]}…{len(each)}") for each in arguments
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout-s", type=float, default=20.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        set_up(Path(scratch))
        found, bad = fuzz(chosen.number, chosen.seed, chosen.timeout_s)
        os.chdir("/")
    for arguments, said in bad:
        print(f"{show(arguments)}\n    {said[:400]}")
    print(f"{sum(found.values())} commands; by exit code (-1: late): {dict(sorted(found.items()))}")
    sys.exit(1 if found[70] else 0)
