"""Validate whole files: count everything, keep the first findings, split good rows from bad."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import marked, tr
from waterflow_cli.common.paths import path_text
from waterflow_cli.common.progress import InputShares, Report, say_nothing
from waterflow_cli.common.workers import map_in_order
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.tables.outputs import OutputGroup, check_outputs
from waterflow_cli.tables.reading import Batch
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.tables.writing import TableWriter, open_table_writer
from waterflow_cli.validation.batches import CheckedBatch, Finding, row_reasons, row_rules
from waterflow_cli.validation.cell_counts import CellCounts
from waterflow_cli.validation.limit_checks import LIMITS, LimitChecker, LimitCounts, LimitFlags
from waterflow_cli.validation.limits import LimitProfile
from waterflow_cli.validation.row_checker import RowChecker

FINDING_COLUMNS = (
    *(marked("file"), marked("line"), marked("column")),
    *(marked("value"), marked("rule"), marked("message")),
)
# What `--bad` adds to a row: the codes of the rules that it breaks, and what is wrong in words.
ADDED = {"rule": row_rules, "reason": row_reasons}


@dataclass
class ValidationReport:
    """What was found in some files.

    Attributes
    ----------
    findings : list of Finding
        The first ones, by file and line.
    n_findings : int
        All of them.
    by_rule : Counter of (column, rule)
        How often each rule was broken.
    cells : CellCounts
        What the cells of each column of the schema are.
    dialects : dict of str to str
        How each file was read.
    limits : LimitCounts, optional
        How often values lie above and below limits, where that was asked for.
    """

    schema: str
    n_rows: int = 0
    n_invalid: int = 0
    n_findings: int = 0
    findings: list[Finding] = field(default_factory=list)
    by_rule: Counter[tuple[str, str]] = field(default_factory=Counter)
    cells: CellCounts = field(default_factory=CellCounts)
    dialects: dict[str, str] = field(default_factory=dict)
    limits: LimitCounts | None = None

    @property
    def passed(self) -> bool:
        """Whether every row kept the schema."""
        return self.n_findings == 0

    def note(
        self,
        checked: CheckedBatch,
        max_findings: int,
        cells: CellCounts,
        flags: LimitFlags | None = None,
    ) -> None:
        """Count a batch."""
        if self.limits is not None and flags is not None:
            self.limits.add(flags)
        self.n_rows += len(checked.batch)
        self.cells.add(cells)
        self.n_invalid += int(checked.invalid.sum())
        for broken in checked.by_rule:
            self.n_findings += len(broken.rows)
            self.by_rule[broken.column, broken.rule.code] += len(broken.rows)
        room = max_findings - len(self.findings)
        if room > 0:
            self.findings += checked.findings(room)

    def merge(self, other: ValidationReport, max_findings: int) -> None:
        """Add what was found in rows that come after these."""
        self.n_rows += other.n_rows
        self.n_invalid += other.n_invalid
        self.n_findings += other.n_findings
        self.findings += other.findings[: max(0, max_findings - len(self.findings))]
        self.by_rule.update(other.by_rule)
        self.cells.add(other.cells)
        self.dialects |= other.dialects
        if self.limits is not None and other.limits is not None:
            self.limits.merge(other.limits)

    def summary(self) -> dict[str, Any]:
        """Put the report into a JSON object."""
        return {
            "passed": self.passed,
            "schema": self.schema,
            "rows": self.n_rows,
            "rows_invalid": self.n_invalid,
            "findings_total": self.n_findings,
            "findings": [asdict(finding) for finding in self.findings],
            "by_rule": [
                {"column": column, "rule": rule, "count": count}
                for (column, rule), count in sorted(self.by_rule.items())
            ],
            **self.cells.content(),
            "files": self.dialects,
            **({} if self.limits is None else {LIMITS: self.limits.content()}),
        }


def validate_files(
    inputs: Sequence[str],
    schema: TableSchema,
    *,
    reading: ReadingOptions = AS_FOUND,
    max_findings: int = 20,
    good: str | None = None,
    bad: str | None = None,
    force: bool = False,
    jobs: int = 1,
    batch_rows: int | None = None,
    limits: Sequence[LimitProfile] = (),
    report_progress: Report = say_nothing,
) -> ValidationReport:
    """Check each row of some files.

    Parameters
    ----------
    max_findings : int
        How many findings to keep; all are counted.
    good, bad : str, optional
        Outputs for the rows that pass, and for those that do not, with what is wrong.
    jobs, batch_rows : int
        How many batches are checked at once, and about how many rows make one.
    limits : sequence of LimitProfile
        What the values are held against, for information: no row fails for it.
    report_progress : callable
        Is told how far the work came.

    Raises
    ------
    InputError
        If a file cannot be read or lacks a required column.
    UsageError
        If an output cannot be written as asked.
    """
    against = LimitChecker(limits, schema.measurements) if limits else None
    counts = None if against is None else against.no_counts()
    report = ValidationReport(schema.name, limits=counts)
    if len(inputs) > 1 and (good is not None or bad is not None):
        raise UsageError(tr("--good and --bad split one file; several were named."))
    check_outputs((("--good", good), ("--bad", bad)), force=force, inputs=inputs)
    shares = InputShares(inputs)
    # Values that must be unique are looked up in order.
    jobs = 1 if schema.has_unique else jobs
    for n_done, path in enumerate(inputs):
        with (
            open_samples(path, schema, reading, batch_rows=batch_rows) as table,
            _open_split(good, bad, force, inputs) as split,
        ):
            checker = RowChecker(schema, table, reading)

            def check(
                parse: Callable[[], Batch], checker: RowChecker = checker, split: RowSplit = split
            ) -> tuple[CheckedBatch, CellCounts, LimitFlags | None, list[Any]]:
                checked = checker.check(parse())
                flags = None if against is None else against.check(checked)
                cells = CellCounts.of(checked, schema)
                return checked, cells, flags, split.encode(checked, flags)

            for checked, cells, flags, encoded in map_in_order(check, table.tasks(), jobs):
                report.note(checked, max_findings, cells, flags)
                split.append(encoded)
                report_progress(report.n_rows, shares.after(n_done, table.share_read()))
            report.dialects[path] = checker.reading
    return report


class RowSplit:
    """Writes good and bad rows to their files, where there are such files."""

    def __init__(self, good: TableWriter | None, bad: TableWriter | None) -> None:
        self._good, self._bad = good, bad

    def encode(self, checked: CheckedBatch, flags: LimitFlags | None = None) -> list[Any]:
        """Put the rows of a batch into the formats of the files; threads may do so at once."""
        if self._good is None and self._bad is None:
            return []
        columns, invalid = checked.batch.columns, checked.invalid
        added = {}
        if flags is not None:
            _refuse_taken(LIMITS, columns, "--limits")
            added[LIMITS] = flags.texts()
        encoded = []
        if self._good is not None:
            encoded.append(self._good.encode(_filtered(columns | added, ~invalid)))
        if self._bad is not None:
            for name in ADDED:
                _refuse_taken(name, columns, "--bad")
            found = {name: pa.array(give(checked), pa.string()) for name, give in ADDED.items()}
            rows = {**_filtered(columns, invalid), **found, **_filtered(added, invalid)}
            encoded.append(self._bad.encode(rows))
        return encoded

    def append(self, encoded: list[Any]) -> None:
        """Write what `encode` gave."""
        writers = [writer for writer in (self._good, self._bad) if writer is not None]
        for writer, rows in zip(writers, encoded, strict=True):
            writer.append(rows)


@contextmanager
def _open_split(
    good: str | None, bad: str | None, force: bool, inputs: Sequence[str]
) -> Iterator[RowSplit]:
    with OutputGroup(force=force, inputs=inputs) as outputs, ExitStack() as stack:

        def writer(path: str | None) -> TableWriter | None:
            if path is None:
                return None
            sink = stack.enter_context(outputs.open(path))
            return stack.enter_context(open_table_writer(path, sink))

        yield RowSplit(writer(good), writer(bad))


def _refuse_taken(name: str, columns: Mapping[str, pa.Array], option: str) -> None:
    if name in columns:
        raise UsageError(
            tr("The input has a column '{name}', which {option} adds.", name=name, option=option),
            tr("Rename it first."),
        )


def _filtered(columns: Mapping[str, pa.Array], rows: np.ndarray) -> dict[str, pa.Array]:
    mask = pa.array(rows)
    return {name: column.filter(mask) for name, column in columns.items()}


def findings_table(findings: Sequence[Finding]) -> dict[str, pa.Array]:
    """Put findings into columns, for a CSV."""
    columns = {name: [getattr(finding, name) for finding in findings] for name in FINDING_COLUMNS}
    columns["file"] = [path_text(path) for path in columns["file"]]
    kinds = {"line": pa.int64()}
    return {name: pa.array(columns[name], kinds.get(name, pa.string())) for name in columns}
