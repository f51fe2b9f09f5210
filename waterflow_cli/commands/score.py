"""``waterflow score``."""

from __future__ import annotations

from dataclasses import fields
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
    refuse_nan,
    single_file_option,
    split_names,
    store_options,
)
from waterflow_cli.common.errors import UsageError, shorten
from waterflow_cli.common.messages import tr, trn

if TYPE_CHECKING:
    from waterflow_cli.common.progress import Report
    from waterflow_cli.console import Console
    from waterflow_cli.models.files import StoredModel
    from waterflow_cli.registry.location import FetchedModel
    from waterflow_cli.scoring.job import ScoringSummary
    from waterflow_cli.scoring.task import ScoringOptions


@click.command(short_help="Judge the samples of a file with a registered model.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    help="Where to write: .csv, .tsv, .jsonl (also .gz, .zst), .parquet, - for stdout, or FOLDER/.",
)
@click.option(
    "--model",
    "reference",
    default="@champion",
    show_default=True,
    metavar="MODEL",
    help="@alias, a version number, models:/…, runs:/… or a model folder.",
)
@store_options
@reading_options
@click.option("--prefix", default="", help="Put before the names of the result columns.")
@click.option(
    "--columns",
    default="all",
    show_default=True,
    metavar="all|ids|A,B",
    help="Which input columns to keep; ids: all but the measurements and the label.",
)
@click.option(
    "--on-invalid",
    type=click.Choice(("mark", "fail", "drop")),
    default="mark",
    show_default=True,
    help="What to do with rows that break the schema.",
)
@click.option(
    "--max-invalid",
    type=click.FloatRange(0, 100),
    callback=refuse_nan,
    default=100.0,
    show_default=True,
    metavar="PERCENT",
    help="Write nothing, and end with exit code 1, if more of the rows are invalid.",
)
@click.option("--rejects", metavar="FILE", help="Write the invalid rows, with reasons, here too.")
@click.option(
    "--manifest",
    metavar="FILE",
    help="Write a record here: sha256 of inputs, model and outputs, counts, versions, options.",
)
@click.option(
    "--explain",
    type=click.IntRange(min=0),
    default=0,
    metavar="K",
    show_default=True,
    help="Add to reason the K measurements that moved the probability most, each with the change "
    "against the same row with that one at its training median. One scoring more for each "
    "measurement.",
)
@limits_option
@click.option(
    "--resume",
    is_flag=True,
    help="Keep finished rows beside OUT when stopped; the same command then goes on from them.",
)
@batch_rows_option
@jobs_option
@engine_options
@single_file_option
@click.option(
    "--partition-by",
    "keys",
    metavar="A,B",
    callback=split_names,
    help="With --engine spark: write a folder for each value of these columns.",
)
@force_option
@json_option
@common_options
@click.pass_context
def score(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Judge each sample of FILE... with a registered model.

    Each row comes out in order with its columns as they were written, followed by status,
    probability, prediction, verdict, rule, reason and model_version, and with --limits by limits.
    With --engine spark, FILE can also be a folder or a URI, and OUT is a folder of parts.
    """
    from waterflow_cli.commands.notes import note_reading
    from waterflow_cli.registry.location import fetch_model
    from waterflow_cli.scoring.task import ScoringOptions
    from waterflow_cli.validation.limits import load_limits

    if as_json and "-" in (options["output"], options["rejects"], options["manifest"]):
        raise UsageError(tr("--json and rows both go to stdout."), tr("Write the rows to a file."))
    console = console_of(ctx)
    where = {"name": options["name"], "tracking_uri": options["tracking_uri"]}
    with fetch_model(options["reference"], **where) as fetched:
        model = fetched.load()
        console.detail(tr("Loaded {model}, every file verified.", model=model.label))
        options["limits"] = load_limits(options["limits"], model.schema)
        chosen = ScoringOptions(
            **{each.name: options[each.name] for each in fields(ScoringOptions)}
        )
        try:
            with console.progress(tr("rows")) as report:
                if options["engine"] is None:
                    summary = _score_here(model, chosen, options, report)
                else:
                    summary = _score_on_spark(
                        fetched, model, chosen, options, report, console.debug
                    )
        except KeyboardInterrupt:
            if options["resume"] and options["engine"] is None:
                console.note(tr("Finished rows are kept: the same command goes on from them."))
            raise
    if as_json:
        console.json(_content(summary, options["output"]))
    note_reading(summary.dialects, summary.cells, model.schema, options["reading"], console)
    _summarise(summary, console)


def _score_here(
    model: StoredModel, chosen: ScoringOptions, options: dict[str, Any], report: Report
) -> ScoringSummary:
    from waterflow_cli.scoring.job import score_files
    from waterflow_cli.tables.sources import expand_inputs

    return score_files(model, expand_inputs(options["files"]), options["output"], chosen, report)


def _score_on_spark(
    fetched: FetchedModel,
    model: StoredModel,
    chosen: ScoringOptions,
    options: dict[str, Any],
    report: Report,
    debug: bool,
) -> ScoringSummary:
    from waterflow_cli.spark.files import refuse_missing
    from waterflow_cli.spark.session import open_session
    from waterflow_cli.spark.settings import OutputLayout

    refuse_missing(options["files"])
    with open_session(options["engine"], debug=debug) as spark:
        from waterflow_cli.spark.engine import SparkEngine

        layout = OutputLayout(options["is_single"], options["keys"])
        engine = SparkEngine(spark, report)
        return engine.score(fetched, model, options["files"], options["output"], chosen, layout)


def _content(summary: ScoringSummary, output: str) -> dict[str, Any]:
    return {
        "model": summary.model,
        "output": output,
        "outputs": summary.outputs,
        **summary.counts,
        "rows_resumed": summary.n_resumed,
        "files": summary.dialects,
    }


def _summarise(summary: ScoringSummary, console: Console) -> None:
    from waterflow_cli.commands.limits import note_limits

    if summary.n_resumed:
        console.note(
            trn(
                "Went on after {n} row of an earlier run.",
                "Went on after {n} rows of an earlier run.",
                summary.n_resumed,
            )
        )
    verdicts = ", ".join(f"{count} {name}" for name, count in summary.verdicts.items())
    console.note(
        tr(
            "{rows} by {model}: {n_scored} scored ({verdicts}), {n_invalid} invalid.",
            rows=trn("{n} row", "{n} rows", summary.n_rows),
            model=summary.model,
            n_scored=summary.n_scored,
            verdicts=verdicts,
            n_invalid=summary.n_invalid,
        )
    )
    console.note(
        tr(
            "Not measured, so not judged: germs, nitrate, lead, arsenic, fluoride and whatever "
            "else is in no column."
        )
    )
    note_limits(summary.limits, console)
    written = [path for path in summary.outputs if path != "-"]
    if written:
        console.note(tr("Wrote {files}.", files=shorten(written)))
