"""``waterflow train``."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from waterflow_cli.commands import options
from waterflow_cli.commands.families import Labelled, labelled, load_labelled, refuse_two_splits
from waterflow_cli.common.errors import ModelError, UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.console import Console
from waterflow_cli.models.contract import BALANCES, CALIBRATIONS, CERTIFYING

if TYPE_CHECKING:
    from waterflow_cli.common.arrays import FloatArray
    from waterflow_cli.registry.runs import TrackingOptions
    from waterflow_cli.registry.versions import RegisteredVersion
    from waterflow_cli.training.options import TrainingOptions
    from waterflow_cli.training.runs.log import TrainingReport


@options.command(short_help="Train a model on labelled samples, and register it.")
@click.argument("data", nargs=-1)
@click.option(
    "--plugin",
    "plugin_name",
    required=True,
    metavar="NAME",
    help="Which model; see waterflow plugins list.",
)
@click.option(
    "--param",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the model. Can be given several times.",
)
@click.option(
    "--balance",
    type=click.Choice(BALANCES),
    default="smote",
    help="How to treat unequal classes, inside the folds only.",
)
@click.option(
    "--threshold",
    default="balanced-accuracy",
    metavar="RULE",
    callback=options.parsed_by("models.thresholds:parse_threshold"),
    help="balanced-accuracy, f1, fbeta:B, cost:FP:FN, precision:P, fpr:F or a number.",
)
@click.option(
    "--calibrate",
    "calibration",
    type=click.Choice(CALIBRATIONS),
    default="sigmoid",
    help="How scores become probabilities.",
)
@options.cv
@click.option(
    "--test-size",
    type=options.Share(0.05, 0.5),
    help="Measure on one held-out share of the rows instead.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Measure by one fit, on a fifth of the rows: a first answer, soon.",
)
@options.group
@options.time
@click.option(
    "--guarantee",
    "guarantees",
    multiple=True,
    metavar="RISK=LEVEL@CONFIDENCE%",
    callback=options.parsed_by("models.guarantees:parse_guarantee"),
    help="precision=0.8@90%, npv=... or fpr=...: certify the cut-offs of the verdicts.",
)
@click.option(
    "--certify",
    type=click.Choice(CERTIFYING),
    default="split",
    help="By three tenths of the rows, kept apart; or by the predictions of all out of fold, which "
    "decides more and is not proved.",
)
@click.option(
    "--require-guarantee",
    is_flag=True,
    help="Exit with 1, and register nothing, where a guarantee cannot be given.",
)
@click.option(
    "--tune",
    "n_trials",
    type=click.IntRange(min=1),
    metavar="TRIALS",
    callback=lambda _ctx, _param, value: value or 0,
    help="Search the plugin's parameters, anew in each fit.",
)
@click.option(
    "--time-limit",
    type=options.Share(min=0, min_open=True),
    metavar="SECONDS",
    help="Begin no further trial of a search after this; the result depends on the machine then.",
)
@click.option(
    "--journal",
    metavar="FILE",
    help="Keep trials here; the same command goes on from them when it was stopped.",
)
@click.option("--report", "page", metavar="FILE.html", help="Write a page about the model here.")
@options.force
@options.seed("Equal seeds give equal models.")
@options.on_invalid
@options.on_leak
@click.option("--experiment", default="waterflow", help="The MLflow experiment.")
@options.schema
@options.reading
@options.tracking_uri
@options.name
@options.jobs
@options.family("chosen", "training.options:TrainingOptions")
@options.family("tracking", "registry.runs:TrackingOptions", uri="tracking_uri")
@options.how
@labelled
def train(
    console: Console,
    *,
    plugin_name: str,
    assignments: tuple[str, ...],
    page: str | None,
    force: bool,
    samples: Labelled,
    chosen: TrainingOptions,
    tracking: TrackingOptions,
) -> None:
    """Train a model on the labelled samples in DATA, measure it, and register it in MLflow.

    Without DATA: water_potability.csv in the working folder, else a simulated sample.
    """
    from waterflow_cli.models.discovery import load_plugin, parse_params
    from waterflow_cli.tables.outputs import check_outputs
    from waterflow_cli.training.options import check_journal
    from waterflow_cli.training.runs.log import run_training
    from waterflow_cli.training.runs.record import Training

    _refuse_contradictions(samples, chosen)
    if console.as_json and page == "-":
        raise UsageError("--json and the page both go to stdout.", tr("Write the page to a file."))
    read = [*samples.data, *samples.how.reading.samplings]
    check_outputs([("--report", page)], force=force, inputs=read)
    if chosen.journal is not None:
        check_journal(chosen.journal)
    plugin = load_plugin(plugin_name)
    with plugin.guarded(tr("list its parameters")):
        params = parse_params(assignments, plugin.model.default_params())
    schema, data = load_labelled(samples, chosen.on_leak, console)
    training = Training(data, schema, plugin, replace(chosen, params=params))
    report = run_training(training, tracking, console.note, page=page, force=force)
    if not console.json(report.summary()) and page != "-":
        _show(report, console)


def _refuse_contradictions(samples: Labelled, chosen: TrainingOptions) -> None:
    """Refuse options that ask for two ways of splitting, or for a guarantee of nothing."""
    refuse_two_splits(group=samples.how.group, time=samples.how.time, test_size=chosen.test_size)
    asked = {guarantee.kind for guarantee in chosen.guarantees}
    if len(asked) < len(chosen.guarantees) or {"precision", "fpr"} <= asked:
        raise UsageError(
            "--guarantee: one promise can be made of each verdict: precision or "
            "fpr of likely_potable, npv of likely_not_potable."
        )
    if asked and (samples.how.group is not None or samples.how.time is not None):
        raise UsageError(
            "--guarantee goes with neither --group nor --time: it needs rows of "
            "which each could as well have come in the place of any other."
        )
    _refuse_designs(chosen)
    if chosen.require_guarantee and not asked:
        raise UsageError("--require-guarantee: no --guarantee is asked for.")
    for name in ("time_limit", "journal"):
        if getattr(chosen, name) is not None and not chosen.n_trials:
            raise UsageError("--{option} goes with --tune alone.", option=name.replace("_", "-"))
    if chosen.n_trials and find_spec("optuna") is None:
        raise ModelError(
            "--tune needs Optuna.", tr("Install it: pip install 'waterflow-cli[tune]'")
        )


def _refuse_designs(chosen: TrainingOptions) -> None:
    """Refuse options that ask for two ways of measuring; a configured --cv may stand by."""
    quick = chosen.quick or None
    refuse_two_splits(cv=options.is_asked("cv") or None, test_size=chosen.test_size, quick=quick)


def _show(report: TrainingReport, console: Console) -> None:
    """Print the figures beside the baselines, what the threshold does, and what was registered."""
    from waterflow_cli.models.decision import describe_verdicts
    from waterflow_cli.training.designs import describe_design
    from waterflow_cli.training.leaks import describe_leaks
    from waterflow_cli.training.runs.page import metric_table

    result, registered = report.result, report.registered
    if leaks := report.training.leaks:
        console.result("DO NOT BELIEVE these figures. {leaks}.", leaks=describe_leaks(leaks))
    names, rows = metric_table(report.training.plugin.name, result)
    title = tr(
        "{design}, {n_tested} rows: estimate and 95 % interval",
        design=describe_design(result.design.name),
        n_tested=result.evaluation.n_rows,
    )
    console.table(title, ("", *(f">{name}" for name in names)), rows)
    _show_points(report, console)
    _show_decision(report, console)
    for line in describe_verdicts(result.verdicts):
        console.result(line)
    console.note(tr("The baselines are fitted without balancing."))
    if report.training.options.quick:
        console.note(
            tr(
                "A quick answer: the figures are of a model that learned from three fifths of the "
                "rows. What balancing does and which measurements matter is left out; without "
                "--quick they are measured too, and all rows are tested."
            )
        )
    if not result.is_better_than_chance:
        console.warn(tr("Not shown to be better than chance: its ROC AUC may be 0.5 or less."))
    _show_registered(registered, console)


def _show_registered(registered: RegisteredVersion, console: Console) -> None:
    """Print what the version is called, and how it is put in use if it is not."""
    if registered.alias is None:
        console.result(
            "Registered {name} version {version} without an alias (run {run_id}).",
            name=registered.name,
            version=registered.version,
            run_id=registered.run_id,
        )
        console.note(
            "To put it in use all the same: waterflow models promote {version} --force",
            version=registered.version,
        )
        return
    console.result(
        "Registered {name} version {version} as @{alias} (run {run_id}).",
        name=registered.name,
        version=registered.version,
        alias=registered.alias,
        run_id=registered.run_id,
    )
    if registered.alias == "demo":
        console.note(tr("It learned from simulated samples; to try it: --model @demo"))
    elif registered.alias != "champion":
        console.note(
            "To put it in use: waterflow models promote {version}", version=registered.version
        )


def _show_decision(report: TrainingReport, console: Console) -> None:
    """Print what the model decides by, and how often it decides."""
    result = report.result
    console.result(
        "These are figures of the procedure; the model itself learned from "
        "{n_trained} rows ({n_fits} fits, besides the baselines).",
        n_trained=result.n_trained,
        n_fits=result.n_fits,
    )
    console.result(
        "Threshold {threshold:.3f} ({rule}).",
        threshold=result.model.threshold,
        rule=report.training.options.threshold.text,
    )
    _show_spread(result.fold_thresholds, console)
    for certificate in result.certificates:
        console.result("Guarantee {certificate}.", certificate=certificate.describe())
    console.result("Verdicts: {policy}.", policy=result.model.policy.describe())
    console.result(
        "Share of tested samples decided: {decided_share:.1%}.", decided_share=result.decided_share
    )


def _show_spread(thresholds: FloatArray, console: Console) -> None:
    """Print how far the thresholds of the folds lie apart; a single one, or a fixed one, cannot."""
    kept = thresholds[thresholds <= 1]
    if len(kept) > 1 and kept.min() < kept.max():
        console.result(
            "Tuned anew in each of {n_folds} folds it lay between {low:.3f} and {high:.3f}, with a "
            "standard deviation of {spread:.3f}.",
            n_folds=len(kept),
            low=kept.min(),
            high=kept.max(),
            spread=kept.std(ddof=1),
        )


def _show_points(report: TrainingReport, console: Console) -> None:
    from waterflow_cli.training.runs.page import point_cells

    false_positive, false_negative = report.training.options.costs
    console.table(
        tr("What each decision threshold would do"),
        (
            "",
            ">" + tr("precision potable"),
            ">" + tr("recall potable"),
            ">" + tr("precision not potable"),
            ">" + tr("recall not potable"),
            ">" + tr("false 'potable' per 1000"),
            ">"
            + tr(
                "cost {false_positive:g}:{false_negative:g} per 1000",
                false_positive=false_positive,
                false_negative=false_negative,
            ),
        ),
        [point_cells(point) for point in report.result.points],
    )
