"""``waterflow profiles``."""

from __future__ import annotations

import click

from waterflow_cli.commands.options import common_options, console_of, json_option
from waterflow_cli.common.messages import tr


@click.group(short_help="List and show the profiles of sources.")
@common_options
def profiles() -> None:
    """List and show the profiles that say how a source of files lays out its results."""


@profiles.command("list", short_help="List the bundled profiles.")
@json_option
@common_options
@click.pass_context
def list_profiles(ctx: click.Context, as_json: bool) -> None:
    """List the bundled profiles; any TOML file of one's own can be named in their place."""
    from waterflow_cli.samples.profiles import bundled_profiles, load_profile

    console = console_of(ctx)
    found = [load_profile(name) for name in bundled_profiles()]
    if as_json:
        console.json(
            {
                "profiles": [
                    {
                        "name": profile.name,
                        "title": profile.title,
                        "source": profile.source,
                        "rows": "samples" if profile.results is None else "results",
                        "sha256": profile.sha256,
                    }
                    for profile in found
                ]
            }
        )
        return
    rows = [[profile.name, profile.title, profile.sha256[:12]] for profile in found]
    console.table("", (tr("name"), tr("title"), "sha256"), rows)


@profiles.command("show", short_help="Print a profile.")
@click.argument("name", metavar="NAME|FILE.toml")
@common_options
@click.pass_context
def show_profile(ctx: click.Context, name: str) -> None:
    """Print the TOML of the profile NAME, to read or to copy and change."""
    from waterflow_cli.samples.profiles import load_profile

    console_of(ctx).result(load_profile(name).text.rstrip())
