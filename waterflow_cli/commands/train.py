"""``waterflow train``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from waterflow_cli.commands.options import (
    common_options,
    console_of,
    jobs_option,
    json_option,
    rename_option,
    schema_option,
    store_options,
)
from waterflow_cli.contract import BALANCES

if TYPE_CHECKING:
    from waterflow_cli.console import Console
    from waterflow_cli.tracking import TrainingReport


@click.command(short_help="Train a model on labelled samples, and register it.")
@click.argument("data", required=False)
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
    show_default=True,
    help="How to treat unequal classes, inside the folds only.",
)
@click.option(
    "--threshold",
    default="balanced-accuracy",
    show_default=True,
    metavar="RULE",
    help="balanced-accuracy, f1, fbeta:B, cost:FP:FN, precision:P, fpr:F or a number.",
)
@click.option(
    "--test-size",
    type=click.FloatRange(0.05, 0.5),
    default=0.2,
    show_default=True,
    help="Share of the rows held out for one final look.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Equal seeds give equal models.",
)
@click.option(
    "--on-invalid",
    type=click.Choice(("fail", "drop")),
    default="fail",
    show_default=True,
    help="What to do with rows that cannot be learned from.",
)
@click.option("--experiment", default="waterflow", show_default=True, help="The MLflow experiment.")
@schema_option
@rename_option
@store_options
@jobs_option
@json_option
@common_options
@click.pass_context
def train(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Train a model on the labelled samples in DATA, measure it, and register it in MLflow.

    Without DATA: water_potability.csv in the working folder, else a simulated sample.
    """
    from waterflow_cli.discovery import load_plugin, parse_params
    from waterflow_cli.schemas import load_schema
    from waterflow_cli.thresholds import parse_threshold
    from waterflow_cli.tracking import TrackingOptions, run_training
    from waterflow_cli.training import TrainingOptions
    from waterflow_cli.training_data import find_training_data, load_training_data

    console = console_of(ctx)
    rule = parse_threshold(options["threshold"])
    plugin = load_plugin(options["plugin_name"])
    with plugin.blamed("list its parameters"):
        params = parse_params(options["assignments"], plugin.model.default_params())
    schema = load_schema(options["schema_name"])
    with find_training_data(options["data"], console.note, console.warn) as path:
        data = load_training_data(
            path,
            schema,
            renames=options["renames"],
            drop_invalid=options["on_invalid"] == "drop",
        )
    if data.n_repeated:
        console.warn(
            f"{data.n_repeated} of {len(data.y)} rows repeat the measurements of another row. "
            "Copies on both sides of the split make the figures too good: remove them first."
        )
    chosen = {name: options[name] for name in ("balance", "test_size", "seed", "jobs")}
    tracking = TrackingOptions(options["tracking_uri"], options["experiment"], options["name"])
    report = run_training(
        data,
        schema,
        plugin,
        TrainingOptions(params=params, threshold=rule, **chosen),
        tracking,
        console.note,
    )
    if as_json:
        console.json(report.summary())
    else:
        _show(report, console)


def _show(report: TrainingReport, console: Console) -> None:
    """Print the held-out figures beside the baselines, and what was registered."""
    from waterflow_cli.metrics import METRICS

    result, registered = report.result, report.registered
    evaluations = {report.plugin: result.evaluation, **result.baselines}
    rows = [
        [title, *(_figure(name, each.estimates[name]) for each in evaluations.values())]
        for name, title in METRICS.items()
    ]
    title = f"{result.evaluation.n_rows} held-out rows, estimate and 95 % interval"
    console.table(title, ("", *(f">{name}" for name in evaluations)), rows)
    negatives, alarms, misses, hits = result.evaluation.confusion
    console.result(
        f"Threshold {result.model.threshold:.3f} ({report.threshold_rule}): of "
        f"{misses + hits} potable samples {hits} are found, of {negatives + alarms} others "
        f"{alarms} are called potable."
    )
    console.result(f"Verdicts: {result.model.policy}.")
    console.result(f"Share of held-out samples decided: {report.decided_share:.1%}.")
    console.result(
        f"Registered {registered.name} version {registered.version} as @{registered.alias} "
        f"(run {registered.run_id})."
    )
    if registered.alias != "champion":
        console.note(f"To put it in use: waterflow models promote {registered.version}")


def _figure(name: str, estimate: Any) -> str:
    if estimate.value != estimate.value:
        return "undefined"
    form = ".0f" if name.endswith("per_1000") else ".3f"
    return f"{estimate.value:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"
