"""Names for the array types that the modules hand to each other, and a look into Arrow's text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


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
