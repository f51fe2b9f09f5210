"""Find out what a file writes its numbers with, or that two readings fit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import BoolArray, as_bools, text_bytes
from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.common.messages import Message, tr
from waterflow_cli.tables.numbers import BLANKS, GROUP_MARKS, NumberMarks

if TYPE_CHECKING:
    from waterflow_cli.tables.reading_options import ReadingOptions
    from waterflow_cli.tables.table import Batch

# Fewer cells with the other decimal mark are slips, to be found row by row; more are a second way
# of writing.
SLIPS = 0.05
OTHER_MARK = {",": ".", ".": ","}
_GROUPED = {mark: re.compile(f"[0-9]{mark}[0-9]{{3}}".encode()) for mark in GROUP_MARKS}
_POINT_GROUPS = re.compile(rb"[0-9]\.[0-9]{3}\.[0-9]{3}")
_SIGNS = r"(?:nd|n\.d\.|bdl)?[<>≤≥=+-]*"


class Place(NamedTuple):
    """Where a cell stands, and its text; the first of two is the smaller one."""

    line: int
    position: int
    column: str
    text: str


@dataclass
class _Uses:
    """What a mark was seen to be: how often, and where first."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, Place] = field(default_factory=dict)

    def note(self, use: str, mask: BoolArray, batch: Batch, column: str) -> None:
        rows = np.flatnonzero(mask)
        if not len(rows):
            return
        row = int(rows[0])
        self.counts[use] = self.counts.get(use, 0) + len(rows)
        position = list(batch.columns).index(column)
        text = batch.columns[column][row].as_py()
        place = Place(int(batch.lines[row]), position, column, text)
        self.first[use] = min(self.first.get(use, place), place)

    def __getitem__(self, use: str) -> int:
        return self.counts.get(use, 0)


def find_marks(
    batch: Batch,
    columns: Mapping[str, str],
    path: str,
    options: ReadingOptions,
    *,
    is_continental: bool = False,
) -> NumberMarks:
    """Tell by the first rows of a file which marks its numbers have.

    Parameters
    ----------
    columns : mapping of str to str
        The columns that are to hold numbers, by their names in the schema.
    is_continental : bool
        Whether the file's separator is that of countries that write decimal commas: then `1.234`
        may be a thousand as well.

    Raises
    ------
    InputError
        If decimal commas stand beside decimal points, or a cell such as ``1,234`` may be either of
        two numbers and nothing else in the file tells.
    UsageError
        If the user names one mark for both purposes.
    """
    if options.decimal and options.decimal == options.thousands:
        raise UsageError(
            "--decimal and --thousands are the same mark, '{mark}'.", mark=options.decimal
        )
    texts = {name: batch.columns[name] for name in columns.values()}
    text = b"".join(map(_text_of, texts.values()))
    groups = "".join(mark for mark in GROUP_MARKS if _GROUPED[mark].search(text))
    told = options.decimal or options.thousands
    if not told and b"," not in text and not is_continental and not _POINT_GROUPS.search(text):
        return NumberMarks(groups=groups)
    seen = {",": _Uses(), ".": _Uses()}
    for name, cells in texts.items():
        if pa.types.is_string(cells.type):
            for mark, uses in seen.items():
                for use, mask in _uses_of(mark, cells):
                    uses.note(use, mask, batch, name)
    decimal = options.decimal or _find_decimal(seen, path, options, is_continental=is_continental)
    other = OTHER_MARK[decimal]
    thousands = options.thousands or (other if seen[other]["groups"] else "")
    if seen[other]["unclear"] and not thousands and not options.decimal:
        raise _unclear(seen[other].first["unclear"], other, path)
    return NumberMarks(decimal, thousands, groups)


def describe_marks(marks: NumberMarks) -> list[Message]:
    """Say which marks the numbers have, but for a decimal point alone."""
    shown = []
    if marks.decimal != ".":
        shown.append(Message("decimal {mark}", mark=repr(marks.decimal)))
    for mark in (*marks.thousands, *marks.groups):
        name = repr(mark) if mark in " '" or mark.isascii() else f"U+{ord(mark):04X}"
        shown.append(Message("thousands {mark}", mark=name))
    return shown


def _find_decimal(
    seen: Mapping[str, _Uses], path: str, options: ReadingOptions, *, is_continental: bool
) -> str:
    if options.thousands:
        return OTHER_MARK[options.thousands]
    counts = {mark: seen[mark]["decimal"] + seen[OTHER_MARK[mark]]["groups"] for mark in seen}
    if min(counts.values()) > SLIPS * sum(counts.values()):
        raise _mixed(_first_sign(seen, ","), _first_sign(seen, "."), path)
    if not any(counts.values()):
        for mark in (",", "."):
            if seen[mark]["unclear"] and (mark == "," or is_continental):
                raise _unclear(seen[mark].first["unclear"], mark, path)
        return "."
    return max(counts, key=lambda mark: counts[mark])


def _first_sign(seen: Mapping[str, _Uses], mark: str) -> Place:
    """Give the first cell that shows a mark to be the decimal one."""
    signs = (seen[mark].first.get("decimal"), seen[OTHER_MARK[mark]].first.get("groups"))
    return min(place for place in signs if place is not None)


def _mixed(comma: Place, point: Place, path: str) -> InputError:
    problem = Message(
        "column {column}: '{comma}' has a decimal comma, and '{point}' in line {line}, column "
        "{other}, a decimal point.",
        column=comma.column,
        comma=comma.text,
        point=point.text,
        line=point.line,
        other=point.column,
    )
    return InputError(
        path,
        problem,
        line=comma.line,
        hint=tr("Say which one it is: --decimal comma or --decimal point"),
    )


def _unclear(place: Place, mark: str, path: str) -> InputError:
    bare = place.text.strip()
    return InputError(
        path,
        "column {column}: '{text}' is {one} or {other}, and nothing in the file tells which.",
        column=place.column,
        text=bare,
        one=bare.replace(mark, "."),
        other=bare.replace(mark, ""),
        line=place.line,
        hint=tr("Say which: --decimal {mark} or --thousands {mark}", mark=mark),
    )


def _text_of(cells: pa.Array) -> bytes:
    return bytes(text_bytes(cells)) if pa.types.is_string(cells.type) else b""


def _uses_of(mark: str, cells: pa.Array) -> Iterator[tuple[str, BoolArray]]:
    """Say which cells show a mark as the decimal one, between groups, or as either."""
    bare = pc.utf8_trim(cells, characters=BLANKS)
    for blank in GROUP_MARKS:
        bare = pc.replace_substring(bare, blank, "")
    for use, pattern in _patterns(mark).items():
        yield use, as_bools(pc.match_substring_regex(bare, pattern))


@cache
def _patterns(mark: str) -> dict[str, str]:
    m, o = (f"\\{each}" for each in (mark, OTHER_MARK[mark]))
    digits, three = "[0-9]", "[0-9]{3}"
    decimal = "|".join(
        (
            f"{digits}+{m}{digits}{{0,2}}",
            f"{m}{digits}{{1,3}}",
            f"{digits}*{m}{digits}{{4,}}",
            f"0{digits}*{m}{three}",
            f"{digits}{{4,}}{m}{three}",
            f"{digits}{{1,3}}(?:{o}{three})+{m}{digits}*",
            f"{digits}*{m}{digits}+[eE][+-]?{digits}+",
        )
    )
    first = f"[1-9]{digits}{{0,2}}"
    groups = f"{first}(?:{m}{three}){{2,}}(?:{o}{digits}*)?|{first}{m}{three}{o}{digits}*"
    return {
        use: f"(?i)^{_SIGNS}(?:{pattern})$"
        for use, pattern in (
            ("decimal", decimal),
            ("groups", groups),
            ("unclear", f"{first}{m}{three}"),
        )
    }
