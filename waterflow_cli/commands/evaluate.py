"""``waterflow evaluate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from waterflow_cli.commands import options
from waterflow_cli.commands.notes import (
    answer_leaks,
    note_dropped,
    note_reading,
    note_written,
    warn_of_simulated,
)
from waterflow_cli.common.messages import tr
from waterflow_cli.common.number_formats import format_metric
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.training.data import DataOptions
    from waterflow_cli.training.runs.model_evaluation import ModelEvaluation


@options.command(short_help="Measure a registered model on labelled samples.")
@click.argument("file")
@options.model()
@click.option(
    "--schema",
    "schema_name",
    metavar="NAME|FILE.yaml",
    help="What the rows must keep to, and the label; without it the model's own.",
)
@options.reading
@options.on_invalid
@options.on_leak
@click.option("--plots", metavar="FOLDER", help="Draw pictures here, as PNG files.")
@options.store
@options.force
@options.how
def evaluate(
    console: Console,
    *,
    file: str,
    reference: str,
    schema_name: str | None,
    how: DataOptions,
    on_leak: str,
    plots: str | None,
    store: options.Store,
    force: bool,
) -> None:
    """Measure a registered model on the labelled samples in FILE.

    Metrics at the model's threshold with 95 % intervals, and how often its verdicts were right.
    """
    from waterflow_cli.registry.location import fetch_model
    from waterflow_cli.samples.schemas import load_schema
    from waterflow_cli.training.data import load_training_data
    from waterflow_cli.training.runs.model_evaluation import evaluate_model, save_pictures

    fetched = fetch_model(reference, name=store.name, tracking_uri=store.tracking_uri)
    model = fetched.load()
    warn_of_simulated(model, console)
    schema = load_schema(schema_name) if schema_name else model.schema
    data = load_training_data(file, schema, how, min_per_class=1)
    note_reading({data.path: data.reading}, data.cells, model.schema, how.reading, console)
    answer_leaks(data, on_leak, console)
    evaluated = evaluate_model(model, data, fetched.reference())
    _warn_of_trained_rows(evaluated, console)
    written = [] if plots is None else save_pictures(evaluated, plots, force=force)
    if not console.json({**evaluated.summary(), "outputs": written}):
        _show(evaluated, console)
    _note(evaluated, written, console)


def _show(evaluated: ModelEvaluation, console: Console) -> None:
    """Print the metrics, the confusion counts and what became of the verdicts."""
    from waterflow_cli.models.decision import describe_verdicts
    from waterflow_cli.models.metrics import METRICS

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
        "Verdicts: {n_decided} of {n_tested} rows decided ({share:.1%}), the "
        "others sent to the laboratory.",
        n_decided=evaluated.n_decided,
        n_tested=evaluation.n_rows,
        share=evaluated.n_decided / evaluation.n_rows,
    )
    for line in describe_verdicts(evaluated.verdicts):
        console.result(line)


def _warn_of_trained_rows(evaluated: ModelEvaluation, console: Console) -> None:
    """Warn where the model was trained on the file, or on some of its rows."""
    if evaluated.is_training_data:
        console.warn(
            "{model} was trained on {path} itself: these figures are too good. "
            "Believe those that the training measured, or bring samples that are "
            "new to it.",
            model=evaluated.model,
            path=evaluated.data.path,
        )
    elif evaluated.n_seen:
        console.warn(
            "{model} was trained on {n_seen} of {n_compared} rows of {path}, to the last digit: "
            "these figures are too good. Believe those that the training measured, or bring "
            "samples that are new to it.",
            model=evaluated.model,
            n_seen=f"{evaluated.n_seen:,}",
            n_compared=f"{evaluated.n_compared:,}",
            path=evaluated.data.path,
        )


def _note(evaluated: ModelEvaluation, written: list[str], console: Console) -> None:
    note_dropped(evaluated.data.n_dropped, console)
    console.note(
        "95 % intervals: {interval}; of precision and npv those of Clopper and Pearson.",
        interval=tr(evaluated.evaluation.interval),
    )
    note_written(console, *written)
