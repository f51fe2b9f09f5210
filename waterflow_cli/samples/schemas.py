"""Find a table schema by name or path, and read it with pandera."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from waterflow_cli.common.errors import PluginError, UsageError, did_you_mean
from waterflow_cli.common.hashing import sha256_of
from waterflow_cli.common.messages import clipped, marked, tr
from waterflow_cli.common.toml import LABEL_VALUES, TEXTS, Shape, table_of
from waterflow_cli.samples.table_schema import (
    ColumnCheck,
    ColumnRules,
    Kind,
    TableSchema,
    read_with_pandera,
)
from waterflow_cli.tables.headers import fold_name
from waterflow_cli.tables.units import parse_unit

if TYPE_CHECKING:
    from pandera.pandas import Column, DataFrameSchema

GROUP = "waterflow.schemas"
_DTYPE = re.compile("float|u?int(?!erval)|datetime|str|object|category")
_KINDS = {"float": Kind.NUMBER, "int": Kind.INTEGER, "uint": Kind.INTEGER, "datetime": Kind.DATE}
DEFAULT_SCHEMA = "water"
# What pandera's YAML may hold at its top, and in a column beside the checks.
_SCHEMA_KEYS = {
    *("add_missing_columns", "api", "checks", "coerce", "columns", "dataframe_library"),
    *("description", "drop_invalid_rows", "dtype", "index", "metadata", "multiindex", "name"),
    *("ordered", "report_duplicates", "schema_type", "strict", "title", "unique"),
    *("unique_column_names", "version"),
}
_COLUMN_KEYS = {
    *("checks", "coerce", "default", "description", "drop_invalid_rows", "dtype", "metadata"),
    *("name", "nullable", "regex", "report_duplicates", "required", "title", "unique"),
}


def load_schema(name: str = DEFAULT_SCHEMA) -> TableSchema:
    """Load a bundled or installed schema by name, or a YAML file by path.

    Raises
    ------
    UsageError
        If there is no such schema, or it is no pandera schema that waterflow can apply.
    PluginError
        If the package that names the schema does not hold it.
    """
    known = schema_entry_points()
    if name in known:  # first, so that a file that happens to be called "water" changes nothing
        text = _read_installed(known[name], ".yaml")
        return _take_compiled(known[name], text) or parse_schema(text, name)
    try:
        if name.endswith((".yaml", ".yml")) or Path(name).is_file():
            return parse_schema(Path(name).read_text("utf-8"), name)
    except (OSError, ValueError) as exc:
        raise UsageError("Schema {name}: cannot be read ({cause}).", name=name, cause=exc) from exc
    raise UsageError(
        tr("No schema named '{name}'.", name=name) + did_you_mean(name, known),
        tr("See: waterflow schemas list, or name a YAML file."),
    )


def schema_entry_points() -> dict[str, EntryPoint]:
    """Find the installed schemas; each entry point names the package that holds ``NAME.yaml``.

    Raises
    ------
    PluginError
        If two packages offer one name.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise PluginError(
                "Two packages offer a schema named '{name}': {package} and {other}.",
                tr("Uninstall one of them, or ask its author for another name."),
                name=point.name,
                package=other.value,
                other=point.value,
            )
    return found


def parse_schema(text: str, source: str) -> TableSchema:
    """Read a schema from YAML text.

    Parameters
    ----------
    text : str
        pandera's YAML. At its top level ``metadata`` may hold ``label``, ``measurements``,
        ``aliases`` and ``min_measurements``.
    source : str
        Name or path, for messages.

    Raises
    ------
    UsageError
        If the text is no such schema.
    """
    schema = _read_with_pandera(text, source)
    _refuse_unsupported(schema, source)
    columns = {name: _rules_of(column, name, source) for name, column in schema.columns.items()}
    metadata: dict[str, Any] = schema.metadata or {}
    _check_metadata(metadata, source)
    _check_names(schema, metadata, source)
    label = metadata.get("label")
    if label is not None and label not in columns:
        raise UsageError(
            "Schema {source}: the label '{label}' is none of its columns.",
            source=source,
            label=label,
        )
    numeric = [name for name, rules in columns.items() if rules.kind.is_numeric]
    measurements = metadata.get("measurements", [name for name in numeric if name != label])
    if unknown := [name for name in measurements if name not in numeric]:
        raise UsageError(
            "Schema {source}: measurement '{unknown}' is no numeric column of it.",
            source=source,
            unknown=unknown[0],
        )
    return TableSchema(
        name=str(schema.name or Path(source).stem),
        text=text,
        columns=columns,
        measurements=tuple(measurements),
        label=label,
        aliases=metadata.get("aliases", {}),
        units=metadata.get("units", {}),
        usual=metadata.get("usual", {}),
        unit_aliases=metadata.get("unit_aliases", {}),
        label_values=metadata.get("label_values", {}),
        unit_needed=tuple(metadata.get("unit_needed", [])),
        min_measurements=metadata.get("min_measurements", 0),
        strict=schema.strict is True,
        unique=tuple(schema.unique or ()),
        checks_rows=bool(schema.checks),
    )


def _take_compiled(point: EntryPoint, text: str) -> TableSchema | None:
    """Take a schema that its package compiled; None if there is none of just this text.

    With it the schema is ready without pandera, whose import takes longer than all else that
    `validate` does before the first row.
    """
    try:
        compiled = json.loads(_read_installed(point, ".compiled.json"))
    except PluginError:
        return None
    if compiled["sha256"] != sha256_of(text):
        return None
    return TableSchema.from_compiled(text, compiled["schema"])


def _read_installed(point: EntryPoint, suffix: str) -> str:
    try:
        return files(point.value).joinpath(f"{point.name}{suffix}").read_text("utf-8")
    except (ImportError, OSError, ValueError) as exc:
        raise PluginError(
            "Schema {name}, from the package {package}: cannot be read ({cause}).",
            name=point.name,
            package=point.value,
            cause=exc,
        ) from exc


def _read_with_pandera(text: str, source: str) -> DataFrameSchema:
    from pandera.errors import SchemaDefinitionError, SchemaInitError

    try:
        content = yaml.safe_load(text)
        if not isinstance(content, dict) or not content.get("columns"):
            raise UsageError(
                "Schema {source}: it has no columns.", tr("See docs/schemas.md."), source=source
            )
        _check_keys(content, source)
        schema = read_with_pandera(text)
    except yaml.YAMLError as exc:
        cause = _first_line(exc)
        raise UsageError(
            "Schema {source}: is no YAML ({cause}).", source=source, cause=cause
        ) from exc
    except (
        AttributeError,
        KeyError,
        SchemaDefinitionError,
        SchemaInitError,
        TypeError,
        ValueError,
        re.error,
    ) as exc:
        raise UsageError(
            "Schema {source}: is no pandera schema ({cause}).",
            tr("See docs/schemas.md for what a schema file may hold."),
            source=source,
            cause=_first_line(exc),
        ) from exc
    return schema


def _refuse_unsupported(schema: DataFrameSchema, source: str) -> None:
    """Refuse what would otherwise be passed over in silence."""
    columns = schema.columns.values()
    checks = [*schema.checks, *(check for column in columns for check in column.checks)]
    unsupported = {
        "index": schema.index is not None,
        "dtype": schema.dtype is not None,
        "ordered": schema.ordered,
        "add_missing_columns": schema.add_missing_columns,
        "regex": any(column.regex for column in columns),
        "default": any(column.default is not None for column in columns),
        "drop_invalid_rows": any(part.drop_invalid_rows for part in (schema, *columns)),
        "raise_warning": any(check.raise_warning for check in checks),
        "groupby": any(check.groupby is not None for check in checks),
        "ignore_na: false": not all(check.ignore_na for check in checks),
    }
    for option, used in unsupported.items():
        if used:
            raise UsageError(
                "Schema {source}: '{option}' is not supported.",
                tr("See docs/schemas.md."),
                source=source,
                option=option,
            )


def _check_keys(content: dict[str, Any], source: str) -> None:
    """Refuse misspelt keys: pandera passes over them, and so over the check that was meant."""
    from pandera.pandas import Check

    _refuse_unknown(content, _SCHEMA_KEYS, tr("Schema {source}", source=source))
    columns = content["columns"]
    known = {*_COLUMN_KEYS, *(name for name in dir(Check) if not name.startswith("_"))}
    named = columns.items() if isinstance(columns, dict) else ((c["name"], c) for c in columns)
    for name, keys in named:
        where = tr("Schema {source}, column {name}", source=source, name=name)
        _refuse_unknown(keys, known, where)
        beside = [key for key in keys if key not in _COLUMN_KEYS]
        if beside and keys.get("checks") is not None:
            raise UsageError(
                "{where}: pandera passes over '{key}' beside 'checks'.",
                tr("Write all checks in the one way or in the other."),
                where=where,
                key=beside[0],
            )


def _refuse_unknown(keys: Iterable[object], known: Collection[str], where: str) -> None:
    for key in keys:
        if key not in known:
            raise UsageError(
                tr("{where}: '{key}' is no key of a schema.", where=where, key=key)
                + did_you_mean(str(key), known),
                tr("See docs/schemas.md."),
            )


def _check_metadata(metadata: Mapping[str, Any], source: str) -> None:
    """Refuse values of the wrong shape, such as one name where a list is expected."""
    for key, (shape, wanted) in _METADATA_SHAPES.items():
        if key in metadata and not shape.fits(metadata[key]):
            raise UsageError(
                "Schema {source}: '{key}' in its metadata must be {wanted}.",
                tr("See docs/schemas.md."),
                source=source,
                key=key,
                wanted=tr(wanted),
            )


def _is_range(value: Any) -> bool:
    is_pair = isinstance(value, list) and len(value) == 2
    return is_pair and all(type(each) in (int, float) for each in value) and 0 < value[0] < value[1]


UNIT = Shape(lambda unit: isinstance(unit, str) and parse_unit(unit) is not None)
_METADATA_SHAPES = {
    "label": (
        Shape(lambda value: value is None or isinstance(value, str)),
        marked("the name of a column"),
    ),
    "measurements": (TEXTS, marked("a list of columns")),
    "aliases": (table_of(TEXTS), marked("a list of names for each column")),
    "units": (table_of(UNIT), marked("a known unit for each column")),
    "unit_aliases": (table_of(UNIT), marked("a known unit for each name")),
    "label_values": (LABEL_VALUES, marked("0 or 1 for each word, words like yes in quotes")),
    "unit_needed": (TEXTS, marked("a list of names")),
    "usual": (
        table_of(Shape(_is_range)),
        marked("two numbers above 0, the lower one first, for each column"),
    ),
    "min_measurements": (
        Shape(lambda value: type(value) is int and value >= 0),
        marked("a whole number, 0 or more"),
    ),
}


def _check_names(schema: DataFrameSchema, metadata: Mapping[str, Any], source: str) -> None:
    """Refuse names of which a file's header could not tell what they stand for."""
    aliases: Mapping[str, list[str]] = metadata.get("aliases", {})
    stands_for: dict[str, str] = {}
    for name in schema.columns:
        if not isinstance(name, str):
            raise UsageError(
                "Schema {source}: the column name {name!r} is not text.", source=source, name=name
            )
        for alias in (name, *aliases.get(name, [])):
            other = stands_for.setdefault(fold_name(alias), name)
            if other != name:
                raise UsageError(
                    "Schema {source}: '{alias}' stands for both {other} and {name}.",
                    tr("Case, spaces, accents and punctuation do not count in names."),
                    source=source,
                    alias=alias,
                    other=other,
                    name=name,
                )
    for key in ("aliases", "units", "usual", "unique"):
        names = schema.unique or [] if key == "unique" else metadata.get(key, {})
        if unknown := [name for name in names if name not in schema.columns]:
            raise UsageError(
                tr(
                    "Schema {source}: '{key}' names '{unknown}', which is none of its columns.",
                    source=source,
                    key=key,
                    unknown=unknown[0],
                )
                + did_you_mean(str(unknown[0]), schema.columns)
            )


def _first_line(exc: Exception) -> str:
    return clipped(" ".join(str(exc).split()))


def _rules_of(column: Column, name: str, source: str) -> ColumnRules:
    return ColumnRules(
        kind=_kind_of(column.dtype, name, source),
        required=column.required,
        nullable=column.nullable,
        unique=column.unique,
        checks=tuple(
            ColumnCheck(str(check.name), _numbers_only(check.statistics or {}))
            for check in column.checks
        ),
    )


def _numbers_only(statistics: Mapping[str, Any]) -> dict[str, Any]:
    values = [
        each
        for value in statistics.values()
        for each in (value if isinstance(value, (list, tuple, set, frozenset)) else [value])
    ]
    if not all(isinstance(value, (bool, int, float)) for value in values):
        return {}
    return {
        name: sorted(value) if isinstance(value, (set, frozenset)) else value
        for name, value in statistics.items()
    }


def _kind_of(dtype: object, name: str, source: str) -> Kind:
    found = _DTYPE.match("str" if dtype is None else str(dtype).lower())
    if found:
        return _KINDS.get(found[0], Kind.TEXT)
    raise UsageError(
        "Schema {source}, column {name}: dtype {dtype} is not supported.",
        tr("Use float64, int64, str or datetime64[ns]."),
        source=source,
        name=name,
        dtype=dtype,
    )
