"""Cut a stream of CSV bytes at row ends, and parse each piece with its line numbers.

A piece is parsed by Arrow when it is clean. Only a piece that Arrow refuses, or that holds NUL
bytes, blank lines or a byte order mark, is read again row by row with Python's csv module. Both
follow the same rules (RFC 4180; a quote in the middle of an unquoted cell is a character like any
other), so the cells do not depend on which of them did the work. Notes below the rows (sources,
legends, signatures) are no rows.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from waterflow_cli.common.arrays import IntArray, arrow_texts, empty_cells
from waterflow_cli.common.errors import InputError, shorten
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.row_ends import (
    check_line_ends,
    check_row_quotes,
    count_lines,
    has_stray_quote,
    last_line_end,
    last_row_end,
    latin_lines,
    open_quote_error,
)
from waterflow_cli.tables.table import Batch, RowFinding

SEPARATORS = (",", ";", "\t", "|")
BLOCK_BYTES = 2 << 20
MAX_ROW_BYTES = 16 << 20

# Notes are looked for in this much of a file's end, however it is cut into blocks.
TAIL_BYTES = 4096
# "Source : ARS Bretagne", "* mesuré sur site", "# end"
_LABELLED = re.compile(r"\s*([#*]|[^\W\d_][^:;,\t|]{0,40}:)")
_STARTS_AS_NUMBER = re.compile(r"\s*[<>≤≥+-]*\s*[.,]?\d")

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
    """Whole rows of a file, as bytes, the line on which they start, and where they end.

    The last row of a file may lack its line end, and then be cut short. Where quotes fit, none is
    stray; else that is to be looked at.
    """

    data: bytes
    line: int
    end: Position
    is_ended: bool = True
    quotes_fit: bool = False


@dataclass(frozen=True, kw_only=True)
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
    n_needed : int, optional
        How many of its first fields a row must have; the others are empty where it ends before.
        Default: all.
    ends_in_separator : bool
        Whether one more separator than the header has may end each row.
    """

    path: str
    columns: Sequence[str]
    sep: str
    n_needed: int | None = None
    ends_in_separator: bool = False


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
        whole, carry, fit = _cut(carry, chunk, rows.sep)
        if whole:
            first, offset, line = line, offset + len(whole), line + count_lines(whole)
            yield Block(whole, first, Position(offset, line), quotes_fit=fit)
        elif len(carry) > MAX_ROW_BYTES:
            _refuse_endless_row(carry, rows, line)
    if carry:
        # A file need not end with a line end; with one added, an open quote shows.
        is_ended = carry.endswith((b"\n", b"\r"))
        if not carry.endswith(b"\n"):
            carry += b"\n"
        if last_row_end(carry, rows.sep).offset != len(carry):
            _refuse_endless_row(carry, rows, line)
        end = Position(offset + len(carry), line + count_lines(carry))
        yield Block(carry, line, end, is_ended)


def _cut(carry: bytes, chunk: bytes, sep: str) -> tuple[bytes, bytes, bool]:
    """Cut what was carried over and the next chunk after their last complete row.

    And say whether the quotes in it fit; see `Block`.
    """
    if b'"' in carry or b'"' in chunk or b"\r" in chunk[-1:]:
        data = carry + chunk
        cut, fit = last_row_end(data, sep)
        return data[:cut], data[cut:], fit
    cut = last_line_end(chunk)
    if not cut:  # in the chunk; a CR at the end of what was carried may end a line too
        data = carry + chunk
        cut = last_line_end(data)
        return data[:cut], data[cut:], True
    return b"".join((carry, memoryview(chunk)[:cut])), chunk[cut:], True


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
        If a line is not UTF-8, or a row holds rows between stray quotes.
    """
    if not _needs_csv_module(block, rows.sep):
        try:
            cells = _parse_with_arrow(block.data, rows, check_utf8=check_utf8)
        except pa.ArrowInvalid:  # ragged rows, or bytes that are not UTF-8: look closer
            pass
        else:
            if not _may_have_blank_lines(cells):
                return _batch(block, rows, cells, _row_lines(cells, block, rows), {})
    return _parse_row_by_row(block, rows)


def _batch(
    block: Block,
    rows: RowSyntax,
    cells: list[pa.Array],
    lines: IntArray,
    findings: dict[int, RowFinding],
    left_out: Mapping[str, int] | None = None,
) -> Batch:
    return Batch(
        columns=dict(zip(rows.columns, cells, strict=True)),
        lines=lines,
        findings=findings,
        raw=block.data,
        first_line=block.line,
        end=block.end,
        left_out=left_out or {},
        is_as_written=not (left_out or rows.ends_in_separator),
    )


def _needs_csv_module(block: Block, sep: str) -> bool:
    # Arrow would drop a byte order mark with which a block in mid-file happens to start.
    if b"\0" in block.data or block.data.startswith(codecs.BOM_UTF8):
        return True
    return not block.quotes_fit and has_stray_quote(block.data, sep)


def _may_have_blank_lines(columns: list[pa.Array]) -> bool:
    """Look for rows of empty cells alone: Arrow reads a blank line as one."""
    empty = empty_cells(columns[0])
    for column in columns[1:]:
        if not empty.any():
            return False
        empty &= empty_cells(column)
    return bool(empty.any())


def _parse_with_arrow(data: bytes, rows: RowSyntax, *, check_utf8: bool) -> list[pa.Array]:
    names = [str(index) for index in range(len(rows.columns) + rows.ends_in_separator)]
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
    cells = [pa.concat_arrays(column.chunks) for column in table.columns]
    if rows.ends_in_separator and not empty_cells(cells.pop()).all():
        raise pa.ArrowInvalid("text beyond the header")
    return cells


def _row_lines(columns: list[pa.Array], block: Block, rows: RowSyntax) -> IntArray:
    """Give each row its line; those after a quoted line end start further down."""
    n_rows = len(columns[0])
    lines = np.arange(block.line, block.line + n_rows, dtype=np.int64)
    if block.end.line - block.line != n_rows:
        inside = np.zeros(n_rows, dtype=np.int64)
        for column in columns:
            inside += pc.count_substring_regex(column, r"\r\n|\n|\r").to_numpy()
        lines[1:] += np.cumsum(inside)[:-1]
        for row in np.flatnonzero(inside):
            cells = [column[int(row)].as_py() for column in columns]
            check_line_ends(cells, len(cells), rows.sep, rows.path, int(lines[row]))
    return lines


def _parse_row_by_row(block: Block, rows: RowSyntax) -> Batch:
    n_columns = len(rows.columns)
    read: list[list[str]] = []
    lines: list[int] = []
    findings: dict[int, RowFinding] = {}
    left_out: Counter[str] = Counter()
    reader = csv.reader(io.StringIO(decode_block(block, rows.path), newline=""), delimiter=rows.sep)
    is_stray = not block.quotes_fit and has_stray_quote(block.data, rows.sep)
    texts = block.data.splitlines(keepends=True) if is_stray else []
    start, next_start = block.line, block.line
    for cells in reader:
        start, next_start = next_start, block.line + reader.line_num
        if len(cells) <= 1 and n_columns > 1 and not "".join(cells).strip():
            continue  # a blank line is no row
        if not cells:
            continue
        raw = b"".join(texts[start - block.line : next_start - block.line])
        is_last = next_start == block.end.line
        finding = _check_cells(cells, rows, raw, start, is_ended=block.is_ended or not is_last)
        if finding is not None:
            findings[len(read)] = finding
        elif len(cells) < n_columns:
            left_out.update(rows.columns[len(cells) :])
        read.append((cells + [""] * n_columns)[:n_columns])
        lines.append(start)
    columns = [arrow_texts(cells) for cells in zip(*read, strict=True)]
    empty = [arrow_texts([])] * n_columns
    return _batch(block, rows, columns or empty, np.array(lines, np.int64), findings, left_out)


def _check_cells(
    cells: Sequence[str], rows: RowSyntax, raw: bytes, line: int, *, is_ended: bool
) -> RowFinding | None:
    """Tell what is wrong with a row; ``raw`` is its text, where quotes in the block are stray."""
    n_columns, n_cells = len(rows.columns), len(cells)
    if check_row_quotes(raw, rows.sep, rows.path, line):
        return RowFinding("stray_quote", {})
    check_line_ends(cells, n_columns, rows.sep, rows.path, line)
    if any("\0" in cell for cell in cells):
        return RowFinding("nul_byte", {})
    if rows.ends_in_separator and n_cells == n_columns + 1 and not cells[-1]:
        return None
    # What ends without a line end may have been cut, and its last number with it.
    n_needed = (rows.n_needed or n_columns) if is_ended else n_columns
    if n_needed <= n_cells <= n_columns:
        return None
    extra = shorten(map(repr, cells[n_columns:])) if n_cells > n_columns else ""
    return _ragged_row(n_cells, n_columns, extra, _other_separator(cells, n_columns, rows.sep))


@lru_cache  # a block may have a million such rows, and few kinds of them
def _ragged_row(n_cells: int, n_columns: int, extra: str, other: str | None) -> RowFinding:
    values: dict[str, Any] = {"n": n_cells, "n_columns": n_columns}
    if extra:
        values["extra"] = extra
    if other:
        return RowFinding("other_separator", {**values, "other": repr(other)})
    return RowFinding("ragged_row", values)


def _other_separator(cells: Sequence[str], n_columns: int, sep: str) -> str | None:
    """Find a separator with which a row would have its fields, and the file's own is in none."""
    line = sep.join(cells)
    if n_columns < 2 or "\n" in line or "\r" in line:
        return None
    for other in SEPARATORS:
        if other == sep or other not in line:
            continue
        fields = next(csv.reader([line], delimiter=other), [])
        # A comma may be a decimal one; but commas do not part '7,14;204,9' with the same sense.
        if len(fields) == n_columns and (sep == "," or not any(sep in each for each in fields)):
            return other
    return None


def decode_block(block: Block, path: str) -> str:
    """Give the text of a block; an InputError names the line that is not UTF-8."""
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


def _refuse_endless_row(data: bytes, rows: RowSyntax, line: int) -> NoReturn:
    """Refuse a row that does not end in ``data``, which starts where the row does."""
    cells, *following = csv.reader([*latin_lines(data), "end"], delimiter=rows.sep)
    if not following:  # the line added at the end was swallowed
        raise open_quote_error(rows.path, cells, line)
    raise InputError(
        rows.path,
        "the row is longer than {limit} MiB.",
        limit=MAX_ROW_BYTES >> 20,
        line=line,
        hint=tr("Check that this is a table of text, with line ends."),
    )


def without_notes(blocks: Iterable[Block], rows: RowSyntax, notes: list[int]) -> Iterator[Block]:
    """Yield blocks, leaving out the notes that stand below the last row.

    A note is a line without a separator in a table of several columns, after a blank line or with
    a label. Such lines elsewhere are rows, and wrong ones.

    Parameters
    ----------
    notes : list of int
        Is given the physical lines that were left out.
    """
    held: deque[Block] = deque()
    n_bytes = 0
    for block in blocks:
        held.append(block)
        n_bytes += len(block.data)
        while n_bytes - len(held[0].data) >= TAIL_BYTES:
            n_bytes -= len(held[0].data)
            yield held.popleft()
    if not held or len(rows.columns) < 2:
        yield from held
        return
    last_line = held[-1].line + count_lines(held[-1].data)
    first_note = last_line - count_note_lines(b"".join(block.data for block in held), rows.sep)
    notes.extend(range(first_note, last_line))
    for block in held:
        if block.line < first_note:
            yield cut_block(block, first_note)


def count_note_lines(data: bytes, sep: str) -> int:
    """Count the lines at the end of a file's text that are notes, and empty ones above them.

    The data are all of the text, or more than `TAIL_BYTES` of its end.
    """
    # Cut as bytes: in text there are more line ends than in a CSV file.
    lines = [line.decode("utf-8", errors="replace") for line in data[-TAIL_BYTES:].splitlines()]
    if len(data) > TAIL_BYTES:
        lines = lines[1:]  # it starts within a line
    first = len(lines)
    while first and _may_be_note(lines[first - 1], sep):
        first -= 1
    # Of these lines, notes are those below an empty one, and labelled ones.
    while first < len(lines) and lines[first].strip() and not _LABELLED.match(lines[first]):
        first += 1
    return len(lines) - first if any(map(str.strip, lines[first:])) else 0


def _may_be_note(line: str, sep: str) -> bool:
    """Say whether a line is one cell of text, or empty; with the file's separators it is a row."""
    return sep not in line and '"' not in line and not _STARTS_AS_NUMBER.match(line)


def cut_block(block: Block, line: int) -> Block:
    """Keep the lines of a block that stand above a line."""
    if block.end.line <= line:
        return block
    kept = block.data.splitlines(keepends=True)[: line - block.line]
    data = b"".join(kept)
    end = Position(block.end.offset - len(block.data) + len(data), line)
    return Block(data, block.line, end)
