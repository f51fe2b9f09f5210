"""``waterflow serve``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from waterflow_cli.commands import options
from waterflow_cli.commands.notes import warn_of_simulated
from waterflow_cli.common.errors import PluginError, UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.serving.options import ServingOptions


@options.command(short_help="Answer over HTTP with a registered model.", json=False)
@options.model()
@options.store
@click.option(
    "--host",
    default="127.0.0.1",
    help="The address to listen at; one that other machines reach needs a token.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="0 for any that is free.")
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
    metavar="SECONDS",
    help="How often to look whether the alias names another version; 0 for never.",
)
@options.count("--max-bytes", "The largest body that is read.", default=10_000_000)
@options.count("--max-rows", "The most samples that a request may hold.", default=100_000)
@click.option(
    "--timeout-s",
    type=click.FloatRange(0.1, 3600),
    default=30.0,
    metavar="SECONDS",
    help="How long a request may take; also how long those under way have when the server stops.",
)
@options.count(
    "--max-concurrent",
    "How many requests may be scored, or wait for it, at once; more are told to come back.",
    default=32,
)
@options.jobs
@options.reading
@options.family("chosen", "serving.options:ServingOptions")
def serve(
    console: Console,
    *,
    reference: str,
    store: options.Store,
    host: str,
    port: int,
    token_file: str | None,
    no_token: bool,
    reload_s: float,
    chosen: ServingOptions,
) -> None:
    """Judge samples that are sent by HTTP: JSON or CSV to /score.

    The other paths are /health, /model, /metrics and /openapi.json. It listens on this machine
    alone unless --host says otherwise, and takes up a newly promoted version by itself. INT, TERM
    and HUP end it once the requests under way are answered; the exit code is then 0.
    """
    from waterflow_cli.serving.app import Service
    from waterflow_cli.serving.served_model import ModelWatch
    from waterflow_cli.serving.server import Server, address_of, bind

    token = _read_token(token_file, no_token=no_token)
    bound = bind(host, port, is_open=no_token or token is not None)
    watch = ModelWatch(
        reference,
        name=store.name,
        tracking_uri=store.tracking_uri,
        reading=chosen.reading,
        report=console.note,
    )
    note_access, note_defect = partial(_note_access, console), partial(_note_defect, console)
    chosen = replace(chosen, token=token, is_open=no_token)
    service = Service(watch, chosen, note_access=note_access, note_defect=note_defect)
    watch.start(reload_s)
    warn_of_simulated(watch.current.model, console)
    ready = tr("Serving {model} at {url}", model=watch.current.label, url=address_of(bound))
    Server(service, chosen.timeout_s, lambda: console.note(ready)).listen(bound)
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
        raise UsageError("--no-token, and a token is given.", tr("Leave out one of the two."))
    return token


def _note_access(console: Console, client: str, request: str, status: int, seconds: float) -> None:
    """Say with ``--verbose`` who asked for what; never what was sent."""
    console.detail(
        "{client} {request} {status} {milliseconds:.1f} ms",
        client=client,
        request=request,
        status=status,
        milliseconds=1000 * seconds,
    )


def _note_defect(console: Console, exc: Exception) -> None:
    console.trace(exc)
    if isinstance(exc, PluginError):
        console.warn(_without_values(exc))
    else:
        console.defect(exc)


def _without_values(error: PluginError) -> str:
    """Say what failed without the words of the plugin's code, which can quote samples."""
    from waterflow_cli.models.discovery import describe_failure

    cause = error.__cause__
    if cause is None:
        return error.message
    return error.message.replace(describe_failure(cause), type(cause).__name__)
