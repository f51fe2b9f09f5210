"""What people see: the only module that knows rich."""

from __future__ import annotations

import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from waterflow_cli.common.credentials import redact
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.json import json_text
from waterflow_cli.common.messages import LINE_WIDTH, clipped, printable, say, tr
from waterflow_cli.common.progress import ProgressLines, Report, say_nothing

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

T = TypeVar("T")
# Wide enough that no cell is folded where a script or a log reads the output.
_PLAIN_WIDTH = 1 << 20
_SECONDS_BEFORE_BAR = 1.0
# Bytes at most, of a hint and of a cell of a table; and dashes of a rule, of three bytes each.
_HINT_WIDTH, _CELL_WIDTH, _RULE_LENGTH = 600, 500, 600


@dataclass
class Console:
    """Results on stdout, everything else on stderr.

    A text with values is English with placeholders as in `tr`; one without is shown as it is.

    Attributes
    ----------
    verbosity : int
        -1 with ``--quiet``, 1 with ``--verbose``.
    color : bool or None
        False with ``--no-color``; None leaves it to the terminal and ``NO_COLOR``.
    as_json : bool
        Whether the command's result is asked for as JSON.
    """

    verbosity: int = 0
    color: bool | None = None
    debug: bool = False
    as_json: bool = False

    def result(self, text: str, /, **values: object) -> None:
        """Print a line of the result on stdout."""
        self._print(_said(text, values) + "\n")

    def json(self, content: dict[str, Any]) -> bool:
        """Print the one JSON object of ``--json`` on stdout, if it is asked for: say whether."""
        if self.as_json:
            self._print(json_text(_clip(content)))
        return self.as_json

    def note(self, text: str, /, **values: object) -> None:
        """Print progress or a summary on stderr, unless quiet."""
        if self.verbosity >= 0:
            self._say("", _said(text, values))

    def detail(self, text: str, /, **values: object) -> None:
        """Print on stderr what only ``--verbose`` shows."""
        if self.verbosity > 0:
            self._say("", _said(text, values))

    def warn(self, text: str, /, **values: object) -> None:
        """Print a warning on stderr, quiet or not."""
        self._say(click.style(tr("Warning: "), fg="yellow"), _said(text, values))

    def defect(self, exc: BaseException, hint: str | None = None) -> None:
        """Say that waterflow itself failed: as an error with a hint, else as a warning."""
        kind, cause = type(exc).__name__, redact(" ".join(str(exc).split()))
        text = tr("waterflow met a defect of its own: {kind}: {cause}", kind=kind, cause=cause)
        if hint is None:
            self.warn(text)
        else:
            self.error(text, hint)

    def trace(self, exc: BaseException) -> None:
        """Print the traceback on stderr, if ``--debug`` asks for it."""
        if self.debug:
            click.echo(redact("".join(traceback.format_exception(exc))), err=True, nl=False)

    def error(self, message: str, hint: str | None = None) -> None:
        """Print an error on stderr, in one line, or two with the hint."""
        self._say(click.style(tr("Error: "), fg="red"), message)
        if hint:
            self._say("", hint, _HINT_WIDTH)

    def listing(
        self, title: str, entries: Iterable[T], columns: Sequence[tuple[str, Callable[[T], str]]]
    ) -> None:
        """Print a table of entries, each column by its name and what it shows of an entry."""
        rows = [[shown(entry) for _, shown in columns] for entry in entries]
        self.table(title, [name for name, _ in columns], rows)

    @contextmanager
    def progress(self, unit: str) -> Iterator[Report]:
        """Show how far a job is: a bar on a terminal, with ``--verbose`` lines elsewhere."""
        if self.verbosity < 0 or sys.stderr is None:
            yield say_nothing
        elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            with _show_bar(unit, color=self.color) as report:
                yield report
        elif self.verbosity > 0:
            yield ProgressLines(unit, self.detail)
        else:
            yield say_nothing

    def table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        err: bool = False,
    ) -> None:
        """Print a table; columns whose names start with ``>`` are aligned right."""
        if err and self.verbosity < 0:
            return
        from rich.console import Console as RichConsole

        stream = sys.stderr if err else sys.stdout
        if stream is None:
            return
        # Not the stream itself: rich ends the program when that is a closed pipe.
        page = io.TextIOWrapper(io.BytesIO(), stream.encoding, "backslashreplace", newline="\n")
        rich = RichConsole(
            file=page,
            force_terminal=stream.isatty(),
            width=None if stream.isatty() else _PLAIN_WIDTH,
            no_color=True if self.color is False else None,
            highlight=False,
        )
        rich.print(_build_table(title, columns, rows))
        page.seek(0)
        text = "\n".join(
            line[: _RULE_LENGTH if line.startswith("─") else None].rstrip()
            for line in page.read().splitlines()
        )
        with _write_errors(err=err):
            click.echo(text.strip("\n"), err=err, color=self.color)

    def _print(self, text: str) -> None:
        with _write_errors():
            click.echo(text, nl=False, color=self.color)

    def _say(self, prefix: str, text: str, width: int = LINE_WIDTH) -> None:
        with _write_errors(err=True):
            click.echo(prefix + printable(say(text), width), err=True, color=self.color)


def _said(text: str, values: Mapping[str, object]) -> str:
    return tr(text, **values) if values else say(text)


def _clip(content: Any) -> Any:
    """Clip what is long in a result: names of columns, values and files; JSON escapes the rest."""
    if isinstance(content, Mapping):
        return {_clip(key): _clip(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_clip(each) for each in content]
    is_long = isinstance(content, str) and len(content) > LINE_WIDTH
    return clipped(content, LINE_WIDTH) if is_long else content


@contextmanager
def _write_errors(*, err: bool = False) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if err:  # that nobody reads stderr any more is no reason to stop
            return
        if isinstance(exc, BrokenPipeError):
            raise
        raise UsageError(
            "Standard output cannot be written ({strerror}).", strerror=exc.strerror
        ) from exc


@contextmanager
def _show_bar(unit: str, *, color: bool | None) -> Iterator[Report]:
    """Show a bar on stderr once a job takes its time; it leaves no trace when the context ends."""
    start = time.monotonic()
    with ExitStack() as stack:
        shown: list[Progress] = []

        def report(n_done: int, share: float | None) -> None:
            elapsed = time.monotonic() - start
            if elapsed < _SECONDS_BEFORE_BAR:
                return
            if not shown:
                shown.append(stack.enter_context(_build_bar(color=color)))
                shown[0].add_task("")
            total = None if share is None else 1.0
            text = tr(
                "{n_done:,} {unit}, {rate:,.0f} a second",
                n_done=n_done,
                unit=unit,
                rate=n_done / elapsed,
            )
            task = shown[0].task_ids[0]
            shown[0].update(task, description=text, total=total, completed=share or 0.0)

        yield report


def _build_bar(*, color: bool | None) -> Progress:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    rich = RichConsole(stderr=True, no_color=True if color is False else None)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=rich, transient=True)


def _build_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    def shown(text: str, style: str = "") -> Text:
        # Text: names from the data are never read as markup
        return Text(printable(text, _CELL_WIDTH), style)

    table = Table(title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.title = shown(title, "table.title") if title else None
    for name in columns:
        right = name.startswith(">")
        table.add_column(
            shown(name.removeprefix(">")), justify="right" if right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*map(shown, row))
    return table
