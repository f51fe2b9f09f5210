"""``waterflow doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from waterflow_cli.commands.options import (
    common_options,
    console_of,
    engine_options,
    json_option,
    tracking_uri_option,
)
from waterflow_cli.common.messages import tr

if TYPE_CHECKING:
    from waterflow_cli.health import Check
    from waterflow_cli.spark.settings import SparkOptions

_EXIT_FAILED = 4


@click.command(short_help="Check that all is here that waterflow needs.")
@tracking_uri_option
@engine_options
@json_option
@common_options
@click.pass_context
def doctor(
    ctx: click.Context, tracking_uri: str, engine: SparkOptions | None, as_json: bool
) -> None:
    """Check Python, libraries and tracking store, and with --engine spark the cluster.

    Nothing is created or changed. Exit code 0: all is well. 4: a check failed.
    """
    from dataclasses import asdict

    from waterflow_cli.health import FAILED, check_installation

    console = console_of(ctx)
    checks = check_installation(tracking_uri)
    if engine is not None:
        from waterflow_cli.spark.health import check_spark

        checks += check_spark(engine, debug=console.debug)
    is_well = all(check.status != FAILED for check in checks)
    if as_json:
        console.json({"ok": is_well, "checks": [asdict(check) for check in checks]})
    else:
        columns = (tr("check"), tr("result"), tr("found"), tr("what to do"))
        console.table("", columns, map(_row, checks))
    ctx.exit(0 if is_well else _EXIT_FAILED)


def _row(check: Check) -> tuple[str, str, str, str]:
    return tr(check.name), tr(check.status), check.found, check.fix
