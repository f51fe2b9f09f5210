"""``waterflow score``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from waterflow_cli.commands.options import (
    common_options,
    console_of,
    force_option,
    jobs_option,
    json_option,
    rename_option,
    store_options,
)
from waterflow_cli.errors import UsageError

if TYPE_CHECKING:
    from waterflow_cli.console import Console
    from waterflow_cli.scoring_job import ScoringSummary


@click.command(short_help="Judge the samples of a file with a registered model.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    help="Where to write: .csv, .tsv, .jsonl (also .gz, .zst), .parquet, or - for stdout.",
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
@rename_option
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
@click.option("--rejects", metavar="FILE", help="Write the invalid rows, with reasons, here too.")
@jobs_option
@force_option
@json_option
@common_options
@click.pass_context
def score(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Judge each sample of FILE... with a registered model.

    Each row comes out in order with its columns as they were written, followed by status,
    probability, prediction, verdict, reason and model_version.
    """
    from waterflow_cli.model_location import load_model
    from waterflow_cli.scoring_job import ScoringOptions, score_files
    from waterflow_cli.sources import expand_inputs

    if as_json and "-" in (options["output"], options["rejects"]):
        raise UsageError("--json and rows both go to stdout.", "Write the rows to a file.")
    console = console_of(ctx)
    inputs = expand_inputs(options["files"])
    chosen = {
        name: options[name]
        for name in ("renames", "prefix", "columns", "on_invalid", "rejects", "force", "jobs")
    }
    model = load_model(
        options["reference"], name=options["name"], tracking_uri=options["tracking_uri"]
    )
    console.detail(f"Loaded {model.label}, every file verified.")
    summary = score_files(model, inputs, options["output"], ScoringOptions(**chosen))
    if as_json:
        console.json(_content(summary, options["output"]))
    _summarise(summary, options["output"], console)


def _content(summary: ScoringSummary, output: str) -> dict[str, Any]:
    return {
        "model": summary.model,
        "output": output,
        "rows": summary.n_rows,
        "rows_scored": summary.n_scored,
        "rows_invalid": summary.n_invalid,
        "verdicts": dict(summary.verdicts),
        "files": summary.dialects,
    }


def _summarise(summary: ScoringSummary, output: str, console: Console) -> None:
    for path, dialect in summary.dialects.items():
        console.note(f"Read {path} as {dialect}.")
    verdicts = ", ".join(f"{count} {name}" for name, count in summary.verdicts.items())
    console.note(
        f"{summary.n_rows} rows by {summary.model}: {summary.n_scored} scored ({verdicts}), "
        f"{summary.n_invalid} invalid."
    )
    console.note(
        "Not measured, so not judged: germs, nitrate, lead, arsenic, fluoride and whatever else "
        "is in no column."
    )
    if output != "-":
        console.note(f"Wrote {output}.")
