"""Put the rows of a file into groups: by the text of a column, by windows of days, or both."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.samples.columns import DATE_NAMES, choose_column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from waterflow_cli.common.arrays import BoolArray, IntArray
    from waterflow_cli.tables.reading import Batch, Table

MOST_GROUPS = 400
_EPOCH = date(1970, 1, 1)
_DATE_CHARACTERS = 10
_DAYS = {"d": 1, "w": 7}
# Dates with the day first and others with the month first stand in one column.
_UNSURE = -1
_YEAR_FIRST = re.compile(r"([12]\d{3})([-/.]?)(\d\d)\2(\d\d)(?:\D|$)")
_YEAR_LAST = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.]([12]\d{3})(?:\D|$)")


def parse_window(text: str) -> int:
    """Read the value of ``--window`` as a number of days.

    >>> parse_window("30d"), parse_window("2w")
    (30, 14)
    """
    match = re.fullmatch(r"([1-9]\d{0,4})([dw])", text.strip())
    if match is None:
        raise UsageError(
            tr("--window {text}: a number of days or weeks is expected, 30d or 4w.", text=text)
        )
    return int(match[1]) * _DAYS[match[2]]


@dataclass(frozen=True)
class Grouping:
    """How rows are put into groups.

    Attributes
    ----------
    by, date : str, optional
        Columns of the file; that of the dates is found by its name if it is not given.
    window_days : int, optional
        Windows are counted from 1970-01-01 on, so that those of two files meet.
    """

    by: str | None = None
    window_days: int | None = None
    date: str | None = None

    def open(self, table: Table, taken: Mapping[str, str]) -> GroupReader | None:
        """Find the columns in a table; None where one group is asked for.

        Raises
        ------
        UsageError
            If there is no such column.
        """
        if self.by is None and self.window_days is None:
            return None
        by = when = None
        if self.by is not None:
            by = choose_column("--by", self.by, (), table, {})
        if self.window_days is not None:
            when = choose_column("--date", self.date, DATE_NAMES, table, taken)
            if when is None:
                raise UsageError(
                    tr("--window: {path} has no column of dates.", path=table.path),
                    tr("Name it: --date COLUMN"),
                )
        return GroupReader(table.path, by, when, self.window_days or 1)


ONE_GROUP = Grouping()


@dataclass
class GroupReader:
    """Numbers the groups as they are met; batches come in order.

    Attributes
    ----------
    names : dict of str to int
        Each group's number.
    n_without : int
        Rows that have no date, or nothing in the column to group by.
    """

    path: str
    by: str | None
    when: str | None
    window_days: int
    names: dict[str, int] = field(default_factory=dict)
    n_without: int = 0
    _day_place: int | None = None

    def read(self, batch: Batch) -> IntArray:
        """Give the group of each row, shape (n_rows,); -1 for none.

        Raises
        ------
        InputError
            If a date cannot be read without doubt.
        UsageError
            If there are too many groups.
        """
        parts = []
        if self.by is not None:
            parts.append(_encode(batch.columns[self.by], None))
        if self.when is not None:
            texts, codes = _encode(batch.columns[self.when], _DATE_CHARACTERS)
            self._learn(texts)
            windows = [self._window(text, codes == n, batch) for n, text in enumerate(texts)]
            parts.append((windows, codes))
        groups = self._number(parts)
        self.n_without += int((groups < 0).sum())
        return groups

    def _number(self, parts: Sequence[tuple[Sequence[str], IntArray]]) -> IntArray:
        """Give a number to each combination of the texts that the parts hold."""
        stacked = np.stack([codes for _, codes in parts])
        whole = (stacked >= 0).all(axis=0)
        groups = np.full(stacked.shape[1], -1, dtype=np.int64)
        kinds, place = np.unique(stacked[:, whole], axis=1, return_inverse=True)
        known = [
            self.names.setdefault(
                ", ".join(texts[code] for (texts, _), code in zip(parts, kind, strict=True)),
                len(self.names),
            )
            for kind in kinds.T
        ]
        if len(self.names) > MOST_GROUPS:
            raise UsageError(
                tr("{path}: more than {most} groups.", path=self.path, most=MOST_GROUPS),
                tr("Choose another column, or a longer window."),
            )
        groups[whole] = np.array(known, dtype=np.int64)[place.ravel()]
        return groups

    def _window(self, text: str, rows: BoolArray, batch: Batch) -> str:
        """Name the window that a date falls into, by its first and its last day."""
        day = self._day(text)
        if day is None:
            raise InputError(
                self.path,
                tr(
                    "column {column}: {text!r} is no date that reads in one way only.",
                    column=self.when,
                    text=text,
                ),
                line=int(batch.lines[np.flatnonzero(rows)[0]]),
                hint=tr("Dates such as 2024-05-31 are sure; or leave out --window."),
            )
        start = (day - _EPOCH).days // self.window_days * self.window_days
        first, last = (_EPOCH + timedelta(start + n) for n in (0, self.window_days - 1))
        return str(first) if first == last else tr("{first} to {last}", first=first, last=last)

    def _learn(self, texts: Sequence[str]) -> None:
        """Note which number is the day in dates that end in the year: 21/04/2024 tells."""
        for match in filter(None, map(_YEAR_LAST.match, texts)):
            first, second = int(match[1]) > 12, int(match[2]) > 12
            if first != second:
                place = 0 if first else 1
                self._day_place = place if self._day_place in (None, place) else _UNSURE

    def _day(self, text: str) -> date | None:
        """Read a date; None where it is none, or could be two."""
        try:
            if match := _YEAR_FIRST.match(text):
                return date(int(match[1]), int(match[3]), int(match[4]))
            if match := _YEAR_LAST.match(text):
                numbers = int(match[1]), int(match[2])
                place = 0 if numbers[0] == numbers[1] else self._day_place
                if place in (0, 1):
                    return date(int(match[3]), numbers[1 - place], numbers[place])
        except ValueError:  # no such day
            pass
        return None


def _encode(column: pa.Array, n_characters: int | None) -> tuple[list[str], IntArray]:
    """Give the different texts of a column and which a row has; -1 for none."""
    if pa.types.is_nested(column.type):
        column = pa.nulls(len(column))
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    if n_characters:
        text = pc.utf8_slice_codeunits(text, 0, n_characters)
    encoded = pc.dictionary_encode(pc.if_else(pc.equal(text, ""), None, text))
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return encoded.dictionary.to_pylist(), codes.astype(np.int64)
