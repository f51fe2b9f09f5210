"""``waterflow reproduce``."""

from __future__ import annotations

import click

from waterflow_cli.commands import options
from waterflow_cli.console import Console


@options.command(short_help="Train a run again, and say whether the model is the same.")
@click.argument("reference", metavar="RUN")
@click.option(
    "--data",
    "path",
    metavar="FILE",
    help="Where the run's data lies now, if not where it was; - for stdin.",
)
@options.store
@options.jobs
def reproduce(
    console: Console, *, reference: str, path: str | None, store: options.Store, jobs: int
) -> int:
    """Train again from what RUN recorded, and compare the model with the one that it left.

    RUN is a run id, @alias, a version number, models:/… or runs:/ID/model. Nothing is logged. The
    exit code is 0 if all rows get the same probability and verdict, bit for bit, else 1.
    """
    from waterflow_cli.training.runs.reproduction import reproduce_run

    found = reproduce_run(
        reference,
        path,
        name=store.name,
        tracking_uri=store.tracking_uri,
        jobs=jobs,
        report=console.note,
        warn=console.warn,
    )
    if not console.json(found.summary()):
        console.result(found.comparison.describe())
    return 0 if found.comparison.identical else 1
