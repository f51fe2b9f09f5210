"""How a source of files names its columns, or lays out its results: data files, one a source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from waterflow_cli.common.errors import UsageError, did_you_mean, shorten
from waterflow_cli.common.hashing import sha256_of
from waterflow_cli.common.messages import marked, tr
from waterflow_cli.common.toml import (
    LABEL_VALUES,
    NAME,
    NAMES,
    PAIR,
    TABLE,
    TEXTS,
    Shape,
    Table,
    parse_toml,
    read_text,
    table_of,
)
from waterflow_cli.samples.results.choices import parse_choice
from waterflow_cli.tables.headers import Header, fold_name
from waterflow_cli.tables.units import conversion, parse_unit

if TYPE_CHECKING:
    from waterflow_cli.samples.table_schema import TableSchema

SUFFIX = ".toml"
# What a condition or a qualifier says of a result; the first that one of several says, counts.
MEANINGS = ("reject", "above", "below", "ignore")
_PACKAGE, _FOLDER = "waterflow_schemas", "profiles"
# A column of what was measured, and one of what it was.
_OF_RESULTS = (
    re.compile("param|analyt|characteristic|determinand|constituent|chemicalname|observedproperty"),
    re.compile("result|valeur|value|messwert|concentration"),
)
_SEE = marked("See docs/reading.md for what a profile may hold.")


@dataclass(frozen=True, kw_only=True)
class ResultColumns:
    """Where a table with one row for each result has what.

    Attributes
    ----------
    sample : tuple of str
        Columns whose values together name a sample; those that are `optional` may be empty.
    within : tuple of str
        Columns within which such a name stands for one sample, where a file has them.
    parameter, value : str
        What was measured, and the result as it was reported.
    parameter_name : str
        Read where the parameter is none of the profile's.
    unit, speciation, fraction : str
        Of the result; the speciation (``as S``) is a part of its unit.
    condition, qualifier, limit, limit_unit, limit_type : str
        Whether a result lies beyond a limit, or counts at all, and which limit, of which type.
    other_limit, other_limit_unit, other_limit_type : str
        A second limit; of two that count, the higher one does.
    keep : tuple of str
        Further columns that a sample takes over from its first row.
    optional : tuple of str
        Those of all these columns, of `Profile.leave_out` and of `Profile.take_only` that a file
        may lack.
    duplicates : str
        Which of several results of one parameter counts; see `result_choices.parse_choice`.
    """

    sample: tuple[str, ...]
    parameter: str
    value: str
    parameter_name: str = ""
    unit: str = ""
    speciation: str = ""
    fraction: str = ""
    condition: str = ""
    qualifier: str = ""
    limit: str = ""
    limit_unit: str = ""
    limit_type: str = ""
    other_limit: str = ""
    other_limit_unit: str = ""
    other_limit_type: str = ""
    within: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    duplicates: str = ""

    def parts(self) -> Iterator[tuple[str, str]]:
        """Give the columns by their part: ``value``, ``sample 0``."""
        for key, value in vars(self).items():
            if isinstance(value, tuple) and key != "optional":
                yield from ((f"{key} {number}", name) for number, name in enumerate(value))
            elif value and key not in ("optional", "duplicates"):
                yield key, value


@dataclass(frozen=True, kw_only=True)
class SamplingColumns:
    """Where a file of samplings, which belongs to one of results, has what.

    Attributes
    ----------
    sample : tuple of str
        Columns whose values together name a sample, in the order of `ResultColumns.sample`.
    keep : tuple of str
        Columns that a sample takes over, where the file has them.
    label : tuple of str
        Columns of conclusions: the label is 0 where one of them says so, else 1 where one says
        that; see `Profile.label` for their words.
    unjudged : tuple of str
        Words of those columns that say neither.
    """

    sample: tuple[str, ...]
    keep: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A source of files.

    Attributes
    ----------
    text : str
        The file, for copying.
    columns : mapping of str to str
        Header names to columns of the schema, besides the schema's own aliases.
    units : mapping of str to str
        By column of the schema: the unit, where a file tells none.
    unit_aliases : mapping of str to str
        Other names of units, and the units that they stand for.
    label : mapping of str to int
        Words of the label's column, and the class that each stands for: 0 or 1.
    results : ResultColumns, optional
        Where the files have one row for each result.
    aliases : mapping of str to list of str
        By column of the file: what it is called elsewhere.
    samplings : SamplingColumns, optional
        Where another file tells when and where the samples were taken, and what was concluded.
    parameters : mapping of str to str
        What the parameter column holds, to columns of the schema.
    differences : mapping of str to list of two str
        Columns of the schema that are one parameter less another.
    conditions, qualifiers : mapping of str to list of str
        ``below``, ``above``, ``reject`` and ``ignore``: what those columns say, in any case, of a
        result below or above a limit, of one that is none, and of one that was measured.
    limit_types : mapping of str to list of str
        ``below`` and ``above``: the types of limits that results lie below or above.
    fractions : mapping of str to list of str
        By column of the schema: the fractions that count as it; all where it is not listed.
    leave_out : mapping of str to list of str
        By column of the file: what it holds in rows that are no results of a sample, such as those
        of a blank; ``*`` stands for any text.
    take_only : mapping of str to list of str
        By column of the file: what it holds in rows that are results of a sample.
    """

    name: str
    text: str
    title: str = ""
    source: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    unit_aliases: Mapping[str, str] = field(default_factory=dict)
    label: Mapping[str, int] = field(default_factory=dict)
    results: ResultColumns | None = None
    aliases: Mapping[str, list[str]] = field(default_factory=dict)
    samplings: SamplingColumns | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    differences: Mapping[str, list[str]] = field(default_factory=dict)
    conditions: Mapping[str, list[str]] = field(default_factory=dict)
    qualifiers: Mapping[str, list[str]] = field(default_factory=dict)
    limit_types: Mapping[str, list[str]] = field(default_factory=dict)
    fractions: Mapping[str, list[str]] = field(default_factory=dict)
    leave_out: Mapping[str, list[str]] = field(default_factory=dict)
    take_only: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash of the text."""
        return sha256_of(self.text)

    def column_in(self, columns: Mapping[str, str], name: str) -> str | None:
        """Find a column of the profile in a file whose columns are given by their folded names."""
        names = map(fold_name, (name, *self.aliases.get(name, ())))
        return next((columns[folded] for folded in names if folded in columns), None)

    @cached_property
    def header(self) -> Header:
        """The names by which the header of a table of results is found."""
        assert self.results is not None
        named = [name for key, name in self.results.parts() if not key.startswith("keep ")]
        # A first result such as "S1, Sulfate, <LQ, mg/L" would pass for a row of units.
        return Header({name: self.aliases.get(name, []) for name in named}, has_units=False)


def bundled_profiles() -> list[str]:
    """Name the bundled profiles."""
    folder = files(_PACKAGE).joinpath(_FOLDER)
    return sorted(Path(each.name).stem for each in folder.iterdir() if each.name.endswith(SUFFIX))


def load_profile(name: str) -> Profile:
    """Read a bundled profile by its name, or a file's whose name ends in ``.toml``.

    Raises
    ------
    UsageError
        If there is none of that name, or the file is no profile.
    """
    if name.endswith(SUFFIX):
        return parse_profile(read_text(name, _named(name)), Path(name).stem, name)
    known = bundled_profiles()
    if name not in known:
        raise UsageError(
            tr("No profile '{name}'.", name=name) + did_you_mean(name, known),
            tr("Bundled: {names}. A file's name ends in .toml.", names=shorten(known, 40)),
        )
    text = files(_PACKAGE).joinpath(_FOLDER, f"{name}{SUFFIX}").read_text("utf-8")
    return parse_profile(text, name, name)


@cache
def result_profiles() -> list[Profile]:
    """Load the bundled profiles of tables of results."""
    return [profile for profile in map(load_profile, bundled_profiles()) if profile.results]


def fitting_profiles(columns: Sequence[str]) -> list[Profile]:
    """Give the bundled profiles that a header is of: several where none names more than another.

    A header has the parts of the sample's key, the parameter and the value; whether it has the
    other columns that the profile needs is another question.
    """
    by_fold = {fold_name(column): column for column in columns}
    found = {}
    for number, profile in enumerate(result_profiles()):
        assert profile.results is not None
        parts = list(profile.results.parts())
        key = [name for part, name in parts if part.split()[0] in ("sample", "parameter", "value")]
        needed = set(key) - set(profile.results.optional)
        if all(profile.column_in(by_fold, name) for name in needed):
            found[number] = {profile.column_in(by_fold, name) for _, name in parts} - {None}
    best = [
        number for number, own in found.items() if not any(own < each for each in found.values())
    ]
    return [result_profiles()[number] for number in best]


def is_of_results(columns: Sequence[str]) -> bool:
    """Say whether the columns of a file seem to be those of one row for each result."""
    folded = list(map(fold_name, columns))
    return all(any(map(part.search, folded)) for part in _OF_RESULTS)


def parse_profile(text: str, name: str, source: str) -> Profile:
    """Read a profile's text; `source` names it in messages."""
    table = Table(parse_toml(text, _named(source), tr(_SEE)), _SHAPES, _named(source), tr(_SEE))
    content = dict(table.content)
    told = (content.get(key, {}).items() for key in ("units", "unit_aliases"))
    for column, unit in chain(*told):
        if parse_unit(unit) is None:
            raise table.error(
                tr("'{unit}' of {column} is no known unit.", unit=unit, column=column)
            )
    for key in {"conditions", "qualifiers"} & set(content):
        table.table(key, dict.fromkeys(MEANINGS, TEXTS))
    if "limit_types" in content:
        table.table("limit_types", dict.fromkeys(("below", "above"), TEXTS))
    if "results" in content:
        results = table.table("results", _RESULT_SHAPES)
        for key in _LISTS & set(results):
            results[key] = tuple(results[key])
        content["results"] = ResultColumns(**results)
    if "samplings" in content:
        found = table.table("samplings", _SAMPLING_SHAPES)
        content["samplings"] = SamplingColumns(**{key: tuple(found[key]) for key in found})
    profile = Profile(name=name, text=text, **content)
    if profile.results is not None:
        _refuse_idle_parts(profile, profile.results, table)
    return profile


def _refuse_idle_parts(profile: Profile, results: ResultColumns, table: Table) -> None:
    """Refuse what would change nothing: misspelt names, and words for a column without a name."""
    named = {*dict(results.parts()).values(), *profile.leave_out, *profile.take_only}
    for key, names in (("optional", results.optional), ("aliases", profile.aliases)):
        for name in names:
            if name not in named:
                raise table.error(
                    tr("'{key}' lists '{name}', which it does not name.", key=key, name=name)
                )
    if results.duplicates and parse_choice(results.duplicates) is None:
        raise table.error(tr("'duplicates' is '{text}'.", text=results.duplicates))
    if profile.limit_types and not (results.limit_type or results.other_limit_type):
        raise table.error(
            tr("[limit_types] without 'limit_type' under [results] would not be read.")
        )
    for key in ("condition", "qualifier"):
        lists = getattr(profile, f"{key}s").values()
        words = [word.strip().lower() for words in lists for word in words]
        if twice := next((word for word in words if words.count(word) > 1), None):
            raise table.error(tr("[{key}s]: '{word}' stands there twice.", key=key, word=twice))
        if words and not getattr(results, key):
            raise table.error(
                tr("[{key}s] without '{key}' under [results] would not be read.", key=key)
            )


def check_names(profile: Profile, schema: TableSchema, source: str) -> None:
    """Refuse what a profile of one's own says of columns that no schema has.

    The bundled ones, and copies of them, know more than a schema asks for.

    Raises
    ------
    UsageError
        Naming the first such column, or a unit that does not convert to the schema's.
    """
    parts = {part for pair in profile.differences.values() for part in pair}
    named = [*profile.units, *profile.parameters.values(), *profile.differences, *profile.fractions]
    for name in named:
        if name not in schema.columns and name not in parts and name not in _known_columns():
            problem = tr(
                "'{name}' is no column of the schema {schema}.", name=name, schema=schema.name
            )
            raise _refusal(source, problem + did_you_mean(name, schema.columns))
    for name, unit in profile.units.items():
        if name not in schema.columns:
            continue
        wanted = schema.units.get(name, "")
        if conversion(unit, wanted) is None:
            problem = tr(
                "'{unit}' of {column} does not convert to the schema's unit, '{wanted}'.",
                unit=unit,
                column=name,
                wanted=wanted,
            )
            raise _refusal(source, problem)


@cache
def _known_columns() -> frozenset[str]:
    """Name the columns of all installed schemas."""
    from waterflow_cli.samples.schemas import load_schema, schema_entry_points

    return frozenset(chain(*(load_schema(name).columns for name in schema_entry_points())))


def _refusal(source: str, problem: str) -> UsageError:
    return UsageError("{where}: {problem}", tr(_SEE), where=_named(source), problem=problem)


def _named(source: str) -> str:
    return tr("Profile {source}", source=source)


_SHAPES = {
    **dict.fromkeys(("title", "source"), Shape(lambda value: isinstance(value, str))),
    **dict.fromkeys(("columns", "units", "unit_aliases", "parameters"), table_of(NAME)),
    "differences": table_of(PAIR),
    **dict.fromkeys(("conditions", "qualifiers"), table_of(TEXTS)),
    **dict.fromkeys(("aliases", "leave_out"), table_of(NAMES)),
    **dict.fromkeys(("fractions", "limit_types", "take_only"), table_of(TEXTS)),
    "label": LABEL_VALUES,
    **dict.fromkeys(("results", "samplings"), TABLE),
}
_LISTS = {"sample", "within", "keep", "optional"}
_RESULT_SHAPES = {
    **{each.name: NAMES if each.name in _LISTS else NAME for each in fields(ResultColumns)},
    "sample": NAMES.needed,
    "optional": TEXTS,
    **dict.fromkeys(("parameter", "value"), NAME.needed),
}
_SAMPLING_SHAPES = {
    "sample": NAMES.needed,
    **dict.fromkeys(("keep", "label"), NAMES),
    "unjudged": TEXTS,
}
