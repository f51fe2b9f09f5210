"""``waterflow validate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from waterflow_cli.commands.options import (
    batch_rows_option,
    common_options,
    console_of,
    engine_options,
    force_option,
    jobs_option,
    json_option,
    limits_option,
    reading_options,
    schema_option,
    single_file_option,
)
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr, trn

if TYPE_CHECKING:
    from waterflow_cli.common.progress import Report
    from waterflow_cli.console import Console
    from waterflow_cli.validation.report import ValidationReport

_FORMATS = ("text", "json", "csv", "html")
_PASSED_ON = ("reading", "good", "bad", "force")


@click.command(short_help="Check the rows of a file against a schema.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@schema_option
@reading_options
@click.option(
    "--max-errors",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="How many findings to show; all are counted.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    default="text",
    show_default=True,
    help="How to write the findings.",
)
@click.option("-o", "--output", default="-", metavar="FILE", help="Where to write the findings.")
@click.option("--good", metavar="FILE", help="Write the rows that pass to this file.")
@click.option("--bad", metavar="FILE", help="Write the other rows, with their reasons.")
@limits_option
@batch_rows_option
@jobs_option
@engine_options
@single_file_option
@force_option
@json_option
@common_options
@click.pass_context
def validate(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Check each row of FILE... against a pandera schema.

    Exit code 0: every row passes. 1: some do not. 3: a file cannot be read, or lacks a column.
    With --engine spark, FILE can also be a folder or a URI, and --good and --bad are folders.
    """
    from waterflow_cli.commands.limits import note_limits
    from waterflow_cli.commands.notes import note_reading
    from waterflow_cli.samples.schemas import load_schema
    from waterflow_cli.validation.limits import load_limits

    if as_json and (options["form"] != "text" or options["output"] != "-"):
        raise UsageError(
            tr("--json writes to stdout, and goes with neither --format nor -o."),
            tr("For a file: --format json -o FILE"),
        )
    console = console_of(ctx)
    schema = load_schema(options["schema_name"])
    limits = load_limits(options["limits"], schema)
    check = _check_here if options["engine"] is None else _check_on_spark
    with console.progress(tr("rows")) as report_progress:
        common = {
            "schema": schema,
            "max_findings": options["max_errors"],
            "limits": limits,
            **{name: options[name] for name in _PASSED_ON},
        }
        report = check(options, common, report_progress)
    form = "json" if as_json else options["form"]
    _write(report, form, options["output"], options["force"], console)
    note_reading(report.dialects, report.cells, schema, options["reading"], console)
    note_limits(report.limits, console)
    _summarise(report, console)
    ctx.exit(0 if report.passed else 1)


def _check_here(
    options: dict[str, Any], common: dict[str, Any], report_progress: Report
) -> ValidationReport:
    from waterflow_cli.tables.outputs import check_outputs
    from waterflow_cli.tables.sources import expand_inputs
    from waterflow_cli.validation.report import validate_files

    inputs = expand_inputs(options["files"])
    outputs = (("-o", options["output"]), ("--good", options["good"]), ("--bad", options["bad"]))
    check_outputs(outputs, force=options["force"], inputs=inputs)
    local = {name: options[name] for name in ("jobs", "batch_rows")}
    return validate_files(inputs, report_progress=report_progress, **common, **local)


def _check_on_spark(
    options: dict[str, Any], common: dict[str, Any], report_progress: Report
) -> ValidationReport:
    from waterflow_cli.spark.files import refuse_missing
    from waterflow_cli.spark.session import open_session
    from waterflow_cli.spark.settings import OutputLayout
    from waterflow_cli.tables.outputs import check_output

    check_output(options["output"], force=options["force"])
    debug = console_of(click.get_current_context()).debug
    refuse_missing(options["files"])
    with open_session(options["engine"], debug=debug) as spark:
        from waterflow_cli.spark.engine import SparkEngine

        layout = OutputLayout(options["is_single"])
        engine = SparkEngine(spark, report_progress)
        findings = options["output"]
        return engine.validate(options["files"], findings=findings, layout=layout, **common)


def _summarise(report: ValidationReport, console: Console) -> None:
    """Say on stderr what was found, and the verdict."""
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
    counts = (
        f"{column or row} {rule} {count}"
        for (column, rule), count in sorted(report.by_rule.items())
    )
    console.note(tr("Findings: {counts}.", counts=", ".join(counts)))
    console.note(
        tr(
            "{rows}, {failed}: {findings}, {n_shown} shown (schema {schema}).",
            rows=trn("{n} row", "{n} rows", report.n_rows),
            failed=trn("{n} does not pass", "{n} do not pass", report.n_invalid),
            findings=trn("{n} finding", "{n} findings", report.n_findings),
            n_shown=len(report.findings),
            schema=report.schema,
        )
    )


def _write(report: ValidationReport, form: str, output: str, force: bool, console: Console) -> None:
    """Write the findings in the chosen form, to stdout or whole to a file."""
    from waterflow_cli.common.json import json_text
    from waterflow_cli.console import printable
    from waterflow_cli.tables.outputs import open_output
    from waterflow_cli.tables.writing import DelimitedWriter
    from waterflow_cli.validation.report import FINDING_COLUMNS, findings_table

    if form == "text" and output == "-":
        if report.findings:
            rows = [
                [str(getattr(finding, name)) for name in FINDING_COLUMNS]
                for finding in report.findings
            ]
            heads = [(">" if name == "line" else "") + tr(name) for name in FINDING_COLUMNS]
            console.table("", heads, rows)
        return
    with open_output(output, force=force) as sink:
        if form == "csv":
            DelimitedWriter(sink, ",").write(findings_table(report.findings))
        elif form == "json":
            sink.write(json_text(report.summary()).encode())
        elif form == "html":
            from waterflow_cli.validation.page import render_findings

            sink.write(render_findings(report).encode("utf-8", "backslashreplace"))
        else:
            lines = (f"{printable(str(finding))}\n" for finding in report.findings)
            sink.write("".join(lines).encode())
