"""Where the rows of CSV text end, and quotes that do not say it plainly.

A quote opens a cell at its start and closes it at its end; within, it is doubled. One that is
followed by more text is stray, and so are two between which rows of the table stand: what a reader
makes of them may be fewer rows than the file has.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from waterflow_cli.common.errors import InputError
from waterflow_cli.common.messages import tr

if TYPE_CHECKING:
    from waterflow_cli.common.arrays import BoolArray, IntArray

_LINE_END = re.compile(r"\r\n|\n|\r")
_NUMBER = re.compile(r"\s*[<>+-]?[0-9]+([.,][0-9]*)?\s*")
_NO_ENDS: IntArray = np.zeros(0, dtype=np.int64)


def count_lines(data: bytes) -> int:
    """Count line ends: LF, CRLF and lone CR, inside quotes too."""
    view = np.frombuffer(data, dtype=np.uint8)  # NumPy counts many hits faster than bytes.count
    n_lines = int(np.count_nonzero(view == ord("\n")))
    if b"\r" in data:
        after = np.flatnonzero(view == ord("\r")) + 1
        n_lines += len(after) - int(np.count_nonzero(view[after[after < len(view)]] == ord("\n")))
    return n_lines


def whole_rows(data: bytes, sep: str) -> bytes:
    """Give the bytes up to where the last complete row ends; they start at the start of one."""
    return data[: last_row_end(data, sep).offset]


def first_row_end(data: bytes, sep: str) -> int:
    """Find where the first row of some bytes ends that start at the start of one; 0: not in them.

    The bytes end with an LF.
    """
    return _row_ends(data, sep)[0]


class LastRowEnd(NamedTuple):
    """Where the last complete row of some bytes ends, and whether none of their quotes is stray."""

    offset: int
    quotes_fit: bool


def last_row_end(data: bytes, sep: str) -> LastRowEnd:
    """Find where the last complete row ends of bytes that start at the start of one; 0 for none."""
    if b'"' not in data:
        return LastRowEnd(last_line_end(data), quotes_fit=True)
    _, last, quotes_fit = _row_ends(data, sep)
    return LastRowEnd(last, quotes_fit)


def _row_ends(data: bytes, sep: str) -> tuple[int, int, bool]:
    """Find where the first complete row of some bytes ends, and the last one; 0 for none.

    And whether counting the quotes told it: then none of them is stray.
    """
    ends = _line_ends(data)
    outside = _outside_quotes(data, ends, sep)
    if outside is None:
        return *_row_ends_by_csv(data, sep), False
    return (int(ends[outside][0]), int(ends[outside][-1]), True) if outside.any() else (0, 0, True)


def last_line_end(data: bytes) -> int:
    """Find where the last complete line ends; 0 for none."""
    # A CR at the very end may be half a CRLF.
    return max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1


def _line_ends(data: bytes) -> IntArray:
    view = np.frombuffer(data, dtype=np.uint8)
    is_end = view == ord("\n")
    if b"\r" in data:  # alone it ends a line too; at the very end it may be half a CRLF
        is_end[:-1] |= (view[:-1] == ord("\r")) & ~is_end[1:]
    ends: IntArray = np.flatnonzero(is_end) + 1
    return ends


def _outside_quotes(data: bytes, ends: IntArray, sep: str) -> BoolArray | None:
    """Say which line ends lie outside quotes, by counting the quotes before each.

    Counting is exact when each quote that opens a cell follows a separator or a line end, and
    each one that closes it precedes one (or another quote: an escaped one). None otherwise.
    """
    view = np.frombuffer(data, dtype=np.uint8)
    quotes = np.flatnonzero(view == ord('"'))
    is_edge = np.zeros(256, dtype=bool)
    is_edge[list(f'{sep}\r\n"'.encode())] = True
    opening, closing = quotes[::2], quotes[1::2]
    # The first byte stands at the start of a row; what follows the last one is not known yet.
    before = view[opening[opening > 0] - 1]
    after = view[closing[closing < len(view) - 1] + 1]
    if not (is_edge[before].all() and is_edge[after].all()):
        return None
    return np.asarray(np.searchsorted(quotes, ends) % 2 == 0)


def _row_ends_by_csv(data: bytes, sep: str) -> tuple[int, int]:
    """Find the same ends in text with stray quotes, with the csv module itself."""
    lines = latin_lines(data[: last_line_end(data)])
    # The line added at the end is a row of its own, or is swallowed by a row with an open quote.
    # Either way the whole rows end where the last row starts.
    reader = csv.reader([*lines, "end"], delimiter=sep)
    n_lines = [reader.line_num for _ in reader][:-1] or [0]
    return sum(map(len, lines[: n_lines[0]])), sum(map(len, lines[: n_lines[-1]]))


def latin_lines(data: bytes) -> list[str]:
    """Give the lines of some bytes as text, whatever they are in."""
    # Latin-1 gives each byte one character; bytes.splitlines knows only LF, CR and CRLF.
    return [line.decode("latin-1") for line in data.splitlines(keepends=True)]


def open_quote_error(path: str, cells: Sequence[str], line: int) -> InputError:
    """Build the error for a row whose last cell is never closed, given the row's first line."""
    above = sum(count_lines(cell.encode("utf-8", "surrogatepass")) for cell in cells[:-1])
    return InputError(
        path,
        "a quoted cell opens here and is never closed.",
        line=line + above,
        hint=tr("Close the quote, or double it if it belongs to the text."),
    )


def has_stray_quote(rows: bytes, sep: str) -> bool:
    """Say whether text other than spaces follows a closing quote anywhere in whole rows."""
    if b'"' not in rows or _outside_quotes(rows, _NO_ENDS, sep) is not None:
        return False
    # A quoted cell is passed over as a whole, with the separators and line ends in it.
    edge = re.escape(sep.encode()) + rb"\r\n"
    quoted = rb'"(?<![^%b]")[^"]*+(?:""[^"]*+)*+" *+([^%b])?' % (edge, edge)
    return any(match[1] for match in re.finditer(quoted, rows))


def check_line_ends(cells: Sequence[str], n_columns: int, sep: str, path: str, line: int) -> None:
    """Refuse a row that holds others: the quotes around a line end in it belong to two cells.

    It then has separators for more than one row, and two of its lines look like rows, with
    separators and numbers; those of a remark do not.

    Parameters
    ----------
    n_columns : int
        How many fields a row of the table has.
    line : int
        Physical line on which the row starts.

    Raises
    ------
    InputError
        Naming that line.
    """
    lines = [text.split(sep) for text in _LINE_END.split(sep.join(cells))]
    n_separators = sum(map(len, lines)) - len(lines)
    *_, less, most = 0, 0, *sorted(_count_numbers(lines, n_columns))
    if 2 * n_separators >= 3 * (n_columns - 1) and less and 2 * less >= most:
        raise _stray_quotes(path, line)


def check_header_quotes(cells: Sequence[str], text: bytes, sep: str, path: str, line: int) -> None:
    """Refuse a header with stray quotes in its text, or with rows in its cells; see above."""
    lines = [text.split(sep) for text in _LINE_END.split(sep.join(cells))]
    holds_rows = len(lines) > 1 and any(_count_numbers(lines, len(cells)))
    if holds_rows or has_stray_quote(text, sep):
        raise _stray_quotes(path, line)


def check_row_quotes(text: bytes, sep: str, path: str, line: int) -> bool:
    """Say whether a row of one line has stray quotes, and refuse one of several that has."""
    if not has_stray_quote(text, sep):
        return False
    if count_lines(text) > 1:
        raise _stray_quotes(path, line)
    return True


def _count_numbers(lines: Sequence[Sequence[str]], n_columns: int) -> list[int]:
    """Count the numbers on each line that has about as many fields as a row."""
    wide = (fields for fields in lines if len(fields) > max(1, n_columns // 2))
    return [sum(_NUMBER.fullmatch(field) is not None for field in fields) for fields in wide]


def _stray_quotes(path: str, line: int) -> InputError:
    return InputError(
        path,
        "quotes do not fit: text follows a closing one, or rows of the table stand between two.",
        line=line,
        hint=tr("Close each quote that opens a cell, and double those that belong to the text."),
    )
