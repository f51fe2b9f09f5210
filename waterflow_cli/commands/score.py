"""``waterflow score``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from waterflow_cli.commands import options
from waterflow_cli.commands.engine_options import open_engine
from waterflow_cli.commands.notes import (
    note_limits,
    note_reading,
    note_written,
    warn_of_simulated,
    warn_of_void,
)
from waterflow_cli.common.effects import effects
from waterflow_cli.common.errors import DataRefusedError, UsageError, shorten
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.models.decision import DecisionModel
    from waterflow_cli.models.files import StoredModel
    from waterflow_cli.scoring.job import ScoringSummary
    from waterflow_cli.scoring.task import ScoringOptions
    from waterflow_cli.spark.settings import OutputLayout, SparkOptions


@options.command(short_help="Judge the samples of a file with a registered model.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@options.output(
    "Where to write: .csv, .tsv, .jsonl (also .gz, .zst), .xlsx, .parquet, - for stdout, FOLDER/.",
    metavar="OUT",
    required=True,
)
@options.model()
@options.store
@options.reading
@click.option(
    "--prefix", default="", show_default=False, help="Put before the names of the result columns."
)
@click.option(
    "--columns",
    default="all",
    metavar="all|ids|A,B",
    help="Which input columns to keep; ids: all but the measurements and the label.",
)
@click.option(
    "--on-invalid",
    type=click.Choice(("mark", "fail", "drop")),
    default="mark",
    help="What to do with rows that break the schema.",
)
@click.option(
    "--max-invalid",
    type=options.Share(0, 100),
    default=100.0,
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
    help="Add to reason the K measurements that moved the probability most, each with the change "
    "against the same row with that one at its training median. One scoring more for each "
    "measurement.",
)
@click.option(
    "--dossier",
    metavar="FOLDER/",
    help="Write a page for each sample here: what was measured, against which --limits, what the "
    "model says, and what is missing. At most 1000 samples.",
)
@options.limits
@click.option(
    "--resume",
    is_flag=True,
    help="Keep finished rows beside OUT when stopped; the same command then goes on from them.",
)
@options.batch_rows
@options.jobs
@options.engine
@options.layout
@options.excel
@click.option(
    "--partition-by",
    "keys",
    metavar="A,B",
    callback=options.split_names,
    help="With --engine spark: write a folder for each value of these columns.",
)
@click.option(
    "--require-guarantee",
    is_flag=True,
    help="Exit with 1 where the model keeps no guarantee, or it is void for these samples.",
)
@options.force
@options.family("chosen", "scoring.task:ScoringOptions", but=("limits",))
def score(
    console: Console,
    *,
    files: tuple[str, ...],
    output: str,
    reference: str,
    store: options.Store,
    limits: tuple[str, ...],
    engine: SparkOptions | None,
    layout: OutputLayout,
    require_guarantee: bool,
    chosen: ScoringOptions,
) -> int:
    """Judge each sample of FILE... with a registered model.

    Each row comes out in order with its columns as they were written, followed by status,
    probability, prediction, verdict, rule, reason and model_version, and with --limits by limits.
    With --engine spark, FILE can also be a folder or a URI, and OUT is a folder of parts.
    """
    from waterflow_cli.registry.location import fetch_model
    from waterflow_cli.samples.opening import find_inputs
    from waterflow_cli.validation.limits import load_limits

    if chosen.dossier is not None and (engine is not None or "-" in files):
        raise UsageError("--dossier reads files twice, and goes with neither Spark nor stdin.")
    _refuse_two_outputs(console, output, chosen)
    fetched = fetch_model(reference, name=store.name, tracking_uri=store.tracking_uri)
    model = fetched.load()
    warn_of_simulated(model, console)
    console.detail("Loaded {model}, every file verified.", model=model.label)
    _refuse_uncertified(model, required=require_guarantee)
    inputs, reading = find_inputs(files, chosen.reading)
    chosen = replace(chosen, reading=reading, limits=load_limits(limits, model.schema))
    if engine is None:
        summary = _score_here(console, model, inputs, output, chosen)
    else:
        from waterflow_cli.spark.preflight import check_scoring

        check_scoring(fetched, model, inputs, output, chosen, layout)
        with open_engine(engine, console) as spark:
            summary = spark.score(fetched, model, inputs, output, chosen, layout)
    console.json(_content(summary, output))
    note_reading(summary.dialects, summary.cells, model.schema, chosen.reading, console)
    return int(_summarise(summary, model.decision, console) and require_guarantee)


def _score_here(
    console: Console,
    model: StoredModel,
    inputs: list[str],
    output: str,
    chosen: ScoringOptions,
) -> ScoringSummary:
    from waterflow_cli.scoring.job import score_files

    try:
        with console.progress(tr("rows")) as report:
            return score_files(model, inputs, output, chosen, report)
    except KeyboardInterrupt:
        if chosen.resume and not effects:
            console.note(tr("Finished rows are kept: the same command goes on from them."))
        raise


def _refuse_two_outputs(console: Console, output: str, chosen: ScoringOptions) -> None:
    if console.as_json and "-" in (output, chosen.rejects, chosen.manifest):
        raise UsageError("--json and rows both go to stdout.", tr("Write the rows to a file."))


def _refuse_uncertified(model: StoredModel, *, required: bool) -> None:
    if required and not model.decision.certified:
        raise DataRefusedError(
            "Model {label} keeps no guarantee.", tr("See train --guarantee."), label=model.label
        )


def _content(summary: ScoringSummary, output: str) -> dict[str, Any]:
    return {
        "model": summary.model,
        "output": output,
        "outputs": summary.outputs,
        **summary.counts,
        "rows_resumed": summary.n_resumed,
        "files": summary.dialects,
    }


def _summarise(summary: ScoringSummary, decision: DecisionModel, console: Console) -> bool:
    """Print what came of it, and say whether a guarantee does not hold for these samples."""
    from waterflow_cli.validation.limits import unmeasured

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
        "{rows} by {model}: {n_scored} scored ({verdicts}), {n_invalid} invalid.",
        rows=trn("{n} row", "{n} rows", summary.n_rows),
        model=summary.model,
        n_scored=summary.n_scored,
        verdicts=verdicts,
        n_invalid=summary.n_invalid,
    )
    if empty := summary.cells.absent(decision.measurements, summary.n_rows):
        console.warn("No value in any row, so imputed in all: {names}.", names=shorten(empty))
        console.note(
            "They hold {share:.0%} of what the model learned from; if one goes by another name in "
            "the file: --rename",
            share=decision.share_without(empty),
        )
    if absent := unmeasured(decision.measurements):
        console.note(
            "Not measured, so not judged: {names} and whatever else is in no column.",
            names=shorten(map(tr, absent)),
        )
    else:
        console.note(tr("Not measured, so not judged: whatever is in no column."))
    note_limits(summary.limits, console)
    note_written(console, *summary.outputs)
    void = decision.void_guarantees(summary.verdicts)
    warn_of_void(void, console)
    return bool(void)
