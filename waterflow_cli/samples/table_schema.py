"""A table's schema as the checks of rows need it, compiled from pandera's.

pandera takes half a CPU second to import, and some milliseconds for each check of each batch.
What its common checks ask of a column of numbers is a comparison or two, so these are made here;
pandera itself runs the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from waterflow_cli.common.arrays import BoolArray, FloatArray
from waterflow_cli.common.hashing import sha256_of
from waterflow_cli.tables.headers import Header

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema


class Kind(StrEnum):
    """What the cells of a schema column hold."""

    NUMBER = "number"
    INTEGER = "whole number"
    DATE = "date"
    TEXT = "text"

    @property
    def is_numeric(self) -> bool:
        """Whether the cells are read as numbers."""
        return self in (Kind.NUMBER, Kind.INTEGER)


@dataclass(frozen=True)
class ColumnCheck:
    """A pandera check of a column.

    Attributes
    ----------
    name : str
        As pandera calls it.
    statistics : mapping of str to object
        The numbers that it compares with; empty where it compares with anything else.
    """

    name: str
    statistics: Mapping[str, Any]

    def passed(self, values: FloatArray) -> BoolArray | None:
        """Say which numbers pass, shape (n_rows,); None if only pandera can tell."""
        given = self.statistics
        match self.name if given else "":
            case "in_range":
                above = np.greater_equal if given["include_min"] else np.greater
                below = np.less_equal if given["include_max"] else np.less
                return np.asarray(
                    above(values, given["min_value"]) & below(values, given["max_value"])
                )
            case "greater_than_or_equal_to":
                return np.asarray(values >= given["min_value"])
            case "greater_than":
                return np.asarray(values > given["min_value"])
            case "less_than_or_equal_to":
                return np.asarray(values <= given["max_value"])
            case "less_than":
                return np.asarray(values < given["max_value"])
            case "isin":
                return np.isin(values, given["allowed_values"])
        return None


@dataclass(frozen=True, kw_only=True)
class ColumnRules:
    """What a column must keep to."""

    kind: Kind
    required: bool
    nullable: bool
    unique: bool
    checks: tuple[ColumnCheck, ...] = ()


@dataclass(frozen=True, kw_only=True)
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
    units : mapping of str to str
        The unit of a column, where it has one that a file may give in another.
    usual : mapping of str to (float, float)
        Where the median of a column lies, if its unit is right.
    unit_aliases : mapping of str to str
        Other names of units, and the units that they stand for.
    label_values : mapping of str to int
        Words of the label, and the class that each stands for: 0 or 1.
    unit_needed : tuple of str
        Aliases with which a file must tell the unit.
    min_measurements : int
        How many measurements a row must hold to be worth a judgement.
    strict : bool
        Whether a file may have no other columns.
    unique : tuple of str
        Columns of which no two rows may hold the same values.
    checks_rows : bool
        Whether the schema has checks that judge rows as a whole.
    """

    name: str
    text: str
    columns: Mapping[str, ColumnRules]
    measurements: tuple[str, ...]
    label: str | None
    aliases: Mapping[str, list[str]]
    units: Mapping[str, str]
    usual: Mapping[str, list[float]]
    unit_aliases: Mapping[str, str]
    label_values: Mapping[str, int]
    unit_needed: tuple[str, ...]
    min_measurements: int
    strict: bool
    unique: tuple[str, ...]
    checks_rows: bool

    @cached_property
    def pandera(self) -> DataFrameSchema:
        """The schema as pandera reads it; imports pandera when it is first asked for."""
        return read_with_pandera(self.text)

    @cached_property
    def sha256(self) -> str:
        """Hash of the YAML text."""
        return sha256_of(self.text)

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each column holds."""
        return {name: rules.kind for name, rules in self.columns.items()}

    @property
    def required(self) -> list[str]:
        """Columns that a file must have."""
        return [name for name, rules in self.columns.items() if rules.required]

    @property
    def has_unique(self) -> bool:
        """Whether rows are compared with earlier ones."""
        return bool(self.unique) or any(rules.unique for rules in self.columns.values())

    def wanted(self) -> dict[str, list[str]]:
        """Each column with its aliases, as header matching takes them."""
        return {name: self.aliases.get(name, []) for name in self.columns}

    @cached_property
    def header(self) -> Header:
        """The names that the header of a file may hold."""
        return Header(self.wanted())

    def compiled(self) -> dict[str, Any]:
        """Put everything but the text into JSON; `from_compiled` takes it back."""
        content = asdict(self)
        del content["text"]
        return content

    @classmethod
    def from_compiled(cls, text: str, content: Mapping[str, Any]) -> TableSchema:
        """Take a schema back from its text and its JSON, without pandera."""
        columns = {
            name: ColumnRules(
                **{
                    **rules,
                    "kind": Kind(rules["kind"]),
                    "checks": tuple(ColumnCheck(**check) for check in rules["checks"]),
                }
            )
            for name, rules in content["columns"].items()
        }
        tuples = {name: tuple(content[name]) for name in ("measurements", "unique", "unit_needed")}
        # Which models of 0.1.0 do not tell.
        later: dict[str, Any] = {"label_values": {}, "unit_aliases": {}}
        return cls(**{**later, **content, "text": text, "columns": columns, **tuples})


def read_with_pandera(text: str) -> DataFrameSchema:
    """Read YAML with pandera; errors are those that pandera raises."""
    from pandera.pandas import DataFrameSchema

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DataFrameSchema.from_yaml(text)
