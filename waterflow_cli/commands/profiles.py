"""``waterflow profiles``."""

from __future__ import annotations

import click

from waterflow_cli.commands import options
from waterflow_cli.commands.notes import list_bundled
from waterflow_cli.console import Console


@options.common
@click.group(short_help="List and show the profiles of sources.")
def profiles() -> None:
    """List and show the profiles that say how a source of files lays out its results."""


@options.command("list", of=profiles, short_help="List the bundled profiles.")
def list_profiles(console: Console) -> None:
    """List the bundled profiles; any TOML file of one's own can be named in their place."""
    from waterflow_cli.samples.profiles import bundled_profiles, load_profile

    entries = [
        {
            "name": each.name,
            "title": each.title,
            "source": each.source,
            "rows": "samples" if each.results is None else "results",
            "sha256": each.sha256,
        }
        for each in map(load_profile, bundled_profiles())
    ]
    list_bundled(console, "profiles", entries)


@options.command("show", of=profiles, short_help="Print a profile.", json=False)
@click.argument("name", metavar="NAME|FILE.toml")
def show_profile(console: Console, *, name: str) -> None:
    """Print the TOML of the profile NAME, to read or to copy and change."""
    from waterflow_cli.samples.profiles import load_profile

    console.result(load_profile(name).text.rstrip())
