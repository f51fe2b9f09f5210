"""Turn cells of text into numbers by one strict grammar.

A cell is a number, is missing, or is *bad*. Nothing else is a number: not ``1_0``, ``0x1F``,
full-width digits, ``inf``, ``true``, a date, or a value too large for single precision (3.4e38).
Groups of three digits may stand apart by a space, a no-break space or an apostrophe, and by a comma
or a point where a file uses that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import (
    BoolArray,
    FloatArray,
    arrow_numbers,
    arrow_texts,
    as_bools,
    cell_bounds,
    empty_cells,
    filled,
    text_bytes,
)

NUMBER_PATTERN = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
MISSING_TOKENS = (
    "",
    "-",
    "--",
    "---",
    "#n/a",
    "#na",
    "<na>",
    "missing",
    "n.d.",
    "n/a",
    "na",
    "nan",
    "nd",
    "none",
    "null",
)
# As they stand once points and commas have changed places.
_MISSING_SWAPPED = tuple(token.replace(".", ",") for token in MISSING_TOKENS)
# Many models, forests among them, compute with single-precision numbers: beyond these is infinity.
LARGEST = float(np.finfo(np.float32).max)
BLANKS = " \t\n\r\u00a0\u202f"
# What stands between groups of three digits in any file: ISO 80000-1 and Swiss usage.
GROUP_MARKS = (" ", "\u00a0", "\u202f", "'", "\u2019")
_SWAP = bytes.maketrans(b",.", b".,")


@dataclass(frozen=True)
class NumberMarks:
    """What a file writes its numbers with.

    Attributes
    ----------
    decimal : str
        ``.`` or ``,``.
    thousands : str
        ``,`` or ``.`` between groups of three digits, besides `GROUP_MARKS`; empty for none.
    groups : str
        Which of `GROUP_MARKS` were seen, for people to know.
    """

    decimal: str = "."
    thousands: str = ""
    groups: str = ""


PLAIN_MARKS = NumberMarks()


@dataclass(frozen=True)
class NumberColumn:
    """One column as numbers.

    Attributes
    ----------
    values : ndarray of float64, shape (n_rows,)
        NaN where the cell is missing or bad.
    missing, bad : ndarray of bool, shape (n_rows,)
        No cell is both.
    """

    values: FloatArray
    missing: BoolArray
    bad: BoolArray


def parse_numbers(
    column: pa.Array, marks: NumberMarks = PLAIN_MARKS, *, is_clean: bool = True
) -> NumberColumn:
    """Read a column of text, or of a Parquet file's own numbers, as numbers.

    Parameters
    ----------
    column : pyarrow.Array of shape (n_rows,)
        Strings as they stand in the file, or integers, floats or decimals. Any other type
        (booleans, dates) holds no number: each of its cells is bad.
    marks : NumberMarks
        What text is written with.
    is_clean : bool
        Whether all cells are expected to be numbers; it decides what is tried first, and no result.
    """
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = column.cast(pa.string())
        text = filled(text, "")
        if marks.decimal == ",":
            text = _swapped(text)
        thousands = "," if marks.thousands else ""
        if not is_clean:
            return _parse_any_text(_ungrouped(text, thousands))
        if marks.groups or thousands:  # a cast that fails costs more than a look at the text
            text = _ungrouped(text, thousands)
            return _parse_clean_text(text) or _parse_any_text(text)
        return _parse_clean_text(text) or _parse_any_text(_ungrouped(text, thousands))
    missing = as_bools(pc.is_null(column, nan_is_null=True))
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = _to_floats(pc.cast(column, pa.float64(), safe=False))
        bad = ~_is_usable(values) & ~missing
        values[bad] = np.nan
        return NumberColumn(values, missing, bad)
    return NumberColumn(np.full(len(column), np.nan), missing, ~missing)


def without_absent(numbers: NumberColumn, column: pa.Array, words: Sequence[str]) -> NumberColumn:
    """Take cells that hold one of some words, or of some numbers, as missing.

    Parameters
    ----------
    words : sequence of str
        In small letters; ``-999`` is any way to write that number.
    """
    known = arrow_texts(words)
    as_numbers = parse_numbers(known)
    absent = np.isin(numbers.values, as_numbers.values[np.isfinite(as_numbers.values)])
    if numbers.bad.any() and (
        pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    ):
        trimmed = pc.utf8_lower(pc.utf8_trim(filled(column, ""), characters=BLANKS))
        absent |= numbers.bad & as_bools(pc.is_in(trimmed, value_set=known))
    if not absent.any():
        return numbers
    values = np.where(absent, np.nan, numbers.values)
    return NumberColumn(values, numbers.missing | absent, numbers.bad & ~absent)


def missing_text(column: pa.Array) -> BoolArray:
    """Say which cells of text stand for "no value"."""
    # A Parquet file's text can hold nulls, of which is_in would say no.
    return as_bools(
        pc.is_in(_folded(column), value_set=arrow_texts((*MISSING_TOKENS, *_MISSING_SWAPPED)))
    )


def _folded(column: pa.Array) -> pa.Array:
    return pc.utf8_lower(pc.utf8_trim(filled(column, ""), characters=BLANKS))


def is_missing_text(cell: str) -> bool:
    """Say whether one cell stands for "no value"."""
    return cell.strip(BLANKS).lower() in MISSING_TOKENS


def _swapped(column: pa.Array) -> pa.Array:
    """Put points for commas, and commas for points, so that those are no decimal marks."""
    bounds = cell_bounds(column)
    text = text_bytes(column).to_pybytes().translate(_SWAP)
    offsets = pa.py_buffer(bounds - bounds[0])
    return pa.StringArray.from_buffers(len(column), offsets, pa.py_buffer(text))


def _ungrouped(column: pa.Array, thousands: str) -> pa.Array:
    """Take out what stands between groups of three digits; the decimal mark is a point."""
    text = text_bytes(column).to_pybytes()
    is_ascii = text.isascii()
    for mark in (*GROUP_MARKS, *thousands):
        if (is_ascii and not mark.isascii()) or mark.encode() not in text:
            continue
        grouped = pc.match_substring_regex(
            column,
            rf"^[{BLANKS}]*[+-]?[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+(?:\.[0-9]*)?[{BLANKS}]*$",
        )
        bare = pc.replace_substring(column, mark, "")
        is_all = grouped.true_count == len(column)
        column = bare if is_all else pc.if_else(grouped, bare, column)
    return column


def _parse_clean_text(column: pa.Array) -> NumberColumn | None:
    """Cast at once; None when a cell needs the grammar (arrow also accepts nan and inf)."""
    missing = empty_cells(column)
    try:
        values = _cast(column, ~missing)
    except pa.ArrowInvalid:
        return None
    if not np.array_equal(_is_usable(values), ~missing):
        return None
    return NumberColumn(values, missing, np.zeros(len(values), dtype=bool))


def _cast(column: pa.Array, rows: BoolArray) -> FloatArray:
    """Cast the text of some rows; the others become NaN."""
    cast = pc.cast(_nulls_where(column, ~rows), pa.float64())
    values = np.frombuffer(cast.buffers()[1], dtype=np.float64, count=len(column)).copy()
    values[~rows] = np.nan
    return values


def _nulls_where(column: pa.Array, mask: BoolArray) -> pa.Array:
    """Make some cells of text null without copying the text.

    (pyarrow's functions that take a scalar would do, but the first one imports pandas.)
    """
    valid = np.packbits(~mask, bitorder="little")
    bounds, text = pa.py_buffer(cell_bounds(column)), column.buffers()[2]
    return pa.StringArray.from_buffers(len(column), bounds, text, pa.py_buffer(valid))


def _parse_any_text(column: pa.Array) -> NumberColumn:
    """Cast what is plainly a number, and look at the rest cell by cell, by the grammar."""
    plain = _plain_numbers(column)
    values = _cast(column, plain)
    missing = np.zeros(len(column), dtype=bool)
    rows = np.flatnonzero(~plain)
    rest = column.take(arrow_numbers(rows))
    missing[rows] = missing_text(rest)
    trimmed = pc.utf8_trim(rest, characters=BLANKS)
    is_number = as_bools(pc.match_substring_regex(trimmed, NUMBER_PATTERN))
    values[rows] = _to_floats(pc.cast(_nulls_where(trimmed, ~is_number), pa.float64()))
    usable = _is_usable(values)
    values[~usable] = np.nan
    return NumberColumn(values, missing, ~(usable | missing))


def _plain_numbers(column: pa.Array) -> BoolArray:
    """Say which cells are an optional sign and digits, with at most one decimal point."""
    bounds = cell_bounds(column)
    text = np.frombuffer(column.buffers()[2] or b"", dtype=np.uint8)[bounds[0] : bounds[-1]]
    starts, ends = bounds[:-1] - bounds[0], bounds[1:] - bounds[0]
    from_point = text - np.uint8(ord("."))  # the point is 0, a slash 1, the digits are 2 to 11
    n_points = _count_in_cells(from_point == 0, starts, ends)
    n_others = _count_in_cells((from_point > 11) | (from_point == 1), starts, ends)
    filled = starts < ends
    first = text[starts[filled]]
    n_signs = np.zeros(len(column), dtype=np.uint32)
    n_signs[filled] = (first == ord("+")) | (first == ord("-"))
    n_digits = ends - starts - n_points - n_others
    return np.asarray((n_others == n_signs) & (n_points <= 1) & (n_digits > 0))


def _count_in_cells(
    mask: BoolArray, starts: npt.NDArray[np.int32], ends: npt.NDArray[np.int32]
) -> npt.NDArray[np.uint32]:
    totals = np.zeros(len(mask) + 1, dtype=np.uint32)
    np.cumsum(mask, out=totals[1:])
    return totals[ends] - totals[starts]


def _is_usable(values: FloatArray) -> BoolArray:
    """Say which values are finite in single precision too; NaN is not."""
    return np.asarray(np.abs(values) <= LARGEST)


def _to_floats(column: pa.Array) -> FloatArray:
    data = np.frombuffer(column.buffers()[1], dtype=np.float64) if len(column) else np.empty(0)
    values = data[column.offset : column.offset + len(column)].copy()
    if column.null_count:
        values[as_bools(column.is_null())] = np.nan
    return values
