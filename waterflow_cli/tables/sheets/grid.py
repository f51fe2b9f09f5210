"""The cells of a sheet as values, as texts and as columns."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from waterflow_cli.common.arrays import arrow_numbers, arrow_texts
from waterflow_cli.common.messages import Message
from waterflow_cli.tables.sheets.facts import Range

# Whole numbers up to here are exact, and people write them without an exponent.
_NAN = float("nan")
_LARGEST_WHOLE = 1e15
_WITH_COMMA = re.compile(r"\s*[<>≤≥~+-]*\s*[0-9][0-9\s\u00a0\u202f]*,[0-9]+\s*")
_LINE_BREAKS = re.compile(r"[\t\r\n]+")


@dataclass(kw_only=True)
class Grid:
    """Cells in rows, all of one length; empty ones hold an empty text.

    Attributes
    ----------
    rows : list of list of object
        From the sheet's first row and column: texts, numbers, truths, dates.
    sheet : str
        Its name; empty for a text file.
    form : str
        What kind of file it is from.
    sep : str
        The separator that parts its cells, in a text file.
    merged : list of Range
        Cells that look like one.
    remarks : list of Message
        What is to be said of how it is read.
    """

    rows: list[list[Any]]
    sheet: str = ""
    form: str = ""
    sep: str = ""
    merged: list[Range] = field(default_factory=list)
    remarks: list[Message] = field(default_factory=list)


def text_of_cell(value: Any, mark: str = ".") -> str:
    """Write a value as people would, a number in the shortest form that is exact.

    >>> text_of_cell(7.0), text_of_cell(0.25, ","), text_of_cell(True)
    ('7', '0,25', 'TRUE')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float | int):
        is_whole = abs(value) < _LARGEST_WHOLE and value == int(value)
        return str(int(value)) if is_whole else repr(value).replace(".", mark)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    assert isinstance(value, date | time)
    return value.isoformat()


def line_of(cells: Sequence[Any]) -> str:
    """Write a row as a line of text with tabs, each cell on that one line."""
    texts = (_LINE_BREAKS.sub(" ", text_of_cell(value)) for value in cells)
    return "\t".join(map(_quoted, texts))


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return text if doubled == text else f'"{doubled}"'


def is_empty(value: Any) -> bool:
    """Say whether a cell holds nothing but blanks.

    >>> is_empty(" "), is_empty(0.0)
    (True, False)
    """
    return isinstance(value, str) and not value.strip()


def arrow_columns(columns: Sequence[Sequence[Any]]) -> list[pa.Array]:
    """Give columns as numbers where they hold nothing else, and as texts otherwise.

    Numbers join texts with the decimal mark that texts beside them show.
    """
    numbers = list(map(_numbers, columns))
    texts = [cells for cells, found in zip(columns, numbers, strict=True) if found is None]
    mark = "," if any(map(_shows_comma, texts)) else "."
    return [
        _texts(cells, mark) if found is None else found
        for cells, found in zip(columns, numbers, strict=True)
    ]


def _numbers(cells: Sequence[Any]) -> pa.Array | None:
    """Give the cells of a column as numbers; None where it holds anything else, or nothing."""
    try:
        plain = array("d", cells)
    except TypeError:
        if set(map(type, cells)) == {str}:
            return None
        plain = array("d", [cell if cell.__class__ is float else _NAN for cell in cells])
    values = np.frombuffer(plain, dtype=np.float64)
    is_filled = ~np.isnan(values)
    if not is_filled.any() or any(cells[row] != "" for row in np.flatnonzero(~is_filled).tolist()):
        return None
    like_truths = np.flatnonzero((values == 0) | (values == 1)).tolist()
    if any(cells[row].__class__ is bool for row in like_truths):
        return None
    return arrow_numbers(values, None if is_filled.all() else is_filled)


def _texts(cells: Sequence[Any], mark: str) -> pa.Array:
    is_plain = set(map(type, cells)) == {str}
    return arrow_texts(cells if is_plain else [text_of_cell(cell, mark) for cell in cells])


def _shows_comma(cells: Sequence[Any]) -> bool:
    """Say whether a column of numbers and texts holds one with a decimal comma."""
    if float not in set(map(type, cells)):
        return False
    texts = {cell for cell in cells if cell.__class__ is str and "," in cell}
    return any(map(_WITH_COMMA.fullmatch, texts))
