"""What a limited quantity follows from: a column, the same in another unit, or a sum of columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from importlib.resources import files
from itertools import product
from typing import Any, NamedTuple

from waterflow_cli.common.toml import parse_toml
from waterflow_cli.tables.units import conversion

# The unit of a sum of ratios.
NO_UNIT = "1"


class KnownColumn(NamedTuple):
    """A column whose results can be held against a limit.

    Attributes
    ----------
    unit : str or None
        None where nothing tells it.
    quantity : str
        What the schema ``drinking-water`` calls it; its own name if that has none.
    is_told : bool
        Whether its name and unit say what is given: nitrate may be given as N or as NO3.
    """

    name: str
    unit: str | None
    quantity: str
    is_told: bool = True


class Term(NamedTuple):
    """The results of a column, and what they are multiplied with."""

    column: str
    unit: str
    factor: Fraction


@dataclass(frozen=True)
class Way:
    """One way to a quantity: the sum of some terms.

    Attributes
    ----------
    is_open : bool
        Whether the terms are only part of the quantity, which is as large as they are at least.
    """

    terms: tuple[Term, ...]
    is_open: bool = False


@lru_cache
def load_quantities() -> Mapping[str, Mapping[str, Any]]:
    """Read the bundled definitions: see ``schemas/limits/quantities.toml``."""
    text = (files("waterflow_schemas") / "limits" / "quantities.toml").read_text("utf-8")
    return parse_toml(text, "quantities.toml")


def derived_names() -> list[str]:
    """Name the quantities that no column holds."""
    return list(load_quantities()["ratios"])


def find_ways(quantity: str, unit: str, columns: Mapping[str, KnownColumn]) -> tuple[Way, ...]:
    """Give the ways to a quantity in a unit; the first one that a row has counts.

    Parameters
    ----------
    quantity : str
        A column of the schema ``drinking-water`` or of one's own, or a name of `derived_names`.
    columns : mapping of str to KnownColumn
        By quantity: the columns that there are.

    Returns
    -------
    tuple of Way
        Empty where no column is known to give it in a unit that converts.
    """
    defined = load_quantities()
    if parts := defined["ratios"].get(quantity):
        each = [list(_single(name, of["unit"], columns, of["by"])) for name, of in parts.items()]
        return tuple(map(Way, product(*each)))
    ways = [Way((term,)) for term in _single(quantity, unit, columns)]
    for kind, is_open in (("sums", False), ("at_least", True)):
        if parts := defined[kind].get(quantity):
            terms = [next(_single(name, unit, columns), None) for name in parts]
            known = tuple(term for term in terms if term is not None)
            ways += [Way(known, is_open)] if len(known) == len(terms) or is_open else []
    return tuple(ways)


def _single(
    name: str, unit: str, columns: Mapping[str, KnownColumn], divisor: int = 1
) -> Iterator[Term]:
    """Give a column and the one that holds the same otherwise, with their factors to the unit."""
    for each in (name, load_quantities()["same"].get(name)):
        if each is not None and each in columns:
            own = columns[each].unit
            factor = Fraction(1) if own is None else conversion(unit, own)
            if factor is not None:
                yield Term(columns[each].name, own or unit, 1 / (factor * divisor))
