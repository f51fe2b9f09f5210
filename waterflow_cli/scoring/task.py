"""What one worker does with a batch: parse, score, and put into the outputs' formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from waterflow_cli.common.arrays import arrow_numbers, arrow_texts, repeated
from waterflow_cli.common.errors import DataRefusedError, UsageError, did_you_mean
from waterflow_cli.common.json import path_text
from waterflow_cli.common.messages import tr
from waterflow_cli.samples.profiles import load_profile
from waterflow_cli.scoring.scorer import RESULT_COLUMNS, ScoredBatch, Scorer
from waterflow_cli.tables.csv_blocks import Position
from waterflow_cli.tables.table import Table
from waterflow_cli.tables.writing import DelimitedWriter, TableWriter
from waterflow_cli.validation.batches import CheckedBatch, row_reasons, row_rules
from waterflow_cli.validation.limit_checks import LIMITS
from waterflow_cli.validation.pass_over import PassOptions
from waterflow_cli.validation.report import findings_table

OnInvalid = Literal["mark", "fail", "drop"]
SOURCE_FILE = "source_file"
# Options that change nothing in what the outputs hold, or that are put down in other words.
_NOT_DECIDING = {
    *("without_label", "measurements", "may_lack", "limits", "jobs", "batch_rows"),
    *("manifest", "dossier", "force", "resume"),
}


@dataclass(frozen=True, kw_only=True)
class ScoringOptions(PassOptions):
    """What the user chose. The limits get a result column of their own, beside the verdict.

    Attributes
    ----------
    columns : str
        ``all``, ``ids`` (those that are neither measurements nor label) or names with commas.
    on_invalid : str
        ``mark`` keeps invalid rows with their reason, ``drop`` leaves them out of the output,
        ``fail`` stops at the first and writes nothing.
    max_invalid : float
        Percentage of invalid rows above which nothing is written.
    rejects, manifest : str, optional
        Where the invalid rows, and a record of the job, are written too.
    dossier : str, optional
        A folder for a page about each sample.
    explain : int
        How many measurements each reason lists that moved the probability most; 0 for none.
    resume : bool
        Keep finished rows when the job is stopped, and go on from them.
    excel : str, optional
        The language of the Excel that is to open outputs of text.
    """

    prefix: str = ""
    columns: str = "all"
    on_invalid: OnInvalid = "mark"
    max_invalid: float = 100.0
    rejects: str | None = None
    manifest: str | None = None
    dossier: str | None = None
    explain: int = 0
    force: bool = False
    resume: bool = False
    excel: str | None = None

    @property
    def deciding(self) -> dict[str, Any]:
        """JSON of those that decide what the outputs hold."""
        options = asdict(replace(self, limits=()))
        deciding = {name: value for name, value in options.items() if name not in _NOT_DECIDING}
        deciding["reading"]["na"] = list(self.reading.na)  # as JSON gives it back
        del deciding["reading"]["samplings"]  # they are inputs
        if self.reading.profile is not None:
            profile = load_profile(self.reading.profile)
            deciding["reading"]["profile"] = {profile.name: profile.sha256}
        if self.limits:
            deciding[LIMITS] = {profile.name: profile.sha256 for profile in self.limits}
        return deciding


class EncodedBatch(NamedTuple):
    """A batch that is ready to be written.

    Attributes
    ----------
    rows, rejects : object
        As the writers of the outputs encoded them; None where there is no such output.
    end : Position, optional
        Where the rows after it start.
    findings : object
        What is wrong with the rows, where the output has a place for it.
    """

    rows: Any
    rejects: Any
    verdict_counts: dict[str, int]
    end: Position | None
    findings: Any = None


class ScoringTask:
    """Turns the batches of one table into what the outputs hold of them; threads may share it.

    Parameters
    ----------
    rows, rejects : TableWriter
        The outputs, whose formats are needed.
    source : str, optional
        What the column ``source_file`` holds; None for no such column.

    Raises
    ------
    UsageError
        If a column to be kept is not there, or one has the name of a result.
    """

    def __init__(
        self,
        scorer: Scorer,
        options: ScoringOptions,
        *,
        rows: TableWriter,
        rejects: TableWriter | None = None,
        source: str | None = None,
    ) -> None:
        self._scorer, self._options = scorer, options
        self._rows, self._rejects, self._source = rows, rejects, source
        rows.marks, rows.numeric = scorer.file.checker.marks, scorer.file.checker.numeric
        table = scorer.file.table
        self._kept = _kept_columns(table, scorer, options.columns)
        if source and SOURCE_FILE in self._kept:
            raise UsageError(
                "{path}: it has a column '{name}' already.",
                tr("Score one file at a time."),
                path=table.path,
                name=SOURCE_FILE,
            )
        self._written = scorer.file.checker.written
        taken = [self._written.get(name, name) for name in self._kept]
        taken += [SOURCE_FILE] if source else []
        results = (*RESULT_COLUMNS, LIMITS) if options.limits else RESULT_COLUMNS
        hint = tr("Rename the results: --prefix wf_ (or leave the column out: --columns)")
        self._names = result_names(results, options.prefix, taken, table.path, hint)
        self._keeps_text = (
            self._kept == table.columns and getattr(rows, "separator", None) == table.dialect.sep
        )

    def __call__(self, checked: CheckedBatch) -> EncodedBatch:
        """Score a batch.

        Raises
        ------
        DataRefusedError
            If a row is invalid, and that is to fail the job.
        """
        scored = self._scorer.judge(checked)
        if self._options.on_invalid == "fail" and checked.invalid.any():
            raise DataRefusedError(
                str(checked.findings(1)[0]), tr("No file was written (--on-invalid fail).")
            )
        return EncodedBatch(
            self._encode(scored),
            None if self._rejects is None else self._rejects.encode(rejected_rows(checked)),
            scored.verdict_counts,
            checked.batch.end,
            self._encode_findings(checked),
        )

    def append(self, encoded: EncodedBatch) -> None:
        """Write a batch to the outputs."""
        self._rows.append(encoded.rows)
        if self._rows.findings is not None:
            self._rows.findings.append(encoded.findings)
        if self._rejects is not None:
            self._rejects.append(encoded.rejects)

    def _encode_findings(self, checked: CheckedBatch) -> Any:
        if self._rows.findings is None:
            return None
        return self._rows.findings.encode(findings_table(checked.findings()))

    def _encode(self, scored: ScoredBatch) -> Any:
        checked, batch = scored.checked, scored.checked.batch
        kept = {self._written.get(name, name): batch.columns[name] for name in self._kept}
        added = {self._names[name]: scored.results[name] for name in RESULT_COLUMNS}
        if checked.flags is not None:
            added[self._names[LIMITS]] = checked.flags.texts()
        if self._source:
            added = {SOURCE_FILE: repeated(path_text(self._source), len(batch)), **added}
        if self._options.on_invalid == "drop" and checked.invalid.any():
            keep = arrow_numbers(~checked.invalid)
            rows = {name: column.filter(keep) for name, column in (kept | added).items()}
            return self._rows.encode(rows)
        # Most rows can go from file to file as they are; that is the same text, for less.
        plain = batch.plain_rows() if self._keeps_text else None
        if plain is not None and isinstance(self._rows, DelimitedWriter):
            return self._rows.encode_after(plain, kept, added)
        return self._rows.encode(kept | added)


def _kept_columns(table: Table, scorer: Scorer, choice: str) -> list[str]:
    if choice == "all":
        return table.columns
    if choice == "ids":
        return [name for name in table.columns if name not in scorer.judged_columns]
    names = [name.strip() for name in choice.split(",")]
    for name in names:
        if name not in table.columns:
            raise UsageError(
                tr("--columns: {path} has no column '{name}'.", path=table.path, name=name)
                + did_you_mean(name, table.columns)
            )
    return names


def result_names(
    results: Sequence[str], prefix: str, taken: Sequence[str], path: str, hint: str
) -> dict[str, str]:
    """Give each result the name of its column, and refuse names that are taken."""
    names = {name: prefix + name for name in results}
    for name in names.values():
        if name in taken:
            problem = tr(
                "{path}: its column '{name}' has the name of a result.", path=path, name=name
            )
            raise UsageError(problem, hint)
    return names


def rejected_rows(checked: CheckedBatch) -> dict[str, pa.Array]:
    """Give the invalid rows of a batch as they stand in the file, each with what is wrong."""
    rows = np.flatnonzero(checked.invalid)
    return {
        "file": repeated(path_text(checked.file), len(rows)),
        "line": arrow_numbers(checked.batch.lines[rows]),
        "raw": arrow_texts(checked.batch.raw_rows(rows)),
        "rule": arrow_texts(row_rules(checked)),
        "reason": arrow_texts(row_reasons(checked)),
    }
