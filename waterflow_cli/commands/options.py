"""Options that several commands share."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from waterflow_cli.console import Console
from waterflow_cli.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_STORE = "sqlite:///mlflow.db"


def console_of(ctx: click.Context) -> Console:
    """Give the console that the common options set up."""
    console = ctx.find_root().obj
    assert isinstance(console, Console)
    return console


def common_options(command: F) -> F:
    """Add ``-q -v --no-color --debug``; each works before and after the command's name."""

    def quieter(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            console_of(ctx).verbosity = -1

    def louder(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            console_of(ctx).verbosity = 1

    def colorless(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            console_of(ctx).color = False

    def debugging(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            console_of(ctx).debug = True

    for names, callback, text in (
        (("--debug",), debugging, "Show tracebacks."),
        (("--no-color",), colorless, "No colors; NO_COLOR and TERM=dumb do the same."),
        (("-v", "--verbose"), louder, "Say more on stderr."),
        (("-q", "--quiet"), quieter, "Only results, warnings and errors."),
    ):
        command = click.option(
            *names, is_flag=True, expose_value=False, callback=callback, help=text, is_eager=True
        )(command)
    return command


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("as_json", "--json", is_flag=True, help="One JSON object on stdout.")(
        command
    )


def rename_option(command: F) -> F:
    """Add ``--rename FROM=TO``."""
    return click.option(
        "renames",
        "--rename",
        multiple=True,
        metavar="FROM=TO",
        callback=lambda _ctx, _param, values: parse_renames(values),
        help="Read the file's column FROM as TO. Can be given several times.",
    )(command)


def schema_option(command: F) -> F:
    """Add ``--schema``."""
    return click.option(
        "schema_name",
        "--schema",
        default="water",
        show_default=True,
        metavar="NAME|FILE.yaml",
        help="What the rows must keep to; see waterflow schemas list.",
    )(command)


def store_options(command: F) -> F:
    """Add ``--tracking-uri`` and ``--name``."""
    command = click.option(
        "--name",
        default="waterflow",
        show_default=True,
        help="The registered model.",
    )(command)
    return click.option(
        "--tracking-uri",
        envvar=["WATERFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI"],
        default=DEFAULT_STORE,
        show_default=True,
        metavar="URI",
        help="The MLflow tracking store; MLFLOW_TRACKING_URI is honoured.",
    )(command)


def jobs_option(command: F) -> F:
    """Add ``--jobs``."""
    return click.option(
        "--jobs",
        type=click.IntRange(min=1),
        default=_count_cores,
        show_default="all cores",
        help="How much to do at once; it changes no result.",
    )(command)


def batch_rows_option(command: F) -> F:
    """Add ``--batch-rows``."""
    return click.option(
        "--batch-rows",
        type=click.IntRange(min=1),
        metavar="N",
        help="About how many rows to hold at a time for each job; it changes no result.",
    )(command)


def _count_cores() -> int:
    """Count the cores that this process may use; macOS cannot tell them from all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def force_option(command: F) -> F:
    """Add ``--force``."""
    return click.option("--force", is_flag=True, help="Replace an existing output.")(command)


def parse_renames(values: tuple[str, ...]) -> dict[str, str]:
    """Read ``FROM=TO`` options.

    >>> parse_renames(("pH value=ph",))
    {'pH value': 'ph'}

    Raises
    ------
    UsageError
        If one is not of that form.
    """
    renames = {}
    for value in values:
        source, equals, target = value.rpartition("=")
        if not equals or not source or not target:
            raise UsageError(f"--rename {value}: FROM=TO is expected.")
        renames[source] = target
    return renames


def refuse_nan(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Refuse NaN, which lies in every range for click."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number.", ctx, param)
    return value
