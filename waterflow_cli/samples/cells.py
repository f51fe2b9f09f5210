"""Cells of a column of measurements as numbers in the schema's unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    arrow_numbers,
    as_integers,
    empty_cells,
    filled,
)
from waterflow_cli.common.errors import InputError, UsageError, did_you_mean
from waterflow_cli.common.messages import Message, joined, marked, tr
from waterflow_cli.samples.cell_marks import CellMarks
from waterflow_cli.samples.nondetects import Censored, find_nondetects, substitute
from waterflow_cli.samples.number_marks import find_marks
from waterflow_cli.samples.profiles import load_profile
from waterflow_cli.samples.table_schema import Kind, TableSchema
from waterflow_cli.tables.headers import fold_name
from waterflow_cli.tables.numbers import NumberColumn, NumberMarks, parse_numbers, without_absent
from waterflow_cli.tables.reading_options import Nondetect, ReadingOptions
from waterflow_cli.tables.units import conversion, convert, leaves_speciation_open, parse_unit

if TYPE_CHECKING:
    from waterflow_cli.tables.table import Table

T = TypeVar("T")


@dataclass(frozen=True)
class ReadCells(NumberColumn):
    """A column as numbers in the schema's unit.

    Attributes
    ----------
    censored : Censored, optional
        The cells that give a bound; None where there are none.
    unread : dict of str to ndarray of bool, shape (n_rows,)
        The bad cells that are non-detects, by the rule that they break: all of them where they
        count as errors, else those whose limit is not known.
    marks : Counter of str
        How often what stands beside a number, or in its place.
    """

    censored: Censored | None = None
    unread: Mapping[str, BoolArray] = field(default_factory=dict)
    marks: Counter[str] = field(default_factory=Counter)

    @property
    def are_odd(self) -> bool:
        """Whether some cells hold something, and no plain number."""
        return bool(self.bad.any() or self.censored or self.marks)


@dataclass(frozen=True, kw_only=True)
class CellReader:
    """Reads the cells of one column.

    Attributes
    ----------
    marks : NumberMarks
        What its numbers are written with.
    factor : Fraction
        From the file's unit to the schema's.
    unit : str
        The file's, as it is told; empty where nothing tells it.
    loq : float, optional
        Limit of quantification, in the schema's unit, where a cell names none.
    nondetect : str or None
        What non-detects count as; None where such cells are no numbers, as in a label.
    words : mapping of str to int
        In a label: what a cell stands for, as `_word` leaves it.
    conversion : str
        The conversion in words, where the file's unit is not the schema's.
    beside : CellMarks, optional
        What may stand beside its numbers.
    absent : sequence of str
        More words for a missing value; a number is one too.
    """

    marks: NumberMarks
    factor: Fraction = Fraction(1)
    unit: str = ""
    loq: float | None = None
    nondetect: Nondetect | None = None
    words: Mapping[str, int] = field(default_factory=dict)
    conversion: str = ""
    beside: CellMarks | None = None
    absent: Sequence[str] = ()

    def read(self, column: pa.Array, *, is_clean: bool = True) -> ReadCells:
        """Read cells as they stand in the file, shape (n_rows,); see `parse_numbers`."""
        numbers = parse_numbers(column, self.marks, is_clean=is_clean)
        if self.absent:
            numbers = without_absent(numbers, column, self.absent)
        values = convert(numbers.values, self.factor)
        plain = ReadCells(values, numbers.missing, numbers.bad)
        if self.words:
            return self._read_words(column, plain)
        if self.nondetect is None or not pa.types.is_string(column.type):
            return plain
        odd = numbers.bad | (numbers.missing & ~empty_cells(column))
        return self._read_odd(column, plain, np.flatnonzero(odd)) if odd.any() else plain

    def _read_words(self, column: pa.Array, plain: ReadCells) -> ReadCells:
        """Read the words of a label; where a number stands for another one, numbers too."""
        has_odd = plain.bad.any() or plain.missing.any()
        if not has_odd and all(map(_has_letters, self.words)):
            return plain
        if not (pa.types.is_string(column.type) or pa.types.is_boolean(column.type)):
            return plain
        encoded = filled(column.cast(pa.string()), "").dictionary_encode()
        said = [self.words.get(_word(text), np.nan) for text in encoded.dictionary.to_pylist()]
        values = np.array(said, dtype=float)[as_integers(encoded.indices)]
        is_word = np.isfinite(values)
        return ReadCells(
            np.where(is_word, values, plain.values), plain.missing & ~is_word, plain.bad & ~is_word
        )

    def _read_odd(self, column: pa.Array, plain: ReadCells, rows: IntArray) -> ReadCells:
        """Look again at the cells of some rows, which are neither numbers nor empty."""
        cells = column.take(arrow_numbers(rows))
        marked = self.beside.read(cells, self.factor) if self.beside else None
        if marked is None:
            times, per = float(self.factor.numerator), float(self.factor.denominator)
            return self._read_bounds(cells, plain, rows, times, per)
        numbers = parse_numbers(marked.text, self.marks, is_clean=False)
        at, here = rows[marked.changed], marked.changed
        values, missing, bad = plain.values, plain.missing.copy(), plain.bad.copy()
        values[at] = (numbers.values * marked.times / marked.per)[here]
        missing[at], bad[at] = numbers.missing[here], numbers.bad[here]
        broken = dict(marked.broken)
        if self.nondetect == "missing" and (above := broken.pop("no_bound", None)) is not None:
            missing[rows[above]], bad[rows[above]] = True, False
        plain = ReadCells(values, missing, bad)
        read = self._read_bounds(marked.text, plain, rows, marked.times, marked.per)
        broken = {rule: _spread(rows[mask], len(values)) for rule, mask in marked.broken.items()}
        unread = {**read.unread, **broken}
        return replace(read, unread=unread, marks=marked.marks)

    def _read_bounds(
        self,
        cells: pa.Array,
        plain: ReadCells,
        rows: IntArray,
        times: FloatArray | float,
        per: FloatArray | float,
    ) -> ReadCells:
        """Read the cells of some rows as bounds, where they are; values are times / per."""
        assert self.nondetect is not None
        found = find_nondetects(cells, self.marks)
        is_known = np.isfinite(found.bound)
        bound = np.where(is_known, found.bound * times / per, np.nan)
        censored = found.below | found.above
        without_limit = 0
        if self.loq is None:  # then ND and the like are missing, as they stand
            silent = found.below & ~is_known & plain.missing[rows]
            without_limit, censored = int(silent.sum()), censored & ~silent
        else:
            bound[found.below & ~is_known] = self.loq
        if not censored.any() and not without_limit:
            return plain
        refused = censored & (self.nondetect == "error")
        unnamed = censored & np.isnan(bound) & (self.nondetect in ("half", "loq"))
        taken = censored & ~refused & ~unnamed
        below, above = found.below & taken, found.above & taken
        values = plain.values
        values[rows[taken]] = substitute(below, above, bound, self.nondetect)[taken]
        missing, bad = plain.missing.copy(), plain.bad.copy()
        missing[rows[censored]] = False
        missing[rows[taken]] = self.nondetect == "missing"
        bad[rows[censored]] = ~taken[censored]

        kept = None
        if taken.any() or without_limit:
            bounds = np.full(len(values), np.nan)
            bounds[rows[taken]] = bound[taken]
            lies_below, lies_above = (_spread(rows[each], len(values)) for each in (below, above))
            kept = Censored(lies_below, lies_above, bounds, without_limit)
        unread = {"nondetect": refused, "no_limit": unnamed}
        return ReadCells(
            values,
            missing,
            bad,
            kept,
            {rule: _spread(rows[mask], len(values)) for rule, mask in unread.items()},
        )


def _spread(rows: IntArray, n_rows: int) -> BoolArray:
    """Make a mask of some rows."""
    mask = np.zeros(n_rows, dtype=bool)
    mask[rows] = True
    return mask


def make_readers(
    schema: TableSchema, table: Table, options: ReadingOptions
) -> dict[str, CellReader]:
    """Make the reader of each numeric column that a table has.

    Raises
    ------
    InputError
        If a unit is unknown or does not fit, or the file's numbers can be read in two ways.
    UsageError
        If an option names a column that is not there, or a unit that does not fit.
    """
    units = _by_column("--unit", options.units, schema, table)
    loqs = _by_column("--loq", options.loq, schema, table)
    marks = marks_of(schema, table, options)
    absent = tuple(map(str.lower, options.na))
    readers = {}
    for name in _numeric(schema, table):
        unit, factor = _unit_and_factor(name, units.get(name), schema, table)
        is_measured = name in schema.measurements and schema.kinds[name] is Kind.NUMBER
        nondetect = options.nondetect if is_measured else None
        words = _label_words(schema, options) if name == schema.label else {}
        told = ""
        if factor != 1:
            told = Message("{unit} to {wanted}", unit=unit, wanted=schema.units.get(name))
        elif name not in schema.units and (other := next(table.units_of(name), "")):
            told = Message("{unit} NOT COMPARED: the schema names no unit", unit=other)
        elif words and _has_words(table, table.match.columns[name], words):
            told = Message("words as 0 and 1")
        readers[name] = CellReader(
            marks=marks,
            factor=factor,
            unit=unit,
            loq=loqs.get(name),
            nondetect=nondetect,
            words=words,
            conversion=told,
            beside=_beside(name, schema, table, options) if is_measured else None,
            absent=absent,
        )
    return readers


def _beside(
    name: str, schema: TableSchema, table: Table, options: ReadingOptions
) -> CellMarks | None:
    """Tell what may stand beside the numbers of a column; nothing where they were put there."""
    if not table.has_own_cells:
        return None
    wanted = schema.units.get(name, "")
    return CellMarks(wanted=wanted, unit_of=table.names.unit, flags=options.flags)


def _label_words(schema: TableSchema, options: ReadingOptions) -> dict[str, int]:
    """Give the words of a label by the schema, a profile and the user; the last one counts."""
    of_profile = load_profile(options.profile).label if options.profile is not None else {}
    told = {**schema.label_values, **of_profile, **options.label_values}
    return {_word(text): value for text, value in told.items()}


def _has_words(table: Table, column: str, words: Mapping[str, int]) -> bool:
    """Say whether the first rows of a column hold one of some words."""
    if (first := table.first_rows) is None or column not in first.columns:
        return False
    cells = first.columns[column]
    if not pa.types.is_string(cells.type):
        return False
    return any(_word(text) in words for text in pc.unique(cells).to_pylist())


def _word(text: str) -> str:
    """Reduce a word to what counts; a number stays as it is."""
    return fold_name(text) if _has_letters(text) else text.strip()


def _has_letters(text: str) -> bool:
    return any(map(str.isalpha, text))


def describe_columns(
    columns: Mapping[str, str], readers: Mapping[str, CellReader]
) -> list[Message]:
    """Say which columns were taken for which, and from which unit, where it is not plain."""
    pairs = []
    for name, shown in columns.items():
        reader = readers.get(name)
        unit = (" (", reader.conversion, ")") if reader and reader.conversion else ()
        if fold_name(shown) != fold_name(name):
            taken = Message("'{shown}' as {name}", shown=shown, name=name)
            pairs.append(joined([taken, *unit], ""))
        elif unit:
            pairs.append(joined([name, *unit], ""))
    return pairs


def name_units(
    schema: TableSchema, table: Table, readers: Mapping[str, CellReader]
) -> dict[str, str]:
    """Name columns as outputs must, to be read back with the same values.

    A unit that a row of units, a profile or an option told would be lost there, where it is not
    what the name alone would be taken to mean.
    """
    named, ambiguous = {}, set(map(fold_name, schema.unit_needed))
    for name, reader in readers.items():
        column, told = table.match.columns[name], table.match.units.get(name, "")
        wanted = schema.units.get(name, "")
        in_name = conversion(table.names.unit(told), wanted) if told else None
        if not reader.unit or (told and in_name == reader.factor):
            continue
        if told or reader.factor != 1 or fold_name(column) in ambiguous:
            ways = table.names.in_unit(column, reader.unit)
            named[column] = next(way for way in ways if way not in table.columns)
    return named


def marks_of(schema: TableSchema, table: Table, options: ReadingOptions) -> NumberMarks:
    """Tell which marks the numbers of a table have; see `find_marks`."""
    if table.marks is not None:
        return table.marks
    if (sample := table.sample()) is None:
        return NumberMarks(options.decimal or ".", options.thousands or "")
    is_continental = table.dialect.sep == ";"
    numeric = _numeric(schema, table)
    return find_marks(sample, numeric, table.path, options, is_continental=is_continental)


def _numeric(schema: TableSchema, table: Table) -> dict[str, str]:
    """Give the columns of numbers that a table has, by name in the schema."""
    return {
        name: shown for name, shown in table.match.columns.items() if schema.kinds[name].is_numeric
    }


def _unit_and_factor(
    name: str, said: str | None, schema: TableSchema, table: Table
) -> tuple[str, Fraction]:
    """Tell a column's unit in the file, and what its values are multiplied with."""
    wanted = schema.units.get(name)
    if said is not None:
        factor = conversion(table.names.unit(said), wanted) if wanted else None
        if factor is None:
            raise UsageError(
                "--unit {name}={unit}: {problem}",
                tr("See docs/reading.md for the units that are known."),
                name=name,
                unit=said,
                problem=_misfit(name, table.names.unit(said), wanted),
            )
        return said, factor
    column = table.match.columns[name]
    found = list(table.units_of(name))
    factors = {}
    for unit in found if wanted else ():
        factor = conversion(table.names.unit(unit), wanted or "")
        if factor is None:
            raise InputError(
                table.path,
                tr("column {column}: ", column=column)
                + _misfit(name, table.names.unit(unit), wanted),
                line=table.dialect.header_line,
                hint=tr(
                    "Say which unit it is, as it stands in docs/reading.md: --unit {name}=UNIT",
                    name=name,
                ),
            )
        factors[unit] = factor
    which = tr("Say which one it is: --unit {name}=UNIT", name=name)
    if len(set(factors.values())) > 1:
        raise InputError(
            table.path,
            "column {column}: the header says {first}, the row of units {second}.",
            column=column,
            first=found[0],
            second=found[1],
            line=table.dialect.units_line,
            hint=which,
        )
    _refuse_untold(name, factors, schema, table)
    return next(iter(factors.items()), ("", Fraction(1)))


def _refuse_untold(
    name: str, factors: Mapping[str, Fraction], schema: TableSchema, table: Table
) -> None:
    """Refuse a name that goes with several units where none is told, or not what it is of."""
    column, wanted = table.match.columns[name], schema.units.get(name, "")
    bare = fold_name(table.names.without_unit(column))
    if bare not in map(fold_name, schema.unit_needed):
        return
    if not all(leaves_speciation_open(table.names.unit(unit), wanted) for unit in factors):
        return
    told = marked("column {column}: {unit} does not say as what: {wanted}, or another one.")
    none = marked("column {column}: this name goes with several units, and none is told.")
    raise InputError(
        table.path,
        told if factors else none,
        column=column,
        unit=next(iter(factors), ""),
        wanted=wanted,
        line=table.dialect.header_line,
        hint=tr("Say which one it is: --unit {name}=UNIT", name=name),
    )


def _misfit(name: str, unit: str, wanted: str | None) -> str:
    if wanted is None:
        return tr("the schema knows no unit of {name}.", name=name)
    if parse_unit(unit) is None:
        return tr("'{unit}' is no known unit.", unit=unit)
    return tr("'{unit}' does not convert to {wanted}.", unit=unit, wanted=wanted)


def _by_column(
    option: str, values: Mapping[str, T], schema: TableSchema, table: Table
) -> dict[str, T]:
    """Find the schema's columns that an option names, by any of their names."""
    found: dict[str, T] = {}
    for given, value in values.items():
        name, _ = schema.header.column_of(given) or ("", "")
        if name not in table.match.columns:
            raise UsageError(
                tr("{option} {given}: the file has no such column.", option=option, given=given)
                + did_you_mean(given, table.match.columns)
            )
        if found.setdefault(name, value) != value:
            raise UsageError("{option}: two values are given for {name}.", option=option, name=name)
    return found
