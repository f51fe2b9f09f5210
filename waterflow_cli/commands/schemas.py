"""``waterflow schemas``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from waterflow_cli.commands import options
from waterflow_cli.commands.notes import list_bundled
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.tables.reading_options import ReadingOptions


@options.common
@click.group(short_help="List and show the schemas.")
def schemas() -> None:
    """List and show the schemas that rows are checked against."""


@options.command("list", of=schemas, short_help="List the installed schemas.")
def list_schemas(console: Console) -> None:
    """List the installed schemas; any YAML file can be named in their place."""
    from waterflow_cli.samples.schemas import load_schema, schema_entry_points

    entries = [
        {"name": each.name, "title": each.pandera.title, "sha256": each.sha256}
        for each in map(load_schema, schema_entry_points())
    ]
    list_bundled(console, "schemas", entries)


@options.command("show", of=schemas, short_help="Print a schema.", json=False)
@click.argument("name", default="water")
def show_schema(console: Console, *, name: str) -> None:
    """Print the YAML of the schema NAME, to read or to start one's own from."""
    from waterflow_cli.samples.schemas import load_schema

    console.result(load_schema(name).text.rstrip())


@options.command("infer", of=schemas, short_help="Draft a schema from a file.", json=False)
@click.argument("path", metavar="FILE")
@options.reading
def infer_schema(console: Console, *, path: str, reading: ReadingOptions) -> None:
    """Draft the YAML of a schema that FILE keeps to: kinds, bounds, units, names and label.

    Each line that rests on a guess says so. Read it, change it, and name it with --schema.
    """
    from waterflow_cli.samples.schema_draft import draft_schema

    console.result(draft_schema(path, reading))
