"""Objects of JSON as rows: a key is a column, and numbers keep the text that they have."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from waterflow_cli.common.arrays import arrow_texts
from waterflow_cli.common.errors import shorten
from waterflow_cli.common.messages import Message
from waterflow_cli.tables.csv_blocks import Block, Position
from waterflow_cli.tables.table import Batch, RowFinding

_BLANKS = re.compile(r"[ \t\r\n]*")
# A file of a few bytes a row and many keys would fill a memory with empty cells.
_MOST_CELLS = 1 << 22
_HALF = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u(0000|[dD][89a-fA-F])")

_WORDS = {None: "", True: "true", False: "false"}


class _Repeated(dict[str, Any]):
    """An object with two members of one name."""

    key = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    repeated = _Repeated(members)
    repeated.key = Counter(name for name, _ in pairs).most_common(1)[0][0]
    return repeated


class _Nested(str):
    """A list or an object within an object, as it is written."""

    __slots__ = ()


class Fraction(str):
    """A number that has a decimal point or an exponent, as it is written."""

    __slots__ = ()


DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Fraction, parse_int=str, parse_constant=str
)


class Record(NamedTuple):
    """An object, its line, its text, and what is wrong with it."""

    line: int
    members: dict[str, Any]
    text: str
    finding: RowFinding | None = None


@dataclass(frozen=True)
class RecordBatches:
    """Makes batches of objects; no key beyond the columns is passed over."""

    columns: Sequence[str]
    _nested: set[str] = field(default_factory=set)

    @property
    def most(self) -> int:
        """How many rows make a batch at most."""
        return max(1, _MOST_CELLS // len(self.columns))

    def batch(
        self,
        records: Sequence[Record],
        end: Position | None = None,
        block: Block | None = None,
    ) -> Batch:
        """Make a batch; the text of a block stands for its rows."""
        known = frozenset(self.columns)
        findings = {
            row: finding
            for row, record in enumerate(records)
            if (finding := record.finding or _finding(record.members, known)) is not None
        }
        return Batch(
            columns={name: self._cells(name, records) for name in self.columns},
            lines=np.array([each.line for each in records], dtype=np.int64),
            findings=findings,
            raw=block.data if block else b"",
            first_line=block.line if block else 0,
            end=end,
            is_as_written=False,
        )

    def _cells(self, name: str, records: Sequence[Record]) -> pa.Array:
        values = [record.members.get(name) for record in records]
        kinds = set(map(type, values))
        if _Nested in kinds:
            self._nested.add(name)
        if kinds & {bool, type(None)}:
            values = [each if isinstance(each, str) else _WORDS[each] for each in values]
        return arrow_texts(values)

    def remarks(self) -> list[str]:
        """Name the columns that hold lists and objects."""
        if not self._nested:
            return []
        names = [name for name in self.columns if name in self._nested]
        return [Message("lists and objects in {names} as their text", names=shorten(names))]


def _finding(members: Mapping[str, Any], known: frozenset[str]) -> RowFinding | None:
    if not known.issuperset(members):
        return RowFinding("unknown_key", {"key": next(k for k in members if k not in known)})
    if type(members) is _Repeated:
        return RowFinding("repeated_key", {"key": members.key})
    return None


def _flat(members: dict[str, Any], text: str) -> dict[str, Any]:
    """Put the text of lists and objects within an object in their place."""
    if "[" not in text and text.count("{") < 2:
        return members
    at = text.index("{") + 1
    while (start := past_blanks(text, at)) < len(text) and text[start] == '"':
        name, at = DECODER.raw_decode(text, start)
        start = past_blanks(text, past_blanks(text, at) + 1)  # past the colon
        _, end = DECODER.raw_decode(text, start)
        if isinstance(members[name], dict | list):
            members[name] = _Nested(text[start:end])
        at = past_blanks(text, end) + 1  # past the comma
    return members


def past_blanks(text: str, at: int) -> int:
    """Tell where blanks that may stand at a place end."""
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def decode_line(text: str, line: int) -> Record:
    """Read the object of a line; where it is none, the row is a finding."""
    text = text.rstrip(" \t")
    try:
        members, end = DECODER.raw_decode(text, 0 if text[0] == "{" else past_blanks(text, 0))
        if end < len(text):
            return _no_record(line, end)
    except json.JSONDecodeError as exc:
        return _no_record(line, exc.pos)
    except RecursionError:
        return _no_record(line, 0)
    if not isinstance(members, dict):
        return _no_record(line, 0)
    return record_of(line, members, text)


def _no_record(line: int, at: int) -> Record:
    return Record(line, {}, "", RowFinding("not_json", {"at": at + 1}))


def record_of(line: int, members: dict[str, Any], text: str) -> Record:
    """Give an object; one with a NUL or with half of a character is a finding."""
    if _ESCAPED.search(text):
        whole = "".join([*members, *(each for each in members.values() if isinstance(each, str))])
        if "\0" in whole:
            return Record(line, {}, "", RowFinding("nul_byte", {}))
        if (half := _HALF.search(whole)) is not None:
            return _no_record(line, text.lower().index(f"\\u{ord(half[0]):x}"))
    return Record(line, _flat(members, text), text)
