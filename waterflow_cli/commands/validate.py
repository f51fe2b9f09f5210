"""``waterflow validate``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from waterflow_cli.commands import options
from waterflow_cli.commands.engine_options import open_engine
from waterflow_cli.commands.notes import note_limits, note_reading
from waterflow_cli.common.errors import UsageError, shorten
from waterflow_cli.common.messages import printable, tr, trn
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.samples.table_schema import TableSchema
    from waterflow_cli.spark.settings import OutputLayout, SparkOptions
    from waterflow_cli.tables.outputs import OutputGroup
    from waterflow_cli.validation.report import ValidationOptions, ValidationReport

_FORMATS = ("text", "json", "csv", "html")


@options.command(short_help="Check the rows of a file against a schema.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@options.schema
@options.reading
@click.option(
    "--max-errors",
    type=click.IntRange(min=0),
    default=20,
    help="How many findings to show; all are counted.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    default="text",
    help="How to write the findings.",
)
@options.output("Where to write the findings.", default="-", show_default=False)
@click.option("--good", metavar="FILE", help="Write the rows that pass to this file.")
@click.option("--bad", metavar="FILE", help="Write the other rows, with their reasons.")
@options.limits
@options.batch_rows
@options.jobs
@options.engine
@options.layout
@options.excel
@options.force
@options.family(
    "chosen", "validation.report:ValidationOptions", max_findings="max_errors", but=("limits",)
)
def validate(
    console: Console,
    *,
    files: tuple[str, ...],
    schema_name: str,
    form: str,
    output: str,
    limits: tuple[str, ...],
    engine: SparkOptions | None,
    layout: OutputLayout,
    chosen: ValidationOptions,
) -> int:
    """Check each row of FILE... against a pandera schema.

    Exit code 0: every row passes. 1: some do not. 3: a file cannot be read, or lacks a column.
    With --engine spark, FILE can also be a folder or a URI, and --good and --bad are folders.
    """
    from waterflow_cli.samples.opening import find_inputs
    from waterflow_cli.samples.schemas import load_schema
    from waterflow_cli.tables.outputs import OutputGroup
    from waterflow_cli.validation.limits import load_limits

    if console.as_json and (form != "text" or output != "-"):
        raise UsageError(
            "--json writes to stdout, and goes with neither --format nor -o.",
            tr("For a file: --format json -o FILE"),
        )
    schema, (inputs, reading) = load_schema(schema_name), find_inputs(files, chosen.reading)
    chosen = replace(chosen, reading=reading, limits=load_limits(limits, schema))
    with OutputGroup(force=chosen.force) as outputs:
        if engine is None:
            report = _check_here(inputs, schema, chosen, output, console, outputs)
        else:
            from waterflow_cli.spark.preflight import check_validation

            check_validation(inputs, schema, chosen, output, layout)
            with open_engine(engine, console) as spark:
                report = spark.validate(inputs, schema, chosen, findings=output, layout=layout)
        _write(report, form, output, console, outputs, excel=chosen.excel)
    note_reading(report.dialects, report.cells, schema, chosen.reading, console)
    _summarise(report, console)
    return 0 if report.passed else 1


def _check_here(
    inputs: list[str],
    schema: TableSchema,
    chosen: ValidationOptions,
    output: str,
    console: Console,
    group: OutputGroup,
) -> ValidationReport:
    from waterflow_cli.tables.outputs import check_outputs
    from waterflow_cli.validation.report import validate_files

    outputs = (("-o", output), ("--good", chosen.good), ("--bad", chosen.bad))
    check_outputs(outputs, force=chosen.force, inputs=[*inputs, *chosen.reading.samplings])
    with console.progress(tr("rows")) as report_progress:
        return validate_files(inputs, schema, chosen, report_progress, group)


def _summarise(report: ValidationReport, console: Console) -> None:
    """Say on stderr what was found, and the verdict."""
    note_limits(report.limits, console)
    if report.passed:
        console.note(
            trn(
                "{n} row, which passes (schema {schema}).",
                "{n} rows, all pass (schema {schema}).",
                report.n_rows,
                schema=report.schema,
            )
        )
        return
    row = tr("row")
    counts = [
        f"{column or row} {rule} {count}"
        for (column, rule), count in sorted(report.by_rule.items())
    ]
    console.note("Findings: {counts}.", counts=shorten(counts))
    console.note(
        "{rows}, {failed}: {findings}, {n_shown} shown (schema {schema}).",
        rows=trn("{n} row", "{n} rows", report.n_rows),
        failed=trn("{n} does not pass", "{n} do not pass", report.n_invalid),
        findings=trn("{n} finding", "{n} findings", report.n_findings),
        n_shown=len(report.findings),
        schema=report.schema,
    )


def _write(
    report: ValidationReport,
    form: str,
    output: str,
    console: Console,
    outputs: OutputGroup,
    *,
    excel: str | None,
) -> None:
    """Write the findings in the chosen form, to stdout or whole to a file."""
    from waterflow_cli.common.json import json_text
    from waterflow_cli.tables.writing import open_table_writer
    from waterflow_cli.validation.report import finding_columns, findings_table, render_findings

    if console.as_json:
        form = "json"
    if output == "-":  # who reads it may be gone, but the files are there
        outputs.publish()
    if form == "text" and output == "-":
        if report.findings:
            names = finding_columns(report.findings)
            rows = [[str(getattr(each, name)) for name in names] for each in report.findings]
            heads = [(">" if name == "line" else "") + tr(name) for name in names]
            console.table("", heads, rows)
        return
    with outputs.open(output) as sink:
        if form == "csv":
            names = finding_columns(report.findings)
            with open_table_writer("-", sink, excel) as writer:
                writer.write(findings_table(report.findings, names))
        elif form == "json":
            sink.write(json_text(report.summary()).encode())
        elif form == "html":
            sink.write(render_findings(report).encode("utf-8", "backslashreplace"))
        else:
            lines = (f"{printable(str(finding))}\n" for finding in report.findings)
            sink.write("".join(lines).encode())
