"""Find out what a file writes its numbers with, or that two readings fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping
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
_GROUPED = {mark: f"[0-9]{mark}[0-9]{{3}}" for mark in GROUP_MARKS}
_POINT_GROUPS = re.compile(rb"[0-9]\.[0-9]{3}\.[0-9]{3}")
_SIGNS = r"(?:nd|n\.d\.|bdl)?\(?[<>≤≥=+-]*"
# A unit or a mark beside the number, and no exponent.
_BESIDE = "(?:[^0-9.,e][^,]*|e[^0-9+-][^,]*)?"


class Place(NamedTuple):
    """Where a cell stands, and its text; the first of two is the smaller one."""

    line: int
    position: int
    column: str
    text: str


class _Uses:
    """What marks were seen to be: how often, and where first, by mark and use."""

    def __init__(self, batch: Batch, columns: Container[str]) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.first: dict[tuple[str, str], Place] = {}
        for position, (name, cells) in enumerate(batch.columns.items()):
            if name not in columns or not pa.types.is_string(cells.type):
                continue
            for use, mask in _uses_of(cells):
                if not mask.any():
                    continue
                row = int(np.argmax(mask))
                place = Place(int(batch.lines[row]), position, name, cells[row].as_py())
                self.counts[use] += int(mask.sum())
                self.first[use] = min(self.first.get(use, place), place)


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
    cells = [batch.columns[name] for name in columns.values()]
    text = b"".join(map(_text_of, cells))
    groups = "".join(mark for mark in GROUP_MARKS if _parts_groups(mark, cells, text))
    told = options.decimal or options.thousands
    if not told and b"," not in text and not is_continental and not _POINT_GROUPS.search(text):
        return NumberMarks(groups=groups)
    seen = _Uses(batch, columns.values())
    decimal = options.decimal or _find_decimal(seen, path, options, is_continental=is_continental)
    other = OTHER_MARK[decimal]
    thousands = options.thousands or (other if seen.counts[other, "groups"] else "")
    if seen.counts[other, "unclear"] and not thousands and not options.decimal:
        raise _unclear(seen.first[other, "unclear"], other, path)
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


def _find_decimal(seen: _Uses, path: str, options: ReadingOptions, *, is_continental: bool) -> str:
    if options.thousands:
        return OTHER_MARK[options.thousands]
    counts = {
        mark: seen.counts[mark, "decimal"] + seen.counts[other, "groups"]
        for mark, other in OTHER_MARK.items()
    }
    if min(counts.values()) > SLIPS * sum(counts.values()):
        raise _mixed(_first_sign(seen, ","), _first_sign(seen, "."), path)
    if not any(counts.values()):
        for mark in (",", ".") if is_continental else (",",):
            if seen.counts[mark, "unclear"]:
                raise _unclear(seen.first[mark, "unclear"], mark, path)
        return "."
    return max(counts, key=lambda mark: counts[mark])


def _first_sign(seen: _Uses, mark: str) -> Place:
    """Give the first cell that shows a mark to be the decimal one."""
    signs = (seen.first.get((mark, "decimal")), seen.first.get((OTHER_MARK[mark], "groups")))
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


def _parts_groups(mark: str, columns: list[pa.Array], text: bytes) -> bool:
    """Say whether a mark stands between groups of digits; ``text`` is that of all columns."""
    if not re.search(_GROUPED[mark].encode(), text):
        return False
    # What was found may be the end of one cell and the start of the next.
    found = (
        pc.match_substring_regex(cells, _GROUPED[mark])
        for cells in columns
        if pa.types.is_string(cells.type)
    )
    return any(each.true_count for each in found)


def _text_of(cells: pa.Array) -> bytes:
    return bytes(text_bytes(cells)) if pa.types.is_string(cells.type) else b""


def _uses_of(cells: pa.Array) -> Iterator[tuple[tuple[str, str], BoolArray]]:
    """Say which cells show a mark as the decimal one, between groups, or as either."""
    bare = pc.utf8_trim(cells, characters=BLANKS)
    for blank in GROUP_MARKS:
        bare = pc.replace_substring(bare, blank, "")
    for mark in OTHER_MARK:
        for use, pattern in _patterns(mark).items():
            yield (mark, use), as_bools(pc.match_substring_regex(bare, pattern))


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
        use: f"(?i)^{_SIGNS}(?:{pattern}){_BESIDE}$"
        for use, pattern in (
            ("decimal", decimal),
            ("groups", groups),
            ("unclear", f"{first}{m}{three}"),
        )
    }
