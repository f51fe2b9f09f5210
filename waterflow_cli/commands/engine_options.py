"""The options that say what does the work: this machine, or Spark."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from waterflow_cli.commands.families import family, first_asked
from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.spark.engine import SparkEngine
    from waterflow_cli.spark.settings import SparkOptions

_OF_ENGINE = {
    "spark": ("master", "conf", "ship_env", "is_single", "keys"),
    "local": ("resume", "batch_rows", "jobs", "excel"),
}


def engine(command: Callable[..., Any]) -> Any:
    """Add ``--engine`` and Spark's options; the command gets ``engine``, None for local."""

    @_spark
    @wraps(command)
    def choosing(*args: Any, engine_name: str, engine: SparkOptions, **values: Any) -> Any:
        # Settings can hold options of the other engine, for other runs.
        other = "local" if engine_name == "spark" else "spark"
        if option := first_asked(_OF_ENGINE[other]):
            raise UsageError(
                "{option} is for --engine {engine}.",
                tr("Leave it out, or choose that engine."),
                option=option,
                engine=other,
            )
        chosen = engine if engine_name == "spark" else None
        return command(*args, engine=chosen, **values)

    return _engine_name(choosing)


@contextmanager
def open_engine(engine: SparkOptions, console: Console) -> Iterator[SparkEngine]:
    """Open a session of Spark, for what `spark.preflight` let pass; show how far it comes."""
    from waterflow_cli.spark.session import open_session

    with console.progress(tr("rows")) as report, open_session(engine, debug=console.debug) as spark:
        # It imports pyspark, which was missed above.
        from waterflow_cli.spark.engine import SparkEngine

        yield SparkEngine(spark, report)


def _spark_conf(
    _ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Split Spark properties at the first =, for their values can have more."""
    conf = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name.startswith("spark.") or name == "spark.":
            raise UsageError(
                "{option} {text}: {form} is expected.",
                option=param.opts[0],
                text=re.split(r"[=:\s]", text)[0],
                form="spark.NAME=VALUE",
            )
        conf[name] = value.strip()
    return conf


_engine_name = click.option(
    "engine_name",
    "--engine",
    type=click.Choice(("local", "spark")),
    default="local",
    help="What does the work: this machine, or Spark; the rows and values are the same.",
)
_spark = family(
    "engine",
    "spark.settings:SparkOptions",
    click.option(
        "--master",
        metavar="URL",
        help="Spark's master: local[N], spark://HOST:PORT, yarn, k8s://URL. Otherwise that of "
        "spark-defaults.conf, or local[*].",
    ),
    click.option(
        "conf",
        "--spark-conf",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_spark_conf,
        help="A Spark property. Can be given several times.",
    ),
    click.option(
        "--ship-env",
        is_flag=True,
        help="Send the Python libraries that are installed here to Spark's workers.",
    ),
)
layout = family(
    "layout",
    "spark.settings:OutputLayout",
    click.option(
        "is_single",
        "--single-file",
        is_flag=True,
        help="With --engine spark: write one file in the order of the inputs, as the local engine "
        "does, instead of a folder of parts.",
    ),
)
