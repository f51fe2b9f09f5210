"""What results say, as cells of the schema's columns: numbers and bounds in the schema's units."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray, as_bools
from waterflow_cli.samples.nondetects import find_nondetects, scale_text, split_signs
from waterflow_cli.tables.numbers import (
    BLANKS,
    NumberMarks,
    is_missing_text,
    missing_text,
    parse_numbers,
    without_absent,
)
from waterflow_cli.tables.units import (
    conversion,
    has_sizes,
    leaves_speciation_open,
    parse_unit,
    taught,
)

if TYPE_CHECKING:
    from waterflow_cli.samples.profiles import Profile

# The attributes of `ResultColumns` that a value rests on.
READ = (
    *("value", "unit", "speciation", "condition", "qualifier", "limit", "limit_unit", "limit_type"),
    *("other_limit", "other_limit_unit", "other_limit_type"),
)
# Two results are the same where no more than the rounding of a conversion lies between them.
_ROUNDING = 1e-12
_SEPARATOR = "\x1f"
# What is said of a result; of several things the one that stands last here counts. One that is
# said to lie both below and above a limit must not look harmless.
_MEANINGS = ("", "ignore", "below", "above", "unknown", "reject")
_BELOW, _ABOVE, _UNKNOWN, _REJECT = range(2, 6)
# Where a profile knows one of two such words, the other one says the opposite.
_OPPOSITES = (("0", "1"), ("n", "y"), ("no", "yes"), ("false", "true"), ("non", "oui"))


class ValueProblem(NamedTuple):
    """Rows that break a rule, and what its sentence needs beside the quantity and the line."""

    rule: str
    rows: IntArray
    quantity: IntArray
    values: dict[str, str]


class Values(NamedTuple):
    """Results as they were read.

    Attributes
    ----------
    text : pyarrow.Array of string, shape (n_results,)
        In the schema's units; bounds as ``<0.5``, empty where there is no result. What a problem
        is about is as it was written, or empty.
    counts : Counter of str
        ``unitless``: results without a unit where it can be but one. Of those without a text:
        ``rejected``, which their source takes back; ``unknown``, of which something is said that
        the profile does not know; ``valueless``, the others.
    """

    text: pa.Array
    problems: list[ValueProblem]
    counts: Counter[str]


@dataclass(frozen=True, kw_only=True)
class ValueReader:
    """Reads the values of results.

    Attributes
    ----------
    quantities : sequence of str
        What may be measured, by number.
    wanted : dict of str to str
        The unit in which a quantity is wanted. Where the schema tells none, the first one that is
        read is noted here, and others are converted to it.
    unit_aliases : mapping of str to str
        What the user said that some units of the file stand for.
    where : mapping of str to str
        The columns of the file, by attribute of `ResultColumns`.
    absent : sequence of str
        More words for a missing value, in small letters; a number is one too.
    """

    profile: Profile
    quantities: Sequence[str]
    wanted: dict[str, str]
    unit_aliases: Mapping[str, str]
    where: Mapping[str, str]
    marks: NumberMarks
    absent: Sequence[str] = ()

    def read(self, cells: Mapping[str, pa.Array], quantity: IntArray) -> Values:
        """Read results.

        Parameters
        ----------
        cells : mapping of str to pyarrow.Array of string, each of shape (n_results,)
            By attribute of `ResultColumns`, trimmed, without nulls.
        quantity : ndarray of int64, shape (n_results,)
            What was measured.
        """
        text, unit = self._without_absent(cells["value"]), self._units(cells, "unit")
        found = Values(text, [], Counter())
        if self.profile.conditions or self.where.keys() & {"condition", "qualifier"}:
            meanings = self._meanings(cells)
            meaning = np.max(list(meanings.values()), axis=0)
            self._note_unknown(meanings, cells, quantity, found.problems)
            meaning = self._without_odd_limits(meaning, cells, quantity, found.problems)
            found.counts["rejected"] = int((meaning == _REJECT).sum())
            found.counts["unknown"] = int((meaning == _UNKNOWN).sum())
            if unit is None:
                self._note_untold(meaning, cells, quantity, found.problems)
            text, unit = self._bounded(text, unit, cells, meaning)
            text = pc.if_else(pa.array(meaning >= _UNKNOWN), "", text)
        n_empty = int(_is_empty(text).sum())
        found.counts["valueless"] = n_empty - found.counts["rejected"] - found.counts["unknown"]
        if unit is not None:
            text = self._converted(text, unit, quantity, found)
        return found._replace(text=text)

    def _without_absent(self, text: pa.Array) -> pa.Array:
        """Empty the results that stand for no value; a word such as ``n.d.`` is a bound."""
        missing = missing_text(text)
        if self.absent:
            numbers = parse_numbers(text, self.marks)
            told = without_absent(numbers, text, self.absent)
            missing |= told.missing & ~numbers.missing
        words = np.flatnonzero(missing & ~_is_empty(text))
        if not len(words):
            return text
        missing[words] &= ~find_nondetects(text.take(pa.array(words)), self.marks).below
        return pc.if_else(pa.array(missing), "", text)

    def _units(self, cells: Mapping[str, pa.Array], key: str) -> pa.Array | None:
        """Give the units of the results or of limits, what they are expressed as included."""
        if key not in self.where:
            return None
        unit = self._meant(cells[key])
        if "speciation" not in self.where:
            return unit
        said = _without_tokens(cells["speciation"])
        pairs = pc.binary_join_element_wise(unit, said, _SEPARATOR).dictionary_encode()
        joined = [_qualified(*pair.split(_SEPARATOR)) for pair in pairs.dictionary.to_pylist()]
        return pa.array(joined, pa.string()).take(pairs.indices)

    def _meant(self, units: pa.Array) -> pa.Array:
        """Put the units that the user taught in place of what the file says."""
        encoded = _without_tokens(units).dictionary_encode()
        meant = [taught(text, self.unit_aliases) for text in encoded.dictionary.to_pylist()]
        return pa.array(meant, pa.string()).take(encoded.indices)

    def _meanings(self, cells: Mapping[str, pa.Array]) -> dict[str, IntArray]:
        """Tell what is said of each result, by where it is said; places in `_MEANINGS`."""
        conditions, qualifiers = (
            _by_word(words) for words in (self.profile.conditions, self.profile.qualifiers)
        )
        # In place of a value a word may stand; a flag "1" beside it makes no word of the number 1.
        spelt = {word: said for word, said in conditions.items() if any(map(str.isalpha, word))}
        found = {"value": by_text(cells["value"], lambda text: spelt.get(text.lower(), 0))}
        for key, words in (("condition", conditions), ("qualifier", qualifiers)):
            if key in self.where:
                found[key] = by_text(cells[key], partial(_meaning_of, words))
        return found

    def _note_unknown(
        self,
        meanings: Mapping[str, IntArray],
        cells: Mapping[str, pa.Array],
        quantity: IntArray,
        problems: list[ValueProblem],
    ) -> None:
        """Note the results of which something is said that the profile does not know."""
        decided = np.max(list(meanings.values()), axis=0)
        for key, meaning in meanings.items():
            rows = np.flatnonzero((meaning == _UNKNOWN) & (decided == _UNKNOWN))
            said = cells[key].take(pa.array(rows)).to_numpy(zero_copy_only=False)
            for text in dict.fromkeys(said.tolist()):
                values = {"column": self.where[key], "said": text}
                own = rows[said == text]
                problems.append(ValueProblem("unknown_qualifier", own, quantity[own], values))

    def _bounded(
        self, text: pa.Array, unit: pa.Array | None, cells: Mapping[str, pa.Array], said: IntArray
    ) -> tuple[pa.Array, pa.Array | None]:
        """Write results as bounds where they are said to be such.

        Below a limit, a value is no measured one: it is the limit, where none is named. Above one,
        the value is the bound, and the limit where there is no value.
        """
        sign, bare = split_signs(text)
        below = (said == _BELOW) & _is_empty(sign)
        above = (said == _ABOVE) & ~as_bools(pc.match_substring_regex(sign, "[>≥]"))
        limit, of_limit = self._limits(cells, said, unit)
        is_number = parse_numbers(bare, self.marks).values > 0
        from_limit = ~missing_text(limit) & (below | (above & ~is_number))
        bound = pc.if_else(pa.array(from_limit), limit, bare)
        is_bound = parse_numbers(bound, self.marks).values > 0
        # A bare sign is no number, and so a finding: what lies above a range is not passed over.
        for rows, mark, unnamed in ((below, "<", "ND"), (above, ">", ">")):
            signed = pc.binary_join_element_wise(pa.repeat(mark, len(bound)), bound, "")
            signed = pc.if_else(pa.array(is_bound), signed, unnamed)
            text = pc.if_else(pa.array(rows), signed, text)
        return text, unit and pc.if_else(pa.array(from_limit), of_limit, unit)

    def _note_untold(
        self,
        meaning: IntArray,
        cells: Mapping[str, pa.Array],
        quantity: IntArray,
        problems: list[ValueProblem],
    ) -> None:
        """Note bounds of which no column tells the unit, though one tells that of their limit."""
        is_told = np.zeros(len(quantity), dtype=bool)
        for key in {"limit_unit", "other_limit_unit"} & self.where.keys():
            is_told |= ~_is_empty(self._meant(cells[key]))
        decides = np.array([has_sizes(self.wanted.get(name, "")) for name in self.quantities])
        is_bound = (meaning == _BELOW) | (meaning == _ABOVE)
        rows = np.flatnonzero(is_told & is_bound & decides[quantity])
        if len(rows):
            problems.append(ValueProblem("missing_unit", rows, quantity[rows], {"unit": ""}))

    def _limits(
        self, cells: Mapping[str, pa.Array], said: IntArray, unit: pa.Array | None
    ) -> tuple[pa.Array, pa.Array]:
        """Give the limit that each result lies beyond, and its unit.

        Of two the higher one counts: what is below a quantification limit may be above the lower
        one of detection.
        """
        limit = pa.repeat("", len(said))
        unit = limit if unit is None else unit
        of_limit, amount = unit, np.full(len(said), np.nan)
        for key in ("limit", "other_limit"):
            if key not in self.where:
                continue
            own = self._units(cells, f"{key}_unit")
            own = unit if own is None else pc.if_else(pc.equal(own, ""), unit, own)
            sizes = _sizes(own)
            found = parse_numbers(cells[key], self.marks).values * sizes
            counts = ~missing_text(cells[key]) & self._is_of_type(f"{key}_type", cells, said)
            higher = pa.array(counts & (np.isnan(amount) | (found > amount)))
            limit = pc.if_else(higher, cells[key], limit)
            of_limit = pc.if_else(higher, own, of_limit)
            amount = np.where(as_bools(higher), found, amount)
        return limit, of_limit

    def _is_of_type(self, key: str, cells: Mapping[str, pa.Array], said: IntArray) -> BoolArray:
        """Say whether a limit is of a type that a result can lie beyond as it is said to."""
        if key not in self.where:
            return np.ones(len(said), dtype=bool)
        below, above = self._types(cells[key])
        return np.where(said == _ABOVE, above, below) | missing_text(cells[key])

    def _types(self, cells: pa.Array) -> tuple[BoolArray, BoolArray]:
        """Say which types of limits results lie below, and which they lie above."""
        listed = [
            {text.strip().lower() for text in self.profile.limit_types.get(key, ())}
            for key in ("below", "above")
        ]
        below, above = (by_text(cells, partial(_is_in, words)) > 0 for words in listed)
        return below, above

    def _without_odd_limits(
        self,
        meaning: IntArray,
        cells: Mapping[str, pa.Array],
        quantity: IntArray,
        problems: list[ValueProblem],
    ) -> IntArray:
        """Note the bounds whose limits are of types that the profile does not know."""
        for key in ("limit_type", "other_limit_type"):
            if key not in self.where:
                continue
            is_bound = (meaning == _BELOW) | (meaning == _ABOVE)
            below, above = self._types(cells[key])
            odd = is_bound & ~(below | above | missing_text(cells[key]))
            said = np.where(odd, _UNKNOWN, 0)
            self._note_unknown({key: said}, cells, quantity, problems)
            meaning = np.where(odd, _UNKNOWN, meaning)
        return meaning

    def _converted(
        self, text: pa.Array, unit: pa.Array, quantity: IntArray, found: Values
    ) -> pa.Array:
        """Convert the texts that are in another unit than the one wanted."""
        encoded = unit.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        pairs = quantity * len(names) + encoded.indices.to_numpy()
        filled = ~missing_text(text)
        places, first = np.unique(pairs[filled], return_index=True)
        for pair in places[np.argsort(first)].tolist():
            index, name = pair // len(names), names[pair % len(names)]
            rows = (pairs == pair) & filled
            factor, problem = self._factor(self.quantities[index], name, int(rows.sum()), found)
            if problem is not None:
                own = np.flatnonzero(rows)
                told = {"unit": name, **problem}
                rule = "unknown_unit" if name else "missing_unit"
                found.problems.append(ValueProblem(rule, own, quantity[own], told))
            elif factor != 1:
                mask = pa.array(rows)
                scaled = scale_text(text.filter(mask), factor, self.marks)
                text = pc.replace_with_mask(text, mask, scaled)
        return text

    def _factor(
        self, quantity: str, unit: str, n_rows: int, found: Values
    ) -> tuple[Fraction, dict[str, str] | None]:
        """Tell what some results are multiplied with, or what is wrong with their unit.

        The latter names the unit that is wanted, unless the one that is named is not known.
        """
        wanted = self.wanted.setdefault(quantity, unit) if unit else self.wanted.get(quantity, "")
        if not unit:
            told = self.profile.units.get(quantity)
            if told is None and has_sizes(wanted):
                return Fraction(1), {}
            found.counts["unitless"] += 0 if conversion(wanted, "pH") else n_rows
            unit = told or wanted
        factor = Fraction(1) if unit == wanted else conversion(unit, wanted)
        if factor is None:
            return Fraction(1), {"wanted": wanted} if parse_unit(unit) else {}
        if leaves_speciation_open(unit, wanted):
            # A profile knows what its source means by a plain "mg/L".
            told = self.profile.units.get(quantity)
            if told is None or leaves_speciation_open(told, wanted):
                return Fraction(1), {"open": wanted}
        return factor, None


def by_text(column: pa.Array, find: Callable[[str], int]) -> IntArray:
    """Ask once for each different text of a column; shape (n_rows,)."""
    encoded = trimmed(column).dictionary_encode()
    codes = np.array([find(text) for text in encoded.dictionary.to_pylist()] or [0])
    return np.asarray(codes[encoded.indices.to_numpy()], dtype=np.int64)


def _is_in(words: set[str], text: str) -> int:
    return int(text.lower() in words)


def _sizes(units: pa.Array) -> FloatArray:
    """Give what makes amounts in some units comparable; shape (n_rows,)."""
    encoded = units.dictionary_encode()
    found = [parse_unit(name) for name in encoded.dictionary.to_pylist()] or [None]
    sizes = np.array([float(unit.size) if unit else 1.0 for unit in found])
    return np.asarray(sizes[encoded.indices.to_numpy()])


def _by_word(words: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Give the place of each word's meaning, in lower case, those that are left out included."""
    found = {
        word.strip().lower(): _MEANINGS.index(meaning)
        for meaning, listed in words.items()
        for word in listed
    }
    for pair in _OPPOSITES:
        for word, other in (pair, pair[::-1]):
            if found.get(word, 0) in (_BELOW, _ABOVE):
                found.setdefault(other, _MEANINGS.index("ignore"))
    return found


def _meaning_of(words: Mapping[str, int], text: str) -> int:
    """Tell what a cell says; several codes may stand in it."""
    if (whole := text.lower()) in words:
        return words[whole]
    if is_missing_text(text):
        return 0
    parts = [part for part in re.split(r"[\s;,|/]+", whole) if part]
    return max((words.get(part, _UNKNOWN) for part in parts), default=_UNKNOWN)


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
    """Empty the cells that stand for "none": WQP writes that as the unit of pH, others ``---``."""
    return pc.if_else(pa.array(missing_text(text)), "", text)


def _is_empty(text: pa.Array) -> BoolArray:
    return as_bools(pc.equal(text, ""))
