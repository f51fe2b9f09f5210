"""The options that say how files are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import click

from waterflow_cli.commands.families import family
from waterflow_cli.common.errors import UsageError, shorten
from waterflow_cli.common.messages import marked, tr
from waterflow_cli.tables.reading_options import ReadingOptions


def _pairs(form: str, convert: Callable[[str], Any] = str) -> Callable[..., dict[str, Any]]:
    """Make the callback of an option that takes ``NAME=VALUE`` several times."""

    def callback(
        _ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
    ) -> dict[str, Any]:
        return dict(_split_pair(param.opts[0], value, form, convert) for value in values)

    return callback


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
    click.option(
        "--header-line",
        type=click.IntRange(min=1),
        metavar="N",
        help="The line that names the columns; those above it are not read.",
    ),
    click.option(
        "--nondetect",
        type=click.Choice(("half", "loq", "zero", "missing", "error")),
        default="half",
        help="What a cell such as <0.5 counts as: half its bound, the bound, 0, missing, an error.",
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
        "--profile",
        metavar="NAME|FILE.toml",
        help="How a source names its columns, or lays out its results: kaggle, hubeau, wqp.",
    ),
)
