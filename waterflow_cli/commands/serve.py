"""``waterflow serve``."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from waterflow_cli.commands.options import (
    common_options,
    console_of,
    jobs_option,
    reading_options,
    store_options,
)
from waterflow_cli.common.credentials import redact
from waterflow_cli.common.errors import PluginError, UsageError
from waterflow_cli.common.messages import tr

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterflow_cli.console import Console


@click.command(short_help="Answer over HTTP with a registered model.")
@click.option(
    "--model",
    "reference",
    default="@champion",
    show_default=True,
    metavar="MODEL",
    help="@alias, a version number, models:/…, runs:/… or a model folder.",
)
@store_options
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen at; one that other machines reach needs a token.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0 for any that is free.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    help="Answer only those who show the token in it (but for /health); otherwise the one in "
    "WATERFLOW_SERVE_TOKEN, if it is set.",
)
@click.option(
    "--no-token", is_flag=True, help="Answer anybody, at an address that other machines reach too."
)
@click.option(
    "--reload-s",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look whether the alias names another version; 0 for never.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1),
    default=10_000_000,
    show_default=True,
    metavar="N",
    help="The largest body that is read.",
)
@click.option(
    "--max-rows",
    type=click.IntRange(min=1),
    default=100_000,
    show_default=True,
    metavar="N",
    help="The most samples that a request may hold.",
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(0.1, 3600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a request may take; also how long those under way have when the server stops.",
)
@click.option(
    "--max-concurrent",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="N",
    help="How many requests may be scored, or wait for it, at once; more are told to come back.",
)
@jobs_option
@reading_options
@common_options
@click.pass_context
def serve(ctx: click.Context, /, **options: Any) -> None:
    """Judge samples that are sent by HTTP: JSON or CSV to /score.

    The other paths are /health, /model, /metrics and /openapi.json. It listens on this machine
    alone unless --host says otherwise, and takes up a newly promoted version by itself. INT, TERM
    and HUP end it once the requests under way are answered; the exit code is then 0.
    """
    from waterflow_cli.serving.app import Service
    from waterflow_cli.serving.options import ServingOptions
    from waterflow_cli.serving.served_model import ModelWatch
    from waterflow_cli.serving.server import Server, address_of, bind

    console = console_of(ctx)
    options["token"] = _read_token(options["token_file"], no_token=options["no_token"])
    is_open = options["no_token"] or options["token"] is not None
    bound = bind(options["host"], options["port"], is_open=is_open)
    where = {name: options[name] for name in ("name", "tracking_uri", "reading")}
    watch = ModelWatch(options["reference"], **where, report=console.note)
    chosen = ServingOptions(**{each.name: options[each.name] for each in fields(ServingOptions)})
    note_access, note_defect = _access_log(console), _defect_log(console)
    service = Service(watch, chosen, note_access=note_access, note_defect=note_defect)
    watch.start(options["reload_s"])
    ready = tr("Serving {model} at {url}", model=watch.current.label, url=address_of(bound))
    Server(service, options["timeout_s"], lambda: console.note(ready)).listen(bound)
    watch.stop()
    console.note(tr("Stopped."))
    if service.is_scoring:
        _leave_threads()


def _leave_threads() -> None:
    """End at once: Python would first wait for the threads that score what nobody waits for."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError):
            stream.flush()
    os._exit(0)


def _read_token(path: str | None, *, no_token: bool) -> str | None:
    from waterflow_cli.serving.options import read_token

    token = read_token(path)
    if no_token and token is not None:
        raise UsageError(tr("--no-token, and a token is given."), tr("Leave out one of the two."))
    return token


def _access_log(console: Console) -> Callable[[str, str, int, float], None]:
    """Say with ``--verbose`` who asked for what; never what was sent."""

    def note(client: str, request: str, status: int, seconds: float) -> None:
        console.detail(
            tr(
                "{client} {request} {status} {milliseconds:.1f} ms",
                client=client,
                request=request,
                status=status,
                milliseconds=1000 * seconds,
            )
        )

    return note


def _defect_log(console: Console) -> Callable[[Exception], None]:
    def note(exc: Exception) -> None:
        if console.debug:
            click.echo(redact("".join(traceback.format_exception(exc))), err=True, nl=False)
        if isinstance(exc, PluginError):
            console.warn(_without_values(exc))
            return
        cause = redact(" ".join(str(exc).split()))[:300]
        console.warn(
            tr(
                "waterflow met a defect of its own: {kind}: {cause}",
                kind=type(exc).__name__,
                cause=cause,
            )
        )

    return note


def _without_values(error: PluginError) -> str:
    """Say what failed without the words of the plugin's code, which can quote samples."""
    from waterflow_cli.models.discovery import describe_failure

    cause = error.__cause__
    if cause is None:
        return error.message
    return error.message.replace(describe_failure(cause), type(cause).__name__)
