"""Check the rows of a table against a schema, batch by batch.

The cells are read by the strict number grammar first; pandera's checks then see clean columns, so
one bad cell never hides what else is wrong in its column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import BoolArray, FloatArray, as_bools
from waterflow_cli.common.errors import InputError, shorten
from waterflow_cli.common.messages import Message, joined, marked, tr
from waterflow_cli.samples.cells import make_readers
from waterflow_cli.samples.table_schema import Kind, TableSchema
from waterflow_cli.tables.headers import fold_name
from waterflow_cli.tables.number_marks import OTHER_MARK, describe_marks
from waterflow_cli.tables.numbers import PLAIN_MARKS, NumberMarks, missing_text
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.tables.units import is_unit_of_amount
from waterflow_cli.validation.batches import CheckedBatch, RuleFindings
from waterflow_cli.validation.rules import RULES, Broken, break_column_check

if TYPE_CHECKING:
    from waterflow_cli.tables.table import Batch, Table


# What lines are labelled with that sum up samples or say what they are held against: English and
# French.
_SUMMARY = (
    r"(?i)^\s*(?:(?:sous-|sub)?tota(?:l|ls|ux)\b.*|sum|somme|count|nombre\b.*|nb|nb\b.*"
    r"|(?:grand )?mean|average|avg|moy(?:enne)?s?\b.*|median|médiane|min|max|minimum|maximum"
    r"|p[0-9]{1,2}|std(?: dev)?|écart[- ]type|incertitudes?|lq|ld|loq|lod|rl|mdl|mrl|mcl|seuil"
    r"|(?:valeurs? |quality )?limite?s?\b.*|limites? .*|références? .*|norme|detection limit"
    r"|unit[ée]?s?|méthodes?|methods?)\s*[.:]*\s*$"
)


# So many rows of each batch are looked at for a second header.
_LOOKED_AT = 100
# What stands beside a measurement's name where a column says more about that measurement.
_REMARKS = re.compile(
    r"(?:qualifiers?|qualificatif|flags?|remarks?|remarques?|lq|ld|loq|lod|unite?s?)$"
)


class RowChecker:
    """Checks the batches of one table against a schema.

    The table is opened with the schema's names; `PassOptions` says what the options are.

    Attributes
    ----------
    columns : dict of str to str
        Schema column to column of the file.

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
    ) -> None:
        self._schema, self._table = schema, table
        self.columns = dict(table.match.columns)
        self._check_columns(without_label=without_label)
        self._readers = make_readers(schema, table, reading)
        self._leading = _leading_texts(table, schema)
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
    def reading(self) -> str:
        """How the file is read, as far as it is known: all of it once the last row was."""
        marks = next((reader.marks for reader in self._readers.values()), PLAIN_MARKS)
        parts = [str(self._table.dialect), *describe_marks(marks), *self._table.remarks()]
        if remarks := self._unread_remarks():
            parts.append(Message("NOT READ, though about a measurement: {names}", names=remarks))
        return joined([joined(parts), *self._translations()], "")

    def check(self, batch: Batch) -> CheckedBatch:
        """Check each row of a batch; where values must be unique, batches come in order.

        Raises
        ------
        UsageError
            If a check of the schema judges a column as a whole and not row by row, or does not
            fit the column's kind.
        """
        checked = CheckedBatch(file=self._table.path, batch=batch, numbers={}, missing={})
        self._find_summaries(checked)
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

    def _unread_remarks(self) -> str:
        """Name the columns that seem to qualify a measurement, and that nothing reads."""
        folded = [fold_name(name) for name in self.columns.values()]
        found = [
            f"'{column}'"
            for column in self._table.columns
            if column not in self.columns.values()
            and any(_is_remark_on(fold_name(column), name) for name in folded)
        ]
        return ", ".join(found)

    def _translations(self) -> Iterator[str]:
        """Say which columns were taken for which, and from which unit, where it is not plain."""
        pairs = []
        for name, shown in self.columns.items():
            reader = self._readers.get(name)
            unit = (" (", reader.conversion, ")") if reader and reader.conversion else ()
            if fold_name(shown) != fold_name(name):
                taken = Message("'{shown}' as {name}", shown=shown, name=name)
                pairs.append(joined([taken, *unit], ""))
            elif unit:
                pairs.append(joined([name, *unit], ""))
        if pairs:
            yield from (Message("; "), joined(pairs))

    def _refuse_second_table(self, checked: CheckedBatch) -> None:
        """Stop at a row of units, or of names in another order: cells below it mean others."""
        bad = [each for each in checked.by_rule if each.rule.code == "not_a_number"]
        counts = np.zeros(len(checked.batch), dtype=np.int64)
        for broken in bad:
            counts[broken.rows] += 1
        for row in np.flatnonzero(counts > 1)[:_LOOKED_AT]:
            shown = [each.column for each in bad if row in each.rows]
            texts = [str(checked.batch.columns[column][row]) for column in shown]
            names = [text for text in texts if self._schema.header.column_of(text)]
            is_moved = any(
                text in names and text != column for text, column in zip(texts, shown, strict=True)
            )
            if (len(names) > 1 and is_moved) or sum(map(is_unit_of_amount, texts)) > 1:
                raise InputError(
                    self._table.path,
                    "a second header or row of units stands here; below it cells mean others.",
                    line=int(checked.batch.lines[row]),
                    hint=tr("Put each table into a file of its own."),
                )

    def _find_summaries(self, checked: CheckedBatch) -> None:
        """Find totals lines by their label, where no other column before the numbers says more."""
        if not self._leading:
            return
        first, *others = (checked.batch.columns[name] for name in self._leading)
        if not pa.types.is_string(first.type):
            return
        labelled = pc.match_substring_regex(first, _SUMMARY)
        if not labelled.true_count:
            return
        rows = np.flatnonzero(as_bools(labelled))
        for other in others:
            told = other.take(pa.array(rows))
            is_text = pa.types.is_string(other.type)
            rows = rows[missing_text(told) if is_text else as_bools(told.is_null())]
        if len(rows):
            checked.by_rule.append(RuleFindings(self._leading[0], RULES["summary_row"], rows, {}))

    def _check_columns(self, *, without_label: bool) -> None:
        table = self._table
        missing = [
            name
            for name in self._schema.required
            if name not in self.columns and not (without_label and name == self._schema.label)
        ]
        if missing:
            raise InputError(
                table.path,
                marked("columns {names} not found in the header ({how}; it has: {columns}).")
                if len(missing) > 1
                else marked("column {names} not found in the header ({how}; it has: {columns})."),
                names=", ".join(missing),
                how=str(table.dialect),
                columns=shorten(table.columns),
                line=table.dialect.header_line,
                hint=_header_hint(table.columns),
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
            for broken in self._run_check(name, number, values, good):
                add(*broken)
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
        (self._odd.add if cells.bad.any() or cells.censored else self._odd.discard)(name)
        checked.numbers[name], bad = cells.values, cells.bad & whole
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
            add(RULES["not_a_number"], other, partial(_other_mark, reader.marks))
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
        """Flag rows that hold too little to be judged."""
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


def _header_hint(columns: Sequence[str]) -> str:
    from waterflow_cli.samples.profiles import guess_profile

    if all(re.fullmatch(r"[0-9.,eE+-]*", column.strip()) for column in columns):
        return tr("The line holds numbers: is the header missing?")
    if profile := guess_profile(columns):
        return tr("It looks like a file of one row for each result: --profile {name}", name=profile)
    return tr("If a column goes by another name, say so: --rename 'NAME IN FILE=NAME'.")


def _leading_texts(table: Table, schema: TableSchema) -> list[str]:
    """Give the columns that stand before the first one of numbers."""
    found = table.match.columns.items()
    numeric = {shown for name, shown in found if schema.kinds[name].is_numeric}
    return list(takewhile(lambda column: column not in numeric, table.columns))


def _is_remark_on(column: str, name: str) -> bool:
    """Tell "thmqualifier" and "unitethm" from other names that hold "thm"."""
    rest = column.removeprefix(name) if column.startswith(name) else column.removesuffix(name)
    return rest != column and _REMARKS.match(rest) is not None


def _other_mark(marks: NumberMarks, text: str, _row: int) -> Mapping[str, Any]:
    """Name the decimal mark of the file, where a cell that is no number holds the other one."""
    return {"mark": marks.decimal} if OTHER_MARK[marks.decimal] in text else {}
