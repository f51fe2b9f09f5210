"""``waterflow compare``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from waterflow_cli.commands import options
from waterflow_cli.commands.families import Labelled, labelled, load_labelled, refuse_two_splits
from waterflow_cli.commands.notes import note_written
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.common.number_formats import format_estimate
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.training.comparison import Leaderboard
    from waterflow_cli.training.options import CrossValidation, OnLeak


# What says how candidates are trained; runs are trained already.
_NOT_WITH_RUNS = (
    *("data", "plugins", "balances", "assignments", "seeds"),
    *("design_seed", "cv", "group", "time", "on_leak"),
)


@dataclass(frozen=True, kw_only=True)
class _Candidates:
    """What is compared: every plugin with every balance and seed, on the same folds."""

    plugins: str | None
    balances: str
    seeds: str
    assignments: tuple[str, ...]
    cv: CrossValidation | None
    design_seed: int | None
    jobs: int
    on_leak: OnLeak


@options.command(short_help="Compare models on the same folds, each difference with its interval.")
@click.argument("data", nargs=-1)
@click.option(
    "--plugin", "plugins", metavar="NAME,NAME", help="Which models; see waterflow plugins list."
)
@click.option(
    "--balance",
    "balances",
    default="smote",
    metavar="WAY,WAY",
    help="How to treat unequal classes: smote, smoteenn, under, weight, none.",
)
@click.option(
    "--seed", "seeds", default="0", metavar="N,N", help="Seeds of the models: how much is chance?"
)
@click.option(
    "--param",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter, for each of the models that has it. Can be given several times.",
)
@click.option(
    "--run",
    "runs",
    metavar="RUN,RUN",
    help="Compare trained runs instead: their ids, @champion or version numbers.",
)
@options.cv
@options.group
@options.time
@click.option(
    "--design-seed",
    type=click.IntRange(min=0),
    show_default="the first --seed",
    help="Seed of the folds, which all candidates share.",
)
@options.on_invalid
@options.on_leak
@click.option("-o", "--picture", metavar="FILE.png", help="Draw the comparison.")
@options.force
@options.schema
@options.reading
@options.store
@options.jobs
@options.family("candidates", _Candidates)
@options.how
@labelled
def compare(
    console: Console,
    *,
    candidates: _Candidates,
    samples: Labelled,
    runs: str | None,
    store: options.Store,
    picture: str | None,
    force: bool,
) -> None:
    """Rank models by ROC AUC, and tell a difference from chance.

    The candidates are every --plugin with every --balance and --seed. All are measured on the same
    folds of the labelled samples in DATA; nothing is registered. Without DATA:
    water_potability.csv in the working folder, else a simulated sample.
    """
    from waterflow_cli.training.comparison import split_list
    from waterflow_cli.training.runs.compared_runs import compare_runs

    _check_options(runs, candidates, samples)
    inputs = list(samples.data)
    if picture is not None:
        _check_picture(picture, inputs, force=force)
    if runs:
        names = split_list("--run", runs)
        board = compare_runs(names, name=store.name, tracking_uri=store.tracking_uri)
    else:
        board = _compare_plugins(candidates, samples, console)
    if not console.json(board.summary()):
        _show(board, console)
    if picture is not None:
        _draw(board, picture, inputs, force=force)
    note_written(console, picture)


def _check_options(runs: str | None, candidates: _Candidates, samples: Labelled) -> None:
    """Refuse options that do not go together; settings from files and variables may stand by."""
    if runs:
        if shown := options.first_asked(_NOT_WITH_RUNS):
            raise UsageError(
                "--run and {shown}: runs are compared as they were trained.",
                tr("Leave {shown} out, or compare plugins without --run.", shown=shown),
                shown=shown,
            )
    elif not candidates.plugins:
        raise UsageError(
            "Compare what? Name plugins or runs.",
            tr("waterflow compare DATA --plugin rf,logreg, or waterflow compare --run RUN,RUN"),
        )
    else:
        refuse_two_splits(group=samples.how.group, time=samples.how.time)


def _check_picture(picture: str, inputs: list[str], *, force: bool) -> None:
    """Refuse a picture before anything is fitted for it."""
    from waterflow_cli.tables.outputs import check_output

    if not picture.lower().endswith(".png"):
        raise UsageError("-o {picture}: a picture is written as .png.", picture=picture)
    check_output(picture, force=force, inputs=inputs)


def _compare_plugins(candidates: _Candidates, samples: Labelled, console: Console) -> Leaderboard:
    from waterflow_cli.models.discovery import load_plugin
    from waterflow_cli.training import comparison
    from waterflow_cli.training.options import TrainingOptions
    from waterflow_cli.training.trainer import explain_design, make_design

    seeds = comparison.parse_seeds(candidates.seeds)
    design_seed = seeds[0] if candidates.design_seed is None else candidates.design_seed
    common = TrainingOptions(
        cv=candidates.cv, seed=design_seed, jobs=candidates.jobs, on_leak=candidates.on_leak
    )
    plugins = comparison.split_list("--plugin", candidates.plugins or "")
    procedures = comparison.plan_procedures(
        [load_plugin(name) for name in plugins],
        comparison.parse_balances(candidates.balances),
        seeds,
        candidates.assignments,
        common,
    )
    _, data = load_labelled(samples, candidates.on_leak, console)
    design = make_design(data, common)
    if explained := explain_design(design, data, common):
        console.note(explained)
    return comparison.compare_procedures(data, procedures, design, report=console.note)


def _show(board: Leaderboard, console: Console) -> None:
    best = board.candidates[0].name
    console.listing(
        tr(board.title),
        board.candidates,
        [
            ("", lambda each: each.name),
            (">" + tr("ROC AUC"), lambda each: format_estimate(each.estimates["roc_auc"])),
            (
                ">" + tr("balanced accuracy"),
                lambda each: f"{each.estimates['balanced_accuracy'].value:.3f}",
            ),
            (">Brier", lambda each: f"{each.estimates['brier'].value:.3f}"),
            (
                ">" + tr("ROC AUC less the best"),
                lambda each: (
                    "" if each.name == best else format_estimate(board.behind(each), "+.3f")
                ),
            ),
            (tr("verdict"), lambda each: tr(board.verdict(each))),
        ],
    )
    if len(board.candidates) > 2:
        console.note(
            tr(
                "The verdicts allow for the number of pairs (Holm); the intervals stand by "
                "themselves."
            )
        )


def _draw(board: Leaderboard, picture: str, inputs: list[str], *, force: bool) -> None:
    from waterflow_cli.tables.outputs import open_output
    from waterflow_cli.training.runs.plots import draw_leaderboard

    with open_output(picture, force=force, inputs=inputs) as file:
        file.write(draw_leaderboard(board))
