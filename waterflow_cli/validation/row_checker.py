"""Check the rows of a table against a schema, batch by batch.

The cells are read by the strict number grammar first; pandera's checks then see clean columns, so
one bad cell never hides what else is wrong in its column.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import BoolArray, FloatArray, arrow_numbers, arrow_texts, as_bools
from waterflow_cli.common.errors import InputError, shorten
from waterflow_cli.common.messages import Message, joined, marked, tr
from waterflow_cli.samples.cells import CellReader, describe_columns, make_readers, name_units
from waterflow_cli.samples.columns import find_unread_remarks, not_read
from waterflow_cli.samples.number_marks import OTHER_MARK, describe_marks
from waterflow_cli.samples.table_schema import Kind, TableSchema
from waterflow_cli.tables.numbers import PLAIN_MARKS, NumberMarks
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.tables.units import is_unit_of_amount
from waterflow_cli.validation.batches import CheckedBatch, RuleFindings
from waterflow_cli.validation.rules import RULES, Broken, break_column_check
from waterflow_cli.validation.summary_rows import SummaryFinder

if TYPE_CHECKING:
    from waterflow_cli.tables.table import Batch, Table


# Minus signs and dashes, and the digits and points of other scripts and widths.
_LOOKALIKE = re.compile(r"[\d\u2010-\u2015\u2212\ufe63\uff0b-\uff0e\u066b\u066c]")
_MARKED = re.compile(r"\s*[<>]?\s*\d[\d.,]*\s*([^\s\d.,'\"][^\d.,'\"]{0,3})")
# So many zeros, and nothing else, are no sample.
_FEWEST_ZEROS = 3
# So many different texts of each column and batch are looked at for a second header.
_LOOKED_AT = 1000
# What says in words in which unit a column is, is no longer.
_LONGEST_UNIT = 60


class RowChecker:
    """Checks the batches of one table against a schema.

    The table is opened with the schema's names; `PassOptions` says what the options are.

    Attributes
    ----------
    columns : dict of str to str
        Schema column to column of the file.
    written : dict of str to str
        Column of the file to its name in outputs, where that is another one; see `name_units`.

    Raises
    ------
    InputError
        If the table lacks a required column, or two columns claim one of the schema.
    """

    def __init__(
        self,
        schema: TableSchema,
        table: Table,
        reading: ReadingOptions = AS_FOUND,
        *,
        without_label: bool = False,
        may_lack: bool = False,
    ) -> None:
        self._schema, self._table = schema, table
        self.columns = dict(table.match.columns)
        optional = [schema.label] if without_label else []
        if may_lack:
            optional += [name for name in schema.measurements if schema.columns[name].nullable]
        self._check_columns(optional)
        self._readers = make_readers(schema, table, reading)
        self.written = name_units(schema, table, self._readers)
        self._converted = {
            name: schema.units[name] for name, each in self._readers.items() if each.factor != 1
        }
        self._unread = find_unread_remarks(table, schema.header, self.columns.values())
        self._summaries = SummaryFinder(table, schema, reading)
        unique = schema.unique
        if without_label and schema.label:
            self.columns.pop(schema.label, None)
            unique = () if schema.label in unique else unique
        # Like pandera, compare rows by those of the columns that the file has.
        self._unique = tuple(name for name in unique if name in self.columns)
        # Columns whose last batch held odd cells; threads may change it, for it decides no result.
        self._odd: set[str] = set()
        self._seen: dict[tuple[str, ...], set[Any]] = {}

    @property
    def marks(self) -> NumberMarks:
        """What the numbers of the table are written with."""
        return next((reader.marks for reader in self._readers.values()), PLAIN_MARKS)

    @property
    def numeric(self) -> set[str]:
        """The columns of numbers, by their names in outputs."""
        kinds = self._schema.kinds
        found = (shown for name, shown in self.columns.items() if kinds[name].is_numeric)
        return {self.written.get(shown, shown) for shown in found}

    @property
    def reading(self) -> str:
        """How the file is read, as far as it is known: all of it once the last row was."""
        parts = [str(self._table.dialect), *describe_marks(self.marks), *self._table.remarks()]
        if self._unread:
            parts.append(not_read(self._unread))
        return joined([joined(parts), *self._translations()], "")

    def check(self, batch: Batch) -> CheckedBatch:
        """Check each row of a batch; where values must be unique, batches come in order.

        Raises
        ------
        UsageError
            If a check of the schema judges a column as a whole and not row by row, or does not
            fit the column's kind.
        """
        checked = CheckedBatch(
            file=self._table.path,
            batch=batch,
            numbers={},
            missing={},
            written=self.written,
            converted=self._converted,
        )
        if (found := self._summaries.find(batch)) is not None and len(found[1]):
            checked.by_rule.append(RuleFindings(found[0], RULES["summary_row"], found[1], {}))
        for code in sorted({finding.rule for finding in batch.findings.values()}):
            rows = np.array(
                [row for row, found in sorted(batch.findings.items()) if found.rule == code]
            )
            told = RuleFindings("", RULES[code], rows, lambda _, row: batch.findings[row].values)
            checked.by_rule.append(told)
        cells = {name: self._check_column(name, checked) for name in self.columns}
        self._refuse_second_table(checked)
        if self._schema.checks_rows or self._unique:
            self._check_frame(cells, checked)
        self._check_measured(checked)
        return checked

    def _translations(self) -> Iterator[str]:
        """Say which columns were taken for which, and from which unit, where it is not plain."""
        if pairs := describe_columns(self.columns, self._readers):
            yield from (Message("; "), joined(pairs))

    def _refuse_second_table(self, checked: CheckedBatch) -> None:
        """Stop at a row of units, or of names in another order: cells below it mean others.

        Such a row holds no number; it may be ragged, or labelled like a summary.
        """
        if not checked.by_rule or not checked.numbers:
            return
        bare = np.logical_and.reduce([np.isnan(values) for values in checked.numbers.values()])
        rows = np.flatnonzero(bare)
        names, stops = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=bool)
        moved = stops.copy()
        for name in checked.numbers:
            shown = self.columns[name]
            cells = checked.batch.columns[shown].take(arrow_numbers(rows))
            if not pa.types.is_string(cells.type):
                continue
            texts = islice(filter(None, cells.unique().to_pylist()), _LOOKED_AT)
            told = {text: self._tell(text, shown) for text in texts}
            for kind, mask in (("unit", stops), ("moved", moved), ("name", names)):
                found = arrow_texts([text for text in told if kind in told[text]])
                mask += as_bools(pc.is_in(cells, value_set=found))
        stops |= moved & (names > 1)
        if stops.any():
            raise InputError(
                self._table.path,
                "a second header or row of units stands here; below it cells mean others.",
                line=int(checked.batch.lines[rows[np.argmax(stops)]]),
                hint=tr("Put each table into a file of its own."),
            )

    def _tell(self, text: str, shown: str) -> tuple[str, ...]:
        """Tell whether a cell is a unit, or a name as in a header, and another one than its own."""
        header = self._schema.header
        if any(map(is_unit_of_amount, map(self._table.names.unit, _ends_of(text)))):
            return ("unit",)
        if (found := header.column_of(text)) is None:
            return ()
        own = header.column_of(shown)
        is_other_unit = own is not None and found[0] == own[0] and found[1] != own[1]
        return ("name", *(["unit"] if is_other_unit else ["moved"] if text != shown else []))

    def _check_columns(self, optional: Collection[str | None]) -> None:
        table, measured = self._table, self._schema.measurements
        missing = [
            name
            for name in self._schema.required
            if name not in self.columns and name not in optional
        ]
        if self._schema.min_measurements and self.columns.keys().isdisjoint(measured):
            missing = missing or list(measured)
        if missing:
            raise InputError(
                table.path,
                marked("columns {names} not found in the header ({how}; it has: {columns}).")
                if len(missing) > 1
                else marked("column {names} not found in the header ({how}; it has: {columns})."),
                names=shorten(missing),
                how=str(table.dialect),
                columns=shorten(table.columns),
                line=table.dialect.header_line,
                hint=self._header_hint(missing),
            )
        extra = [name for name in table.columns if name not in self.columns.values()]
        if self._schema.strict and extra:
            raise InputError(
                table.path,
                "column '{column}' is not in the strict schema {schema}.",
                column=extra[0],
                schema=self._schema.name,
                line=table.dialect.header_line,
            )

    def _header_hint(self, missing: Sequence[str]) -> str:
        from waterflow_cli.samples.profiles import is_of_results

        columns = self._table.columns
        if self._table.dialect.doubtful:
            return tr("If the text above is not as it was written, name its encoding: --encoding")
        if all(re.fullmatch(r"[0-9.,eE+-]*", column.strip()) for column in columns):
            return tr("The line holds numbers: is the header missing?")
        if is_of_results(columns):
            return tr(
                "It looks like a file of one row for each result: a profile says which column is "
                "which (waterflow profiles list, or profiles new for one of your own)."
            )
        for column in columns:
            if (about := self._schema.header.remark_on(column)) in missing:
                return tr(
                    "'{column}' says more of {name}, and is not it.", column=column, name=about
                )
        return tr("If a column goes by another name, say so: --rename 'NAME IN FILE=NAME'.")

    def _check_column(self, name: str, checked: CheckedBatch) -> tuple[Any, BoolArray]:
        """Parse one column, add its findings, and return its cells and which are good."""
        rules, shown, whole = self._schema.columns[name], self.columns[name], checked.whole
        column = checked.batch.columns[shown]
        add = partial(checked.add, column=shown)
        values: Any
        if rules.kind.is_numeric:
            values, missing, bad = self._read_numbers(name, column, checked)
        else:
            from waterflow_cli.validation import diagnosis

            values, missing, bad, rule = diagnosis.parse_text_cells(column, rules.kind)
            add(rule, bad & whole)
        checked.missing[name] = missing & whole
        if not rules.nullable:
            add(RULES["missing_value"], missing & whole)
        good = ~(bad | missing) & whole
        for number in range(len(rules.checks)):
            for rule, failed, told in self._run_check(name, number, values, good):
                unit = self._converted.get(name)
                add(rule, failed, partial(_in_unit, told, unit, values) if unit else told)
        if rules.unique:
            add(RULES["duplicate"], self._repeated({name: (values, good)}, len(values)))
        return values, good

    def _read_numbers(
        self, name: str, column: pa.Array, checked: CheckedBatch
    ) -> tuple[FloatArray, BoolArray, BoolArray]:
        """Read numbers, add the findings of those that are none, and keep the bounds."""
        reader, whole = self._readers[name], checked.whole
        add = partial(checked.add, column=self.columns[name])
        # A cast that fails is dear: where one batch held odd cells, the next will too.
        cells = reader.read(column, is_clean=name not in self._odd)
        (self._odd.add if cells.are_odd else self._odd.discard)(name)
        checked.numbers[name], bad = cells.values, cells.bad & whole
        checked.marks.update({f"{name} {mark}": n for mark, n in cells.marks.items()})
        if cells.censored is not None:
            checked.censored[name] = cells.censored.within(whole)
        other = bad
        for code, mask in cells.unread.items():
            add(RULES[code], mask & whole, {"name": name})
            other = other & ~mask
        if self._schema.columns[name].kind is Kind.INTEGER:
            values = cells.values
            fraction = np.isfinite(values) & (values != np.round(values)) & whole
            add(RULES["not_whole"], other | fraction)
            bad = bad | fraction
        else:
            told = _as_word if name == self._schema.label else partial(_other_mark, reader)
            add(RULES["not_a_number"], other, told)
        return cells.values, cells.missing, bad

    def _run_check(self, name: str, number: int, values: Any, good: BoolArray) -> Iterable[Broken]:
        """Run one check of a column: the common ones here, others with pandera."""
        rules = self._schema.columns[name]
        check = rules.checks[number]
        passed = check.passed(values) if rules.kind.is_numeric else None
        if passed is None:
            from waterflow_cli.validation import diagnosis

            asked = self._schema.pandera.columns[name].checks[number]
            return diagnosis.check_column(asked, name, values, good)
        failed = good & ~passed
        if not failed.any():
            return ()
        return break_column_check(check.name, check.statistics, values, failed, None)

    def _check_frame(
        self, cells: Mapping[str, tuple[Any, BoolArray]], checked: CheckedBatch
    ) -> None:
        """Run the checks that judge rows, and find rows that must be unique and are not."""
        if self._schema.checks_rows:
            from waterflow_cli.validation import diagnosis

            for rule, failed, values in diagnosis.check_rows(self._schema.pandera.checks, cells):
                checked.add(rule, failed & checked.whole, values)
        if self._unique:
            unique = {name: cells[name] for name in self._unique}
            checked.add(RULES["duplicate"], self._repeated(unique, len(checked.batch)))

    def _check_measured(self, checked: CheckedBatch) -> None:
        """Flag rows that hold too little to be judged, or nothing but zeros."""
        self._check_zeros(checked)
        needed = self._schema.min_measurements
        absent = [
            checked.missing[name] for name in self._schema.measurements if name in checked.missing
        ]
        if not needed or not absent:
            return
        held = len(absent) - np.sum(absent, axis=0)
        checked.add(
            RULES["too_few_measurements"],
            (held < needed) & checked.whole,
            lambda _text, row: {"n": held[row], "needed": needed},
        )

    def _check_zeros(self, checked: CheckedBatch) -> None:
        """Flag rows of zeros: an instrument that was off, or a form that was not filled in."""
        names = [name for name in self._schema.measurements if name in checked.numbers]
        if len(names) < _FEWEST_ZEROS:
            return
        rows = np.flatnonzero(checked.whole & ~(checked.numbers[names[0]] > 0))
        for name in names:
            if not len(rows):
                return
            is_zero = checked.numbers[name][rows] == 0
            if (bounds := checked.censored.get(name)) is not None:
                is_zero &= ~((bounds.below | bounds.above) & (bounds.bound > 0))[rows]
            rows = rows[is_zero | checked.missing[name][rows]]
        held = len(names) - sum(checked.missing[name][rows].astype(int) for name in names)
        zeros = np.zeros(len(checked.batch), dtype=bool)
        zeros[rows[np.broadcast_to(held, rows.shape) >= _FEWEST_ZEROS]] = True
        checked.add(RULES["all_zero"], zeros)

    def _repeated(self, cells: Mapping[str, tuple[Any, BoolArray]], n_rows: int) -> BoolArray:
        """Find rows whose values stood before, in this batch or an earlier one.

        What is missing equals nothing.
        """
        seen = self._seen.setdefault(tuple(cells), set())
        rows = np.flatnonzero(np.logical_and.reduce([good for _, good in cells.values()]))
        columns = [np.asarray(values)[rows].tolist() for values, _ in cells.values()]
        mask = np.zeros(n_rows, dtype=bool)
        for row, key in zip(rows, zip(*columns, strict=True), strict=True):
            mask[row] = key in seen
            seen.add(key)
        return mask


def _ends_of(text: str) -> Iterator[str]:
    """Give a text and, of words alone, what stands behind each blank: "in mg/L"."""
    yield text
    if len(text) <= _LONGEST_UNIT and not any(map(str.isdigit, text)):
        words = text.rstrip(")] ")
        yield from (words[blank.end() :] for blank in re.finditer(r"[\s:(\[]+", words))


def _in_unit(
    told: Mapping[str, Any], unit: str, values: FloatArray, text: str, row: int
) -> Mapping[str, Any]:
    """Show beside a cell what it was held against a bound as, where that is another number."""
    number = np.format_float_positional(values[row], trim="-")
    return {**told, "text": f"{text} ({number} {unit})"}


def _as_word(text: str, _row: int) -> Mapping[str, Any]:
    """Name the word of a label that nothing tells the meaning of."""
    return {"word": text}


def _other_mark(reader: CellReader, text: str, _row: int) -> Mapping[str, Any]:
    """Name the decimal mark of the file, where a cell that is no number holds the other one.

    A sign or a digit that only looks like one is named by its number in Unicode, and so is what
    may be a mark beside a number.
    """
    if OTHER_MARK[reader.marks.decimal] in text:
        return {"mark": reader.marks.decimal}
    odd = next((each for each in text if not each.isascii() and _LOOKALIKE.match(each)), None)
    if odd:
        return {"character": f"U+{ord(odd):04X}"}
    # In a table of results a mark has a column of its own.
    found = _MARKED.fullmatch(text) if reader.beside else None
    return {"flag": found[1]} if found else {}
