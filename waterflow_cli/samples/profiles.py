"""How a source of files names its columns, or lays out its results: data files, one a source."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waterflow_cli.common.errors import UsageError, did_you_mean
from waterflow_cli.common.hashing import sha256_of
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.headers import fold_name
from waterflow_cli.tables.units import conversion, parse_unit

if TYPE_CHECKING:
    from waterflow_cli.samples.table_schema import TableSchema

SUFFIX = ".toml"
_PACKAGE, _FOLDER = "waterflow_schemas", "profiles"
_Shape = Callable[[Any], bool]


@dataclass(frozen=True)
class ResultColumns:
    """Where a table with one row for each result has what.

    Attributes
    ----------
    sample : tuple of str
        Columns whose values together name a sample; each result must have them all.
    within : tuple of str
        Columns within which such a name stands for one sample, where a file has them.
    parameter, value : str
        What was measured, and the result as it was reported.
    parameter_name : str
        Read where the parameter is none of the profile's.
    unit, speciation, fraction : str
        Of the result; the speciation (``as S``) is a part of its unit.
    condition, limit, limit_unit : str
        Whether a result lies beyond a limit, and which.
    keep : tuple of str
        Further columns that a sample takes over from its first row.
    """

    sample: tuple[str, ...]
    parameter: str
    value: str
    parameter_name: str = ""
    unit: str = ""
    speciation: str = ""
    fraction: str = ""
    condition: str = ""
    limit: str = ""
    limit_unit: str = ""
    within: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
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
    results : ResultColumns, optional
        Where the files have one row for each result.
    parameters : mapping of str to str
        What the parameter column holds, to columns of the schema.
    differences : mapping of str to list of two str
        Columns of the schema that are one parameter less another.
    conditions : mapping of str to list of str
        ``below`` and ``above``: what the condition column says of such results, in any case.
    fractions : mapping of str to list of str
        By column of the schema: the fractions that count as it; all where it is not listed.
    leave_out : mapping of str to list of str
        By column of the file: what it holds in rows that are no results of a sample, such as those
        of a blank; ``*`` stands for any text.
    """

    name: str
    text: str
    title: str = ""
    source: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    results: ResultColumns | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    differences: Mapping[str, list[str]] = field(default_factory=dict)
    conditions: Mapping[str, list[str]] = field(default_factory=dict)
    fractions: Mapping[str, list[str]] = field(default_factory=dict)
    leave_out: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash of the text."""
        return sha256_of(self.text)


def bundled_profiles() -> list[str]:
    """Name the bundled profiles."""
    folder = files(_PACKAGE).joinpath(_FOLDER)
    return sorted(Path(each.name).stem for each in folder.iterdir() if each.name.endswith(SUFFIX))


def load_profile(name: str) -> Profile:
    """Read a profile.

    Parameters
    ----------
    name : str
        A bundled one's name, or a file's that ends in ``.toml``.

    Raises
    ------
    UsageError
        If there is none of that name, or the file is no profile.
    """
    if name.endswith(SUFFIX):
        return parse_profile(_read(name), Path(name).stem, name)
    known = bundled_profiles()
    if name not in known:
        raise UsageError(
            tr("No profile '{name}'.", name=name) + did_you_mean(name, known),
            tr("Bundled: {names}. A file's name ends in .toml.", names=", ".join(known)),
        )
    text = files(_PACKAGE).joinpath(_FOLDER, f"{name}{SUFFIX}").read_text("utf-8")
    return parse_profile(text, name, name)


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except UnicodeDecodeError as exc:
        raise UsageError(tr("Profile {name}: is no UTF-8 text.", name=path)) from exc
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise UsageError(
            tr("Profile {name}: cannot be read ({reason}).", name=path, reason=reason)
        ) from exc


def guess_profile(columns: Sequence[str]) -> str | None:
    """Name the bundled profile of results whose columns a file has."""
    found = {fold_name(column) for column in columns}
    for name in bundled_profiles():
        results = load_profile(name).results
        if results and {fold_name(results.parameter), fold_name(results.value)} <= found:
            return name
    return None


def parse_profile(text: str, name: str, source: str) -> Profile:
    """Read a profile's text; `source` names it in messages."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise _refusal(source, str(exc)) from exc
    results = content.pop("results", None)
    _check(content, _SHAPES, source)
    for column, unit in content.get("units", {}).items():
        if parse_unit(unit) is None:
            problem = tr("'{unit}' of {column} is no known unit.", unit=unit, column=column)
            raise _refusal(source, problem)
    return Profile(name, text, results=_parse_results(results, source), **content)


def _parse_results(results: Any, source: str) -> ResultColumns | None:
    if results is None:
        return None
    if not isinstance(results, dict):
        raise _refusal(source, tr("'{key}' has the wrong shape.", key="results"))
    _check(results, _RESULT_SHAPES, f"{source}, [results]")
    for key in ("sample", "parameter", "value"):
        if key not in results:
            raise _refusal(source, tr("[results] has no '{key}'.", key=key))
    shapes: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in results.items()
    }
    return ResultColumns(**shapes)


def check_names(profile: Profile, schema: TableSchema, source: str) -> None:
    """Refuse what a profile of one's own says of columns that the schema does not have.

    The bundled ones may know more than a schema asks for.

    Raises
    ------
    UsageError
        Naming the first such column, or a unit that does not convert to the schema's.
    """
    parts = {part for pair in profile.differences.values() for part in pair}
    named = [*profile.units, *profile.parameters.values(), *profile.differences, *profile.fractions]
    for name in named:
        if name not in schema.columns and name not in parts:
            problem = tr(
                "'{name}' is no column of the schema {schema}.", name=name, schema=schema.name
            )
            raise _refusal(source, problem + did_you_mean(name, schema.columns))
    for name, unit in profile.units.items():
        wanted = schema.units.get(name, "")
        if conversion(unit, wanted) is None:
            problem = tr(
                "'{unit}' of {column} does not convert to the schema's unit, '{wanted}'.",
                unit=unit,
                column=name,
                wanted=wanted,
            )
            raise _refusal(source, problem)


def _check(content: Mapping[str, Any], shapes: Mapping[str, _Shape], source: str) -> None:
    """Refuse misspelt keys and values of the wrong shape."""
    for key, value in content.items():
        if key not in shapes:
            problem = tr("'{key}' is no key of a profile.", key=key)
            raise _refusal(source, problem + did_you_mean(key, shapes))
        if not shapes[key](value):
            raise _refusal(source, tr("'{key}' has the wrong shape.", key=key))


def _refusal(source: str, problem: str) -> UsageError:
    return UsageError(
        tr("Profile {source}: {problem}", source=source, problem=problem),
        tr("See docs/reading.md for what a profile may hold."),
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_name, value))


def _is_pair(value: Any) -> bool:
    return _are_names(value) and len(value) == 2


def _table_of(shape: _Shape, keys: Collection[str] = ()) -> _Shape:
    """Make the shape of a table; with `keys`, it may hold no other."""

    def fits(value: Any) -> bool:
        return isinstance(value, dict) and all(
            shape(each) and (not keys or key in keys) for key, each in value.items()
        )

    return fits


_SHAPES: Mapping[str, _Shape] = {
    "title": _is_text,
    "source": _is_text,
    "columns": _table_of(_is_name),
    "units": _table_of(_is_name),
    "parameters": _table_of(_is_name),
    "differences": _table_of(_is_pair),
    "conditions": _table_of(_are_texts, ("below", "above")),
    "fractions": _table_of(_are_texts),
    "leave_out": _table_of(_are_names),
}
_RESULT_SHAPES: Mapping[str, _Shape] = {
    each.name: _are_names if each.name in ("sample", "within", "keep") else _is_name
    for each in fields(ResultColumns)
}
