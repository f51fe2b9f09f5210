"""Cut a stream of CSV bytes at row ends, and parse each piece with its line numbers.

A piece is parsed by Arrow when it is clean. Only a piece that Arrow refuses, or that holds NUL
bytes, blank lines or a byte order mark, is read again row by row with Python's csv module. Both
follow the same rules (RFC 4180; a quote in the middle of an unquoted cell is a character like any
other), so the cells do not depend on which of them did the work.
"""

from __future__ import annotations

import codecs
import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from waterflow_cli.common.arrays import BoolArray, IntArray, empty_cells
from waterflow_cli.common.errors import InputError
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.row_rules import RowFinding
from waterflow_cli.tables.table import Batch

SEPARATORS = (",", ";", "\t", "|")
BLOCK_BYTES = 2 << 20
MAX_ROW_BYTES = 16 << 20

# MAX_ROW_BYTES bounds a row; a limit on each cell would only add a second, cruder error.
csv.field_size_limit(sys.maxsize)


class Position(NamedTuple):
    """Where the rows after a batch start, so that reading can go on from there.

    Attributes
    ----------
    offset : int
        Bytes of (decompressed) text before it; in Parquet, rows.
    line : int
        Its physical line.
    """

    offset: int
    line: int


class Block(NamedTuple):
    """Whole rows of a file, as bytes, the line on which they start, and where they end."""

    data: bytes
    line: int
    end: Position


@dataclass(frozen=True)
class RowSyntax:
    """How the rows of a text file are written.

    Attributes
    ----------
    path : str
        The file, for messages.
    columns : sequence of str
        The header as written.
    sep : str
        The separator, one ASCII character.
    """

    path: str
    columns: Sequence[str]
    sep: str


def count_lines(data: bytes) -> int:
    """Count line ends: LF, CRLF and lone CR, inside quotes too."""
    view = np.frombuffer(data, dtype=np.uint8)  # NumPy counts many hits faster than bytes.count
    n_lines = int(np.count_nonzero(view == ord("\n")))
    if b"\r" in data:
        after = np.flatnonzero(view == ord("\r")) + 1
        n_lines += len(after) - int(np.count_nonzero(view[after[after < len(view)]] == ord("\n")))
    return n_lines


def split_blocks(
    start: bytes,
    read: Callable[[int], bytes],
    rows: RowSyntax,
    position: Position,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Block]:
    """Cut the rest of a stream into blocks of whole rows.

    Parameters
    ----------
    start : bytes
        What was read of the stream and not used; it starts at the start of a row.
    read : callable
        Gives about as many bytes of what follows; none at the end.
    position : Position
        Where ``start`` starts.
    block_bytes : int
        How much to read at a time.

    Raises
    ------
    InputError
        If a quoted cell is never closed, or a row is longer than ``MAX_ROW_BYTES``.
    """
    offset, line = position
    carry = b""
    for chunk in _chunks(start, read, block_bytes):
        whole, carry = _cut(carry, chunk, rows.sep)
        if whole:
            first, offset, line = line, offset + len(whole), line + count_lines(whole)
            yield Block(whole, first, Position(offset, line))
        elif len(carry) > MAX_ROW_BYTES:
            _refuse_endless_row(carry, rows, line)
    if carry:
        # A file need not end with a line end; with one added, an open quote shows.
        if not carry.endswith(b"\n"):
            carry += b"\n"
        if _last_row_end(carry, rows.sep) != len(carry):
            _refuse_endless_row(carry, rows, line)
        end = Position(offset + len(carry), line + count_lines(carry))
        yield Block(carry, line, end)


def _cut(carry: bytes, chunk: bytes, sep: str) -> tuple[bytes, bytes]:
    """Cut what was carried over and the next chunk after their last complete row."""
    if b'"' in carry or b'"' in chunk or b"\r" in chunk[-1:]:
        data = carry + chunk
        cut = _last_row_end(data, sep)
        return data[:cut], data[cut:]
    cut = _last_line_end(chunk)
    if not cut:  # in the chunk; a CR at the end of what was carried may end a line too
        data = carry + chunk
        cut = _last_line_end(data)
        return data[:cut], data[cut:]
    return b"".join((carry, memoryview(chunk)[:cut])), chunk[cut:]


def _chunks(start: bytes, read: Callable[[int], bytes], n_bytes: int) -> Iterator[bytes]:
    for first in range(0, len(start), n_bytes):
        yield start[first : first + n_bytes]
    yield from iter(partial(read, n_bytes), b"")


def parse_block(block: Block, rows: RowSyntax, *, check_utf8: bool = True) -> Batch:
    """Read the cells of a block exactly as written, but for the quotes around them.

    Parameters
    ----------
    check_utf8 : bool
        Whether its bytes may be something else than UTF-8.

    Raises
    ------
    InputError
        If a line is not UTF-8.
    """
    if not _needs_csv_module(block.data):
        try:
            cells = _parse_with_arrow(block.data, rows, check_utf8=check_utf8)
        except pa.ArrowInvalid:  # ragged rows, or bytes that are not UTF-8: look closer
            pass
        else:
            if not _may_have_blank_lines(cells):
                return _batch(block, rows, cells, _row_lines(cells, block), {})
    return _parse_row_by_row(block, rows)


def _batch(
    block: Block,
    rows: RowSyntax,
    cells: list[pa.Array],
    lines: IntArray,
    findings: dict[int, RowFinding],
) -> Batch:
    return Batch(
        columns=dict(zip(rows.columns, cells, strict=True)),
        lines=lines,
        findings=findings,
        raw=block.data,
        first_line=block.line,
        end=block.end,
    )


def _needs_csv_module(data: bytes) -> bool:
    # Arrow would drop a byte order mark with which a block in mid-file happens to start.
    return b"\0" in data or data.startswith(codecs.BOM_UTF8)


def _may_have_blank_lines(columns: list[pa.Array]) -> bool:
    """Look for rows of empty cells alone: Arrow reads a blank line as one."""
    empty = empty_cells(columns[0])
    for column in columns[1:]:
        if not empty.any():
            return False
        empty &= empty_cells(column)
    return bool(empty.any())


def _parse_with_arrow(data: bytes, rows: RowSyntax, *, check_utf8: bool) -> list[pa.Array]:
    names = [str(index) for index in range(len(rows.columns))]
    table = pa_csv.read_csv(
        pa.BufferReader(data),
        read_options=pa_csv.ReadOptions(
            column_names=names, use_threads=False, block_size=len(data) + 1
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=rows.sep, newlines_in_values=True, ignore_empty_lines=False
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=False,
            # Arrow looks at each cell by itself; that no byte is beyond ASCII is seen faster.
            check_utf8=check_utf8 and not data.isascii(),
        ),
    )
    return [pa.concat_arrays(column.chunks) for column in table.columns]


def _row_lines(columns: list[pa.Array], block: Block) -> IntArray:
    """Give each row its line; those after a quoted line end start further down."""
    n_rows = len(columns[0])
    lines = np.arange(block.line, block.line + n_rows, dtype=np.int64)
    if block.end.line - block.line != n_rows:
        inside = np.zeros(n_rows, dtype=np.int64)
        for column in columns:
            inside += pc.count_substring_regex(column, r"\r\n|\n|\r").to_numpy()
        lines[1:] += np.cumsum(inside)[:-1]
    return lines


def _parse_row_by_row(block: Block, rows: RowSyntax) -> Batch:
    n_columns = len(rows.columns)
    read: list[list[str]] = []
    lines: list[int] = []
    findings: dict[int, RowFinding] = {}
    reader = csv.reader(io.StringIO(_decode(block, rows.path), newline=""), delimiter=rows.sep)
    start, next_start = block.line, block.line
    for cells in reader:
        start, next_start = next_start, block.line + reader.line_num
        if len(cells) <= 1 and n_columns > 1 and not "".join(cells).strip():
            continue  # a blank line is no row
        if not cells:
            continue
        finding = _check_cells(cells, n_columns, rows.sep)
        if finding is not None:
            findings[len(read)] = finding
        read.append((cells + [""] * n_columns)[:n_columns])
        lines.append(start)
    columns = [pa.array(cells, pa.string()) for cells in zip(*read, strict=True)]
    empty = [pa.array([], pa.string())] * n_columns
    return _batch(block, rows, columns or empty, np.array(lines, dtype=np.int64), findings)


def _check_cells(cells: Sequence[str], n_columns: int, sep: str) -> RowFinding | None:
    if any("\0" in cell for cell in cells):
        return RowFinding("nul_byte", {})
    if len(cells) == n_columns:
        return None
    values: dict[str, Any] = {"n": len(cells), "n_columns": n_columns}
    if len(cells) > n_columns:
        values["extra"] = ", ".join(map(repr, cells[n_columns:]))
    if other := _other_separator(cells, n_columns, sep):
        return RowFinding("other_separator", {**values, "other": repr(other)})
    return RowFinding("ragged_row", values)


def _other_separator(cells: Sequence[str], n_columns: int, sep: str) -> str | None:
    """Find a separator with which a row would have its fields."""
    line = sep.join(cells)
    if n_columns < 2 or "\n" in line or "\r" in line:
        return None
    for other in SEPARATORS:
        if other != sep and len(next(csv.reader([line], delimiter=other), [])) == n_columns:
            return other
    return None


def _decode(block: Block, path: str) -> str:
    try:
        return block.data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InputError(
            path,
            "byte 0x{byte:02X} is not UTF-8.",
            byte=block.data[exc.start],
            line=block.line + count_lines(block.data[: exc.start]),
            hint=tr("Save the file as UTF-8 and try again."),
        ) from exc


def whole_rows(data: bytes, sep: str) -> bytes:
    """Give the bytes up to where the last complete row ends; they start at the start of one."""
    return data[: _last_row_end(data, sep)]


def first_row_end(data: bytes, sep: str) -> int:
    """Find where the first row of some bytes ends that start at the start of one; 0: not in them.

    The bytes end with an LF.
    """
    return _row_ends(data, sep)[0]


def _last_row_end(data: bytes, sep: str) -> int:
    """Find where the last complete row ends of bytes that start at the start of one; 0 for none."""
    return _row_ends(data, sep)[1] if b'"' in data else _last_line_end(data)


def _row_ends(data: bytes, sep: str) -> tuple[int, int]:
    """Find where the first complete row of some bytes ends, and the last one; 0 for none."""
    ends = _line_ends(data)
    outside = _outside_quotes(data, ends, sep)
    if outside is None:
        return _row_ends_by_csv(data, sep)
    return (int(ends[outside][0]), int(ends[outside][-1])) if outside.any() else (0, 0)


def _last_line_end(data: bytes) -> int:
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
    edges = np.frombuffer(f'{sep}\r\n"'.encode(), dtype=np.uint8)
    padded = np.concatenate(([ord("\n")], view, [ord("\n")]))
    opening, closing = quotes[::2], quotes[1::2]
    before, after = padded[opening], padded[closing + 2]
    if not (np.isin(before, edges).all() and np.isin(after, edges).all()):
        return None
    return np.asarray(np.searchsorted(quotes, ends) % 2 == 0)


def _row_ends_by_csv(data: bytes, sep: str) -> tuple[int, int]:
    """Find the same ends in text with stray quotes, with the csv module itself."""
    lines = _latin_lines(data[: _last_line_end(data)])
    # The line added at the end is a row of its own, or is swallowed by a row with an open quote.
    # Either way the whole rows end where the last row starts.
    reader = csv.reader([*lines, "end"], delimiter=sep)
    n_lines = [reader.line_num for _ in reader][:-1] or [0]
    return sum(map(len, lines[: n_lines[0]])), sum(map(len, lines[: n_lines[-1]]))


def _latin_lines(data: bytes) -> list[str]:
    # Latin-1 gives each byte one character; bytes.splitlines knows only LF, CR and CRLF.
    return [line.decode("latin-1") for line in data.splitlines(keepends=True)]


def _refuse_endless_row(data: bytes, rows: RowSyntax, line: int) -> NoReturn:
    """Refuse a row that does not end in ``data``, which starts where the row does."""
    cells, *following = csv.reader([*_latin_lines(data), "end"], delimiter=rows.sep)
    if not following:  # the line added at the end was swallowed
        raise open_quote_error(rows.path, cells, line)
    raise InputError(
        rows.path,
        "the row is longer than {limit} MiB.",
        limit=MAX_ROW_BYTES >> 20,
        line=line,
        hint=tr("Check that this is a table of text, with line ends."),
    )


def open_quote_error(path: str, cells: Sequence[str], line: int) -> InputError:
    """Build the error for a row whose last cell is never closed, given the row's first line."""
    above = sum(count_lines(cell.encode("utf-8", "surrogatepass")) for cell in cells[:-1])
    return InputError(
        path,
        "a quoted cell opens here and is never closed.",
        line=line + above,
        hint=tr("Close the quote, or double it if it belongs to the text."),
    )
