"""The jobs of the commands that run on Spark, as they are sent to the executors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from waterflow_cli.scoring.explanation import Explainer
from waterflow_cli.scoring.job import ScoringSummary
from waterflow_cli.scoring.scorer import Scorer, pass_options
from waterflow_cli.scoring.task import ScoringOptions, ScoringTask, rejected_rows
from waterflow_cli.spark.formats import RowFormat
from waterflow_cli.spark.models import ShippedModel
from waterflow_cli.spark.worker import Encode, Job, Start
from waterflow_cli.tables.table import Table
from waterflow_cli.validation.batches import CheckedBatch
from waterflow_cli.validation.limits import LimitProfile
from waterflow_cli.validation.pass_over import Pass, PassOptions
from waterflow_cli.validation.report import RowSplit, ValidationReport


@dataclass(frozen=True, kw_only=True)
class ScoringJob(Job):
    """Score rows.

    Attributes
    ----------
    is_several : bool
        Whether a column tells from which file a row comes.
    n_rows : int
        About how many rows a task scores.
    """

    model: ShippedModel
    options: ScoringOptions
    is_several: bool
    n_rows: int

    def start(self, row_format: RowFormat) -> Start:
        """Load the model, and give what begins with a table."""
        model, options, writer = self.model.load(), self.options, row_format.writer()
        explainer = Explainer(model, options.explain) if options.explain else None
        model.decision.expect(self.n_rows)
        asked = pass_options(model, options.reading, limits=options.limits)

        def begin(table: Table) -> tuple[Pass, Encode]:
            summary = ScoringSummary(model=model.label)
            file = Pass(table, model.schema, asked, summary)
            source = table.path if self.is_several else None
            scorer = Scorer(model, file, explainer=explainer)
            score = ScoringTask(scorer, options, source=source, rows=writer, rejects=None)

            def encode(checked: CheckedBatch) -> Any:
                scored = score(checked)
                summary.verdicts.update(scored.verdict_counts)
                return scored.rows

            return file, encode

        return begin


class RejectsJob(Job):
    """Give the rows that cannot be scored, with what is wrong with each."""

    def start(self, row_format: RowFormat) -> Start:
        """Give what begins with a table."""
        writer, options = row_format.writer(), PassOptions(reading=self.reading, without_label=True)
        return lambda table: (
            Pass(table, self.schema, options),
            lambda checked: writer.encode(rejected_rows(checked)),
        )


@dataclass(frozen=True, kw_only=True)
class ValidationJob(Job):
    """Check rows.

    Attributes
    ----------
    kept : str, optional
        Which rows are handed on.
    """

    max_findings: int
    limits: tuple[LimitProfile, ...]
    kept: Literal["good", "bad"] | None = None

    def start(self, row_format: RowFormat) -> Start:
        """Give what begins with a table."""
        writer = row_format.writer()
        options = PassOptions(reading=self.reading, limits=self.limits)
        split = RowSplit(*(writer if self.kept == each else None for each in ("good", "bad")))

        def begin(table: Table) -> tuple[Pass, Encode]:
            report = ValidationReport(schema=self.schema.name, max_findings=self.max_findings)

            def encode(checked: CheckedBatch) -> Any:
                report.note(checked)
                return next(iter(split.encode(checked)), None)

            return Pass(table, self.schema, options, report), encode

        return begin
