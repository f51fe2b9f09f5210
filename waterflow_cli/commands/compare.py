"""``waterflow compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from waterflow_cli.commands.labelled import (
    cv_option,
    group_option,
    load_labelled,
    on_invalid_option,
    refuse_two_splits,
    time_option,
)
from waterflow_cli.commands.options import (
    common_options,
    console_of,
    force_option,
    jobs_option,
    json_option,
    reading_options,
    schema_option,
    store_options,
)
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.common.number_formats import format_estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waterflow_cli.console import Console
    from waterflow_cli.training.comparison import Leaderboard


# What says how candidates are trained; runs are trained already.
_NOT_WITH_RUNS = {
    "data": "DATA",
    "plugins": "--plugin",
    "balances": "--balance",
    "assignments": "--param",
    "seeds": "--seed",
    "design_seed": "--design-seed",
    "cv": "--cv",
    "group": "--group",
    "time": "--time",
}


@click.command(short_help="Compare models on the same folds, each difference with its interval.")
@click.argument("data", required=False)
@click.option(
    "--plugin",
    "plugins",
    metavar="NAME,NAME",
    help="Which models; see waterflow plugins list.",
)
@click.option(
    "--balance",
    "balances",
    default="smote",
    show_default=True,
    metavar="WAY,WAY",
    help="How to treat unequal classes: smote, smoteenn, under, weight, none.",
)
@click.option(
    "--seed",
    "seeds",
    default="0",
    show_default=True,
    metavar="N,N",
    help="Seeds of the models: how much is chance?",
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
@cv_option
@group_option
@time_option
@click.option(
    "--design-seed",
    type=click.IntRange(min=0),
    show_default="the first --seed",
    help="Seed of the folds, which all candidates share.",
)
@on_invalid_option
@click.option("-o", "--picture", metavar="FILE.png", help="Draw the comparison.")
@force_option
@schema_option
@reading_options
@store_options
@jobs_option
@json_option
@common_options
@click.pass_context
def compare(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Rank models by ROC AUC, and tell a difference from chance.

    The candidates are every --plugin with every --balance and --seed. All are measured on the same
    folds of the labelled samples in DATA; nothing is registered. Without DATA:
    water_potability.csv in the working folder, else a simulated sample.
    """
    console = console_of(ctx)
    _check_options(ctx, options)
    picture = options["picture"]
    if picture is not None:
        _check_picture(picture, options)
    board = _compare_trained(options) if options["runs"] else _compare_plugins(options, console)
    if as_json:
        console.json(board.summary())
    else:
        _show(board, console)
    if picture is not None:
        _draw(board, picture, options)
        console.note(tr("Wrote {files}.", files=picture))


def _check_options(ctx: click.Context, options: Mapping[str, Any]) -> None:
    """Refuse options that do not go together; settings from files and variables may stand by."""
    if options["runs"]:
        for name, shown in _NOT_WITH_RUNS.items():
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise UsageError(
                    tr("--run and {shown}: runs are compared as they were trained.", shown=shown),
                    tr("Leave {shown} out, or compare plugins without --run.", shown=shown),
                )
    elif not options["plugins"]:
        raise UsageError(
            tr("Compare what? Name plugins or runs."),
            tr("waterflow compare DATA --plugin rf,logreg, or waterflow compare --run RUN,RUN"),
        )
    else:
        refuse_two_splits(options, ("group", "time"))


def _check_picture(picture: str, options: Mapping[str, Any]) -> None:
    """Refuse a picture before anything is fitted for it."""
    from waterflow_cli.tables.outputs import check_output

    if not picture.lower().endswith(".png"):
        raise UsageError(tr("-o {picture}: a picture is written as .png.", picture=picture))
    check_output(picture, force=options["force"], inputs=_inputs(options))


def _inputs(options: Mapping[str, Any]) -> list[str]:
    return [options["data"]] if options["data"] else []


def _compare_trained(options: Mapping[str, Any]) -> Leaderboard:
    from waterflow_cli.training.comparison import split_list
    from waterflow_cli.training.runs.compared_runs import compare_runs

    references = split_list("--run", options["runs"])
    return compare_runs(references, name=options["name"], tracking_uri=options["tracking_uri"])


def _compare_plugins(options: Mapping[str, Any], console: Console) -> Leaderboard:
    from waterflow_cli.models.discovery import load_plugin
    from waterflow_cli.samples.schemas import load_schema
    from waterflow_cli.training.comparison import (
        compare_procedures,
        parse_balances,
        parse_seeds,
        plan_procedures,
        split_list,
    )
    from waterflow_cli.training.options import TrainingOptions, parse_cv
    from waterflow_cli.training.trainer import make_design

    seeds = parse_seeds(options["seeds"])
    design_seed = seeds[0] if options["design_seed"] is None else options["design_seed"]
    common = TrainingOptions(cv=parse_cv(options["cv"]), seed=design_seed, jobs=options["jobs"])
    procedures = plan_procedures(
        [load_plugin(name) for name in split_list("--plugin", options["plugins"])],
        parse_balances(options["balances"]),
        seeds,
        options["assignments"],
        common,
    )
    data = load_labelled(options, load_schema(options["schema_name"]), console)
    return compare_procedures(data, procedures, make_design(data, common), report=console.note)


def _show(board: Leaderboard, console: Console) -> None:
    best = board.candidates[0].name
    rows = [
        [
            each.name,
            format_estimate(each.estimates["roc_auc"]),
            f"{each.estimates['balanced_accuracy'].value:.3f}",
            f"{each.estimates['brier'].value:.3f}",
            "" if each.name == best else format_estimate(board.behind(each), "+.3f"),
            tr(board.verdict(each)),
        ]
        for each in board.candidates
    ]
    console.table(
        tr(
            "{design}, {n_tested} rows: mean and 95 % interval",
            design=board.design,
            n_tested=board.n_rows,
        ),
        (
            "",
            ">" + tr("ROC AUC"),
            ">" + tr("balanced accuracy"),
            ">Brier",
            ">" + tr("ROC AUC less the best"),
            tr("verdict"),
        ),
        rows,
    )
    if len(rows) > 2:
        console.note(
            tr(
                "Each difference is judged by itself: among many candidates, some that "
                "are as good as the best will be called worse by chance."
            )
        )


def _draw(board: Leaderboard, picture: str, options: Mapping[str, Any]) -> None:
    from waterflow_cli.tables.outputs import open_output
    from waterflow_cli.training.runs.comparison_plot import draw_leaderboard

    with open_output(picture, force=options["force"], inputs=_inputs(options)) as file:
        file.write(draw_leaderboard(board))
