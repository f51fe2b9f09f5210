"""What results say, as cells of the schema's columns: numbers and bounds in the schema's units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray, as_bools
from waterflow_cli.samples.nondetects import scale_text, split_signs
from waterflow_cli.tables.numbers import BLANKS, NumberMarks, missing_text, parse_numbers
from waterflow_cli.tables.units import conversion, parse_unit

if TYPE_CHECKING:
    from waterflow_cli.samples.profiles import Profile

# The attributes of `ResultColumns` that a value rests on.
READ = ("value", "unit", "speciation", "condition", "limit", "limit_unit")
# Two results are the same where no more than the rounding of a conversion lies between them.
_ROUNDING = 1e-12
_SEPARATOR = "\x1f"


class UnitProblem(NamedTuple):
    """Rows whose unit is not known or does not fit, and what rule ``unknown_unit`` says of it."""

    rows: IntArray
    quantity: int
    values: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class ValueReader:
    """Reads the values of results.

    Attributes
    ----------
    quantities : sequence of str
        What may be measured, by number.
    wanted : mapping of str to str
        The unit in which a quantity is wanted, where it has one.
    has : frozenset of str
        The attributes of `ResultColumns` whose columns the file has.
    """

    profile: Profile
    quantities: Sequence[str]
    wanted: Mapping[str, str]
    has: frozenset[str]
    marks: NumberMarks

    def read(
        self, cells: Mapping[str, pa.Array], quantity: IntArray
    ) -> tuple[pa.Array, list[UnitProblem], int]:
        """Read results.

        Parameters
        ----------
        cells : mapping of str to pyarrow.Array of string, each of shape (n_results,)
            By attribute of `ResultColumns`, trimmed, without nulls.
        quantity : ndarray of int64, shape (n_results,)
            What was measured.

        Returns
        -------
        pyarrow.Array of string, shape (n_results,)
            In the schema's units; bounds as ``<0.5``, empty where there is none.
        list of UnitProblem
            Their text is as it was written.
        int
            Results that name no unit, though the file has a column for it.
        """
        text, unit = cells["value"], self._units(cells)
        if "condition" in self.has:
            text, unit = self._bounded(text, unit, cells)
        if unit is None:
            return text, [], 0
        return self._converted(text, unit, quantity)

    def _units(self, cells: Mapping[str, pa.Array]) -> pa.Array | None:
        """Give the units of the results, what they are expressed as included."""
        if "unit" not in self.has:
            return None
        unit = _without_tokens(cells["unit"])
        if "speciation" not in self.has:
            return unit
        said = _without_tokens(cells["speciation"])
        pairs = pc.binary_join_element_wise(unit, said, _SEPARATOR).dictionary_encode()
        joined = [_qualified(*pair.split(_SEPARATOR)) for pair in pairs.dictionary.to_pylist()]
        return pa.array(joined, pa.string()).take(pairs.indices)

    def _bounded(
        self, text: pa.Array, unit: pa.Array | None, cells: Mapping[str, pa.Array]
    ) -> tuple[pa.Array, pa.Array | None]:
        """Write results as bounds where their condition says that they are such.

        Below a limit, a value is no measured one: it is the limit, where none is named. One that is
        said to lie above a limit and is there was measured all the same.
        """
        below = self._says("below", cells) & _is_empty(split_signs(text)[0])
        above = self._says("above", cells) & (_is_empty(text) | self._is_said("above", text))
        limit = cells["limit"] if "limit" in self.has else pa.repeat("", len(text))
        has_limit = ~_is_empty(limit)
        bound = pc.if_else(pa.array(has_limit), limit, text)
        is_bound = parse_numbers(bound, self.marks).values > 0
        for rows, sign, bare in ((below, "<", "ND"), (above, ">", "")):
            signed = pc.binary_join_element_wise(pa.repeat(sign, len(bound)), bound, "")
            signed = pc.if_else(pa.array(is_bound), signed, bare)
            text = pc.if_else(pa.array(rows), signed, text)
        if unit is not None and "limit_unit" in self.has:
            of_limit = _without_tokens(cells["limit_unit"])
            rows = (below | above) & has_limit & ~_is_empty(of_limit)
            unit = pc.if_else(pa.array(rows), of_limit, unit)
        return text, unit

    def _says(self, which: str, cells: Mapping[str, pa.Array]) -> BoolArray:
        return self._is_said(which, cells["condition"]) | self._is_said(which, cells["value"])

    def _is_said(self, which: str, text: pa.Array) -> BoolArray:
        said = [each.lower() for each in self.profile.conditions.get(which, [])]
        return as_bools(pc.is_in(pc.utf8_lower(text), value_set=pa.array(said, pa.string())))

    def _converted(
        self, text: pa.Array, unit: pa.Array, quantity: IntArray
    ) -> tuple[pa.Array, list[UnitProblem], int]:
        """Convert the texts that are in another unit than the one wanted."""
        encoded = unit.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        pairs = quantity * len(names) + encoded.indices.to_numpy()
        filled = ~missing_text(text)
        problems, n_without = [], 0
        for pair in np.unique(pairs[filled]).tolist():
            index, name = pair // len(names), names[pair % len(names)]
            rows = (pairs == pair) & filled
            wanted = self.wanted.get(self.quantities[index])
            if wanted is None:
                continue
            if not name:
                n_without += 0 if conversion(wanted, "pH") else int(rows.sum())
                name = self.profile.units.get(self.quantities[index], wanted)
            factor = conversion(name, wanted)
            if factor is None:
                told = {"unit": name, "wanted": wanted} if parse_unit(name) else {"unit": name}
                problems.append(UnitProblem(np.flatnonzero(rows), index, told))
            elif factor != 1:
                mask = pa.array(rows)
                scaled = scale_text(text.filter(mask), factor, self.marks)
                text = pc.replace_with_mask(text, mask, scaled)
        return text, problems, n_without


def trimmed(column: pa.Array) -> pa.Array:
    """Give a column as text without blanks around it, and empty where there is none."""
    return pc.utf8_trim(as_text(column), characters=BLANKS)


def as_text(column: pa.Array) -> pa.Array:
    """Give a column as text; a Parquet file may hold codes, dates and results of other types."""
    text = column if pa.types.is_string(column.type) else column.cast(pa.string())
    return pc.fill_null(text, "") if text.null_count else text


def same_results(one: pa.Array, other: pa.Array, marks: NumberMarks) -> BoolArray:
    """Say which results are the same, however they are written; shape (n_results,)."""
    same = as_bools(pc.equal(one, other))
    rest = pa.array(~same)
    (sign, value), (other_sign, other_value) = (
        _sign_and_value(texts.filter(rest), marks) for texts in (one, other)
    )
    close = np.isclose(value, other_value, rtol=_ROUNDING, atol=0)
    same[~same] = close & as_bools(pc.equal(sign, other_sign))
    return same


def _sign_and_value(texts: pa.Array, marks: NumberMarks) -> tuple[pa.Array, FloatArray]:
    sign, bare = split_signs(texts)
    sign = pc.utf8_lower(pc.replace_substring_regex(sign, r"\s", ""))
    return sign, parse_numbers(bare, marks).values


def _qualified(unit: str, said: str) -> str:
    """Join a unit and what a result is expressed as, unless the unit says it already."""
    found = parse_unit(unit)
    substance = said.casefold().removeprefix("as").strip()
    if not said or (found and found.substance and found.substance == substance):
        return unit
    return f"{unit} {said}".strip()


def _without_tokens(text: pa.Array) -> pa.Array:
    """Empty the cells that stand for "none": WQP writes that as the unit of pH."""
    return pc.if_else(pa.array(missing_text(text)), "", text)


def _is_empty(text: pa.Array) -> BoolArray:
    return as_bools(pc.equal(text, ""))
