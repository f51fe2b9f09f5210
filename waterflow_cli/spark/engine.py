"""Score and validate on Spark: the local engine's code on executors, and one answer from all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import pyarrow as pa

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.interrupts import interrupts_held_back
from waterflow_cli.common.messages import tr
from waterflow_cli.common.progress import Report, say_nothing
from waterflow_cli.models.files import StoredModel
from waterflow_cli.registry.location import FetchedModel
from waterflow_cli.samples.cells import marks_of
from waterflow_cli.samples.profiles import SUFFIX
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.scoring.job import (
    USUAL_ROW_BYTES,
    FileHeader,
    ScoringSummary,
    write_manifest,
)
from waterflow_cli.scoring.refusals import refuse_empty, refuse_too_many
from waterflow_cli.scoring.task import ScoringOptions
from waterflow_cli.spark.files import HadoopFiles, InputFile
from waterflow_cli.spark.formats import NO_ROWS, Columns, Origin, RowFormat
from waterflow_cli.spark.inputs import SparkInputs
from waterflow_cli.spark.jobs import RejectsJob, ScoringJob, ValidationJob, ship_model
from waterflow_cli.spark.outputs import FolderOutput, RowsOutput, SingleOutput, check_named
from waterflow_cli.spark.remote import expected_versions, remote_errors
from waterflow_cli.spark.session import watched
from waterflow_cli.spark.settings import OutputLayout
from waterflow_cli.spark.worker import Job, Task
from waterflow_cli.tables.outputs import STDOUT, OutputGroup
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.tables.sources import changed
from waterflow_cli.tables.table import Batch, Table, no_rows
from waterflow_cli.validation.pass_over import PassOptions
from waterflow_cli.validation.report import AS_USUAL, ValidationOptions, ValidationReport

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Options = TypeVar("Options", bound=PassOptions)
# So many rows show what columns an output has, and whether options and columns agree.
_SHOWN_ROWS = 50


class SparkEngine:
    """Runs the commands that Spark can run, and reports how far each came."""

    def __init__(self, spark: SparkSession, report: Report = say_nothing) -> None:
        self._spark, self._report = spark, report
        self._hadoop = HadoopFiles(spark)
        self._group = f"waterflow-{uuid4()}"
        spark.sparkContext.setJobGroup(self._group, "waterflow", interruptOnCancel=True)

    def score(
        self,
        fetched: FetchedModel,
        model: StoredModel,
        paths: Sequence[str],
        output: str,
        options: ScoringOptions,
        layout: OutputLayout,
    ) -> ScoringSummary:
        """Score files into one output; see `scoring.job.score_files` for what is common to both.

        Parameters
        ----------
        fetched, model : object
            The same model: verified, and loaded.
        paths : sequence of str
            Files, folders, patterns or URIs.
        output : str
            A folder, or with ``layout.is_single`` a file.

        Raises
        ------
        InputError, UsageError, DataRefusedError, ModelError, PluginError
            As the local engine raises them.
        EngineError
            If Spark fails.
        """
        with remote_errors():
            shipped = ship_model(self._spark, fetched, model)
            options = _for_executors(options)
            inputs = self._open_inputs(paths, model.schema, options.reading)
            job = ScoringJob(
                schema=model.schema,
                options=options,
                is_portable=model.is_portable,
                model=shipped,
                is_several=len(inputs.files) > 1,
                n_rows=inputs.n_bytes // USUAL_ROW_BYTES // inputs.n_cores,
            )
            outputs = self._check_outputs(
                {"-o": output, "--rejects": options.rejects, "--manifest": options.manifest},
                "--manifest",
                self._guarded(inputs, options),
                layout,
                force=options.force,
            )
            summary = ScoringSummary(model=model.label)
            with self._publishing(outputs.values()):
                for each in self._run(inputs, job, outputs["-o"]):
                    summary.merge(each)
                refuse_too_many(summary, options.max_invalid)
                refuse_empty(model, summary, inputs.names)
                if "--rejects" in outputs:
                    rejects = RejectsJob(schema=model.schema, options=options)
                    self._run(inputs, rejects, outputs["--rejects"])
        summary.outputs = [each.path for each in outputs.values()]
        with OutputGroup(force=options.force, inputs=inputs.names) as records:
            write_manifest(records, model, summary, options, inputs.names)
        return summary

    def validate(
        self,
        paths: Sequence[str],
        schema: TableSchema,
        options: ValidationOptions = AS_USUAL,
        *,
        findings: str = STDOUT,
        layout: OutputLayout,
    ) -> ValidationReport:
        """Check each row of some files; see `validation.report.validate_files`.

        Parameters
        ----------
        options : ValidationOptions
            Good and bad rows go to folders, or with ``layout.is_single`` to files.
        findings : str
            The file of this machine that the caller will write the report to; it is checked here,
            where all inputs are known.

        Raises
        ------
        InputError, UsageError
            As the local engine raises them.
        EngineError
            If Spark fails.
        """
        with remote_errors():
            options = _for_executors(options)
            inputs = self._open_inputs(paths, schema, options.reading)
            options.refuse_several(inputs.files)
            job = ValidationJob(schema=schema, options=options)
            named = {"-o": findings, "--good": options.good, "--bad": options.bad}
            outputs = self._check_outputs(
                named, "-o", self._guarded(inputs, options), layout, force=options.force
            )
            report = ValidationReport(schema=schema.name, max_findings=options.max_findings)
            with self._publishing(outputs.values()):
                for each in self._run(inputs, job, None):
                    report.merge(each)
                for option, output in outputs.items():
                    self._run(inputs, replace(job, kept=option.removeprefix("--")), output)
        return report

    def _open_inputs(
        self, paths: Sequence[str], schema: TableSchema, reading: ReadingOptions
    ) -> SparkInputs:
        refuse_unique(schema)
        files = self._hadoop.list_inputs(paths)
        return SparkInputs(
            spark=self._spark, hadoop=self._hadoop, files=files, schema=schema, reading=reading
        )

    def _guarded(self, inputs: SparkInputs, options: PassOptions) -> list[InputFile]:
        """Name all files that are read, so that no output takes the place of one."""
        return [*inputs.files, *self._hadoop.list_inputs(options.reading.samplings)]

    def _check_outputs(
        self,
        named: Mapping[str, str | None],
        told: str,
        inputs: Sequence[InputFile],
        layout: OutputLayout,
        *,
        force: bool,
    ) -> dict[str, RowsOutput]:
        """Check all outputs before anything is run, and give those for rows, by their options.

        Parameters
        ----------
        told : str
            The option of what is no rows, and is written to this machine.
        """
        made: dict[str, RowsOutput] = {}
        rows = check_named(self._hadoop, named, told, inputs, layout, force=force)
        for option, path in rows.items():
            if layout.is_single or path == STDOUT:
                made[option] = SingleOutput(path, self._hadoop, force=force, inputs=inputs)
            else:
                keys = layout.keys if option == "-o" else ()
                made[option] = FolderOutput(
                    path, self._hadoop, keys=keys, force=force, inputs=inputs
                )
        return made

    @contextmanager
    def _publishing(self, outputs: Collection[RowsOutput]) -> Iterator[None]:
        """Publish outputs when all work is done; remove what was written of them if it fails."""
        try:
            yield
            with interrupts_held_back():
                for output in outputs:
                    output.publish()
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                self._spark.sparkContext.cancelJobGroup(self._group)
                for output in outputs:
                    output.discard()
            raise

    def _run(self, inputs: SparkInputs, job: Job, output: RowsOutput | None) -> list[Any]:
        """Run one job over all inputs; give what was counted, in the order of the inputs."""
        from pyspark.accumulators import AddingAccumulatorParam

        with inputs.open_first() as table:
            columns = columns_of(job, table)
            marks = marks_of(job.schema, table, job.options.reading)
            header = FileHeader(table.columns, dict(table.units), marks.decimal)
        inputs.survey()
        row_format: RowFormat = NO_ROWS if output is None else output.row_format(columns)
        counts: Any = self._spark.sparkContext.accumulator([], AddingAccumulatorParam([]))
        task = Task(
            job=job,
            row_format=row_format,
            counts=counts,
            first_file=inputs.names[0],
            header=None if output is None else header,
            versions=expected_versions(portable=job.is_portable),
        )
        rows = inputs.rows(task)
        with watched(
            self._spark, self._report, lambda: sum(each.n_rows for _, each in counts.value)
        ):
            if output is None:
                rows.write.format("noop").mode("overwrite").save()
            else:
                output.write(rows)
        # A part whose executor was lost may have been counted twice, and equally.
        found = dict(counts.value)
        _refuse_lost(inputs, found)
        return [found[origin] for origin in sorted(found)]


def _refuse_lost(inputs: SparkInputs, found: Mapping[Origin, Any]) -> None:
    """Refuse a file that lost its last parts since it was surveyed, or has no row in any.

    No task was given such parts. Where Spark is set to pass over files that are gone, a whole one
    can be lost too.
    """
    read = {number for number, _ in found}
    for number, name in enumerate(inputs.names):
        if number not in read:
            raise changed(name)
    for text in inputs.parted.values():
        parts: list[Any] = [
            found.get((text.file.number, part.number)) for part in text.positions.values()
        ]
        if None in parts:
            raise changed(text.file.name)
        if not sum(part.n_rows for part in parts):
            raise no_rows(text.file.name)


def refuse_unique(schema: TableSchema) -> None:
    """Refuse a schema whose rows can only be judged beside all others, by a UsageError."""
    if schema.has_unique:
        raise UsageError(
            "--engine spark: the schema has values that must be unique, and no executor "
            "knows the rows of the others.",
            tr("Use the local engine."),
        )


def columns_of(job: Job, table: Table) -> pa.Schema:
    """Do the work with some rows of the first file here, to see what columns come out of it.

    What is wrong with options or header is thus said before any task starts.
    """
    file, encode = job.start(Columns(pa.schema([])))(table)
    encoded = encode(file.check(_some_rows(table)))
    return pa.schema([]) if encoded is None else encoded.schema


def _some_rows(table: Table) -> Batch:
    batch = table.sample()
    if batch is None:
        batch = next(table.batches())
    findings = {row: finding for row, finding in batch.findings.items() if row < _SHOWN_ROWS}
    columns = {name: column.slice(0, _SHOWN_ROWS) for name, column in batch.columns.items()}
    return Batch(columns=columns, lines=batch.lines[:_SHOWN_ROWS], findings=findings)


def _for_executors(options: Options) -> Options:
    """Have each work on one batch at a time, and find a profile and samplings on shared storage."""
    reading = options.reading
    if reading.profile is not None and reading.profile.endswith(SUFFIX):
        reading = replace(reading, profile=str(Path(reading.profile).absolute()))
    samplings = tuple(str(Path(path).absolute()) for path in reading.samplings)
    return replace(options, reading=replace(reading, samplings=samplings), jobs=1)
