"""TOML files of the user: which keys may stand there, and one line for what may not."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from waterflow_cli.common.errors import UsageError, did_you_mean
from waterflow_cli.common.messages import marked, tr


class Shape(NamedTuple):
    """What a value may be, what is said of one that is not, and whether there must be one."""

    fits: Callable[[Any], bool]
    problem: str = marked("'{key}' has the wrong shape.")
    is_needed: bool = False

    @property
    def needed(self) -> Shape:
        """The shape of a value that must be there."""
        return self._replace(is_needed=True)


def _is_line(value: Any) -> bool:
    # What stands here goes into outputs and on the terminal.
    return isinstance(value, str) and value.isprintable()


def _is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(fits, value))


NAME = Shape(lambda value: isinstance(value, str) and value.strip() != "")
NAMES = Shape(lambda value: _is_list(value, NAME.fits) and value != [])
PAIR = Shape(lambda value: _is_list(value, NAME.fits) and len(value) == 2)
TEXTS = Shape(lambda value: _is_list(value, lambda each: isinstance(each, str)))
TABLE = Shape(lambda value: isinstance(value, dict))
TABLES = Shape(
    lambda value: _is_list(value, TABLE.fits), marked("'{key}' must be tables: [[{key}]].")
)
LINE = Shape(  # a date may stand without quotes
    lambda value: type(value) is date or _is_line(value),
    marked("'{key}' must be one line of text."),
)
LINES = Shape(
    lambda value: _is_list(value, _is_line),
    marked("'{key}' must be a list of texts, each of one line."),
)
NUMBER = Shape(
    lambda value: type(value) in (int, float) and abs(value) <= sys.float_info.max,
    marked("'{key}' must be a number."),
)


def table_of(shape: Shape) -> Shape:
    """Make the shape of a table with any keys and values of one shape."""
    return Shape(lambda value: isinstance(value, dict) and all(map(shape.fits, value.values())))


# Words of a label, and the classes that they stand for.
LABEL_VALUES = Shape(
    lambda value: (
        isinstance(value, dict)
        and all(type(key) is str and type(each) is int for key, each in value.items())
        and set(value.values()) <= {0, 1}
    )
)


@dataclass(frozen=True)
class Table:
    """A table of a file, whose keys and values are checked when it is made.

    Attributes
    ----------
    where, hint : str
        For messages: how to name it, and where it stands what may be there.

    Raises
    ------
    UsageError
        For a key that is misspelt, missing or empty, or a value of another shape.
    """

    content: Mapping[str, Any]
    shapes: Mapping[str, Shape]
    where: str
    hint: str

    def __post_init__(self) -> None:
        """Check the keys, then their values."""
        for key in self.content:
            if key not in self.shapes:
                guess = did_you_mean(key, self.shapes)
                raise self.error(tr("unknown key '{key}'.", key=key) + guess)
        for key, shape in self.shapes.items():
            value = self.content.get(key)
            if value is None and shape.is_needed:
                raise self.error(tr("'{key}' is missing.", key=key))
            if value is not None and not shape.fits(value):
                raise self.error(tr(shape.problem, key=key))
            if shape.is_needed and isinstance(value, str) and not value.strip():
                raise self.error(tr("'{key}' is empty.", key=key))

    def error(self, problem: str) -> UsageError:
        """Say what is wrong with it."""
        return UsageError("{where}: {problem}", self.hint, where=self.where, problem=problem)

    def text(self, key: str) -> str:
        """Give a line of text; empty where there is none."""
        value = self.content.get(key, "")
        return value.isoformat() if isinstance(value, date) else str(value)

    def table(self, key: str, shapes: Mapping[str, Shape]) -> dict[str, Any]:
        """Check a table in it, and give its values."""
        return dict(Table(self.content[key], shapes, f"{self.where}, [{key}]", self.hint).content)

    def tables(self, key: str, shapes: Mapping[str, Shape]) -> Iterator[Table]:
        """Give the tables of a list of some."""
        for number, content in enumerate(self.content.get(key, []), 1):
            yield Table(content, shapes, f"{self.where}, {key} {number}", self.hint)


def read_text(path: str | Path, where: str) -> str:
    """Read a file, or raise a UsageError if it cannot be read as UTF-8."""
    try:
        return Path(path).read_text("utf-8")
    except UnicodeDecodeError as exc:
        raise UsageError("{where}: is no UTF-8 text.", where=where) from exc
    except (OSError, ValueError) as exc:
        cause = getattr(exc, "strerror", None) or exc
        raise UsageError("{where}: cannot be read ({cause}).", where=where, cause=cause) from exc


def parse_toml(text: str, where: str, hint: str | None = None) -> dict[str, Any]:
    """Read a text as TOML, or raise a UsageError if it is none."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as exc:
        cause = " ".join(str(exc).split())
        raise UsageError("{where}: is no TOML ({cause}).", hint, where=where, cause=cause) from exc
