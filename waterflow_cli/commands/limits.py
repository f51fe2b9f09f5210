"""``waterflow limits``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from waterflow_cli.commands import options
from waterflow_cli.commands.notes import list_bundled
from waterflow_cli.common.messages import marked, tr
from waterflow_cli.console import Console

if TYPE_CHECKING:
    from waterflow_cli.validation.limits import LimitProfile

_SHOWN = (
    *(marked("measurement"), marked("value"), marked("class"), marked("basis")),
    *(marked("where"), marked("source"), marked("date"), marked("note")),
)


@options.common
@click.group(short_help="List and show drinking-water limits.")
def limits() -> None:
    """List and show the drinking-water limits that samples can be held against."""


@options.command("list", of=limits, short_help="List the bundled profiles of limits.")
def list_limits(console: Console) -> None:
    """List the bundled profiles; any TOML file of one's own can be named in their place."""
    from waterflow_cli.validation.limits import PROFILES, load_limits

    entries = [
        {"name": each.name, "title": each.title, "limits": len(each.limits), "sha256": each.sha256}
        for each in load_limits(PROFILES)
    ]
    list_bundled(console, "profiles", entries)


@options.command("show", of=limits, short_help="Show the limits of a profile.")
@click.argument("names", nargs=-1, metavar="[NAME|FILE.toml]...")
def show_limits(console: Console, *, names: tuple[str, ...]) -> None:
    """Show the values of the profiles NAME..., of all bundled ones when none is named."""
    from waterflow_cli.validation.limits import PROFILES, load_limits

    profiles = load_limits(names or PROFILES)
    content = [profile.content() for profile in profiles]
    if console.json({"profiles": content}):
        return
    for profile in profiles:
        title = tr("{name}: {title}", name=profile.name, title=profile.title)
        console.table(title, [tr(name) for name in _SHOWN], _rows_of(profile))
        for note in profile.notes:
            console.result(note)
        console.result("")
    console.result(tr("A value equal to a limit is within it."))


def _rows_of(profile: LimitProfile) -> list[list[str]]:
    valued = [
        [
            *(limit.column, limit.value, tr(limit.purpose), tr(limit.basis), limit.where),
            *(limit.source, limit.date, limit.note),
        ]
        for limit in profile.limits
    ]
    return valued + [
        [each.column, tr("none"), "", "", "", "", "", each.reason] for each in profile.unlimited
    ]
