"""Where a table of results has what: the columns that its profile names, the rows that count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from waterflow_cli.common.arrays import BoolArray, IntArray
from waterflow_cli.common.errors import InputError, did_you_mean, shorten
from waterflow_cli.common.messages import Message, tr
from waterflow_cli.samples.columns import find_unread_remarks, not_read
from waterflow_cli.samples.results.values import by_text, trimmed
from waterflow_cli.tables.headers import Header, fold_name
from waterflow_cli.tables.numbers import missing_text

if TYPE_CHECKING:
    from waterflow_cli.samples.profiles import Profile
    from waterflow_cli.tables.table import Batch, Table

_SHOWN_REASONS = 6


def find_columns(table: Table, profile: Profile) -> dict[str, str]:
    """Find the columns of a file that the profile names, by their part in it.

    Raises
    ------
    InputError
        Naming one that is not there, unless the profile says that a file may lack it.
    """
    assert profile.results is not None
    by_fold = {fold_name(column): column for column in table.columns}
    names = set(profile.results.sample)
    # Of the key of a sample a part must be there.
    needed = {profile.results.parameter, profile.results.value}
    needed |= names if names <= set(profile.results.optional) else set()
    found = {}
    for key, name in _wanted_columns(profile):
        if column := profile.column_in(by_fold, name):
            found[key] = column
        elif name not in profile.results.optional or name in needed:
            hint = tr("Name another profile, or a copy of this one: waterflow profiles show")
            if name not in needed:
                hint = tr(
                    "Where files may lack it, the profile says so: optional, under [results]."
                )
            raise InputError(
                table.path,
                tr("the profile's column '{name}' is not in the header.", name=name)
                + did_you_mean(name, table.columns),
                line=table.dialect.header_line,
                hint=hint,
            )
    return found


def remarks_on_columns(
    table: Table, profile: Profile, where: Mapping[str, str], names: Header
) -> list[Message]:
    """Say which columns would have changed what values mean, and are not there or not read."""
    absent = [
        f"'{name}'"
        for key, name in _wanted_columns(profile)
        if key not in where and not key.startswith("keep ")
    ]
    unread = find_unread_remarks(table, names, where.values())
    return [
        *([Message("not in the file: {names}", names=shorten(absent))] if absent else []),
        *([not_read(unread)] if unread else []),
    ]


def _wanted_columns(profile: Profile) -> Iterator[tuple[str, str]]:
    """Give the columns of results by their part: ``value``, ``sample 0``, ``leave_out NAME``."""
    assert profile.results is not None
    yield from profile.results.parts()
    for key in ("leave_out", "take_only"):
        yield from ((f"{key} {name}", name) for name in getattr(profile, key))


@dataclass
class Samples:
    """The samples seen so far, in the order of their first rows."""

    numbers: dict[str, int] = field(default_factory=dict)
    lines: list[IntArray] = field(default_factory=list)
    kept: dict[str, list[pa.Array]] = field(default_factory=dict)

    def number(self, keys: pa.Array, lines: IntArray, kept: Mapping[str, pa.Array]) -> IntArray:
        """Give each row the number of its sample; a new one takes over its first row's columns."""
        encoded = keys.dictionary_encode()
        codes = encoded.indices.to_numpy()
        n_before, known = len(self.numbers), self.numbers
        own = np.array(
            [known.setdefault(key, len(known)) for key in encoded.dictionary.to_pylist()]
        )
        first_rows = np.unique(codes, return_index=True)[1][own >= n_before]
        self.lines.append(lines[first_rows])
        for name, column in kept.items():
            self.kept.setdefault(name, []).append(column.take(pa.array(first_rows)))
        return np.asarray(own[codes], dtype=np.int64)


class RowsThatCount:
    """Tells the rows that are results of a sample, and counts the others by what they say."""

    def __init__(self, profile: Profile, where: Mapping[str, str]) -> None:
        self._profile, self._where = profile, where
        # By column: what rows that are left out say there, and how many lack it in their key.
        self._left_out: dict[str, Counter[str]] = {}
        self._without: Counter[str] = Counter()

    def of(self, batch: Batch) -> BoolArray:
        """Say which rows of a batch count; shape (n_rows,)."""
        counts = np.ones(len(batch), dtype=bool)
        for part, kept in (("leave_out", 0), ("take_only", 1)):
            for column, patterns in getattr(self._profile, part).items():
                if (shown := self._where.get(f"{part} {column}")) is None:
                    continue
                is_kept = by_text(batch.columns[shown], partial(fits, patterns)) == kept
                said = trimmed(batch.columns[shown]).filter(pa.array(counts & ~is_kept))
                self._left_out.setdefault(shown, Counter()).update(said.to_pylist())
                counts &= is_kept
        return counts

    def incomplete(self, keys: Sequence[pa.Array], counts: BoolArray) -> dict[int, str]:
        """Give the first column of its key that a row needs and lacks, by its place in the batch.

        What may be empty is counted.
        """
        results = self._profile.results
        assert results is not None
        found: dict[int, str] = {}
        where = {key: name for key, name in self._where.items() if key.startswith("sample ")}
        for (key, name), cells in zip(where.items(), keys, strict=False):
            lacks = missing_text(cells) & counts
            if results.sample[int(key.split()[1])] in results.optional:
                self._without[name] += int(lacks.sum())
            else:
                found |= {row: name for row in np.flatnonzero(lacks).tolist() if row not in found}
        return found

    def remarks(self) -> Iterator[Message]:
        """Say which rows were left out by what they say, and which keys lack a part."""
        for column, said in self._left_out.items():
            if n_rows := said.total():
                most = [f"{text or '-'} {n}" for text, n in said.most_common()]
                yield Message(
                    "{n} left out by {column} ({said})",
                    n=n_rows,
                    column=column,
                    said=shorten(most, _SHOWN_REASONS),
                )
        for column, n_rows in self._without.items():
            if n_rows:
                yield Message("{n} without {column}, named by the rest", n=n_rows, column=column)


def fits(patterns: Sequence[str], text: str) -> int:
    """Say 1 where a text is like one of some patterns, in any case, else 0."""
    return int(any(fnmatchcase(text.lower(), pattern.lower()) for pattern in patterns))
