"""Drinking-water limits: profiles of published values, bundled or in a user's TOML file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from waterflow_cli.common.errors import UsageError, did_you_mean
from waterflow_cli.common.hashing import sha256_of
from waterflow_cli.common.messages import Message, marked, tr
from waterflow_cli.common.toml import LINE, LINES, NUMBER, TABLES, Table, parse_toml, read_text
from waterflow_cli.tables.headers import fold_name
from waterflow_cli.tables.units import convert, leaves_speciation_open
from waterflow_cli.validation.quantities import (
    NO_UNIT,
    KnownColumn,
    Way,
    derived_names,
    find_ways,
)

if TYPE_CHECKING:
    from waterflow_cli.samples.table_schema import TableSchema

PROFILES = ("who", "eu", "epa", "fr")
# The schema whose columns can be limited, in whatever schema a file is read by.
EVERY_PARAMETER = "drinking-water"
CLASSES = (marked("health"), marked("operational"), marked("aesthetic"))
# What the values of the bundled profiles are values of.
BASES = (
    *(marked("single sample"), marked("running annual average")),
    *(marked("locational running annual average"), marked("percentile: 95 % of samples")),
    *(marked("lifetime consumption (check)"), marked("single sample (check)")),
    marked("percentile: 90 % of samples"),
)
# What makes water unsafe more often than anything that the nine columns hold.
NEVER_MEASURED = (
    *(marked("E. coli"), marked("nitrate"), marked("arsenic"), marked("lead"), marked("fluoride")),
)
# What columns of these are called, as `fold_name` leaves it.
_NEVER_BY = {
    "E. coli": "e(?:scherichia)?coli.*|germ(?:e?s)?|coliform.*",
    "nitrate": "nitrates?(?:no3|n)?|no3n?",
    "arsenic": "arsenic|as",
    "lead": "lead|plomb|pb",
    "fluoride": "fluorides?|fluorures?|f",
}

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
        A column of the schema, or the name of a sum.
    minimum, maximum : float or None
        In the limit's own unit. At least one is given.
    purpose : Message
        What the value protects: one of `CLASSES`.
    basis : Message
        What it is a value of: a single sample, a running annual average, a percentile.
    where : str
        The condition that it holds under, where a column has several; else often empty.
    source, date : str
        A source ends in "(check)" where the value was not seen in the primary text.
    ways : tuple of Way
        How to come to what it limits, best first; none where a column does not say what it gives.
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
    ways: tuple[Way, ...] = ()

    @property
    def in_unit_of_column(self) -> Limit:
        """The limit in the unit of its column."""
        for way in self.ways:
            (term, *others) = way.terms
            if term.column == self.column and not others and term.factor != 1:
                return replace(
                    self,
                    minimum=_converted(self.minimum, 1 / term.factor),
                    maximum=_converted(self.maximum, 1 / term.factor),
                    unit=term.unit,
                )
        return self

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
        return "" if self.unit.casefold() in ("ph", NO_UNIT) else f" {self.unit}"

    @property
    def origin(self) -> str:
        """The profile, and the condition where there is one."""
        return f"{self.profile}: {self.where}" if self.where else self.profile

    def content(self) -> dict[str, Any]:
        """Put the limit into JSON, under the names that a profile's file uses."""
        told = asdict(replace(self, ways=()), dict_factory=_name_as_in_files)
        del told["ways"]
        return told


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
        limits = [limit.content() for limit in self.limits]
        told = asdict(replace(self, limits=()), dict_factory=_name_as_in_files)
        return {name: limits if name == "limits" else value for name, value in told.items()}


def _converted(bound: float | None, factor: Fraction) -> float | None:
    return None if bound is None else float(convert(np.array([bound]), factor)[0])


def _name_as_in_files(fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return {_NAMES_IN_FILES.get(name, name): value for name, value in fields}


def unmeasured(columns: Iterable[str]) -> list[str]:
    """Name what potability depends on and is none of some columns.

    >>> unmeasured(["NO3", "Plomb", "E_coli"])
    ['arsenic', 'fluoride']
    """
    folded = list(map(fold_name, columns))
    return [
        name
        for name in NEVER_MEASURED
        if not any(re.fullmatch(_NEVER_BY[name], column) for column in folded)
    ]


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


def _known_columns(schema: TableSchema | None) -> dict[str, KnownColumn]:
    """Map each folded name and alias to the numeric column that it stands for."""
    from waterflow_cli.samples.schemas import load_schema

    standard = load_schema(EVERY_PARAMETER)
    known = {fold_name(name): KnownColumn(name, NO_UNIT, name) for name in derived_names()}
    for name, names in _names_of(standard):
        column = KnownColumn(name, standard.units.get(name), name)
        known |= dict.fromkeys(map(fold_name, names), column)
    # The user's schema last: its names count. Where it tells no unit, that of the bundled one is
    # meant, unless that goes with several.
    several = set(map(fold_name, standard.unit_needed))
    for name, names in _names_of(schema) if schema is not None else ():
        folded = list(map(fold_name, names))
        other = next((known[each] for each in folded if each in known), None)
        unit = schema.units.get(name) if schema is not None else None
        if other is None:
            column = KnownColumn(name, unit, name)
        else:
            named = unit is None or leaves_speciation_open(unit, other.unit or "")
            is_told = not (named and fold_name(name) in several)
            column = KnownColumn(name, unit or other.unit, other.quantity, is_told)
            folded += [each for each, before in known.items() if before == other]
        known |= dict.fromkeys(folded, column)
    return known


def _names_of(schema: TableSchema) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give each measurement of a schema with all its names."""
    for name in schema.measurements:
        yield name, (name, *schema.aliases.get(name, ()))


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
    text: str, name: str, source: str, columns: Mapping[str, KnownColumn]
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


def _parse_limit(entry: Table, profile: str, columns: Mapping[str, KnownColumn]) -> Limit:
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
        unit=entry.text("unit"),
        ways=_ways_to(entry, column, profile, columns),
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


def _column_of(entry: Table, columns: Mapping[str, KnownColumn]) -> KnownColumn:
    asked = entry.text("column")
    found = columns.get(fold_name(asked))
    if found is None:
        names = {column.name for column in columns.values()}
        raise entry.error(
            tr("no column '{column}' is known.", column=asked) + did_you_mean(asked, names)
        )
    return found


def _ways_to(
    entry: Table, column: KnownColumn, profile: str, columns: Mapping[str, KnownColumn]
) -> tuple[Way, ...]:
    """Find how to come to what is limited; refuse a unit that does not convert."""
    unit, is_bundled = entry.text("unit"), profile in PROFILES
    if is_bundled and not column.is_told:
        return ()
    there = {each.quantity: each for each in columns.values() if each.is_told or not is_bundled}
    if (ways := find_ways(column.quantity, unit, there)) or column.unit is None:
        return ways
    raise entry.error(
        tr(
            "the unit of {column} is {wanted}, not '{unit}'.",
            column=column.name,
            wanted=column.unit,
            unit=unit,
        )
    )
