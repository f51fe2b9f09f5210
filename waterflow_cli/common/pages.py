"""What the pages of HTML have in common."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from waterflow_cli import __version__
from waterflow_cli.common.messages import (
    chosen_language,
    printable,
    read_catalogue,
    say,
    tr,
    translated,
)


def page_environment() -> Environment:
    """Make the environment of the templates: they have `tr`, and escape what the data bring.

    They also have ``made`` and ``version``: when the page is made, and by which waterflow.
    """
    environment = Environment(
        loader=PackageLoader("waterflow_cli", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_line_of,
    )
    environment.filters["say"] = say
    environment.globals.update(tr=_tr_markup, trn=_trn_markup, language=chosen_language())
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    environment.globals.update(made=made, version=__version__)
    return environment


def _line_of(value: Any) -> Any:
    """Make a line of what the data bring, such as a name: no mark in it turns what is read.

    What is markup already, such as a chart or names that a filter has joined, keeps its lines.
    """
    if not isinstance(value, str):
        return value
    if not hasattr(value, "__html__"):
        return printable(value)
    return Markup("\n").join(Markup(printable(line, sys.maxsize)) for line in value.split("\n"))


def _tr_markup(text: str, /, **values: object) -> Markup:
    """Translate a text of a template, which may hold tags; the values are escaped."""
    shown = Markup(tr(text))
    return shown.format(**translated(values)) if values else shown


def _trn_markup(one: str, many: str, n: int, /, **values: object) -> Markup:
    shown = Markup(read_catalogue(chosen_language()).ngettext(one, many, n))
    return shown.format(n=n, **translated(values))
