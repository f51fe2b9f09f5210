"""The work of the commands that run on Spark, as it is sent to the executors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from waterflow_cli.models.files import StoredModel
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.scoring.explanation import Explainer
from waterflow_cli.scoring.job import ScoringSummary
from waterflow_cli.scoring.scorer import Scorer
from waterflow_cli.scoring.task import ScoringOptions, ScoringTask, rejected_rows
from waterflow_cli.spark.forms import Form
from waterflow_cli.spark.models import ShippedModel
from waterflow_cli.tables.reading import Batch, Table
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.validation.cell_counts import CellCounts
from waterflow_cli.validation.limit_checks import LimitChecker, LimitFlags
from waterflow_cli.validation.limits import LimitProfile
from waterflow_cli.validation.report import RowSplit, ValidationReport
from waterflow_cli.validation.row_checker import RowChecker


@dataclass(frozen=True)
class ScoringOrder:
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
    schema: TableSchema
    is_several: bool
    n_rows: int

    @property
    def reading(self) -> ReadingOptions:
        """How files are to be read."""
        return self.options.reading

    def start(self, form: Form) -> _Scoring:
        """Load the model."""
        return _Scoring(self.model.load(), self, form)


class _Scoring:
    """Scores the tables of a task; see `worker.Work`."""

    def __init__(self, model: StoredModel, order: ScoringOrder, form: Form) -> None:
        self._model, self._order, self._writer = model, order, form.writer()
        options = order.options
        self._explainer = Explainer(model, options.explain) if options.explain else None
        model.decision.expect(order.n_rows)

    def open(self, table: Table) -> Callable[[Callable[[], Batch]], Any]:
        options = self._order.options
        self._summary = no_scores(self._model, options)
        self._scorer = Scorer(self._model, table, options.reading, explainer=self._explainer)
        source = table.path if self._order.is_several else None
        score = ScoringTask(
            self._scorer, table, options, source=source, rows=self._writer, rejects=None
        )

        def handle(parse: Callable[[], Batch]) -> Any:
            piece = score(parse)
            self._summary.note(piece)
            return piece.rows

        return handle

    def close(self, table: Table) -> ScoringSummary:
        self._summary.dialects[table.path] = self._scorer.reading
        return self._summary


def no_scores(model: StoredModel, options: ScoringOptions) -> ScoringSummary:
    """Give the counts of no row."""
    against = LimitChecker(options.limits, model.decision.measurements)
    return ScoringSummary(model.label, limits=against.no_counts() if options.limits else None)


@dataclass(frozen=True)
class RejectsOrder:
    """Give the rows that cannot be scored, with what is wrong with each."""

    schema: TableSchema
    reading: ReadingOptions

    def start(self, form: Form) -> _Rejects:
        """Begin."""
        return _Rejects(self, form)


class _Rejects:
    """Checks the tables of a task; see `worker.Work`."""

    def __init__(self, order: RejectsOrder, form: Form) -> None:
        self._order, self._writer = order, form.writer()

    def open(self, table: Table) -> Callable[[Callable[[], Batch]], Any]:
        order = self._order
        checker = RowChecker(order.schema, table, order.reading, without_label=True)
        return lambda parse: self._writer.encode(rejected_rows(checker.check(parse())))

    def close(self, table: Table) -> None:
        pass


@dataclass(frozen=True)
class ValidationOrder:
    """Check rows.

    Attributes
    ----------
    kept : str, optional
        Which rows are handed on.
    """

    schema: TableSchema
    reading: ReadingOptions
    max_findings: int
    limits: tuple[LimitProfile, ...]
    kept: Literal["good", "bad"] | None = None

    def start(self, form: Form) -> _Validation:
        """Begin."""
        return _Validation(self, form)

    def no_findings(self) -> ValidationReport:
        """Give the report of no row."""
        counts = None if self.against is None else self.against.no_counts()
        return ValidationReport(self.schema.name, limits=counts)

    @property
    def against(self) -> LimitChecker | None:
        """What compares values with limits, where there are some."""
        return LimitChecker(self.limits, self.schema.measurements) if self.limits else None


class _Validation:
    """Checks the tables of a task; see `worker.Work`."""

    def __init__(self, order: ValidationOrder, form: Form) -> None:
        self._order, self._against = order, order.against
        writer = form.writer()
        self._split = RowSplit(
            writer if order.kept == "good" else None, writer if order.kept == "bad" else None
        )

    def open(self, table: Table) -> Callable[[Callable[[], Batch]], Any]:
        order = self._order
        self._report = order.no_findings()
        self._checker = RowChecker(order.schema, table, order.reading)

        def handle(parse: Callable[[], Batch]) -> Any:
            checked = self._checker.check(parse())
            flags: LimitFlags | None = None
            if self._against is not None:
                flags = self._against.check(checked)
            cells = CellCounts.of(checked, order.schema)
            self._report.note(checked, order.max_findings, cells, flags)
            encoded = self._split.encode(checked, flags)
            return encoded[0] if encoded else None

        return handle

    def close(self, table: Table) -> ValidationReport:
        self._report.dialects[table.path] = self._checker.reading
        return self._report
