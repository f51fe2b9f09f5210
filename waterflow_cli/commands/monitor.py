"""``waterflow monitor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from waterflow_cli.commands.options import (
    common_options,
    console_of,
    force_option,
    jobs_option,
    json_option,
    reading_options,
    store_options,
)
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.monitoring.checks import DEFAULT_ALPHA

if TYPE_CHECKING:
    from waterflow_cli.console import Console
    from waterflow_cli.monitoring.monitor import Monitoring

_ARGUMENTS = "waterflow.arguments"
_SCHEDULE = "--schedule"


class _Remembering(click.Command):
    """A command that knows its arguments as they were typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments, for a schedule to repeat them."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


@click.command(cls=_Remembering, short_help="Hold new samples against a model's training rows.")
@click.argument("file", metavar="FILE")
@click.option(
    "--model",
    "reference",
    default="@champion",
    show_default=True,
    metavar="MODEL",
    help="@alias, a version number, models:/…, runs:/… or a model folder.",
)
@click.option("--labels", is_flag=True, help="Use the file's labels: how did the verdicts fare?")
@click.option("--by", metavar="COLUMN", help="Check each group of this column too.")
@click.option(
    "--window", metavar="30d", help="Check each window of so many days (30d) or weeks (4w) too."
)
@click.option("--date", metavar="COLUMN", help="The column of dates, where it is not found.")
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=DEFAULT_ALPHA,
    show_default=True,
    help="How likely any alarm may be where nothing changed, all checks together.",
)
@click.option("-o", "--output", metavar="FILE", help="Write a page of HTML; - is stdout.")
@click.option(
    "--prometheus", metavar="FILE.prom", help="Write a file for Prometheus' textfile collector."
)
@click.option("--no-log", is_flag=True, help="Log nothing to MLflow.")
@click.option(
    "is_scheduled",
    _SCHEDULE,
    is_flag=True,
    help="Print a line of cron and a timer of systemd for this command, and do nothing else.",
)
@reading_options
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the rows drawn at random, and of the joint test.",
)
@jobs_option
@store_options
@force_option
@json_option
@common_options
@click.pass_context
def monitor(ctx: click.Context, /, as_json: bool, is_scheduled: bool, **options: Any) -> None:
    """Hold the samples in FILE against those that a model was trained on.

    Missing values, non-detects, units, distributions, probabilities and verdicts. Exit code 1 where
    something differs by more than chance, and by enough to matter, or nothing could be checked.
    """
    console = console_of(ctx)
    if is_scheduled:
        _print_schedule(ctx, console)
        return
    _check_outputs(options, as_json=as_json)
    found = _monitor(options, console)
    page = _render(found) if options["output"] is not None or not options["no_log"] else ""
    _write(found, page, options)
    if as_json:
        _print_json(found, console)
    elif options["output"] != "-":
        _print(found, console)
    _note(found, options, console)
    if not options["no_log"]:
        _log(found, page, options, console)
    if found.alarms or not found.checks:
        ctx.exit(1)


def _check_outputs(options: dict[str, Any], *, as_json: bool) -> None:
    from waterflow_cli.tables.outputs import check_outputs

    outputs = [("-o", options["output"]), ("--prometheus", options["prometheus"])]
    if as_json and "-" in dict(outputs).values():
        raise UsageError(tr("--json and an output to - both write to stdout."))
    check_outputs(outputs, force=options["force"], inputs=[options["file"]])


def _check_store(options: dict[str, Any]) -> None:
    """Refuse a store that cannot be written to before the file is read."""
    from waterflow_cli.registry.stores import connect

    connect(options["tracking_uri"], create=True)


def _monitor(options: dict[str, Any], console: Console) -> Monitoring:
    """Load the model and its reference, and check the file."""
    from waterflow_cli.models.files import PAYLOAD
    from waterflow_cli.models.reference import load_reference
    from waterflow_cli.monitoring.groups import Grouping, parse_window
    from waterflow_cli.monitoring.monitor import MonitoringOptions, monitor_file
    from waterflow_cli.registry.location import fetch_model

    window = parse_window(options["window"]) if options["window"] is not None else None
    chosen = MonitoringOptions(
        options["reading"],
        Grouping(options["by"], window, options["date"]),
        options["labels"],
        options["alpha"],
        options["seed"],
        options["jobs"],
    )
    with fetch_model(
        options["reference"], name=options["name"], tracking_uri=options["tracking_uri"]
    ) as fetched:
        model = fetched.load()
        reference = load_reference(fetched.folder / "data" / PAYLOAD, label=fetched.label)
    if not options["no_log"]:
        _check_store(options)  # no sooner: where there is no model, no store is made either
    with console.progress(tr("rows")) as report:
        return monitor_file(model, reference, options["file"], chosen, report)


def _render(found: Monitoring) -> str:
    from waterflow_cli.monitoring.page import render_monitoring

    return render_monitoring(found)


def _log(found: Monitoring, page: str, options: dict[str, Any], console: Console) -> None:
    from waterflow_cli.monitoring.log import EXPERIMENT, log_check
    from waterflow_cli.training.data import file_sha256

    path = options["file"]
    digest = file_sha256(path) if Path(path).is_file() else None
    run_id = log_check(found, page, uri=options["tracking_uri"], file_sha256=digest)
    console.detail(
        tr("Logged as run {run_id} of the experiment {name}.", run_id=run_id, name=EXPERIMENT)
    )


def _write(found: Monitoring, page: str, options: dict[str, Any]) -> None:
    """Write the page and the metrics, both or none."""
    from waterflow_cli.monitoring.metrics import render_metrics
    from waterflow_cli.tables.outputs import OutputGroup

    with OutputGroup(force=options["force"], inputs=[options["file"]]) as outputs:
        if options["output"] is not None:
            with outputs.open(options["output"]) as sink:
                sink.write(page.encode("utf-8", "backslashreplace"))
        if options["prometheus"] is not None:
            with outputs.open(options["prometheus"]) as sink:
                sink.write(render_metrics(found))


def _print_json(found: Monitoring, console: Console) -> None:
    from waterflow_cli.monitoring.report import summarise

    console.json(summarise(found))


def _print(found: Monitoring, console: Console) -> None:
    """Print the verdict, what alarms, and the tables."""
    from waterflow_cli.console import printable
    from waterflow_cli.monitoring.report import (
        check_rows,
        group_rows,
        headline,
        nearest_checks,
        record_rows,
        sentences,
    )

    console.result(printable(headline(found)))
    for text in sentences(found):
        console.result(f"! {printable(text)}")
    is_full = console.verbosity > 0
    shown = found.checks if is_full else nearest_checks(found)
    columns, rows = check_rows(shown)
    if rows:
        console.table("", columns, rows)
    n_quiet = sum(not check.alarm for check in found.checks)
    n_others = n_quiet - sum(not check.alarm for check in shown)
    if n_others:
        text = trn(
            "{n} other check shows nothing; -v, --json or -o lists all.",
            "{n} other checks show nothing; -v, --json or -o lists all.",
            n_others,
        )
        console.result(text)
    if len(found.parts) > 1:
        console.table("", *group_rows(found))
    columns, rows = record_rows(found, found.whole)
    if rows:
        console.table("", columns, rows)


def _note(found: Monitoring, options: dict[str, Any], console: Console) -> None:
    from waterflow_cli.monitoring.report import notes

    console.note(tr("Read {path} as {how}.", path=found.file.path, how=found.file.reading))
    for text in found.file.alarms:
        console.warn(text)
    for text in notes(found):
        console.note(text)
    written = [options[name] for name in ("output", "prometheus")]
    shown = [path for path in written if path not in (None, "-")]
    if shown:
        console.note(tr("Wrote {files}.", files=", ".join(shown)))


def _print_schedule(ctx: click.Context, console: Console) -> None:
    """Print how to run this very command every day."""
    from waterflow_cli.commands.schedules import cron_line, systemd_units, this_program
    from waterflow_cli.common.credentials import redact

    typed = [each for each in ctx.meta[_ARGUMENTS] if each != _SCHEDULE]
    arguments = [redact(each) for each in typed]
    command = [*this_program(), "monitor", *arguments]
    console.result(cron_line(command, Path.cwd()))
    console.result("")
    console.result(systemd_units(command, Path.cwd()).rstrip())
    console.note(tr("Exit code 1 is an alarm. Outputs that exist are replaced with --force only."))
    if arguments != typed:
        console.warn(
            tr("The password of the tracking URI is left out: set MLFLOW_TRACKING_URI there.")
        )
