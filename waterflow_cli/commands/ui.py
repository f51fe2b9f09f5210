"""``waterflow ui``."""

from __future__ import annotations

import click

from waterflow_cli.commands.options import (
    common_options,
    console_of,
    json_option,
    tracking_uri_option,
)
from waterflow_cli.common.messages import tr


@click.command(short_help="Open MLflow's pages on the tracking store.")
@tracking_uri_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    show_default="5000, or the next free one",
    help="Where to listen, on loopback only.",
)
@click.option("--open", "opens", is_flag=True, help="Open the leaderboard in the browser.")
@json_option
@common_options
@click.pass_context
def ui(ctx: click.Context, tracking_uri: str, port: int | None, opens: bool, as_json: bool) -> None:
    """Serve MLflow's pages on the tracking store, to this machine only, until Ctrl-C.

    Each experiment gets a leaderboard: a view of its runs by ROC AUC with 95 % intervals, and
    tables in its description, where your own words stay below them. Ends with exit code 0.
    """
    from waterflow_cli.registry.mlflow_ui import running_ui

    console = console_of(ctx)
    try:
        with running_ui(tracking_uri, port) as pages:
            if as_json:
                names = [each.name for each in pages.experiments]
                console.json({"url": pages.url, "experiments": names})
            else:
                console.result(pages.url)
            if not pages.experiments:
                console.note(tr("No model was trained here yet: waterflow train"))
            if opens:
                click.launch(pages.url)
            if pages.server is not None:
                console.note(tr("Ctrl-C ends it."))
            pages.wait()
    except KeyboardInterrupt:
        console.note(tr("Ended."))
