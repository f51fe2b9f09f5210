"""Put the rows of a file into groups: by the text of a column, by windows of days, or both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from waterflow_cli.common.arrays import BoolArray, IntArray, encode_texts
from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.samples.columns import DATE_NAMES, choose_column
from waterflow_cli.samples.dates import DATE_CHARACTERS, DateReader

if TYPE_CHECKING:
    from waterflow_cli.tables.table import Batch, Table
    from waterflow_cli.validation.batches import CheckedBatch

MOST_GROUPS = 400
_EPOCH = date(1970, 1, 1)
_DAYS = {"d": 1, "w": 7}
_MOST_WAITING = 500_000


def parse_window(text: str) -> int:
    """Read the value of ``--window`` as a number of days.

    >>> parse_window("30d"), parse_window("2w")
    (30, 14)
    """
    match = re.fullmatch(r"([1-9]\d{0,4})([dw])", text.strip())
    if match is None:
        raise UsageError(
            "--window {text}: a number of days or weeks is expected, 30d or 4w.", text=text
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

    def open(self, table: Table, taken: Mapping[str, str]) -> GroupReader:
        """Find the columns in a table; a `UsageError` where there is no such column."""
        by = choose_column("--by", self.by, (), table, {})
        when = None
        if self.window_days is not None:
            when = choose_column("--date", self.date, DATE_NAMES, table, taken)
            if when is None:
                raise UsageError(
                    "--window: {path} has no column of dates.",
                    tr("Name it: --date COLUMN"),
                    path=table.path,
                )
        return GroupReader(path=table.path, by=by, when=when, window_days=self.window_days or 1)


ONE_GROUP = Grouping()


@dataclass(kw_only=True)
class GroupReader:
    """Numbers the groups as they are met, if there are to be any; batches come in order.

    Without a group are rows that have no date, or nothing in the column to group by.
    """

    path: str
    by: str | None
    when: str | None
    window_days: int
    names: dict[str, int] = field(default_factory=dict)
    n_without: int = 0
    _reader: DateReader = field(default_factory=DateReader)
    _waiting: list[CheckedBatch] = field(default_factory=list)

    def take(self, checked: CheckedBatch) -> Iterator[tuple[IntArray, CheckedBatch]]:
        """Take the next batch; yield those that can be read by now, with the group of each row.

        While dates were met that could be read in two ways, and none that tells which, batches
        wait for one: it may stand further down. A row without a group has -1.

        Raises
        ------
        InputError
            If a date cannot be read without doubt.
        UsageError
            If there are too many groups.
        """
        if self.by is None and self.when is None:
            return
        self._waiting.append(checked)
        if self.when is not None:
            self._reader.learn(encode_texts(checked.batch.columns[self.when], DATE_CHARACTERS)[0])
        n_rows = sum(len(each.batch) for each in self._waiting)
        if self._reader.is_settled or n_rows > _MOST_WAITING:
            yield from self.take_rest()

    def take_rest(self) -> Iterator[tuple[IntArray, CheckedBatch]]:
        """Yield the batches that wait still, once there is no further one; see `take`."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            yield self._read(each.batch), each

    def _read(self, batch: Batch) -> IntArray:
        parts = []
        if self.by is not None:
            parts.append(encode_texts(batch.columns[self.by]))
        if self.when is not None:
            texts, codes = encode_texts(batch.columns[self.when], DATE_CHARACTERS)
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
                "{path}: more than {most} groups.",
                tr("Choose another column, or a longer window."),
                path=self.path,
                most=MOST_GROUPS,
            )
        groups[whole] = np.array(known, dtype=np.int64)[place.ravel()]
        return groups

    def _window(self, text: str, rows: BoolArray, batch: Batch) -> str:
        """Name the window that a date falls into, by its first and its last day."""
        found = self._reader.read(text)
        if found is None or found.month is None or found.day is None:
            raise InputError(
                self.path,
                "column {column}: {text!r} is no date that reads in one way only.",
                column=self.when,
                text=text,
                line=int(batch.lines[np.flatnonzero(rows)[0]]),
                hint=tr("Dates such as 2024-05-31 are sure; or leave out --window."),
            )
        day = date(found.year, found.month, found.day)
        start = (day - _EPOCH).days // self.window_days * self.window_days
        first, last = (_EPOCH + timedelta(start + n) for n in (0, self.window_days - 1))
        return str(first) if first == last else f"{first} to {last}"
