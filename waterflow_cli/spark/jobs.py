"""The jobs of the commands that run on Spark, and their model, as they reach the executors."""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waterflow_cli.models.files import StoredModel
from waterflow_cli.models.manifest import read_verified
from waterflow_cli.registry.location import FetchedModel
from waterflow_cli.scoring.job import ScoringSummary
from waterflow_cli.scoring.scorer import Scorer, check_n_listed, pass_options
from waterflow_cli.scoring.task import ScoringOptions, ScoringTask, rejected_rows
from waterflow_cli.spark.formats import RowFormat
from waterflow_cli.spark.worker import Encode, Job, Start
from waterflow_cli.tables.table import Table
from waterflow_cli.validation.batches import CheckedBatch
from waterflow_cli.validation.pass_over import Pass, PassOptions
from waterflow_cli.validation.report import RowSplit, ValidationOptions, ValidationReport

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class ShippedModel:
    """A `FetchedModel` as a file that Spark fetches to each executor, once."""

    file: str
    label: str
    digest: str

    def load(self) -> StoredModel:
        """Verify each file again, and load it, or raise a ModelError; a process does so once."""
        from pyspark import SparkFiles

        key = self.label, self.digest
        if key not in _LOADED:
            with tempfile.TemporaryDirectory(prefix="waterflow-") as scratch:
                with zipfile.ZipFile(SparkFiles.get(self.file)) as packed:
                    packed.extractall(scratch)
                files = read_verified(Path(scratch), label=self.label, digest=self.digest)
            _LOADED[key] = FetchedModel(files, self.label).load()
        return _LOADED[key]


# By label and digest, in this process.
_LOADED: dict[tuple[str, str], StoredModel] = {}


def held_model(fetched: FetchedModel, model: StoredModel, file: str = "") -> ShippedModel:
    """Let jobs in this process find a model that it has loaded."""
    _LOADED[fetched.label, fetched.files.digest] = model
    return ShippedModel(file, fetched.label, fetched.files.digest)


def ship_model(spark: SparkSession, fetched: FetchedModel, model: StoredModel) -> ShippedModel:
    """Put a model's files where the executors fetch them; this process has loaded it."""
    from pyspark import SparkFiles

    # An executor that starts later fetches the files of earlier jobs too: this folder stays as
    # long as the session. And a session takes a name only once.
    scratch = Path(tempfile.mkdtemp(prefix="waterflow-", dir=SparkFiles.getRootDirectory()))
    archive = scratch / f"{scratch.name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name, data in sorted(fetched.files.content.items()):
            packed.writestr(name, data)
    spark.sparkContext.addFile(str(archive))
    return held_model(fetched, model, archive.name)


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

    options: ScoringOptions
    model: ShippedModel
    is_several: bool
    n_rows: int

    def start(self, row_format: RowFormat) -> Start:
        """Load the model, and give what begins with a table."""
        model, options, writer = self.model.load(), self.options, row_format.writer()
        check_n_listed(model, options.explain)
        model.decision.scores.expect(self.n_rows)
        asked = pass_options(model, options)

        def begin(table: Table) -> tuple[Pass, Encode]:
            summary = ScoringSummary(model=model.label)
            file = Pass(table, model.schema, asked, summary)
            source = table.path if self.is_several else None
            scorer = Scorer(model, file, n_listed=options.explain)
            score = ScoringTask(scorer, options, rows=writer, source=source)

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
        writer = row_format.writer()
        options = PassOptions(reading=self.options.reading, without_label=True)
        return lambda table: (
            Pass(table, self.schema, options),
            lambda checked: writer.encode(rejected_rows(checked)),
        )


@dataclass(frozen=True, kw_only=True)
class ValidationJob(Job):
    """Check rows, and hand on those that are kept: ``good`` or ``bad``, if any."""

    options: ValidationOptions
    kept: str | None = None

    def start(self, row_format: RowFormat) -> Start:
        """Give what begins with a table."""
        writer, options = row_format.writer(), self.options
        split = RowSplit(*(writer if self.kept == each else None for each in ("good", "bad")))

        def begin(table: Table) -> tuple[Pass, Encode]:
            report = ValidationReport(schema=self.schema.name, max_findings=options.max_findings)

            def encode(checked: CheckedBatch) -> Any:
                report.note(checked)
                return next(iter(split.encode(checked)), None)

            return Pass(table, self.schema, options, report), encode

        return begin
