"""Look at the lines of one part of a file, so that the parts can then be read on their own.

Where a part starts, nothing in it tells whether that is inside a quoted cell, and how many lines
stand above it. Each part therefore says how it ends in both cases, and how many lines it has;
`lay_out` puts these answers together in the order of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from waterflow_cli.spark.files import InputFile
from waterflow_cli.tables.csv_blocks import MAX_ROW_BYTES, TAIL_BYTES, count_note_lines
from waterflow_cli.tables.dialect import Dialect
from waterflow_cli.tables.encodings import UTF_8, UTF_8_BOM, tell_encoding
from waterflow_cli.tables.headers import Header
from waterflow_cli.tables.numbers import NumberMarks
from waterflow_cli.tables.row_ends import count_lines, first_row_end, whole_rows
from waterflow_cli.tables.table import Batch

# Text may take twice the bytes in UTF-8.
_KEPT_TAIL = 2 * TAIL_BYTES
_QUOTE = b'"'


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What the physical lines of a part tell.

    Attributes
    ----------
    encoding : str
        That of the first lines beyond ASCII; empty where there are none.
    leaves_open, stays_open : bool
        Whether it ends inside a quoted cell: if it starts outside of one, and if inside.
    tail : bytes
        Its last bytes.
    """

    n_lines: int
    encoding: str
    leaves_open: bool
    stays_open: bool
    tail: bytes


def survey(chunks: Iterable[bytes], sep: str, n_above: int = 0) -> Survey:
    """Look at a part of a file.

    Parameters
    ----------
    chunks : iterable of bytes
        Its text, in chunks that end with an LF.
    n_above : int
        Lines at its start whose quotes are none: those above the first row.
    """
    n_lines, encoding, tail = 0, "", b""
    leaves_open, stays_open = False, True
    for lines in chunks:
        rows = lines
        if n_lines < n_above:
            rows = b"".join(lines.splitlines(keepends=True)[n_above - n_lines :])
        n_lines += count_lines(lines)
        tail = (tail + lines[-_KEPT_TAIL:])[-_KEPT_TAIL:]
        if not encoding and not lines.isascii():
            encoding = tell_encoding(lines)
        if _QUOTE in rows:
            after = {False: _leaves_open(rows, sep), True: _leaves_open(_QUOTE + rows, sep)}
            leaves_open, stays_open = after[leaves_open], after[stays_open]
    return Survey(
        n_lines=n_lines,
        encoding=encoding,
        leaves_open=leaves_open,
        stays_open=stays_open,
        tail=tail,
    )


def end_of_row(chunks: Iterable[bytes], sep: str) -> bytes:
    """Give the end of a row whose quoted cell is open where a part starts.

    That is all of the part, or what a row can hold of it, where the row does not end in it.
    """
    opened = _QUOTE
    for lines in chunks:
        opened += lines
        if _QUOTE in lines and (end := first_row_end(opened, sep)):
            return opened[1:end]
        if len(opened) > MAX_ROW_BYTES:
            break
    return opened[1:]


@dataclass(frozen=True, kw_only=True)
class PartPosition:
    """Where a part stands in its file.

    Attributes
    ----------
    number : int
        Among the parts, from 1.
    line, n_lines : int
        Physical line on which it starts, and how many it has.
    n_passed : int
        Those at its start that end a row of an earlier part.
    rest : bytes
        What the parts after it hold of its last row.
    """

    number: int
    line: int
    n_lines: int
    n_passed: int
    rest: bytes


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """A text file that is read in parts, and what its start tells of all of it.

    Attributes
    ----------
    columns, units, names, marks, first_rows : object
        See `Table`.
    is_told : bool
        Whether its start, or the user, told its encoding.
    is_ended : bool
        Whether its last line has a line end.
    notes : range
        Physical lines of the notes below the table, up to the end of the file.
    positions : mapping of int to PartPosition
        By the byte with which a part starts.
    """

    file: InputFile
    columns: list[str]
    dialect: Dialect
    units: Mapping[str, str]
    names: Header
    marks: NumberMarks
    first_rows: Batch | None
    is_told: bool
    is_ended: bool
    notes: range = range(0)
    positions: Mapping[int, PartPosition] = field(default_factory=dict)

    @property
    def n_above(self) -> int:
        """Physical lines above the first row; all of them are in the first part."""
        return self.dialect.first_line - 1


def surveys_of(rows: Iterable[dict[str, Any]]) -> dict[str, dict[int, Survey]]:
    """Give the surveys that executors sent, by file and first byte."""
    surveys: dict[str, dict[int, Survey]] = {}
    for row in rows:
        path, start = row.pop("path"), row.pop("start")
        row["tail"] = bytes(row["tail"])
        surveys.setdefault(path, {})[start] = Survey(**row)
    return surveys


def parts_within_a_row(surveys: Mapping[str, Mapping[int, Survey]]) -> frozenset[tuple[str, int]]:
    """Name the parts that start inside a quoted cell, by file and first byte."""
    found = set()
    for path, by_start in surveys.items():
        is_open = False
        for start in sorted(by_start):
            if is_open:
                found.add((path, start))
            is_open = by_start[start].stays_open if is_open else by_start[start].leaves_open
    return frozenset(found)


def lay_out(text: TextFile, surveys: Mapping[int, Survey], ends: Mapping[int, bytes]) -> TextFile:
    """Complete what is known of a text file by what its parts tell.

    Parameters
    ----------
    surveys : mapping of int to Survey
        Of its parts, by first byte.
    ends : mapping of int to bytes
        The `end_of_row` of those that start inside a quoted cell.
    """
    starts, encoding = sorted(surveys), text.dialect.encoding
    if not text.is_told:
        encoding = next(filter(None, (surveys[start].encoding for start in starts)), UTF_8)
    positions, line = {}, 1
    for number, start in enumerate(starts, 1):
        n_lines = surveys[start].n_lines
        n_passed = min(n_lines, count_lines(ends.get(start, b"")))
        # Where no row of its own begins, none can go on in the parts after it.
        rest = _rest(surveys, ends, starts[number:]) if n_passed < n_lines else b""
        positions[start] = PartPosition(
            number=number, line=line, n_lines=n_lines, n_passed=n_passed, rest=rest
        )
        line += n_lines
    codec = UTF_8 if encoding == UTF_8_BOM else encoding
    tail = _tail([surveys[start] for start in starts]).decode(codec, errors="replace").encode()
    n_notes = count_note_lines(tail, text.dialect.sep) if len(text.columns) > 1 else 0
    return replace(
        text,
        dialect=replace(text.dialect, encoding=encoding),
        notes=range(line - n_notes, line),
        positions=positions,
    )


def _rest(surveys: Mapping[int, Survey], ends: Mapping[int, bytes], later: Iterable[int]) -> bytes:
    """Give what later parts hold of a row that is open where the first of them starts."""
    rest = b""
    for start in later:
        if start not in ends or len(rest) > MAX_ROW_BYTES:
            break
        rest += ends[start]
        if count_lines(ends[start]) < surveys[start].n_lines:
            break
    return rest


def _tail(surveys: Sequence[Survey]) -> bytes:
    """Put the last bytes of a file together, which more than one part may hold."""
    tail = b""
    for each in reversed(surveys):
        if len(tail) >= _KEPT_TAIL:
            break
        tail = each.tail + tail
    return tail[-_KEPT_TAIL:]


def _leaves_open(lines: bytes, sep: str) -> bool:
    return len(whole_rows(lines, sep)) != len(lines)
