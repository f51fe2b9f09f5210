"""Validate whole files: count everything, keep the first findings, split good rows from bad."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from waterflow_cli.common.arrays import arrow_numbers, arrow_texts
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.json import path_text
from waterflow_cli.common.messages import marked, tr
from waterflow_cli.common.progress import InputProgress, Report, say_nothing
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.tables.outputs import OutputGroup, check_outputs
from waterflow_cli.tables.writing import TableWriter, open_table_writer
from waterflow_cli.validation.batches import CheckedBatch, Finding, row_reasons, row_rules
from waterflow_cli.validation.limit_checks import LIMITS, LimitCounts, LimitStatus
from waterflow_cli.validation.pass_over import Pass, PassOptions, RowCounts, pass_over
from waterflow_cli.validation.row_checker import RowChecker

FINDING_COLUMNS = (
    *(marked("file"), marked("line"), marked("column")),
    *(marked("value"), marked("rule"), marked("message")),
)
# What stands after the line where a file is a sheet.
_CELL = marked("cell")
ALL_COLUMNS = (*FINDING_COLUMNS[:2], _CELL, *FINDING_COLUMNS[2:])
# What `--bad` adds to a row: the codes of the rules that it breaks, and what is wrong in words.
ADDED = {"rule": row_rules, "reason": row_reasons}


@dataclass(kw_only=True)
class ValidationReport(RowCounts):
    """What was found in some files; see `RowCounts` for what else was counted.

    Attributes
    ----------
    findings : list of Finding
        The first ones, by file and line, `max_findings` at most; `n_findings` counts all.
    by_rule : Counter of (column, rule)
        How often each rule was broken.
    """

    schema: str
    max_findings: int
    n_findings: int = 0
    findings: list[Finding] = field(default_factory=list)
    by_rule: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def passed(self) -> bool:
        """Whether every row kept the schema."""
        return self.n_findings == 0

    def note(self, checked: CheckedBatch) -> None:
        """Count what is wrong with a batch."""
        for broken in checked.by_rule:
            self.n_findings += len(broken.rows)
            self.by_rule[broken.column, broken.rule.code] += len(broken.rows)
        if self._room:
            self.findings += checked.findings(self._room)

    def merge(self, other: ValidationReport) -> None:
        """Add what was found in rows that come after these."""
        self.add(other)
        self.n_findings += other.n_findings
        self.findings += other.findings[: self._room]
        self.by_rule.update(other.by_rule)

    @property
    def _room(self) -> int:
        return max(0, self.max_findings - len(self.findings))

    def summary(self) -> dict[str, Any]:
        """Put the report into a JSON object."""
        return {
            "passed": self.passed,
            "schema": self.schema,
            "rows": self.n_rows,
            "rows_invalid": self.n_invalid,
            "findings_total": self.n_findings,
            "findings": [finding.content() for finding in self.findings],
            "by_rule": [
                {"column": column, "rule": rule, "count": count}
                for (column, rule), count in sorted(self.by_rule.items())
            ],
            **self.cells.content(),
            "files": self.dialects,
            **({} if self.limits is None else {LIMITS: self.limits.content()}),
        }


@dataclass(frozen=True, kw_only=True)
class ValidationOptions(PassOptions):
    """How files are checked, and where their rows are written to.

    Attributes
    ----------
    max_findings : int
        How many findings to keep; all are counted.
    good, bad : str, optional
        Outputs for the rows that pass, and for those that do not, with what is wrong.
    excel : str, optional
        The language of the Excel that is to open outputs of text.
    """

    max_findings: int = 20
    good: str | None = None
    bad: str | None = None
    excel: str | None = None
    force: bool = False

    def refuse_several(self, inputs: Sequence[object]) -> None:
        """Refuse to split the rows of several files."""
        if len(inputs) > 1 and (self.good is not None or self.bad is not None):
            raise UsageError("--good and --bad split one file; several were named.")


AS_USUAL = ValidationOptions()


def validate_files(
    inputs: Sequence[str],
    schema: TableSchema,
    options: ValidationOptions = AS_USUAL,
    report_progress: Report = say_nothing,
    outputs: OutputGroup | None = None,
) -> ValidationReport:
    """Check each row of some files; limits are for information, and no row fails for them.

    Parameters
    ----------
    outputs : OutputGroup, optional
        What publishes the files of good and bad rows together with other outputs.

    Raises
    ------
    InputError
        If a file cannot be read or lacks a required column.
    UsageError
        If an output cannot be written as asked.
    """
    report = ValidationReport(schema=schema.name, max_findings=options.max_findings)
    options.refuse_several(inputs)
    named = (("--good", options.good), ("--bad", options.bad))
    read = [*inputs, *options.reading.samplings]
    check_outputs(named, force=options.force, inputs=read)
    progress = InputProgress(inputs, report_progress)
    own = OutputGroup(force=options.force, inputs=read)
    with own if outputs is None else nullcontext(outputs) as group:
        for path in inputs:
            with (
                pass_over(path, schema, options, report, progress) as file,
                _open_split(options, group) as split,
            ):
                _check_file(file, report, split)
            progress.n_done += 1
    return report


def _check_file(file: Pass, report: ValidationReport, split: RowSplit) -> None:
    split.tell(file.checker)
    for checked, encoded in file.map(lambda checked: (checked, split.encode(checked))):
        report.note(checked)
        split.append(encoded)


@dataclass(frozen=True)
class RowSplit:
    """Writes good and bad rows to their files, where there are such files."""

    good: TableWriter | None
    bad: TableWriter | None

    def tell(self, checker: RowChecker) -> None:
        """Say which columns hold numbers, and what they are written with."""
        for writer in filter(None, (self.good, self.bad)):
            writer.marks, writer.numeric = checker.marks, checker.numeric

    def encode(self, checked: CheckedBatch) -> list[Any]:
        """Put the rows of a batch into the formats of the files; threads may do so at once."""
        if self.good is None and self.bad is None:
            return []
        columns, invalid = checked.written_columns(), checked.invalid
        added = {}
        if checked.flags is not None:
            _refuse_taken(LIMITS, checked, "--limits")
            added[LIMITS] = checked.flags.texts()
        encoded = []
        if self.good is not None:
            encoded.append(self.good.encode(_filtered(columns | added, ~invalid)))
        if self.bad is not None:
            for name in ADDED:
                _refuse_taken(name, checked, "--bad")
            found = {name: pa.array(give(checked), pa.string()) for name, give in ADDED.items()}
            rows = {**_filtered(columns, invalid), **found, **_filtered(added, invalid)}
            encoded.append(self.bad.encode(rows))
            if self.bad.findings is not None:
                encoded.append(self.bad.findings.encode(findings_table(checked.findings())))
        return encoded

    def append(self, encoded: list[Any]) -> None:
        """Write what `encode` gave."""
        findings = None if self.bad is None else self.bad.findings
        writers = [each for each in (self.good, self.bad, findings) if each is not None]
        for writer, rows in zip(writers, encoded, strict=True):
            writer.append(rows)


@contextmanager
def _open_split(options: ValidationOptions, outputs: OutputGroup) -> Iterator[RowSplit]:
    with ExitStack() as stack:

        def writer(path: str | None) -> TableWriter | None:
            if path is None:
                return None
            sink = stack.enter_context(outputs.open(path))
            return stack.enter_context(open_table_writer(path, sink, options.excel))

        yield RowSplit(writer(options.good), writer(options.bad))


def _refuse_taken(name: str, checked: CheckedBatch, option: str) -> None:
    if name in checked.batch.columns:
        raise UsageError(
            "{path}: it has a column '{name}', which {option} adds.",
            tr("Rename it first."),
            path=checked.file,
            name=name,
            option=option,
        )


def _filtered(columns: Mapping[str, pa.Array], rows: np.ndarray) -> dict[str, pa.Array]:
    mask = pa.array(rows)
    return {name: column.filter(mask) for name, column in columns.items()}


def finding_columns(findings: Sequence[Finding]) -> list[str]:
    """Name the columns of a table of findings: with cells where one of them is in a sheet."""
    has_cells = any(finding.cell for finding in findings)
    return [name for name in ALL_COLUMNS if has_cells or name != _CELL]


def findings_table(
    findings: Sequence[Finding], names: Sequence[str] = ALL_COLUMNS
) -> dict[str, pa.Array]:
    """Put findings into columns."""
    columns = {
        name: arrow_texts([getattr(each, name) for each in findings])
        for name in names
        if name not in ("file", "line")
    }
    columns["file"] = arrow_texts([path_text(each.file) for each in findings])
    columns["line"] = arrow_numbers(np.array([each.line for each in findings], dtype=np.int64))
    return {name: columns[name] for name in names}


def render_findings(report: ValidationReport) -> str:
    """Write a page of HTML that loads nothing; whatever comes from the data is escaped."""
    from waterflow_cli.common.pages import page_environment

    page = page_environment().get_template("findings.html")
    names = finding_columns(report.findings)
    return page.render(
        report=report,
        columns=list(map(tr, names)),
        names=names,
        limits=None if report.limits is None else _limits_table(report.limits),
    )


def _limits_table(counts: LimitCounts) -> dict[str, Any]:
    names = (tr("limits"), tr("measurement"), tr("value"), tr("class"), tr("basis"), tr("source"))
    rows = [
        (
            *(limit.origin, limit.column, limit.value),
            *(tr(limit.purpose), tr(limit.basis), limit.source),
            *sums,
        )
        for limit, sums in zip(counts.limits, counts.by_limit, strict=True)
    ]
    return {
        "columns": [*names, *(tr(each.words) for each in LimitStatus)],
        "rows": rows,
        "absent": ", ".join([*map(tr, counts.in_no_column), *counts.not_measured]),
    }
