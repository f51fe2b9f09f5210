"""Array types that the modules hand to each other, a look into Arrow's text, compiled loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of arrays when it is first called, once for all processes where possible.

    It lets go of the interpreter's lock, and divides by zero as NumPy does.
    """
    import numba

    how: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return cast("Callable[..., Any]", numba.njit(cache=True, **how)(function))
    except RuntimeError:  # there is no folder to keep the compiled code in
        return cast("Callable[..., Any]", numba.njit(**how)(function))


def cell_bounds(column: pa.Array) -> npt.NDArray[np.int32]:
    """Give where in its buffer the text of each cell starts, and where that of the last one ends.

    The view has one bound more than there are cells: cell k is the bytes from k to k + 1.
    """
    if not len(column):
        return np.zeros(1, dtype=np.int32)
    bounds = np.frombuffer(column.buffers()[1], dtype=np.int32)
    return bounds[column.offset : column.offset + len(column) + 1]


def empty_cells(column: pa.Array) -> BoolArray:
    """Say which cells of a column of text hold none."""
    bounds = cell_bounds(column)
    return np.asarray(bounds[1:] == bounds[:-1])


def arrow_numbers(values: npt.NDArray[Any], valid: BoolArray | None = None) -> pa.Array:
    """Give numbers or truths as Arrow's, null where they are not valid.

    Arrow's own way would import pandas, to see whether it was given something of pandas'. So it
    would for whatever text it is given, which is what the functions after this one are for.
    """
    kind = pa.bool_() if values.dtype == bool else pa.from_numpy_dtype(values.dtype)
    data = np.packbits(values, bitorder="little") if values.dtype == bool else values
    bits = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(
        kind, len(values), [bits, pa.py_buffer(np.ascontiguousarray(data))]
    )


def arrow_texts(texts: Sequence[str | None]) -> pa.StringArray:
    """Give texts as Arrow's."""
    bits = None
    if None in texts:
        valid = np.array([text is not None for text in texts], dtype=bool)
        bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
        texts = [text or "" for text in texts]
    whole = "".join(cast("Sequence[str]", texts))
    content = whole.encode()
    each = texts if len(content) == len(whole) else [str(text).encode() for text in texts]
    bounds = pa.py_buffer(np.cumsum([0, *map(len, cast("Sequence[str]", each))], dtype=np.int32))
    return pa.StringArray.from_buffers(len(texts), bounds, pa.py_buffer(content), bits)


def arrow_text(text: str) -> pa.StringScalar:
    """Give a text as Arrow's."""
    return arrow_texts([text])[0]


def joined(*parts: pa.Array | str, separator: str = "") -> pa.Array:
    """Join texts cell by cell."""
    values = [arrow_text(part) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*values, arrow_text(separator))


def where_else(mask: pa.Array, *choices: pa.Array | str) -> pa.Array:
    """Choose cell by cell between two texts: the first where the mask holds."""
    values = [arrow_text(each) if isinstance(each, str) else each for each in choices]
    return pc.if_else(mask, *values)


def filled(column: pa.StringArray, text: str) -> pa.StringArray:
    """Put a text in the place of each null."""
    return pc.fill_null(column, arrow_text(text)) if column.null_count else column


def repeated(text: str, n: int) -> pa.StringArray:
    """Give a column that holds one text."""
    return arrow_texts([text]).take(arrow_numbers(np.zeros(n, dtype=np.int64)))


def as_integers(column: pa.Array) -> npt.NDArray[Any]:
    """Give whole numbers without nulls as NumPy's."""
    kind = np.dtype(str(column.type))
    values = np.frombuffer(column.buffers()[1], dtype=kind) if len(column) else np.empty(0, kind)
    return values[column.offset : column.offset + len(column)]


def as_bools(mask: pa.Array) -> BoolArray:
    """Give a mask as NumPy's, nulls as they fall; Arrow's own way would import pandas for it."""
    if not len(mask):
        return np.zeros(0, dtype=bool)
    bits = np.frombuffer(mask.buffers()[1], dtype=np.uint8)
    bits = np.unpackbits(bits, bitorder="little")[mask.offset : mask.offset + len(mask)]
    return bits.astype(bool)


def text_bytes(column: pa.Array) -> pa.Buffer:
    """Give the text of all cells, one after the other, without copying it."""
    if not len(column):
        return pa.py_buffer(b"")
    bounds, text = cell_bounds(column), column.buffers()[2]
    start, stop = int(bounds[0]), int(bounds[-1])
    return text.slice(start, stop - start) if stop > start else pa.py_buffer(b"")


def encode_texts(column: pa.Array, n_characters: int | None = None) -> tuple[list[str], IntArray]:
    """Give the different texts of a column, trimmed and cut, and which a row has; -1 for none.

    Lists and the like in Parquet are none.
    """
    if pa.types.is_nested(column.type):
        column = pa.nulls(len(column))
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    if n_characters:
        text = pc.utf8_slice_codeunits(text, 0, n_characters)
    encoded = pc.dictionary_encode(pc.if_else(pc.equal(text, ""), None, text))
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return encoded.dictionary.to_pylist(), codes.astype(np.int64)
