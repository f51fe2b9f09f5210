"""Find a table schema by name or path, and read it with pandera."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from waterflow_cli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pandera.pandas import DataFrameSchema

GROUP = "waterflow.schemas"
DEFAULT_SCHEMA = "water"


class Kind(Enum):
    """What the cells of a schema column hold."""

    NUMBER = "number"
    INTEGER = "whole number"
    DATE = "date"
    TEXT = "text"


@dataclass(frozen=True)
class TableSchema:
    """A pandera schema and what waterflow needs to know beside it.

    Attributes
    ----------
    name : str
        As it names itself, else its file's name.
    text : str
        The YAML as it was read; it is stored with each model.
    measurements : tuple of str
        The numeric columns other than the label: what a model is trained on.
    label : str or None
        The column that tells the classes 0 and 1 apart.
    aliases : mapping of str to list of str
        Other header names for a column.
    min_measurements : int
        How many measurements a row must hold to be worth a judgement.
    """

    name: str
    text: str
    pandera: DataFrameSchema
    kinds: Mapping[str, Kind]
    measurements: tuple[str, ...]
    label: str | None
    aliases: Mapping[str, list[str]]
    min_measurements: int

    @cached_property
    def sha256(self) -> str:
        """Hash of the YAML text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def required(self) -> list[str]:
        """Columns that a file must have."""
        return [name for name, column in self.pandera.columns.items() if column.required]

    @property
    def has_unique(self) -> bool:
        """Whether rows are compared with earlier ones."""
        return bool(self.pandera.unique) or any(
            column.unique for column in self.pandera.columns.values()
        )

    def wanted(self) -> dict[str, list[str]]:
        """Each column with its aliases, as header matching takes them."""
        return {name: self.aliases.get(name, []) for name in self.pandera.columns}


def load_schema(name: str = DEFAULT_SCHEMA) -> TableSchema:
    """Load a bundled or installed schema by name, or a YAML file by path.

    Raises
    ------
    UsageError
        If there is no such schema, or it is no pandera schema that waterflow can apply.
    """
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        try:
            return parse_schema(Path(name).read_text("utf-8"), name)
        except (OSError, UnicodeDecodeError) as exc:
            raise UsageError(f"Schema {name}: cannot be read ({exc}).") from exc
    known = schema_entry_points()
    if name not in known:
        raise UsageError(
            f"No schema named '{name}'." + did_you_mean(name, known),
            "See: waterflow schemas list, or name a YAML file.",
        )
    source = files(known[name].value).joinpath(f"{name}.yaml")
    return parse_schema(source.read_text("utf-8"), name)


def schema_entry_points() -> dict[str, EntryPoint]:
    """Find the installed schemas; each entry point names the package that holds ``NAME.yaml``."""
    return {point.name: point for point in entry_points(group=GROUP)}


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
    kinds = {name: _kind_of(column.dtype, name, source) for name, column in schema.columns.items()}
    metadata: dict[str, Any] = schema.metadata or {}
    label = metadata.get("label")
    if label is not None and label not in kinds:
        raise UsageError(f"Schema {source}: the label '{label}' is none of its columns.")
    numeric = [name for name, kind in kinds.items() if kind in (Kind.NUMBER, Kind.INTEGER)]
    measurements = metadata.get("measurements", [name for name in numeric if name != label])
    if unknown := [name for name in measurements if name not in numeric]:
        raise UsageError(f"Schema {source}: measurement '{unknown[0]}' is no numeric column of it.")
    return TableSchema(
        name=str(schema.name or Path(source).stem),
        text=text,
        pandera=schema,
        kinds=kinds,
        measurements=tuple(measurements),
        label=label,
        aliases=metadata.get("aliases", {}),
        min_measurements=int(metadata.get("min_measurements", 0)),
    )


def _read_with_pandera(text: str, source: str) -> DataFrameSchema:
    from pandera.errors import SchemaDefinitionError
    from pandera.pandas import DataFrameSchema

    try:
        content = yaml.safe_load(text)
        if not isinstance(content, dict) or not content.get("columns"):
            raise UsageError(f"Schema {source}: it has no columns.", "See docs/schemas.md.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schema = DataFrameSchema.from_yaml(text)
    except yaml.YAMLError as exc:
        raise UsageError(f"Schema {source}: is no YAML ({_first_line(exc)}).") from exc
    except (AttributeError, KeyError, SchemaDefinitionError, TypeError, ValueError) as exc:
        raise UsageError(
            f"Schema {source}: is no pandera schema ({_first_line(exc)}).",
            "See docs/schemas.md for what a schema file may hold.",
        ) from exc
    return schema


def _refuse_unsupported(schema: DataFrameSchema, source: str) -> None:
    """Refuse what would otherwise be passed over in silence."""
    unsupported = {
        "index": schema.index is not None,
        "dtype": schema.dtype is not None,
        "ordered": schema.ordered,
        "add_missing_columns": schema.add_missing_columns,
        "regex": any(column.regex for column in schema.columns.values()),
    }
    for option, used in unsupported.items():
        if used:
            raise UsageError(
                f"Schema {source}: '{option}' is not supported.", "See docs/schemas.md."
            )


def _first_line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200]


def _kind_of(dtype: object, name: str, source: str) -> Kind:
    text = "str" if dtype is None else str(dtype).lower()
    for start, kind in (
        ("float", Kind.NUMBER),
        ("int", Kind.INTEGER),
        ("uint", Kind.INTEGER),
        ("datetime", Kind.DATE),
        ("str", Kind.TEXT),
        ("object", Kind.TEXT),
        ("string", Kind.TEXT),
        ("category", Kind.TEXT),
    ):
        if text.startswith(start):
            return kind
    raise UsageError(
        f"Schema {source}, column {name}: dtype {dtype} is not supported.",
        "Use float64, int64, str or datetime64[ns].",
    )
