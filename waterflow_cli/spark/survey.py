"""Look at the lines of one part of a file, so that the parts can then be read on their own.

Where a part starts, nothing in it tells whether that is inside a quoted cell, and how many lines
stand above it. Each part therefore says how it ends in both cases, and how many lines it has;
`lay_out` puts these answers together in the order of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from waterflow_cli.tables.csv_blocks import MAX_ROW_BYTES, count_lines, first_row_end, whole_rows
from waterflow_cli.tables.encodings import UTF_8, UTF_8_BOM, tell_encoding
from waterflow_cli.tables.footnotes import TAIL_BYTES, count_note_lines

# Text may take twice the bytes in UTF-8.
_KEPT_TAIL = 2 * TAIL_BYTES
_QUOTE = b'"'


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What the lines of a part tell.

    Attributes
    ----------
    n_lines : int
        Physical lines.
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
    sep : str
        The separator of the cells.
    n_above : int
        Lines at its start whose quotes are none: those above the first row.
    """
    n_lines, encoding, tail = 0, "", b""
    leaves_open, stays_open = False, True
    for lines in chunks:
        rows = lines if n_lines >= n_above else _without_lines(lines, n_above - n_lines)
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

    Returns
    -------
    bytes
        All of the part, or what a row can hold of it, where the row does not end in it.
    """
    opened = _QUOTE
    for lines in chunks:
        opened += lines
        if _QUOTE in lines and (end := first_row_end(opened, sep)):
            return opened[1:end]
        if len(opened) > MAX_ROW_BYTES:
            break
    return opened[1:]


def open_starts(surveys: Sequence[Survey]) -> list[bool]:
    """Say of each part, in the order of the file, whether it starts inside a quoted cell."""
    starts, is_open = [], False
    for each in surveys:
        starts.append(is_open)
        is_open = each.stays_open if is_open else each.leaves_open
    return starts


@dataclass(frozen=True)
class PartPosition:
    """Where a part stands in its file.

    Attributes
    ----------
    line : int
        Physical line on which it starts.
    n_lines : int
        How many it has.
    n_passed : int
        Those at its start that end a row of an earlier part.
    rest : bytes
        What the parts after it hold of its last row.
    """

    line: int
    n_lines: int
    n_passed: int = 0
    rest: bytes = b""


@dataclass(frozen=True)
class Layout:
    """How the parts of a file follow each other.

    Attributes
    ----------
    positions : list of PartPosition
        One for each part.
    encoding : str
        That of the file.
    notes : range
        Physical lines of the notes below the table.
    """

    positions: list[PartPosition]
    encoding: str
    notes: range


def lay_out(
    surveys: Sequence[Survey],
    ends: Mapping[int, bytes],
    sep: str,
    n_columns: int,
    encoding: str | None = None,
) -> Layout:
    """Put the surveys of the parts of a file together.

    Parameters
    ----------
    surveys : sequence of Survey
        In the order of the file.
    ends : mapping of int to bytes
        The `end_of_row` of those parts that start inside a quoted cell, by number.
    sep : str
        The separator of its cells.
    n_columns : int
        How many cells a row has.
    encoding : str, optional
        That of the file, where it is known.
    """
    if encoding is None:
        encoding = next((each.encoding for each in surveys if each.encoding), UTF_8)
    positions, line = [], 1
    for number, each in enumerate(surveys):
        n_passed = min(each.n_lines, count_lines(ends.get(number, b"")))
        # Where no row of its own begins, none can go on in the parts after it.
        rest = _rest(surveys, ends, number + 1) if n_passed < each.n_lines else b""
        positions.append(PartPosition(line, each.n_lines, n_passed, rest))
        line += each.n_lines
    codec = UTF_8 if encoding == UTF_8_BOM else encoding
    text = _tail(surveys).decode(codec, errors="replace").encode()
    n_notes = count_note_lines(text, sep) if n_columns > 1 else 0
    return Layout(positions, encoding, range(line - n_notes, line))


def _rest(surveys: Sequence[Survey], ends: Mapping[int, bytes], number: int) -> bytes:
    """Give what a row that is open at the start of a part holds of it, and of those after it."""
    chunks: list[bytes] = []
    while number in ends and sum(map(len, chunks)) <= MAX_ROW_BYTES:
        chunks.append(ends[number])
        if count_lines(ends[number]) < surveys[number].n_lines:
            break
        number += 1
    return b"".join(chunks)


def _tail(surveys: Sequence[Survey]) -> bytes:
    """Put the last bytes of a file together, which more than one part may hold."""
    tail = b""
    for each in reversed(surveys):
        if len(tail) >= _KEPT_TAIL:
            break
        tail = each.tail + tail
    return tail[-_KEPT_TAIL:]


def _without_lines(lines: bytes, number: int) -> bytes:
    return b"".join(lines.splitlines(keepends=True)[number:])


def _leaves_open(lines: bytes, sep: str) -> bool:
    return len(whole_rows(lines, sep)) != len(lines)
