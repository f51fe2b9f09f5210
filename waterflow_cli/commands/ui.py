"""``waterflow ui``."""

from __future__ import annotations

import click

from waterflow_cli.commands import options
from waterflow_cli.common.messages import tr
from waterflow_cli.console import Console


@options.command(short_help="Open MLflow's pages on the tracking store.")
@options.tracking_uri
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    show_default="5000, or the next free one",
    help="Where to listen, on loopback only.",
)
@click.option("--open", "opens", is_flag=True, help="Open the leaderboard in the browser.")
def ui(console: Console, *, tracking_uri: str, port: int | None, opens: bool) -> None:
    """Serve MLflow's pages on the tracking store, to this machine only, until Ctrl-C.

    Each experiment gets a leaderboard: a view of its runs by ROC AUC with 95 % intervals, and
    tables in its description, where your own words stay below them. Ends with exit code 0.
    """
    from waterflow_cli.registry.mlflow_ui import running_ui

    try:
        with running_ui(tracking_uri, port) as pages:
            names = [each.name for each in pages.experiments]
            if not console.json({"url": pages.url, "experiments": names}):
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
