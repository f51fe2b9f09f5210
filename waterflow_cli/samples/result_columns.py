"""Which columns of a table of results are those that its profile names, and which nobody reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from waterflow_cli.common.errors import InputError, did_you_mean, shorten
from waterflow_cli.common.messages import Message, tr
from waterflow_cli.samples.columns import find_unread_remarks, not_read
from waterflow_cli.tables.headers import Header, fold_name

if TYPE_CHECKING:
    from waterflow_cli.samples.profiles import Profile
    from waterflow_cli.tables.table import Table

_NEEDED = ("sample", "parameter", "value")


def find_columns(table: Table, profile: Profile) -> dict[str, str]:
    """Find the columns of a file that the profile names, by their part in it.

    Raises
    ------
    InputError
        Naming one that is not there, unless the profile says that a file may lack it.
    """
    assert profile.results is not None
    by_fold = {fold_name(column): column for column in table.columns}
    found = {}
    for key, name in _wanted_columns(profile):
        if fold_name(name) in by_fold:
            found[key] = by_fold[fold_name(name)]
        elif name not in profile.results.optional or key.split()[0] in _NEEDED:
            hint = tr("Name another profile, or a copy of this one: waterflow profiles show")
            if key.split()[0] not in _NEEDED:
                hint = tr(
                    "Where files may lack it, the profile says so: optional, under [results]."
                )
            raise InputError(
                table.path,
                tr("the profile's column '{name}' is not in the header.", name=name)
                + did_you_mean(name, table.columns),
                line=table.dialect.header_line,
                hint=hint,
            )
    return found


def remarks_on_columns(
    table: Table, profile: Profile, where: Mapping[str, str], names: Header
) -> list[Message]:
    """Say which columns would have changed what values mean, and are not there or not read."""
    absent = [
        f"'{name}'"
        for key, name in _wanted_columns(profile)
        if key not in where and not key.startswith("keep ")
    ]
    unread = find_unread_remarks(table, names, where.values())
    return [
        *([Message("not in the file: {names}", names=shorten(absent))] if absent else []),
        *([not_read(unread)] if unread else []),
    ]


def _wanted_columns(profile: Profile) -> Iterator[tuple[str, str]]:
    """Give the columns of results by their part: ``value``, ``sample 0``, ``leave_out NAME``."""
    for key, value in vars(profile.results).items():
        if key == "optional":
            continue
        if isinstance(value, tuple):
            yield from ((f"{key} {number}", name) for number, name in enumerate(value))
        elif value:
            yield key, value
    yield from ((f"leave_out {name}", name) for name in profile.leave_out)
