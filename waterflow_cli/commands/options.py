"""The options that several commands share: a decorator for each, or for each family of them."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import click

from waterflow_cli.commands.engine_options import engine, layout
from waterflow_cli.commands.families import Decorator, command, common, family, is_asked, parsed_by
from waterflow_cli.commands.reading_options import reading
from waterflow_cli.common.messages import tr

# With these, a command needs no other import to declare its options.
__all__ = ["command", "common", "engine", "family", "is_asked", "layout", "parsed_by", "reading"]
DEFAULT_STORE = "sqlite:///mlflow.db"


@dataclass(frozen=True, kw_only=True)
class Store:
    """Where models are registered, and under which name."""

    tracking_uri: str
    name: str


class Share(click.FloatRange):
    """A number in a range, and not NaN, which lies in every range for click."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the number."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(tr("nan is no number."), param, ctx)
        return float(number)


def split_names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split names at commas; none where the option is not given."""
    if value is None:
        return ()
    names = tuple(name.strip() for name in value.split(","))
    if not all(names):
        raise click.BadParameter(tr("a name is empty."), ctx, param)
    return names


def model(default: str = "@champion") -> Decorator:
    """Make ``--model``; the command gets it as ``reference``."""
    return click.option(
        "reference",
        "--model",
        default=default,
        metavar="MODEL",
        help="@alias, a version number, models:/…, runs:/… or a model folder.",
    )


def seed(text: str) -> Decorator:
    """Make ``--seed`` with its help."""
    return click.option("--seed", type=click.IntRange(min=0), default=0, help=text)


def _count_cores() -> int:
    """Count the cores that this process may use; macOS cannot tell them from all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


batch_rows = click.option(
    "--batch-rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="About how many rows to hold at a time for each job; it changes no result.",
)
cv = click.option(
    "--cv",
    default="5x2",
    metavar="FOLDSxREPEATS",
    callback=parsed_by("training.options:parse_cv"),
    help="Measure by repeated cross-validation around everything.",
)
date = click.option("--date", metavar="COLUMN", help="The column of dates, where it is not found.")
force = click.option("--force", is_flag=True, help="Replace an existing output.")
group = click.option(
    "--group", metavar="COLUMN", help="Keep rows of one group, such as a site, together."
)
jobs = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=_count_cores,
    show_default="all cores",
    help="How much to do at once; it changes no result.",
)
limits = click.option(
    "--limits",
    metavar="NAMES",
    callback=split_names,
    help="Say which values lie above or below drinking-water limits: who,eu,epa,fr or "
    "FILE.toml, with commas. For information: it changes no verdict and no exit code.",
)
on_invalid = click.option(
    "--on-invalid",
    type=click.Choice(("fail", "drop")),
    default="fail",
    help="What to do with rows that are invalid or have no label.",
)
schema = click.option(
    "schema_name",
    "--schema",
    default="water",
    metavar="NAME|FILE.yaml",
    help="What the rows must keep to; see waterflow schemas list.",
)
time = click.option(
    "--time", metavar="COLUMN", help="Measure on what is newer than what was learned."
)
tracking_uri = click.option(
    "--tracking-uri",
    envvar=["WATERFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI"],
    default=DEFAULT_STORE,
    metavar="URI",
    help="The MLflow tracking store; MLFLOW_TRACKING_URI is honoured.",
)
name = click.option("--name", default="waterflow", help="The registered model.")
store = family("store", Store, tracking_uri, name)
