"""Cells that hold more than a number: ``245 mg/L``, ``0.5 U``, ``ND(0.5)``, ``0.5 (LQ)``.

Such a cell is put as the number or the bound that it means, or else it stays what it is, a finding.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from waterflow_cli.common.arrays import BoolArray, FloatArray, arrow_texts, as_integers, filled
from waterflow_cli.tables.numbers import BLANKS
from waterflow_cli.tables.reading_options import Meaning
from waterflow_cli.tables.units import conversion, leaves_speciation_open, parse_unit

# Qualifiers of US EPA and of the Water Quality Portal: not detected, the same at an estimated
# limit, estimated, rejected. As capitals alone.
_QUALIFIERS: Mapping[str, Meaning] = {
    "U": "nondetect",
    "UJ": "nondetect",
    "J": "ignore",
    "R": "reject",
}
_TOO_MANY = ("tntc", "too numerous to count", "indénombrable", "indénombrables")
_LIMIT = re.compile(r"(?i:l\.?q\.?|l\.?d\.?|loq|lod|lqm|ldm|mdl|mrl|rl|pql)")
_SIGN = re.compile(
    rf"(?i)(?:n\.?d\.?|bdl)?\s*(?:<=?|≤)(?:\s*(?:{_LIMIT.pattern}))?|>=?|≥|n\.?d\.?|bdl"
)
_SIGNS: Mapping[str, Meaning] = {"<": "nondetect", ">": "above"}
_BLANK = "[" + BLANKS + "]"
_NUMBER = re.compile(
    rf"[+-]?(?:[0-9](?:[0-9.,'\u2019]|{_BLANK}(?=[0-9]))*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?"
)
_PART = re.compile(r"\([^()\[\]]*\)|\[[^()\[\]]*\]|[^\s()\[\]]+")
# No cell that means a number is nearly as long.
_MOST_CHARACTERS = 80


class Said(NamedTuple):
    """What a cell means.

    Attributes
    ----------
    text : str
        A number, a bound (``<0.5``), ``<LQ``, or nothing where there is no result; where a rule is
        broken, what stood there.
    factor : Fraction, optional
        From the cell's own unit to the schema's.
    marks : tuple of str
        What told it.
    rule : str
        The rule that is broken where it is understood and yet no number.
    """

    text: str
    factor: Fraction | None = None
    marks: tuple[str, ...] = ()
    rule: str = ""


class MarkedCells(NamedTuple):
    """Cells as what they mean, each of shape (n_cells,).

    Attributes
    ----------
    changed : ndarray of bool
        Where a cell means something else than its text.
    times, per : ndarray of float64
        What a number is multiplied with, and then divided by.
    broken : dict of str to ndarray of bool
        The cells that are understood and yet no numbers, by rule.
    """

    text: pa.Array
    changed: BoolArray
    times: FloatArray
    per: FloatArray
    broken: dict[str, BoolArray]
    marks: Counter[str]


@dataclass(frozen=True, kw_only=True)
class CellMarks:
    """What may stand beside the numbers of a column, or in their place.

    Attributes
    ----------
    wanted : str
        The schema's unit; empty where it tells none.
    unit_of : callable
        Gives the unit that a text stands for in the file.
    flags : mapping of str to str
        What the user says that marks mean.
    """

    wanted: str = ""
    unit_of: Callable[[str], str] = str
    flags: Mapping[str, Meaning] = field(default_factory=dict)

    def read(self, cells: pa.Array, factor: Fraction) -> MarkedCells | None:
        """Read the cells of a column that are no plain numbers; None where none is changed.

        Parameters
        ----------
        factor : Fraction
            What those are multiplied with that name no unit of their own.
        """
        encoded = filled(cells, "").dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        said = [self.meaning_of(text.strip(BLANKS)) for text in texts]
        if not any(said):
            return None
        meant = [each.text if each else text for each, text in zip(said, texts, strict=True)]
        factors = [factor if each is None or each.factor is None else each.factor for each in said]
        rules = [each.rule if each else "" for each in said]
        at = as_integers(encoded.indices)
        marks: Counter[str] = Counter()
        for each, n_cells in zip(said, np.bincount(at, minlength=len(said)).tolist(), strict=True):
            marks.update(dict.fromkeys(each.marks if each else (), n_cells))
        return MarkedCells(
            arrow_texts(meant).take(encoded.indices),
            np.array([each is not None for each in said])[at],
            np.array([float(each.numerator) for each in factors])[at],
            np.array([float(each.denominator) for each in factors])[at],
            {rule: np.array([each == rule for each in rules])[at] for rule in set(rules) - {""}},
            marks,
        )

    def meaning_of(self, text: str) -> Said | None:
        """Tell what a trimmed cell means; None where it says no more than its text.

        >>> CellMarks(wanted="mg/L").meaning_of("<0.5 µg/L")
        Said(text='<0.5', factor=Fraction(1, 1000), marks=("'µg/L'",), rule='')
        """
        if not text or len(text) > _MOST_CHARACTERS:
            return None
        if text in self.flags:
            return _alone(self.flags[text], text)
        if text.casefold() in _TOO_MANY:
            return Said(text, rule="no_bound")
        number = _NUMBER.search(text)
        if number is None or number.span() == (0, len(text)):
            return None
        head, tail = text[: number.start()].strip(BLANKS), text[number.end() :].strip(BLANKS)
        if (head[-1:], tail[:1]) in (("(", ")"), ("[", "]")):
            head, tail = head[:-1].strip(BLANKS), tail[1:].strip(BLANKS)
        return self._beside(number[0], head, tail)

    def _beside(self, number: str, head: str, tail: str) -> Said | None:
        """Read what stands before and after a number."""
        parts = [tail] if self._meaning(tail) else _PART.findall(tail)
        # Without blanks a mark and a unit may be another unit: 'U g/L'.
        if self._factor(tail) and not any(map(self._meaning, parts)):
            parts = [tail]
        if "".join(parts).replace(" ", "") != re.sub(_BLANK, "", tail):
            return None  # a bracket that nothing closes
        told = {part: self._meaning(part) for part in parts}
        unit = " ".join(part for part in parts if told[part] is None)
        sign = ""
        if (before := self._meaning(head)) is not None:
            told = {head: before, **told}
        elif head:
            if not _SIGN.fullmatch(head):
                return None
            sign = ">" if head[0] in ">≥" else "<"
        meant = {each for each in told.values() if each is not None}
        meant |= {_SIGNS[sign]} if sign else set()
        if {"nondetect", "above"} <= meant or not (meant or unit):
            return None
        factor = self._factor(unit) if unit else None
        if unit and factor is None:
            is_unit = not unit.endswith("*") and parse_unit(self.unit_of(_bare(unit))) is not None
            return Said(f"{head} {number} {tail}", rule="cell_unit") if is_unit else None
        marks = [f"'{part}' ({each})" for part, each in told.items() if each is not None]
        marks += [f"'{unit}'"] if unit else []
        if "reject" in meant:
            return Said("", marks=tuple(marks))
        written = "<" if "nondetect" in meant else ">" if "above" in meant else ""
        return Said(written + number, factor, tuple(marks))

    def _meaning(self, text: str) -> Meaning | None:
        """Tell what a mark beside a number says of it."""
        for mark in (text, bare := _bare(text)):
            if mark in self.flags:
                return self.flags[mark]
        if _LIMIT.fullmatch(bare):
            return "nondetect"
        # No pH is below a limit: there a U is a unit, or a slip.
        unit = parse_unit(self.wanted)
        return None if unit is not None and unit.kind == "pH" else _QUALIFIERS.get(bare)

    def _factor(self, text: str) -> Fraction | None:
        """Tell what a number in a unit is multiplied with; an asterisk refers to some note."""
        unit = self.unit_of(_bare(text))
        if not self.wanted or text.endswith("*") or leaves_speciation_open(unit, self.wanted):
            return None
        return conversion(unit, self.wanted)


def _alone(meaning: Meaning, text: str) -> Said:
    """Give what a mark in the place of a number means."""
    marks = (f"'{text}' ({meaning})",)
    if meaning == "above":
        return Said(text, marks=marks, rule="no_bound")
    return Said("<LQ" if meaning == "nondetect" else "", marks=marks)


def _bare(text: str) -> str:
    """Take brackets away that stand around all of a text."""
    return text[1:-1].strip(BLANKS) if text[:1] + text[-1:] in ("()", "[]") else text
