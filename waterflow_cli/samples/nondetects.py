"""Cells that give a bound and no value: ``<0.5``, ``ND<0.5``, ``<LQ`` and ``>200``."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import (
    BoolArray,
    FloatArray,
    arrow_numbers,
    arrow_texts,
    as_bools,
    as_integers,
    filled,
    joined,
    where_else,
)
from waterflow_cli.tables.numbers import BLANKS, NumberMarks, parse_numbers
from waterflow_cli.tables.reading_options import Nondetect
from waterflow_cli.tables.units import convert

_Bounds = tuple[BoolArray, BoolArray, FloatArray]
# So few different texts of a batch are looked up together.
_FEW = 64
# After these a number is expected.
_BELOW = r"^(?:nd|n\.d\.|bdl)?\s*(?:<=?|≤)"
_ABOVE = r"^(?:>=?|≥)"
_SIGN = r"^(?:nd|n\.d\.|bdl)?\s*(?:[<>]=?|[≤≥])\s*"
# Words for "below a limit" that do not say which: English and French.
_UNNAMED = (
    r"^(?:<\s*(?:l\.?q\.?|l\.?d\.?|loq|lod|lqm|ldm|mdl|mrl|rl|seuil)"
    r"|l\.?q\.?|l\.?d\.?|loq|lod|bdl|bld|bloq|blq|bql|n\.?q\.?|nd|n\.d\.?|traces?|tr"
    r"|not detected|non[- ]detect(?:ed)?|non détectée?|non quantifiée?)$"
)


@dataclass(frozen=True)
class Censored:
    """The cells of one column that give a bound and no value.

    Attributes
    ----------
    below, above : ndarray of bool, shape (n_rows,)
        Where the value lies below the bound (a limit of quantification), or above it.
    bound : ndarray of float64, shape (n_rows,)
        In the schema's unit; NaN where the cell is not censored, and where no bound is known.
    without_limit : int
        Non-detects that name no limit and are read as missing: ``ND``, unless ``--loq`` tells.
    """

    below: BoolArray
    above: BoolArray
    bound: FloatArray
    without_limit: int = 0

    def within(self, rows: BoolArray) -> Censored:
        """Give those in some rows, a mask of shape (n_rows,)."""
        if rows.all():
            return self
        bound = np.where(rows, self.bound, np.nan)
        return Censored(self.below & rows, self.above & rows, bound, self.without_limit)


def find_nondetects(cells: pa.Array, marks: NumberMarks) -> Censored:
    """Read cells that are no plain numbers as bounds, where they are such; in the file's unit.

    Parameters
    ----------
    cells : pyarrow.Array of string, shape (n_cells,)
        As they stand in the file.
    """
    encoded = filled(cells, "").dictionary_encode()
    texts = encoded.dictionary
    if len(texts) <= _FEW:  # laboratories repeat their limits: what was read is remembered
        below, above, bound = _remembered(tuple(texts.to_pylist()), marks)
    else:
        below, above, bound = _read_bounds(texts, marks)
    places = as_integers(encoded.indices)
    return Censored(below[places], above[places], bound[places])


@lru_cache(maxsize=1 << 10)
def _remembered(texts: tuple[str, ...], marks: NumberMarks) -> _Bounds:
    return _read_bounds(arrow_texts(texts), marks)


def _read_bounds(texts: pa.Array, marks: NumberMarks) -> _Bounds:
    """Tell of each text whether it stands for less or more than a bound, and for which."""
    text = pc.utf8_lower(pc.utf8_trim(texts, characters=BLANKS))
    is_below, is_above = _matches(text, _BELOW), _matches(text, _ABOVE)
    bound = np.full(len(text), np.nan)
    signed = np.flatnonzero(is_below | is_above)
    if len(signed):
        bare = pc.replace_substring_regex(text.take(arrow_numbers(signed)), _SIGN, "")
        bound[signed] = parse_numbers(bare, marks).values
    bound[bound < 0] = np.nan
    has_bound = np.isfinite(bound)
    return (is_below & has_bound) | _matches(text, _UNNAMED), is_above & has_bound, bound


def substitute(below: BoolArray, above: BoolArray, bound: FloatArray, way: Nondetect) -> FloatArray:
    """Give the numbers that stand in for censored cells, NaN for none; shape (n_cells,).

    A value above the range counts as the bound whatever the way: less would make it look harmless.
    """
    if way in ("missing", "error"):
        return np.full(len(bound), np.nan)
    for_below = np.zeros(len(bound)) if way == "zero" else bound * (0.5 if way == "half" else 1.0)
    return np.where(below, for_below, np.where(above, bound, np.nan))


def _matches(text: pa.Array, pattern: str) -> BoolArray:
    return as_bools(pc.match_substring_regex(text, pattern))


def scale_text(cells: pa.Array, factor: Fraction, marks: NumberMarks) -> pa.Array:
    """Write trimmed cells in another unit: the signs stay, what is no number stays as it is."""
    signs, bare = split_signs(cells)
    numbers = parse_numbers(bare, marks)
    scaled = arrow_numbers(convert(numbers.values, factor)).cast(pa.string())
    if marks.decimal == ",":
        scaled = pc.replace_substring(scaled, ".", ",")
    written = joined(signs, scaled)
    return where_else(arrow_numbers(np.isfinite(numbers.values)), written, cells)


def split_signs(cells: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Part what says "below" or "above" from the rest of each cell; empty where nothing does.

    >>> [part.to_pylist() for part in split_signs(pa.array(["< 0.5", "7"]))]
    [['< ', ''], ['0.5', '7']]
    """
    signs = pc.extract_regex(cells, f"(?i)^(?P<sign>{_SIGN.removeprefix('^')})").field("sign")
    return filled(signs, ""), pc.replace_substring_regex(cells, f"(?i){_SIGN}", "")
