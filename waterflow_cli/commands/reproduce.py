"""``waterflow reproduce``."""

from __future__ import annotations

import click

from waterflow_cli.commands.options import (
    common_options,
    console_of,
    jobs_option,
    json_option,
    store_options,
)


@click.command(short_help="Train a run again, and say whether the model is the same.")
@click.argument("reference", metavar="RUN")
@click.option(
    "--data",
    "path",
    metavar="FILE",
    help="Where the run's data lies now, if not where it was; - for stdin.",
)
@store_options
@jobs_option
@json_option
@common_options
@click.pass_context
def reproduce(
    ctx: click.Context,
    /,
    reference: str,
    path: str | None,
    name: str,
    tracking_uri: str,
    jobs: int,
    as_json: bool,
) -> None:
    """Train again from what RUN recorded, and compare the model with the one that it left.

    RUN is a run id, @alias, a version number, models:/… or runs:/ID/model. Nothing is logged. The
    exit code is 0 if all rows get the same probability and verdict, bit for bit, else 1.
    """
    from waterflow_cli.training.runs.reproduction import reproduce_run

    console = console_of(ctx)
    found = reproduce_run(
        reference,
        path,
        name=name,
        tracking_uri=tracking_uri,
        jobs=jobs,
        report=console.note,
        warn=console.warn,
    )
    if as_json:
        console.json(found.summary())
    else:
        console.result(str(found.comparison))
    ctx.exit(0 if found.comparison.identical else 1)
