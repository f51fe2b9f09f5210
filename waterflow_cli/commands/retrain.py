"""``waterflow retrain``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from waterflow_cli.commands import options
from waterflow_cli.commands.notes import note_dropped, note_reading
from waterflow_cli.common.errors import shorten
from waterflow_cli.common.messages import marked, tr, trn
from waterflow_cli.common.number_formats import format_estimate
from waterflow_cli.console import Console
from waterflow_cli.training.retraining.options import RetrainingOptions

if TYPE_CHECKING:
    from waterflow_cli.tables.reading_options import ReadingOptions
    from waterflow_cli.training.data import DataOptions, TrainingData
    from waterflow_cli.training.retraining.new_rows import NewRows
    from waterflow_cli.training.retraining.retrainer import Champion, Retraining


@options.command(short_help="Train the champion again with new samples; a gate judges the outcome.")
@click.option(
    "--with",
    "file",
    required=True,
    metavar="NEW",
    help="New labelled samples, in any format that train reads; - for stdin.",
)
@click.option(
    "--data",
    "path",
    metavar="FILE",
    help="Where the champion's training data lies now, if not where it was.",
)
@click.option(
    "--plugin", metavar="NAME", help="Another model than the champion's, with its own defaults."
)
@click.option(
    "--promote", is_flag=True, help="Make the challenger the champion where it passes the gate."
)
@click.option(
    "--holdout",
    type=options.Share(0.1, 0.9),
    default=RetrainingOptions.holdout,
    metavar="SHARE",
    help="Share of the new samples that judge; the challenger learns from the others.",
)
@click.option(
    "--margin",
    type=options.Share(0, 0.5),
    default=RetrainingOptions.margin,
    help="By how much ROC AUC and balanced accuracy may be worse.",
)
@click.option(
    "--id",
    "id_name",
    metavar="COLUMN",
    help="The column of sample ids, where its name does not tell; without one the measurements "
    "tell samples apart.",
)
@click.option(
    "--on-conflict",
    type=click.Choice(("drop", "new", "old", "fail")),
    default="drop",
    help="Which row is learned from where a new one contradicts an earlier one of its sample.",
)
@options.seed("Of the split of the new samples, and of the resampling behind the intervals.")
@options.on_invalid
@options.reading
@options.store
@options.jobs
@options.how
@options.family("chosen", RetrainingOptions)
def retrain(
    console: Console,
    *,
    file: str,
    path: str | None,
    id_name: str | None,
    how: DataOptions,
    store: options.Store,
    chosen: RetrainingOptions,
) -> int:
    """Train the champion again on its training data and new labelled samples.

    The challenger is registered, and judged beside the champion by new samples that neither
    learned from. The exit code is 0 if it passes the gate, and 1, with the reasons, if not.
    """
    from waterflow_cli.samples.columns import IdColumn
    from waterflow_cli.training.data import load_training_data
    from waterflow_cli.training.retraining.retrainer import find_champion
    from waterflow_cli.training.retraining.retrainer import retrain as retrain_champion

    champion = find_champion(store.name, store.tracking_uri)
    recorded = champion.load_data(path, id_name)
    reading = read_as_recorded(champion, how.reading, click.get_current_context(), console.warn)
    new = load_training_data(
        file,
        champion.record.schema,
        replace(champion.record.reading, reading=reading, drop_invalid=how.drop_invalid),
        min_per_class=1,
        ids=IdColumn(id_name, is_needed=id_name is not None),
    )
    _note_new(champion, recorded, new, console)
    found = retrain_champion(
        champion, recorded, new, chosen, report=console.note, warn=console.warn
    )
    if not console.json(found.summary()):
        _show(found, console)
    return 0 if found.gate.passed else 1


def read_as_recorded(
    champion: Champion, asked: ReadingOptions, ctx: click.Context, warn: Callable[[str], None]
) -> ReadingOptions:
    """Let cells mean what they meant to the champion, unless something else is asked for."""
    recorded = champion.record.reading.reading
    chosen = asked
    for name in ("nondetect", "loq", "na", "flags"):
        option = name.removesuffix("s")
        before, now = getattr(recorded, name), getattr(asked, name)
        if ctx.get_parameter_source(name) is ParameterSource.DEFAULT:
            chosen = replace(chosen, **{name: before})
        elif now != before:
            warn(
                tr(
                    "--{option} is another than the champion was trained with, so cells of the new "
                    "rows mean something else.",
                    option=option,
                )
            )
    return chosen


def _note_new(
    champion: Champion, recorded: TrainingData, new: TrainingData, console: Console
) -> None:
    """Say how the new rows were read, and by what samples are told apart."""
    from waterflow_cli.training.runs.combined_data import COMBINED

    schema, reading = champion.record.schema, new.options.reading
    note_reading({new.path: new.reading}, new.cells, schema, reading, console)
    note_dropped(new.n_dropped, console)
    if new.ids is None:
        text = tr("No column of sample ids (--id): samples are told apart by their measurements.")
    elif recorded.ids is None:
        text = tr(
            "Sample ids: '{column}'; the training data has none, so samples of both are told "
            "apart by their measurements.",
            column=new.id_column,
        )
    # Rows of several files that came together have no one column of ids.
    elif recorded.path == COMBINED or recorded.id_column in ("", new.id_column):
        text = tr("Sample ids: '{column}'.", column=new.id_column)
    else:
        text = tr(
            "Sample ids: '{column}'; in the training data '{recorded}'.",
            column=new.id_column,
            recorded=recorded.id_column,
        )
    console.note(text)


def _show(found: Retraining, console: Console) -> None:
    """Print what became of the new rows, both models' figures, the conditions and the outcome."""
    from waterflow_cli.training.retraining.gate import FIGURES

    champion, rows = found.prepared.champion, found.prepared.rows
    console.result(_describe_rows(rows, len(found.prepared.training.data.y)))
    console.table(
        tr(
            "{n_judging} new samples that neither model learned from: {n_negatives} not potable, "
            "{n_positives} potable",
            n_judging=sum(found.gate.counts),
            n_negatives=found.gate.counts[0],
            n_positives=found.gate.counts[1],
        ),
        (
            "",
            ">" + tr("champion, version {version}", version=champion.version),
            ">" + tr("challenger, version {version}", version=found.registered.version),
            ">" + tr("difference (90 % interval)"),
        ),
        [
            (
                tr(FIGURES[name]),
                format_estimate(each.champion),
                format_estimate(each.challenger),
                format_estimate(each.difference, "+.3f"),
            )
            for name, each in found.gate.figures.items()
        ],
    )
    console.table(
        tr("The gate"),
        ("", tr("what it found")),
        [
            (tr("passed") if each.passed else tr("REFUSED"), tr(each.text))
            for each in found.gate.conditions
        ],
    )
    _show_outcome(found, console)


def _describe_rows(rows: NewRows, n_trained: int) -> str:
    matching = rows.matching
    counts = (
        trn("{n} repeats what is known", "{n} repeat what is known", matching.n_repeated),
        trn("{n} contradicts it", "{n} contradict it", len(matching.conflicts)),
        trn("{n} copies measurements", "{n} copy measurements", rows.n_copies),
    )
    return tr(
        "New rows: {n_learned} learned from and {n_judging} set apart to judge; {counts}. "
        "{removed} The challenger learned from {n_trained} rows in all.",
        n_learned=len(rows.learned),
        n_judging=len(rows.judging.y),
        counts=shorten(counts),
        removed=trn(
            "{n} recorded row was taken out.",
            "{n} recorded rows were taken out.",
            matching.n_removed,
        ),
        n_trained=n_trained,
    )


def _show_outcome(found: Retraining, console: Console) -> None:
    registered, champion = found.registered, found.prepared.champion.version
    beginning = found.prepared.champion.beginning
    console.note(
        "Threshold {threshold:.3f}: it calls {rate:.1%} of the not potable training rows potable, "
        "as version {version} did, from which the retrainings began.",
        threshold=found.result.model.threshold,
        rate=beginning.false_potable_rate,
        version=beginning.version,
    )
    if found.promoted:
        outcome = marked(
            "Passed: {name} version {version} is now @champion, and version {champion} @previous."
        )
    elif found.gate.passed:
        outcome = marked("Passed: {name} version {version} may replace {champion}.")
    elif registered.alias is None:
        outcome = marked(
            "Refused: {name} version {version} has no alias, and {champion} stays @champion."
        )
    else:
        outcome = marked(
            "Refused: {name} version {version} stays @challenger, and {champion} @champion."
        )
    console.result(tr(outcome, name=registered.name, version=registered.version, champion=champion))
    for reason in found.gate.reasons:
        console.result(f"- {tr(reason)}")
    if found.gate.passed and not found.promoted:
        console.note(
            "To put it in use: waterflow models promote {version}", version=registered.version
        )
