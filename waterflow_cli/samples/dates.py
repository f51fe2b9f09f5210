"""Dates as files write them: the year first, or last where the column tells day from month."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

# So much of a cell holds the date; what follows is a time of day.
DATE_CHARACTERS = 10
_YEAR_FIRST = re.compile(
    r"([12]\d{3}|\d{4}(?=[-/.]))(?:([-/.])(\d\d?)(?:\2(\d\d?))?|(\d\d)(\d\d)?)?(?![-/.]?\d)"
)
_YEAR_LAST = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.]([12]\d{3})(?!\d)")


class Date(NamedTuple):
    """A date, as far as it is written and sure.

    Attributes
    ----------
    month, day : int, optional
        None where they are not written, or could be either way round.
    is_sure : bool
        False where day and month could be either way round.
    n_read : int
        Characters that it takes; a time of day may follow.
    """

    year: int
    month: int | None
    day: int | None
    is_sure: bool
    n_read: int


class DateReader:
    """Reads the dates of a column; where the year stands last, the column tells day from month.

    21/04/2024 tells that the day stands first, 04/21/2024 that the month does. Where none tells, or
    both occur, 03/04/2024 is not guessed.

    >>> reader = DateReader()
    >>> reader.read("03/04/2024")
    Date(year=2024, month=None, day=None, is_sure=False, n_read=10)
    >>> reader.learn(["03/04/2024", "21/04/2024"])
    >>> [reader.write_iso(text) for text in ("03/04/2024 10:30", "2024.4.3", "202404", "soon")]
    ['2024-04-03 10:30', '2024-04-03', '2024-04', None]
    """

    def __init__(self) -> None:
        self._day_first: set[bool] = set()
        self._reads_two_ways = False

    @property
    def is_settled(self) -> bool:
        """Whether no date that was learned from waits for another to tell its order."""
        return bool(self._day_first) or not self._reads_two_ways

    def learn(self, texts: Iterable[str]) -> None:
        """Note which number is the day, of those dates that tell it."""
        for match in filter(None, map(_YEAR_LAST.match, texts)):
            first, second = int(match[1]), int(match[2])
            if (first > 12) != (second > 12):
                self._day_first.add(first > 12)
            self._reads_two_ways |= first != second and max(first, second) <= 12

    def read(self, text: str) -> Date | None:
        """Read the date that a text begins with; None where there is no such day."""
        if match := _YEAR_FIRST.match(text):
            parts = match[1], match[3] or match[5], match[4] or match[6]
        elif match := _YEAR_LAST.match(text):
            first, second, year = match.groups()
            if int(first) != int(second) and len(self._day_first) != 1:
                return Date(int(year), None, None, is_sure=False, n_read=match.end())
            parts = (year, first, second) if False in self._day_first else (year, second, first)
        else:
            return None
        year, (month, day) = int(parts[0]), (int(part) if part else None for part in parts[1:])
        try:
            date(year, month or 1, day or 1)
        except ValueError:
            return None
        return Date(year, month, day, is_sure=True, n_read=match.end())

    def write_iso(self, text: str) -> str | None:
        """Write the date that a text begins with as ISO 8601 does; None where it is not sure."""
        found = self.read(text)
        if found is None or not found.is_sure:
            return None
        parts = f"{found.year:04d}", *(f"{part:02d}" for part in found[1:3] if part is not None)
        return "-".join(parts) + text[found.n_read :]


def parse_iso(texts: pd.Series) -> pd.Series:
    """Read ISO 8601 dates, with a time of day or without; NaT for others.

    Those with a time zone count in UTC, so that all compare.
    """
    import pandas as pd

    trimmed = texts.str.strip()
    # pandas also takes "now" and "today" for dates, and "-1" for a year.
    digits = trimmed.where(trimmed.str.match("[0-9]"), "")
    return pd.to_datetime(digits, format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)
