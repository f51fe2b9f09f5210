"""``waterflow plugins``."""

from __future__ import annotations

import click

from waterflow_cli.commands.options import common_options, console_of, json_option
from waterflow_cli.common.messages import tr


@click.group(short_help="List, check and start model plugins.")
@common_options
def plugins() -> None:
    """List, check and start model plugins."""


@plugins.command("list", short_help="List the installed plugins.")
@json_option
@common_options
@click.pass_context
def list_plugins(ctx: click.Context, as_json: bool) -> None:
    """List the installed model plugins, and say of those that cannot be used why not."""
    from dataclasses import asdict

    from waterflow_cli.models.discovery import survey_plugins

    console = console_of(ctx)
    found = survey_plugins()
    if as_json:
        console.json({"plugins": [asdict(plugin) for plugin in found]})
        return
    rows = [[plugin.name, plugin.summary, plugin.distribution] for plugin in found if plugin.usable]
    console.table("", (tr("name"), tr("summary"), tr("from")), rows)
    for plugin in found:
        if not plugin.usable:
            console.warn(f"{plugin.problem} {plugin.remedy}".rstrip())


@plugins.command("check", short_help="Check that a plugin keeps the contract.")
@click.argument("name")
@common_options
@click.pass_context
def check_plugin(ctx: click.Context, name: str) -> None:
    """Check that the plugin NAME keeps the contract: the same checks that its author can run."""
    from waterflow_cli.models.discovery import load_plugin
    from waterflow_cli.testing import check_model_plugin

    console = console_of(ctx)
    plugin = load_plugin(name)
    for claim in check_model_plugin(plugin):
        console.note(tr("ok: {claim}", claim=claim))
    console.result(tr("{name} keeps the contract.", name=name))


@plugins.command("new", short_help="Start a plugin of your own.")
@click.argument("name")
@click.option("--folder", metavar="FOLDER", help="Where to create it [default: waterflow-NAME].")
@common_options
@click.pass_context
def new_plugin(ctx: click.Context, name: str, folder: str | None) -> None:
    """Create a small installable project with a plugin called NAME that passes the checks."""
    from waterflow_cli.models.plugin_project import create_plugin_project

    console = console_of(ctx)
    path = create_plugin_project(name, folder)
    console.result(str(path))
    console.note(
        tr("Next: pip install -e {path} && waterflow plugins check {name}", path=path, name=name)
    )
