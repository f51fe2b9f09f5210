"""``waterflow schemas``."""

from __future__ import annotations

import click

from waterflow_cli.commands.options import common_options, console_of, json_option
from waterflow_cli.common.messages import tr


@click.group(short_help="List and show the schemas.")
@common_options
def schemas() -> None:
    """List and show the schemas that rows are checked against."""


@schemas.command("list", short_help="List the installed schemas.")
@json_option
@common_options
@click.pass_context
def list_schemas(ctx: click.Context, as_json: bool) -> None:
    """List the installed schemas; any YAML file can be named in their place."""
    from waterflow_cli.samples.schemas import load_schema, schema_entry_points

    console = console_of(ctx)
    found = [load_schema(name) for name in schema_entry_points()]
    if as_json:
        console.json(
            {
                "schemas": [
                    {"name": schema.name, "title": schema.pandera.title, "sha256": schema.sha256}
                    for schema in found
                ]
            }
        )
        return
    rows = [[schema.name, str(schema.pandera.title), schema.sha256[:12]] for schema in found]
    console.table("", (tr("name"), tr("title"), "sha256"), rows)


@schemas.command("show", short_help="Print a schema.")
@click.argument("name", default="water")
@common_options
@click.pass_context
def show_schema(ctx: click.Context, name: str) -> None:
    """Print the YAML of the schema NAME, to read or to start one's own from."""
    from waterflow_cli.samples.schemas import load_schema

    console_of(ctx).result(load_schema(name).text.rstrip())
