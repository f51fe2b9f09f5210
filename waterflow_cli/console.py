"""What people see: the only module that knows rich."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

# Wide enough that no cell is folded where a script or a log reads the output.
_PLAIN_WIDTH = 200


@dataclass
class Console:
    """Results on stdout, everything else on stderr.

    Attributes
    ----------
    verbosity : int
        -1 with ``--quiet``, 1 with ``--verbose``.
    color : bool or None
        False with ``--no-color``; None leaves it to the terminal and ``NO_COLOR``.
    """

    verbosity: int = 0
    color: bool | None = None
    debug: bool = False

    def result(self, text: str) -> None:
        """Print a line of the result on stdout."""
        click.echo(text, color=self.color)

    def json(self, content: dict[str, Any]) -> None:
        """Print the one JSON object of ``--json`` on stdout."""
        click.echo(json_text(content), nl=False)

    def note(self, text: str) -> None:
        """Print progress or a summary on stderr, unless quiet."""
        if self.verbosity >= 0:
            click.echo(text, err=True, color=self.color)

    def detail(self, text: str) -> None:
        """Print on stderr what only ``--verbose`` shows."""
        if self.verbosity > 0:
            click.echo(text, err=True, color=self.color)

    def warn(self, text: str) -> None:
        """Print a warning on stderr, quiet or not."""
        click.echo(click.style("Warning: ", fg="yellow") + text, err=True, color=self.color)

    def error(self, message: str, hint: str | None = None) -> None:
        """Print an error on stderr, in one line, or two with the hint."""
        click.echo(click.style("Error: ", fg="red") + message, err=True, color=self.color)
        if hint:
            click.echo(hint, err=True, color=self.color)

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
        width = None if stream.isatty() else _PLAIN_WIDTH
        no_color = True if self.color is False else None
        RichConsole(file=stream, width=width, no_color=no_color, highlight=False).print(
            _build_table(title, columns, rows)
        )


def json_text(content: dict[str, Any]) -> str:
    """Write a result as the one JSON object that the contract promises."""
    return json.dumps({"version": 1, **content}, indent=2, ensure_ascii=False) + "\n"


def _build_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        right = name.startswith(">")
        table.add_column(
            name.removeprefix(">"), justify="right" if right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*map(Text, row))  # Text: names from the data are never read as markup
    return table
