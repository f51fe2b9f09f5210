"""``waterflow doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from waterflow_cli.commands import options
from waterflow_cli.common.messages import tr
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.spark.settings import SparkOptions

_EXIT_FAILED = 4


@options.command(short_help="Check that all is here that waterflow needs.")
@click.option("--thorough", is_flag=True, help="Import each library, which takes some seconds.")
@options.tracking_uri
@options.engine
def doctor(
    console: Console, *, thorough: bool, tracking_uri: str, engine: SparkOptions | None
) -> int:
    """Check Python, libraries and tracking store, and with --engine spark the cluster.

    Nothing is created or changed. Exit code 0: all is well. 4: a check failed.
    """
    from dataclasses import asdict

    from waterflow_cli.health import FAILED, check_installation

    checks = check_installation(tracking_uri, thorough=thorough)
    if engine is not None:
        from waterflow_cli.spark.health import check_spark

        checks += check_spark(engine, debug=console.debug)
    is_well = all(check.status != FAILED for check in checks)
    if not console.json({"ok": is_well, "checks": [asdict(check) for check in checks]}):
        columns = (tr("check"), tr("result"), tr("found"), tr("what to do"))
        rows = [(tr(each.name), tr(each.status), each.found, each.fix) for each in checks]
        console.table("", columns, rows)
    return 0 if is_well else _EXIT_FAILED
