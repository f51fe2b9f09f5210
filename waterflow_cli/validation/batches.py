"""A batch of rows and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from waterflow_cli.common.messages import clipped, tr
from waterflow_cli.samples.nondetects import Censored

if TYPE_CHECKING:
    import pyarrow as pa

    from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
    from waterflow_cli.tables.table import Batch, Rule
    from waterflow_cli.validation.limit_checks import LimitFlags

Values = Mapping[str, Any] | Callable[[str, int], Mapping[str, Any]]
_NONE: Mapping[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with one row.

    Attributes
    ----------
    cell : str
        Where it stands in a sheet, such as ``Sheet2!C14``; empty for any other file.
    """

    file: str
    line: int
    column: str
    value: str
    rule: str
    message: str
    cell: str = ""

    def __str__(self) -> str:
        where = tr("{path}, line {line}", path=self.file, line=self.line)
        if self.cell:
            where = tr("{path}, {cell}", path=self.file, cell=self.cell)
        if self.column:
            where = tr("{where}, column {column}", where=where, column=self.column)
        return tr("{where}: {problem}", where=where, problem=self.message)

    def content(self) -> dict[str, Any]:
        """Put it into JSON; the cell only where it is one of a sheet."""
        return {name: value for name, value in asdict(self).items() if value or name != "cell"}


@dataclass(frozen=True)
class RuleFindings:
    """The rows of a batch that break one rule in one column.

    Attributes
    ----------
    column : str
        As the file's header writes it; empty when the rule is about the row.
    rows : ndarray of int64
        Positions in the batch.
    values : mapping, or callable
        What the rule's sentence needs beside the text of the cell; by text and row, where it is
        not the same for all.
    """

    column: str
    rule: Rule
    rows: IntArray
    values: Values


@dataclass(frozen=True, kw_only=True)
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
    marks : dict of str to int
        By column and mark: how often a unit or a mark stands beside a number, or in its place.
    converted : mapping of str to str
        The columns whose values were converted, with the schema's unit.
    flags : LimitFlags, optional
        How the rows stand to limits, where they were held against some.
    written : mapping of str to str
        What outputs call a column, where that is not its name in the file.
    """

    file: str
    batch: Batch
    numbers: dict[str, FloatArray]
    missing: dict[str, BoolArray]
    censored: dict[str, Censored] = field(default_factory=dict)
    by_rule: list[RuleFindings] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    converted: Mapping[str, str] = field(default_factory=dict)
    flags: LimitFlags | None = None
    written: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def whole(self) -> BoolArray:
        """Say which rows were read as rows of the table; of others no cell counts."""
        whole = np.ones(len(self.batch), dtype=bool)
        whole[list(self.batch.findings)] = False
        return whole

    def written_columns(self) -> dict[str, pa.Array]:
        """Give the columns of the file by their names in outputs."""
        return {self.written.get(name, name): cells for name, cells in self.batch.columns.items()}

    def add(
        self, rule: Rule, failed: BoolArray, values: Values = _NONE, *, column: str = ""
    ) -> None:
        """Note the rows that break a rule, where there are any."""
        if failed.any():
            self.by_rule.append(RuleFindings(column, rule, np.flatnonzero(failed), values))

    @cached_property
    def invalid(self) -> BoolArray:
        """Say which rows break a rule."""
        mask = np.zeros(len(self.batch), dtype=bool)
        for broken in self.by_rule:
            mask[broken.rows] = True
        return mask

    @cached_property
    def by_row(self) -> list[list[Finding]]:
        """Everything that is wrong, by column, for each invalid row in order."""
        by_row = groupby(self._found(), key=itemgetter(0))
        return [[finding for _, finding in found] for _, found in by_row]

    def findings(self, limit: int | None = None) -> list[Finding]:
        """List what is wrong, by row and column, at most ``limit`` of it."""
        return [finding for _, finding in self._found(limit)]

    def _found(self, limit: int | None = None) -> list[tuple[int, Finding]]:
        order = {name: position for position, name in enumerate(self.batch.columns)}
        keys = [
            (int(row), order.get(broken.column, -1), index)
            for index, broken in enumerate(self.by_rule)
            for row in broken.rows[:limit]
        ]
        return [
            (row, self._finding(row, self.by_rule[index])) for row, _, index in sorted(keys)[:limit]
        ]

    def _finding(self, row: int, broken: RuleFindings) -> Finding:
        value = ""
        if broken.column:
            cell = self.batch.columns[broken.column][row].as_py()
            value = "" if cell is None else clipped(str(cell))
        lines = self.batch.cell_lines.get(broken.column, self.batch.lines)
        told = broken.values(value, row) if callable(broken.values) else broken.values
        names = self.batch.cells
        return Finding(
            file=self.file,
            line=int(lines[row]),
            column=broken.column,
            value=value,
            rule=broken.rule.code,
            message=broken.rule.describe({"text": value, **told}),
            cell=names.name(broken.column, row, int(lines[row])) if names else "",
        )


def row_rules(checked: CheckedBatch) -> list[str]:
    """Give the codes of the rules that each invalid row breaks, in the order of the rows."""
    return [";".join(dict.fromkeys(each.rule for each in findings)) for findings in checked.by_row]


def row_reasons(checked: CheckedBatch) -> list[str]:
    """Say what is wrong with each invalid row of a batch, in the order of the rows."""
    return [
        tr("; ").join(_reason(each).rstrip(".") for each in findings) for findings in checked.by_row
    ]


def _reason(finding: Finding) -> str:
    if not finding.column:
        return finding.message
    return tr("{where}: {problem}", where=finding.column, problem=finding.message)
