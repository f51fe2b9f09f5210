"""``waterflow plugins``."""

from __future__ import annotations

import click

from waterflow_cli.commands import options
from waterflow_cli.common.messages import tr
from waterflow_cli.console import Console


@options.common
@click.group(short_help="List, check and start model plugins.")
def plugins() -> None:
    """List, check and start model plugins."""


@options.command("list", of=plugins, short_help="List the installed plugins.")
def list_plugins(console: Console) -> None:
    """List the installed model plugins, and say of those that cannot be used why not."""
    from dataclasses import asdict

    from waterflow_cli.models.discovery import survey_plugins

    found = survey_plugins()
    if console.json({"plugins": [asdict(plugin) for plugin in found]}):
        return
    rows = [[plugin.name, plugin.summary, plugin.distribution] for plugin in found if plugin.usable]
    console.table("", (tr("name"), tr("summary"), tr("from")), rows)
    for plugin in found:
        if not plugin.usable:
            console.warn(f"{plugin.problem} {plugin.remedy}".rstrip())


@options.command(
    "check", of=plugins, short_help="Check that a plugin keeps the contract.", json=False
)
@click.argument("name")
def check_plugin(console: Console, *, name: str) -> None:
    """Check that the plugin NAME keeps the contract: the same checks that its author can run."""
    from waterflow_cli.models.discovery import load_plugin
    from waterflow_cli.testing import check_model_plugin

    plugin = load_plugin(name)
    for claim in check_model_plugin(plugin):
        console.note("ok: {claim}", claim=claim)
    console.result("{name} keeps the contract.", name=name)


@options.command("new", of=plugins, short_help="Start a plugin of your own.", json=False)
@click.argument("name")
@click.option("--folder", metavar="FOLDER", help="Where to create it [default: waterflow-NAME].")
def new_plugin(console: Console, *, name: str, folder: str | None) -> None:
    """Create a small installable project with a plugin called NAME that passes the checks."""
    from waterflow_cli.models.plugin_project import create_plugin_project

    path = create_plugin_project(name, folder)
    console.result(str(path))
    console.note(
        "Next: pip install -e {path} && waterflow plugins check {name}", path=path, name=name
    )
