"""The options that several commands share: a decorator for each, or for each family of them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import click

# With these, a command needs no other import to declare its options.
from waterflow_cli.commands.engine_options import engine as engine
from waterflow_cli.commands.engine_options import layout as layout
from waterflow_cli.commands.families import Decorator
from waterflow_cli.commands.families import command as command
from waterflow_cli.commands.families import common as common
from waterflow_cli.commands.families import count as count
from waterflow_cli.commands.families import family as family
from waterflow_cli.commands.families import first_asked as first_asked
from waterflow_cli.commands.families import is_asked as is_asked
from waterflow_cli.commands.families import parsed_by as parsed_by
from waterflow_cli.common.errors import UsageError, shorten
from waterflow_cli.common.messages import marked, tr
from waterflow_cli.tables.reading_options import Meaning, ReadingOptions

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


def output(text: str, *, metavar: str = "FILE", **attributes: Any) -> Decorator:
    """Make ``-o``, or ``--output``, with its help."""
    return click.option("-o", "--output", metavar=metavar, help=text, **attributes)


def _count_cores() -> int:
    """Count the cores that this process may use; macOS cannot tell them from all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pairs(form: str, convert: Callable[[str], Any] = str) -> Callable[..., dict[str, Any]]:
    """Make the callback of an option that takes ``NAME=VALUE`` several times."""

    def callback(
        _ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
    ) -> dict[str, Any]:
        return dict(_split_pair(param.opts[0], value, form, convert) for value in values)

    return callback


def _unit(text: str) -> str:
    from waterflow_cli.tables.units import parse_unit

    if parse_unit(text) is None:
        raise ValueError(text)
    return text


def _choice_of_duplicates(
    _ctx: click.Context, _param: click.Parameter, text: str | None
) -> str | None:
    from waterflow_cli.samples.results.choices import parse_choice

    if text is not None and parse_choice(text) is None:
        raise UsageError(
            "--duplicates {text}: finding, first, last, mean, max or prefer=COLUMN:VALUE is "
            "expected.",
            text=text,
        )
    return text


def _split_pair(
    option: str, text: str, form: str, convert: Callable[[str], Any]
) -> tuple[str, Any]:
    name, equals, value = text.rpartition("=")
    try:
        if equals and name and value:
            return name, convert(value)
    except ValueError:
        pass
    raise UsageError(
        "{option} {text}: {form} is expected.", option=option, text=text, form=tr(form)
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def _meaning(text: str) -> str:
    if text not in get_args(Meaning):
        raise ValueError(text)
    return text


def _label_class(text: str) -> int:
    return ("0", "1").index(text)


def _mark(names: Mapping[str, str]) -> Callable[..., str | None]:
    """Make the callback of an option that takes one character, or a name for one."""

    def callback(_ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is None:
            return None
        if value in names or value in names.values():
            return names.get(value, value)
        raise UsageError(
            "{option} {text!r}: one of {names} is expected.",
            option=param.opts[0],
            text=value,
            names=shorten(list(names)),
        )

    return callback


batch_rows = count(
    "--batch-rows", "About how many rows to hold at a time for each job; it changes no result."
)
cv = click.option(
    "--cv",
    show_default="5x2; from 20000 rows on 5x1, from 200000 on 3x1",
    metavar="FOLDSxREPEATS",
    callback=parsed_by("training.options:parse_cv"),
    help="Measure by repeated cross-validation around everything.",
)
date = click.option("--date", metavar="COLUMN", help="The column of dates, where it is not found.")
excel = click.option(
    "--excel",
    type=click.Choice(("fr",)),
    help="Write .csv as a French Excel opens it: semicolons, decimal commas, UTF-8 with a mark.",
)
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
# Which labelled rows are read, and how: of what the command has of these.
how = family("how", "training.data:DataOptions")
on_leak = click.option(
    "--on-leak",
    type=click.Choice(("warn", "fail", "ignore")),
    default="warn",
    help="What to do about leaks in the file: copies, values filled in by label, rows made up.",
)
on_invalid = click.option(
    "drop_invalid",
    "--on-invalid",
    type=click.Choice(("fail", "drop")),
    default="fail",
    callback=lambda _ctx, _param, value: value == "drop",
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
_SEPARATORS = {",": ",", ";": ";", "|": "|", "tab": "\t"}
_DECIMALS = {".": ".", ",": ",", "point": ".", "comma": ","}
_THOUSANDS = {",": ",", ".": ".", "comma": ",", "point": "."}
reading = family(
    "reading",
    ReadingOptions,
    click.option(
        "renames",
        "--rename",
        multiple=True,
        metavar="FROM=TO",
        callback=_pairs("FROM=TO"),
        help="Read the file's column FROM as TO. Can be given several times.",
    ),
    click.option("--encoding", metavar="NAME", help="The text's encoding, where it is not found."),
    click.option(
        "--sep", metavar="CHAR", callback=_mark(_SEPARATORS), help="The separator: , ; | or tab."
    ),
    click.option(
        "--decimal",
        metavar="CHAR",
        callback=_mark(_DECIMALS),
        help="The decimal mark: point or comma.",
    ),
    click.option(
        "--thousands",
        metavar="CHAR",
        callback=_mark(_THOUSANDS),
        help="The thousands separator where it is a comma or a point; spaces and apostrophes are "
        "known.",
    ),
    count("--header-line", "The line that names the columns; those above it are not read."),
    click.option("--sheet", metavar="NAME", help="The sheet of a workbook, where it has several."),
    click.option(
        "--nondetect",
        type=click.Choice(("half", "loq", "zero", "missing", "error")),
        default="half",
        help="What a cell such as <0.5 counts as: half its bound, the bound, 0, missing, an error.",
    ),
    click.option(
        "--na",
        multiple=True,
        metavar="TEXT",
        help="A word, or a number such as -999, for a missing value. Can be given several times.",
    ),
    click.option(
        "flags",
        "--flag",
        multiple=True,
        metavar="TEXT=MEANING",
        callback=_pairs(marked("TEXT=nondetect, above, reject or ignore"), _meaning),
        help="What a mark beside a measurement, or in its place, says of it: nondetect, above, "
        "reject (no result) or ignore. Can be given several times.",
    ),
    click.option(
        "label_values",
        "--label-value",
        multiple=True,
        metavar="WORD=0|1",
        callback=_pairs(marked("WORD=0 or WORD=1"), _label_class),
        help="What a word in the label's column stands for: 1 is potable. Can be given several "
        "times.",
    ),
    click.option(
        "--summary-rows",
        type=click.Choice(("find", "keep")),
        default="find",
        help="Find rows labelled as totals, means or limits, or keep them as samples.",
    ),
    click.option(
        "--loq",
        multiple=True,
        metavar="COLUMN=VALUE",
        callback=_pairs(marked("COLUMN=VALUE, a number above 0"), _positive),
        help="The limit of quantification for cells that name none (<LQ), in the schema's unit.",
    ),
    click.option(
        "units",
        "--unit",
        multiple=True,
        metavar="COLUMN=UNIT",
        callback=_pairs("COLUMN=UNIT"),
        help="The unit in which the file gives a column.",
    ),
    click.option(
        "unit_aliases",
        "--unit-alias",
        multiple=True,
        metavar="TEXT=UNIT",
        callback=_pairs(marked("TEXT=UNIT, a known unit"), _unit),
        help="What a unit that is not known stands for. Can be given several times.",
    ),
    click.option(
        "--duplicates",
        metavar="WAY",
        callback=_choice_of_duplicates,
        help="In a table of results, which of several results of one parameter counts: finding "
        "(none; the default), first, last, mean, max, or prefer=COLUMN:VALUE.",
    ),
    click.option(
        "--profile",
        metavar="NAME|FILE.toml",
        help="How a source names its columns, or lays out its results (profiles list).",
    ),
    click.option(
        "--samplings",
        multiple=True,
        metavar="FILE",
        help="The file that tells when and where the samples of a table of results were taken.",
    ),
)
