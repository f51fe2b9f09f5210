"""Check the rows of a table against a schema, batch by batch.

The cells are read by the strict number grammar first; pandera's checks then see clean columns, so
one bad cell never hides what else is wrong in its column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from waterflow_cli.check_failures import Failure, name_failures
from waterflow_cli.errors import InputError, shorten
from waterflow_cli.headers import fold_name, match_header
from waterflow_cli.nondetects import Censored
from waterflow_cli.numbers import parse_numbers
from waterflow_cli.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.table_schema import Kind, TableSchema

if TYPE_CHECKING:
    import pyarrow as pa

    from waterflow_cli.arrays import BoolArray, FloatArray, IntArray
    from waterflow_cli.reading import Batch, Table


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one row."""

    file: str
    line: int
    column: str
    value: str
    rule: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}"
        return (
            f"{where}, column {self.column}: {self.message}"
            if self.column
            else (f"{where}: {self.message}")
        )


@dataclass(frozen=True)
class Violation:
    """The rows of a batch that break one rule in one column.

    Attributes
    ----------
    column : str
        As the file's header writes it; empty when the rule is about the row.
    rule : str
        A stable code, for scripts.
    rows : ndarray of int64
        Positions in the batch.
    describe : callable
        Text of the cell to message.
    """

    column: str
    rule: str
    rows: IntArray
    describe: Callable[[str, int], str]


@dataclass(frozen=True)
class CheckedBatch:
    """A batch and what is wrong with it.

    Attributes
    ----------
    numbers : dict of str to ndarray of float64, shape (n_rows,)
        Numeric schema columns; NaN where a cell is missing or no number.
    missing : dict of str to ndarray of bool, shape (n_rows,)
        By schema column.
    censored : dict of str to Censored
        By schema column, for those that have such cells; their `numbers` are what
        ``--nondetect`` makes of the bounds.
    """

    file: str
    batch: Batch
    numbers: dict[str, FloatArray]
    missing: dict[str, BoolArray]
    censored: dict[str, Censored] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)

    @cached_property
    def invalid(self) -> BoolArray:
        """Say which rows break a rule."""
        mask = np.zeros(len(self.batch), dtype=bool)
        for violation in self.violations:
            mask[violation.rows] = True
        return mask

    @cached_property
    def all_findings(self) -> list[Finding]:
        """List everything that is wrong, by line and column."""
        return self.findings()

    def findings(self, limit: int | None = None) -> list[Finding]:
        """List what is wrong, by line and column, at most ``limit`` of it."""
        order = {name: position for position, name in enumerate(self.batch.columns)}
        keys = [
            (int(row), order.get(violation.column, -1), index)
            for index, violation in enumerate(self.violations)
            for row in violation.rows[:limit]
        ]
        return [
            self._finding(row, self.violations[index]) for row, _, index in sorted(keys)[:limit]
        ]

    def _finding(self, row: int, violation: Violation) -> Finding:
        value = ""
        if violation.column:
            cell = self.batch.columns[violation.column][row].as_py()
            value = "" if cell is None else str(cell)
        return Finding(
            self.file,
            int(self.batch.lines[row]),
            violation.column,
            value,
            violation.rule,
            violation.describe(value, row),
        )


class RowChecker:
    """Checks the batches of one table against a schema.

    Attributes
    ----------
    columns : dict of str to str
        Schema column to column of the file.
    reading : str
        How the file was read: its dialect, and which columns go by other names.

    Parameters
    ----------
    schema : TableSchema
        What to check.
    table : Table
        Its header is matched at once.
    reading : ReadingOptions
        What the user said of how to read it.
    without_label : bool
        Leave the label column out: it is neither required nor checked.

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
        self._schema = schema
        self._file = table.path
        self.columns = match_header(
            table.columns, schema.wanted(), renames=reading.renames, path=table.path
        )
        self.reading = f"{table.dialect}{_translations(self.columns)}"
        self._check_columns(table, without_label=without_label)
        unique = schema.unique
        if without_label and schema.label:
            self.columns.pop(schema.label, None)
            unique = () if schema.label in unique else unique
        # Like pandera, compare rows by those of the columns that the file has.
        self._unique = tuple(name for name in unique if name in self.columns)
        self._seen: dict[tuple[str, ...], set[Any]] = {}

    def check(self, batch: Batch) -> CheckedBatch:
        """Check each row of a batch; where values must be unique, batches come in order.

        Raises
        ------
        UsageError
            If a check of the schema judges a column as a whole and not row by row, or does not
            fit the column's kind.
        """
        checked = CheckedBatch(self._file, batch, {}, {})
        faulty = np.array(sorted(batch.faults), dtype=np.int64)
        for rule in sorted({fault.rule for fault in batch.faults.values()}):
            rows = np.array([row for row in faulty if batch.faults[row].rule == rule])
            checked.violations.append(
                Violation("", rule, rows, lambda _, row: batch.faults[row].message)
            )
        whole = np.ones(len(batch), dtype=bool)
        whole[faulty] = False
        cells = {name: self._check_column(name, checked, whole) for name in self.columns}
        if self._schema.checks_rows or self._unique:
            self._check_frame(cells, checked, whole)
        self._check_measured(checked, whole)
        return checked

    def _check_columns(self, table: Table, *, without_label: bool) -> None:
        missing = [
            name
            for name in self._schema.required
            if name not in self.columns and not (without_label and name == self._schema.label)
        ]
        if missing:
            plural = "s" if len(missing) > 1 else ""
            raise InputError(
                table.path,
                f"column{plural} {', '.join(missing)} not found in the header"
                f" ({table.dialect}; it has: {shorten(table.columns)}).",
                line=table.dialect.header_line,
                hint=_header_hint(table.columns),
            )
        if self._schema.strict:
            extra = [name for name in table.columns if name not in self.columns.values()]
            if extra:
                raise InputError(
                    table.path,
                    f"column '{extra[0]}' is not in the strict schema {self._schema.name}.",
                    line=table.dialect.header_line,
                )

    def _check_column(
        self, name: str, checked: CheckedBatch, whole: BoolArray
    ) -> tuple[Any, BoolArray]:
        """Parse one column, add its violations, and return its cells and which are good."""
        rules, shown = self._schema.columns[name], self.columns[name]
        values, missing, bad, rule, noun = _parse_cells(checked.batch.columns[shown], rules.kind)
        checked.missing[name] = missing & whole
        if rules.kind.is_numeric:
            checked.numbers[name] = values

        def add(rule: str, mask: BoolArray, describe: Callable[[str, int], str]) -> None:
            if mask.any():
                checked.violations.append(Violation(shown, rule, np.flatnonzero(mask), describe))

        add(rule, bad & whole, lambda text, _: f"{text!r} is not {noun}.")
        if not rules.nullable:
            add("missing_value", missing & whole, lambda _text, _row: "the value is missing.")
        good = ~(bad | missing) & whole
        for number in range(len(rules.checks)):
            for failure in self._run_check(name, number, values, good):
                add(*failure)
        if rules.unique:
            add("duplicate", self._repeated({name: (values, good)}, len(values)), _repeats)
        return values, good

    def _run_check(self, name: str, number: int, values: Any, good: BoolArray) -> Iterable[Failure]:
        """Run one check of a column: the common ones here, others with pandera."""
        rules = self._schema.columns[name]
        check = rules.checks[number]
        passed = check.passed(values) if rules.kind.is_numeric else None
        if passed is None:
            from waterflow_cli import diagnosis

            asked = self._schema.pandera.columns[name].checks[number]
            return diagnosis.check_column(asked, name, values, good)
        failed = good & ~passed
        if not failed.any():
            return ()
        return name_failures(check.name, check.statistics, values, failed, otherwise="")

    def _check_frame(
        self,
        cells: Mapping[str, tuple[Any, BoolArray]],
        checked: CheckedBatch,
        whole: BoolArray,
    ) -> None:
        """Run the checks that judge rows, and find rows that must be unique and are not."""
        if self._schema.checks_rows:
            from waterflow_cli import diagnosis

            for rule, failed, describe in diagnosis.check_rows(self._schema.pandera.checks, cells):
                rows = np.flatnonzero(failed & whole)
                if len(rows):
                    checked.violations.append(Violation("", rule, rows, describe))
        if self._unique:
            repeated = self._repeated({name: cells[name] for name in self._unique}, len(whole))
            if repeated.any():
                checked.violations.append(
                    Violation("", "duplicate", np.flatnonzero(repeated), _repeats)
                )

    def _check_measured(self, checked: CheckedBatch, whole: BoolArray) -> None:
        """Flag rows that hold too little to be judged."""
        needed = self._schema.min_measurements
        absent = [
            checked.missing[name] for name in self._schema.measurements if name in checked.missing
        ]
        if not needed or not absent:
            return
        held = len(absent) - np.sum(absent, axis=0)
        rows = np.flatnonzero((held < needed) & whole)
        if len(rows):
            checked.violations.append(
                Violation(
                    "",
                    "too_few_measurements",
                    rows,
                    lambda _text, row: f"{held[row]} measurements; at least {needed} needed.",
                )
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
    """Guess why columns are not found."""
    if len(columns) == 1:
        for mark, name in ((";", "';'"), ("\t", "tabs"), ("|", "'|'")):
            if mark in columns[0]:
                return f"The header seems to be separated by {name}: save the table with commas."
    if all(re.fullmatch(r"[0-9.,eE+-]*", column.strip()) for column in columns):
        return "The line holds numbers: is the header missing?"
    return "If a column goes by another name, say so: --rename 'NAME IN FILE=NAME'."


def _translations(columns: Mapping[str, str]) -> str:
    """Say which columns of the file were taken for which of the schema, where it is not plain."""
    pairs = [
        f"'{shown}' as {name}"
        for name, shown in columns.items()
        if fold_name(shown) != fold_name(name)
    ]
    return f"; {', '.join(pairs)}" if pairs else ""


def reasons_by_line(checked: CheckedBatch) -> dict[int, str]:
    """Say what is wrong with each invalid row of a batch, by line, in the order of the rows."""
    by_line: dict[int, list[str]] = {}
    for finding in checked.all_findings:
        named = f"{finding.column}: {finding.message}" if finding.column else finding.message
        by_line.setdefault(finding.line, []).append(named.rstrip("."))
    return {line: "; ".join(messages) for line, messages in by_line.items()}


def _parse_cells(column: pa.Array, kind: Kind) -> tuple[Any, BoolArray, BoolArray, str, str]:
    """Read cells as a kind: values, missing, bad, and the rule and noun for bad ones."""
    if kind in (Kind.NUMBER, Kind.INTEGER):
        numbers = parse_numbers(column)
        if kind is Kind.NUMBER:
            return numbers.values, numbers.missing, numbers.bad, "not_a_number", "a number"
        fraction = np.isfinite(numbers.values) & (numbers.values != np.round(numbers.values))
        return (
            numbers.values,
            numbers.missing,
            numbers.bad | fraction,
            "not_whole",
            "a whole number",
        )
    from waterflow_cli import diagnosis

    return diagnosis.parse_text_cells(column, kind)


def _repeats(_text: str, _row: int) -> str:
    return "the value stood in an earlier row and must be unique."
