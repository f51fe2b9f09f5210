"""``waterflow monitor``."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from waterflow_cli.commands import options
from waterflow_cli.commands.notes import note_written, warn_of_simulated, warn_of_void
from waterflow_cli.common.credentials import redact
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import printable, tr, trn
from waterflow_cli.console import Console
from waterflow_cli.monitoring.checks import DEFAULT_ALPHA

if TYPE_CHECKING:
    from waterflow_cli.monitoring.monitor import Monitoring
    from waterflow_cli.monitoring.samples import MonitoringOptions

_ARGUMENTS = "waterflow.arguments"
_SCHEDULE = "--schedule"


@dataclass(frozen=True, kw_only=True)
class _Outputs:
    """Where it is written what was found."""

    output: str | None
    prometheus: str | None
    no_log: bool
    force: bool


class _Remembering(click.Command):
    """A command that knows its arguments as they were typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments, for a schedule to repeat them."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


@options.command(cls=_Remembering, short_help="Hold new samples against a model's training rows.")
@click.argument("file", metavar="FILE")
@options.model()
@click.option("--labels", is_flag=True, help="Use the file's labels: how did the verdicts fare?")
@click.option("--by", metavar="COLUMN", help="Check each group of this column too.")
@click.option(
    "--window",
    metavar="30d",
    callback=options.parsed_by("monitoring.groups:parse_window"),
    help="Check each window of so many days (30d) or weeks (4w) too.",
)
@options.date
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=DEFAULT_ALPHA,
    help="How likely any alarm may be where nothing changed, all checks together.",
)
@options.output("Write a page of HTML; - is stdout.")
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
@options.reading
@options.seed("Of the rows drawn at random, and of the joint test.")
@options.jobs
@options.store
@options.force
@options.family("grouping", "monitoring.groups:Grouping", window_days="window")
@options.family("chosen", "monitoring.samples:MonitoringOptions", with_labels="labels")
@options.family("outputs", _Outputs)
def monitor(
    console: Console,
    *,
    file: str,
    reference: str,
    store: options.Store,
    is_scheduled: bool,
    chosen: MonitoringOptions,
    outputs: _Outputs,
) -> int:
    """Hold the samples in FILE against those that a model was trained on.

    Missing values, non-detects, units, distributions, probabilities and verdicts. Exit code 1 where
    something differs by more than chance, and by enough to matter, or nothing could be checked.
    """
    from waterflow_cli.monitoring.page import render_monitoring
    from waterflow_cli.monitoring.report import summarise

    if is_scheduled:
        _print_schedule(console)
        return 0
    read = [file, *chosen.reading.samplings]
    _check_outputs(read, outputs, console)
    found = _monitor(file, reference, store, chosen, console, is_logged=not outputs.no_log)
    page = render_monitoring(found) if outputs.output is not None or not outputs.no_log else ""
    _write(found, page, read, outputs)
    if not console.json(summarise(found)) and outputs.output != "-":
        _print(found, console)
    _note(found, outputs, console)
    if not outputs.no_log:
        _log(found, page, file, store.tracking_uri, console)
    return 1 if found.alarms or not found.checks else 0


def _check_outputs(read: list[str], outputs: _Outputs, console: Console) -> None:
    from waterflow_cli.tables.outputs import check_outputs

    named = {"-o": outputs.output, "--prometheus": outputs.prometheus}
    if console.as_json and "-" in named.values():
        raise UsageError("--json and an output to - both write to stdout.")
    check_outputs(list(named.items()), force=outputs.force, inputs=read)


def _monitor(
    file: str,
    reference: str,
    store: options.Store,
    chosen: MonitoringOptions,
    console: Console,
    *,
    is_logged: bool,
) -> Monitoring:
    """Load the model and its reference, and check the file."""
    from waterflow_cli.models.reference import load_reference
    from waterflow_cli.monitoring.monitor import monitor_file
    from waterflow_cli.registry.location import fetch_model
    from waterflow_cli.registry.stores import connect

    fetched = fetch_model(reference, name=store.name, tracking_uri=store.tracking_uri)
    model = fetched.load()
    warn_of_simulated(model, console)
    stored = load_reference(fetched.files.payload, label=fetched.label)
    if is_logged:
        # Refuse a store that cannot be written to before the file is read, but no sooner: where
        # there is no model, no store is made either.
        connect(store.tracking_uri, create=True)
    with console.progress(tr("rows")) as report:
        return monitor_file(model, stored, file, chosen, report)


def _log(found: Monitoring, page: str, file: str, uri: str, console: Console) -> None:
    from waterflow_cli.common.hashing import file_sha256
    from waterflow_cli.monitoring.log import EXPERIMENT, log_check

    digest = file_sha256(file) if Path(file).is_file() else None
    run_id = log_check(found, page, uri=uri, file_sha256=digest)
    console.detail(
        "Logged as run {run_id} of the experiment {name}.", run_id=run_id, name=EXPERIMENT
    )


def _write(found: Monitoring, page: str, read: list[str], chosen: _Outputs) -> None:
    """Write the page and the metrics, both or none."""
    from waterflow_cli.monitoring.report import render_metrics
    from waterflow_cli.tables.outputs import OutputGroup

    with OutputGroup(force=chosen.force, inputs=read) as outputs:
        if chosen.output is not None:
            with outputs.open(chosen.output) as sink:
                sink.write(page.encode("utf-8", "backslashreplace"))
        if chosen.prometheus is not None:
            with outputs.open(chosen.prometheus) as sink:
                sink.write(render_metrics(found))


def _print(found: Monitoring, console: Console) -> None:
    """Print the verdict, what alarms, and the tables."""
    from waterflow_cli.monitoring import report
    from waterflow_cli.monitoring.expected import describe_expected, expected_rows

    console.result(printable(report.headline(found)))
    for text in report.sentences(found):
        console.result(f"! {printable(text)}")
    if found.alarms:
        warn_of_void([each.guarantee for each in found.model.decision.certified], console)
    shown = found.checks if console.verbosity > 0 else report.nearest_checks(found)
    columns, rows = report.check_rows(shown)
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
        console.table("", *report.group_rows(found))
    columns, rows = report.record_rows(found)
    if rows:
        console.table("", columns, rows)
    columns, rows = expected_rows(found.expected)
    if rows:
        console.table("", columns, rows)
    for text in describe_expected(found.expected):
        console.result(text)


def _note(found: Monitoring, outputs: _Outputs, console: Console) -> None:
    from waterflow_cli.monitoring.report import notes

    console.note("Read {path} as {how}.", path=found.file.path, how=found.file.reading)
    for text in found.file.alarms:
        console.warn(text)
    for text in notes(found):
        console.note(text)
    note_written(console, outputs.output, outputs.prometheus)


def _print_schedule(console: Console) -> None:
    """Print how to run this very command every day."""
    meta = click.get_current_context().meta
    typed = [each for each in meta[_ARGUMENTS] if each != _SCHEDULE]
    arguments = [redact(each) for each in typed]
    command = [*_this_program(), "monitor", *arguments]
    console.result(_cron_line(command, Path.cwd()))
    console.result("")
    console.result(_systemd_units(command, Path.cwd()).rstrip())
    console.note(tr("Exit code 1 is an alarm. Outputs that exist are replaced with --force only."))
    if arguments != typed:
        console.warn(
            tr("The password of the tracking URI is left out: set MLFLOW_TRACKING_URI there.")
        )


def _this_program() -> list[str]:
    """Give what starts this program again, from any folder."""
    path = Path(sys.argv[0]).absolute()
    if path.name == "__main__.py":
        return [sys.executable, "-m", path.parent.name]
    return [str(path)]


def _cron_line(command: Sequence[str], folder: Path) -> str:
    r"""Write a line that runs a command every morning at six.

    >>> _cron_line(["waterflow", "monitor", "100 %.csv"], Path("/data"))
    "0 6 * * * cd /data && waterflow monitor '100 \\%.csv'"
    """
    # cron ends a command at a % that is not escaped.
    line = f"cd {shlex.quote(str(folder))} && {shlex.join(command)}"
    return "0 6 * * * " + line.replace("%", r"\%")


def _systemd_units(command: Sequence[str], folder: Path) -> str:
    """Write a service that runs a command, and a timer that starts it every morning at six."""
    shown = " ".join(map(_quote, command))
    return f"""\
# ~/.config/systemd/user/waterflow-monitor.service
[Unit]
Description=waterflow monitor

[Service]
Type=oneshot
WorkingDirectory={str(folder).replace("%", "%%")}
ExecStart={shown}

# ~/.config/systemd/user/waterflow-monitor.timer
[Unit]
Description=waterflow monitor, every morning

[Timer]
OnCalendar=*-*-* 06:00:00
Persistent=true

[Install]
WantedBy=timers.target
"""


def _quote(text: str) -> str:
    """Quote an argument for ExecStart, where % and $ have a meaning in quotes too."""
    escaped = text.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w@:,./=+-]+", text, re.ASCII):
        return escaped
    escaped = escaped.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
