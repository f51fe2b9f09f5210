"""``waterflow replay``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from waterflow_cli.commands import options
from waterflow_cli.commands.notes import note_reading, note_written, warn_of_simulated
from waterflow_cli.common.errors import UsageError, shorten
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.scoring.flips import Flip, RowJudgement
    from waterflow_cli.scoring.replay import Replay, ReplayOptions

# A line of a terminal holds no more; the output and the JSON have all.
_SHOWN_IDS = 3


@options.command(short_help="Score a past output again, and list what flipped.")
@click.argument("file", metavar="OUT")
@options.model("@challenger")
@options.store
@options.reading
@click.option("--prefix", help="What the names of the past results start with, where unclear.")
@options.count(
    "--max-flips", "List at most so many flips; they are always counted.", least=0, default=20
)
@options.output(
    "Write each row that flipped here, as it was and as it is now: .csv, .tsv, .jsonl "
    "(also .gz, .zst) or .parquet.",
    metavar="FLIPS",
)
@options.batch_rows
@options.jobs
@options.force
@options.family("chosen", "scoring.replay:ReplayOptions")
def replay(
    console: Console, *, file: str, reference: str, store: options.Store, chosen: ReplayOptions
) -> None:
    """Score OUT, which `waterflow score` wrote, again with another model, and list the flips.

    A row flips where its prediction or verdict is another one now, or where it becomes invalid
    or scored. The most dangerous come first: called potable now, and not before. Read OUT with the
    options that score was given (--unit, --nondetect, --decimal, …). Flips are information: the
    exit code is 0 with and without them.
    """
    from waterflow_cli.registry.location import load_model
    from waterflow_cli.scoring.replay import replay as replay_file

    if chosen.output == "-":
        raise UsageError(
            "The counts and the flips both go to stdout.", tr("Write the flips to a file.")
        )
    model = load_model(reference, name=store.name, tracking_uri=store.tracking_uri)
    warn_of_simulated(model, console)
    with console.progress(tr("rows")) as report:
        result = replay_file(file, model, chosen, report)
    if not console.json({**result.summary(), "output": chosen.output}):
        _show(result, console)
    note_reading({result.path: result.reading}, result.cells, model.schema, chosen.reading, console)
    _note(result, chosen.output, console)


def _show(result: Replay, console: Console) -> None:
    """Print the counts, then the first flips."""
    counts = result.counts
    _show_matrix(result, console)
    console.result(
        trn(
            "{n_flips} of {n} row flipped; {n_to_potable} from likely_not_potable to "
            "likely_potable.",
            "{n_flips} of {n} rows flipped; {n_to_potable} from likely_not_potable to "
            "likely_potable.",
            counts.n_rows,
            n_flips=counts.n_flips,
            n_to_potable=counts.n_to_potable,
        )
    )
    console.result(
        "Predictions: {n_up} from 0 to 1, {n_down} from 1 to 0.",
        n_up=counts.n_up,
        n_down=counts.n_down,
    )
    console.result(
        "Probabilities: {n_changed} of {n_compared} changed, by {mean:.3f} on average and "
        "{largest:.3f} at most.",
        n_changed=counts.n_changed,
        n_compared=counts.n_both_scored,
        mean=counts.mean_change,
        largest=counts.largest_change,
    )
    if result.flips:
        _show_flips(result, console)


def _show_matrix(result: Replay, console: Console) -> None:
    from waterflow_cli.scoring.past_results import STATES

    console.table(
        tr(
            "{path}: judged by {old}, and again by {model}",
            path=result.path,
            old=shorten(list(result.counts.old_models), 4),
            model=result.model,
        ),
        (tr("before"), *(">" + tr("now {verdict}", verdict=name) for name in STATES)),
        [
            (name, *map(str, row))
            for name, row in zip(STATES, result.counts.matrix.tolist(), strict=True)
        ],
    )


def _show_flips(result: Replay, console: Console) -> None:
    ids = result.id_columns[:_SHOWN_IDS]
    several = len(result.counts.old_models) > 1
    title = trn(
        "The {n_shown} most dangerous of {n} flip",
        "The {n_shown} most dangerous of {n} flips",
        result.counts.n_flips,
        n_shown=len(result.flips),
    )
    console.listing(
        title,
        result.flips,
        [
            (">" + tr("line"), lambda flip: str(flip.line)),
            *((name, lambda flip, name=name: flip.ids[name]) for name in ids),
            (tr("before"), lambda flip: _judgement_text(flip.old, with_model=several)),
            (tr("now"), lambda flip: _judgement_text(flip.new)),
            (">" + tr("change"), _change_text),
        ],
    )


def _judgement_text(judged: RowJudgement, *, with_model: bool = False) -> str:
    parts = [judged.status]
    if judged.probability is not None:
        parts = [f"{judged.probability:.3f}", str(judged.prediction), judged.verdict]
    return " ".join([*parts, *([judged.model_version] if with_model else [])])


def _change_text(flip: Flip) -> str:
    old, new = flip.old.probability, flip.new.probability
    return "" if old is None or new is None else f"{new - old:+.3f}"


def _note(result: Replay, output: str | None, console: Console) -> None:
    counts = result.counts
    if counts.n_unsteady:
        console.warn(
            trn(
                "{n} row changed though {model} judged it before too: {why}",
                "{n} rows changed though {model} judged them before too: {why}",
                counts.n_unsteady,
                model=result.model,
                why=tr(
                    "the file is not read as the samples were. Give the options that score had "
                    "(--unit, --nondetect, --decimal, …); a row of units is in no output."
                ),
            )
        )
    if counts.n_lost and result.has_rules:
        console.note(
            trn(
                "{n} row stays invalid: what was wrong with it is not in its cells.",
                "{n} rows stay invalid: what was wrong with them is not in their cells.",
                counts.n_lost,
            )
        )
    elif counts.n_lost:
        console.warn(
            trn(
                "{n} row was invalid, and its cells are sound.",
                "{n} rows were invalid, and their cells are sound.",
                counts.n_lost,
            )
            + " "
            + tr(
                "The file has no column rule (waterflow 0.1.0 wrote none), so whether the cells "
                "show what was wrong is not known: such rows count as invalid still."
            )
        )
    note_written(console, output)
