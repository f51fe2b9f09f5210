"""Drinking-water limits: profiles of published values, bundled or in a user's TOML file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from waterflow_cli.common.errors import UsageError, did_you_mean
from waterflow_cli.common.hashing import sha256_of
from waterflow_cli.common.messages import Message, marked, tr
from waterflow_cli.common.toml import LINE, LINES, NUMBER, TABLES, Table, parse_toml, read_text
from waterflow_cli.tables.headers import fold_name
from waterflow_cli.tables.units import conversion

if TYPE_CHECKING:
    from waterflow_cli.samples.table_schema import TableSchema

PROFILES = ("who", "eu", "epa", "fr")
CLASSES = (marked("health"), marked("operational"), marked("aesthetic"))
# What the values of the bundled profiles are values of.
BASES = (
    *(marked("single sample"), marked("running annual average")),
    *(marked("locational running annual average"), marked("percentile: 95 % of samples")),
    marked("lifetime consumption (check)"),
)
# What makes water unsafe more often than anything that the nine columns hold.
NEVER_MEASURED = (
    *(marked("E. coli"), marked("nitrate"), marked("arsenic"), marked("lead"), marked("fluoride")),
)

_SEE = marked("See docs/limits.md for what a profile may hold.")
_PROFILE_SHAPES = {"title": LINE.needed, "limit": TABLES.needed, "none": TABLES, "notes": LINES}
_NONE_SHAPES = {"column": LINE.needed, "reason": LINE.needed}
_LIMIT_SHAPES = {
    **dict.fromkeys(("column", "unit", "class", "basis", "source", "date"), LINE.needed),
    **{"where": LINE, "note": LINE, "minimum": NUMBER, "maximum": NUMBER},
}
# Fields that go by another name in a profile's file, and in JSON.
_NAMES_IN_FILES = {"purpose": "class", "unlimited": "none"}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A published value that results are held against; it is within itself.

    Attributes
    ----------
    profile : str
        Name of the profile that it stands in.
    column : str
        A column of the schema, in whose unit the bounds are.
    minimum, maximum : float or None
        At least one is given.
    purpose : Message
        What the value protects: one of `CLASSES`.
    basis : Message
        What it is a value of: a single sample, a running annual average, a percentile.
    where : str
        The condition that it holds under, where a column has several; else often empty.
    source, date : str
        A source ends in "(check)" where the value was not seen in the primary text.
    """

    profile: str
    column: str
    minimum: float | None
    maximum: float | None
    unit: str
    purpose: Message
    basis: Message
    where: str
    source: str
    date: str
    note: str

    @property
    def value(self) -> str:
        """The bounds with their unit."""
        low, high = (
            None if bound is None else plain(bound) for bound in (self.minimum, self.maximum)
        )
        if low is None or high is None:
            one = tr("at least {low}", low=low) if high is None else tr("at most {high}", high=high)
            return one + self.unit_after
        return tr("{low} to {high}", low=low, high=high) + self.unit_after

    @property
    def unit_after(self) -> str:
        """The unit as it follows a number: that of a pH is never written."""
        return "" if self.unit.casefold() == "ph" else f" {self.unit}"

    @property
    def origin(self) -> str:
        """The profile, and the condition where there is one."""
        return f"{self.profile}: {self.where}" if self.where else self.profile

    def content(self) -> dict[str, Any]:
        """Put the limit into JSON, under the names that a profile's file uses."""
        return asdict(self, dict_factory=_name_as_in_files)


@dataclass(frozen=True)
class Unlimited:
    """A column for which a profile has no value, and why."""

    column: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LimitProfile:
    """The limits of one authority, or of a user's file, and the hash of its text."""

    name: str
    title: str
    sha256: str
    limits: tuple[Limit, ...]
    unlimited: tuple[Unlimited, ...]
    notes: tuple[str, ...]

    def content(self) -> dict[str, Any]:
        """Put the profile into JSON."""
        return asdict(self, dict_factory=_name_as_in_files)


def _name_as_in_files(fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return {_NAMES_IN_FILES.get(name, name): value for name, value in fields}


def load_limits(
    names: Sequence[str], schema: TableSchema | None = None
) -> tuple[LimitProfile, ...]:
    """Load profiles of limits.

    Parameters
    ----------
    names : sequence of str
        Names of bundled profiles, or paths of TOML files.
    schema : TableSchema, optional
        Its columns may be limited too, beside those of the bundled schema ``water``.

    Raises
    ------
    UsageError
        If there is no such profile, two have one name, or a file is no profile.
    """
    if not names:
        return ()
    columns = _known_columns(schema)
    profiles: list[LimitProfile] = []
    for name in dict.fromkeys(names):
        text, shown = _read_profile(name), name if name in PROFILES else Path(name).stem
        if shown in [profile.name for profile in profiles] or (shown != name and shown in PROFILES):
            raise UsageError(
                "Limits {source}: another profile is named '{name}'.",
                tr("Rename the file."),
                source=name,
                name=shown,
            )
        profiles.append(_parse_profile(text, shown, name, columns))
    return tuple(profiles)


def plain(value: float) -> str:
    """Write a bound without an exponent and without trailing zeros.

    >>> plain(80.0), plain(0.3)
    ('80', '0.3')
    """
    return np.format_float_positional(value, trim="-")


class _Column(NamedTuple):
    name: str
    unit: str | None


def _known_columns(schema: TableSchema | None) -> dict[str, _Column]:
    """Map each folded name and alias to the numeric column that it stands for."""
    from waterflow_cli.samples.schemas import load_schema

    known: dict[str, _Column] = {}
    # The user's schema last: its names count. Where it tells no unit, that of `water` is meant.
    for each in (load_schema(), *([schema] if schema is not None else [])):
        for name in each.measurements:
            before = known.get(fold_name(name))
            unit = each.units.get(name, before.unit if before is not None else None)
            for alias in (name, *each.aliases.get(name, ())):
                known[fold_name(alias)] = _Column(name, unit)
    return known


def _read_profile(name: str) -> str:
    if name in PROFILES:  # first, so that a file that happens to be called so changes nothing
        return (files("waterflow_schemas") / "limits" / f"{name}.toml").read_text("utf-8")
    if name.endswith(".toml") or os.path.isfile(name):  # noqa: PTH113 (Path.is_file may raise)
        return read_text(name, tr("Limits {source}", source=name))
    raise UsageError(
        tr("No limits named '{name}'.", name=name) + did_you_mean(name, PROFILES),
        tr("See: waterflow limits list, or name a TOML file."),
    )


def _parse_profile(
    text: str, name: str, source: str, columns: Mapping[str, _Column]
) -> LimitProfile:
    where = tr("Limits {source}", source=source)
    profile = Table(parse_toml(text, where, tr(_SEE)), _PROFILE_SHAPES, where, tr(_SEE))
    entries, absent = profile.tables("limit", _LIMIT_SHAPES), profile.tables("none", _NONE_SHAPES)
    limits = tuple(_parse_limit(entry, name, columns) for entry in entries)
    unlimited = tuple(
        Unlimited(_column_of(entry, columns).name, entry.text("reason")) for entry in absent
    )
    _refuse_ambiguous(limits, unlimited, source)
    return LimitProfile(
        name=name,
        title=profile.text("title"),
        limits=limits,
        unlimited=unlimited,
        notes=tuple(profile.content.get("notes", ())),
        sha256=sha256_of(text),
    )


def _parse_limit(entry: Table, profile: str, columns: Mapping[str, _Column]) -> Limit:
    column, purpose = _column_of(entry, columns), entry.text("class")
    if purpose not in CLASSES:
        raise entry.error(
            tr("class '{name}' is none of {names}.", name=purpose, names=", ".join(CLASSES))
        )
    bounds = {
        key: float(entry.content[key]) for key in ("minimum", "maximum") if key in entry.content
    }
    if not bounds:
        raise entry.error(tr("it has neither a minimum nor a maximum."))
    if len(bounds) == 2 and bounds["minimum"] > bounds["maximum"]:
        low, high = plain(bounds["minimum"]), plain(bounds["maximum"])
        raise entry.error(
            tr("its minimum {minimum} is above its maximum {maximum}.", minimum=low, maximum=high)
        )
    return Limit(
        profile=profile,
        column=column.name,
        minimum=bounds.get("minimum"),
        maximum=bounds.get("maximum"),
        unit=_unit_of(entry, column),
        purpose=Message(purpose),
        basis=Message(entry.text("basis")),
        **{name: entry.text(name) for name in ("where", "source", "date", "note")},
    )


def _refuse_ambiguous(limits: Sequence[Limit], unlimited: Sequence[Unlimited], source: str) -> None:
    """Refuse two values of which nothing says which one holds."""
    seen = {(each.column, "") for each in unlimited}
    for limit in limits:
        if (limit.column, limit.where) in seen:
            raise UsageError(
                "Limits {source}: {column} stands there twice with where = '{where}'.",
                tr("Say under which condition each value holds: where = '…'"),
                source=source,
                column=limit.column,
                where=limit.where,
            )
        seen.add((limit.column, limit.where))


def _column_of(entry: Table, columns: Mapping[str, _Column]) -> _Column:
    asked = entry.text("column")
    found = columns.get(fold_name(asked))
    if found is None:
        names = {column.name for column in columns.values()}
        raise entry.error(
            tr("no column '{column}' is known.", column=asked) + did_you_mean(asked, names)
        )
    return found


def _unit_of(entry: Table, column: _Column) -> str:
    """Give the unit; a value in another one than its column's would be compared as it is."""
    unit = entry.text("unit")
    if column.unit is not None and conversion(unit, column.unit) != 1:
        raise entry.error(
            tr(
                "the unit of {column} is {wanted}, not '{unit}'.",
                column=column.name,
                wanted=column.unit,
                unit=unit,
            )
        )
    return unit
