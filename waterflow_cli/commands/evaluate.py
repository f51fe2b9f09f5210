"""``waterflow evaluate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from waterflow_cli.commands.labelled import on_invalid_option
from waterflow_cli.commands.options import (
    common_options,
    console_of,
    force_option,
    json_option,
    reading_options,
    store_options,
)
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.common.number_formats import format_metric

if TYPE_CHECKING:
    from waterflow_cli.console import Console
    from waterflow_cli.training.runs.model_evaluation import ModelEvaluation


@click.command(short_help="Measure a registered model on labelled samples.")
@click.argument("file")
@click.option(
    "--model",
    "reference",
    default="@champion",
    show_default=True,
    metavar="MODEL",
    help="@alias, a version number, models:/…, runs:/… or a model folder.",
)
@click.option(
    "--schema",
    "schema_name",
    metavar="NAME|FILE.yaml",
    help="What the rows must keep to, and the label; without it the model's own.",
)
@reading_options
@on_invalid_option
@click.option("--plots", metavar="FOLDER", help="Draw pictures here, as PNG files.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the resampling behind the intervals.",
)
@store_options
@force_option
@json_option
@common_options
@click.pass_context
def evaluate(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Measure a registered model on the labelled samples in FILE.

    Metrics at the model's threshold with 95 % intervals, and how often its verdicts were right.
    """
    from waterflow_cli.commands.notes import note_reading
    from waterflow_cli.registry.location import load_model
    from waterflow_cli.samples.schemas import load_schema
    from waterflow_cli.training.data import load_training_data
    from waterflow_cli.training.runs.model_evaluation import evaluate_model, save_pictures

    console = console_of(ctx)
    model = load_model(
        options["reference"], name=options["name"], tracking_uri=options["tracking_uri"]
    )
    data = load_training_data(
        options["file"],
        load_schema(options["schema_name"]) if options["schema_name"] else model.schema,
        reading=options["reading"],
        drop_invalid=options["on_invalid"] == "drop",
        min_per_class=1,
    )
    note_reading({data.path: data.reading}, data.cells, model.schema, options["reading"], console)
    evaluated = evaluate_model(model, data, seed=options["seed"])
    written = []
    if options["plots"] is not None:
        written = save_pictures(evaluated, options["plots"], force=options["force"])
    if as_json:
        console.json({**evaluated.summary(), "outputs": written})
    else:
        _show(evaluated, console)
    _note(evaluated, written, console)


def _show(evaluated: ModelEvaluation, console: Console) -> None:
    """Print the metrics, the confusion counts and what became of the verdicts."""
    from waterflow_cli.models.metrics import METRICS
    from waterflow_cli.models.verdict_records import describe_verdicts

    evaluation = evaluated.evaluation
    console.table(
        tr(
            "{model} on {path}, {n_tested} rows",
            model=evaluated.model,
            path=evaluated.data.path,
            n_tested=evaluation.n_rows,
        ),
        ("", ">" + tr("value and 95 % interval")),
        [
            (tr(METRICS[name]), format_metric(name, each))
            for name, each in evaluation.estimates.items()
        ],
    )
    negatives, alarms, misses, hits = (f"{count:.0f}" for count in evaluation.confusion)
    console.table(
        tr("Called potable from the threshold {threshold:.3f} on", threshold=evaluation.threshold),
        (tr("in the laboratory"), ">" + tr("called not potable"), ">" + tr("called potable")),
        [(tr("not potable"), negatives, alarms), (tr("potable"), misses, hits)],
    )
    console.result(
        tr(
            "Verdicts: {n_decided} of {n_tested} rows decided ({share:.1%}), the "
            "others sent to the laboratory.",
            n_decided=evaluated.n_decided,
            n_tested=evaluation.n_rows,
            share=evaluated.n_decided / evaluation.n_rows,
        )
    )
    for line in describe_verdicts(evaluated.verdicts):
        console.result(line)


def _note(evaluated: ModelEvaluation, written: list[str], console: Console) -> None:
    if evaluated.is_training_data:
        console.warn(
            tr(
                "{model} was trained on {path} itself: these figures are too good. "
                "Believe those that the training measured, or bring samples that are "
                "new to it.",
                model=evaluated.model,
                path=evaluated.data.path,
            )
        )
    if evaluated.data.n_dropped:
        console.note(
            trn(
                "{n} row dropped: invalid, or without label.",
                "{n} rows dropped: invalid, or without label.",
                evaluated.data.n_dropped,
            )
        )
    console.note(
        tr(
            "95 % intervals: {interval}; of precision and npv those of Clopper and Pearson.",
            interval=tr(evaluated.evaluation.interval),
        )
    )
    if written:
        console.note(tr("Wrote {files}.", files=", ".join(written)))
