"""Units of measurements, and the conversions between them.

Nothing is guessed: a unit is in this table, or the user taught it, or it is refused. In water of
low salt content 1 ppm is taken as 1 mg/L and 1 ppb as 1 µg/L, as drinking-water laboratories do.
1 °f is 10 mg/L CaCO3, and 1 °dH is 17.85.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from waterflow_cli.common.arrays import FloatArray, arrow_numbers, as_bools, joined

# By factor: how many places the point moves.
_POWERS_OF_TEN = {Fraction(10) ** places: places for places in range(-9, 10)}


class Unit(NamedTuple):
    """A unit as multiple of its kind's base unit.

    Attributes
    ----------
    kind : str
        What it measures; only units of one kind convert into each other.
    size : Fraction
        In base units: mg/L, µS/cm, NTU, a number in 100 mL.
    substance : str
        What a concentration is expressed as (``caco3``); empty where that is left open.
    """

    kind: str
    size: Fraction
    substance: str = ""


_MASS, _CONDUCTANCE, _TURBIDITY, _ACIDITY = "concentration", "conductivity", "turbidity", "pH"
_COUNT, _WARMTH = "count", "temperature"
# Kind, size and names, as `_plain` leaves them.
_NAMES = (
    (_MASS, Fraction(1), ("mg/l", "mgl", "ppm", "mg/litre", "mg/liter", "mg/dm3", "g/m3")),
    (_MASS, Fraction(1000), ("g/l",)),
    (_MASS, Fraction(1, 1000), ("ug/l", "ugl", "ppb", "mcg/l", "ug/dm3", "mg/m3")),
    (_MASS, Fraction(1, 1_000_000), ("ng/l",)),
    (_CONDUCTANCE, Fraction(1), ("us/cm", "uscm", "usie/cm", "umho/cm", "umhos/cm")),
    (_CONDUCTANCE, Fraction(1000), ("ms/cm", "ds/m", "mmho/cm", "mmhos/cm")),
    (_CONDUCTANCE, Fraction(10), ("ms/m",)),
    (_TURBIDITY, Fraction(1), ("ntu", "n.t.u.", "unt", "nfu", "fnu", "ftu")),
    (_ACIDITY, Fraction(1), ("ph", "phunit", "phunits", "uniteph", "unitesph", "su", "s.u.")),
    (_ACIDITY, Fraction(1), ("stdunit", "stdunits", "standardunit", "standardunits")),
    (_COUNT, Fraction(1), ("n/100ml", "n/(100ml)", "ufc/100ml", "cfu/100ml", "mpn/100ml")),
    (_COUNT, Fraction(1), ("npp/100ml", "/100ml", "#/100ml", "ufc/(100ml)", "npp/(100ml)")),
    (_COUNT, Fraction(100), ("n/ml", "ufc/ml", "cfu/ml", "mpn/ml")),
    (_WARMTH, Fraction(1), ("°c", "degc")),
)
_SIZES = {name: (kind, size) for kind, size, names in _NAMES for name in names}
# In mg/L CaCO3.
_HARDNESS = {
    **dict.fromkeys(("°f", "°fh", "°th", "degf", "degrefrancais", "degresfrancais"), Fraction(10)),
    **dict.fromkeys(("°dh", "degdh"), Fraction("17.85")),
}
_SUBSTANCES = "|".join(
    ("caco3", "cl2", "so4", "no3", "no2", "nh4", "po4", "o2", "pt", "c", "n", "p")
)
# What a concentration as an element is multiplied with to be one as its ion: ratios of their molar
# masses, as laboratories round them.
_SPECIATIONS = {
    ("n", "no3"): Fraction("4.4268"),
    ("n", "no2"): Fraction("3.2845"),
    ("n", "nh4"): Fraction("1.2878"),
    ("p", "po4"): Fraction("3.0662"),
}
# "mg(Cl2)/L", as Hub'Eau writes, "mg{NO3}/L", as Waterbase does, "mg N/L", and "mg/L as Cl2".
_INNER = re.compile(rf"^([a-z]+)\((\w+)\)(/.+)$|^([mun]?g)-?({_SUBSTANCES})(/.+)$")
_OUTER = re.compile(rf"^(.+?)[-(]?(?:as|en|de)?\(?({_SUBSTANCES})\)*$")
# Conductivity is meant at 25 °C; at another temperature it is another quantity.
_AT_25 = re.compile(r"[@,]?(?:at|a|bei)?25°?c$")
# What stands for the degree on many keyboards: the ordinal sign, and the ring above.
_DEGREES = str.maketrans("º˚", "°°")
_BRACES = str.maketrans("{}", "()")
# Fahrenheit, nanofarad, seconds and "number": one sign each, whose plain form reads as °f, NFU,
# siemens and NO.
# A capital mu looks like M; among small letters nothing tells which of both is meant.
_ANOTHER = re.compile(r"[℉㎋㎱㎲㎳№]|Μ.*[a-z]|[a-z].*Μ")
# No unit is nearly as long; a cell may hold megabytes.
_MOST_CHARACTERS = 100


def parse_unit(text: str) -> Unit | None:
    """Read a unit as people write it; None if it is none of the table.

    >>> parse_unit("µg.L-1") == parse_unit("ppb")
    True
    >>> parse_unit("mg/L as CaCO3").substance
    'caco3'
    >>> parse_unit("grains/gallon") is None
    True
    """
    if len(text) > _MOST_CHARACTERS or _ANOTHER.search(text):
        return None
    plain = _plain(text)
    if plain in _HARDNESS:
        return Unit(_MASS, _HARDNESS[plain], "caco3")
    if match := _INNER.match(plain):
        amount, substance, rest = filter(None, match.groups())
        plain = f"{amount}{rest}{substance}"
    if plain in _SIZES:
        return Unit(*_SIZES[plain])
    at_25 = Unit(*_SIZES.get(_AT_25.sub("", plain), ("", Fraction(1))))
    if at_25.kind == _CONDUCTANCE:
        return at_25
    match = _OUTER.match(plain)
    if match is None or match[1] not in _SIZES:
        return None
    kind, size = _SIZES[match[1]]
    return Unit(kind, size, match[2]) if kind == _MASS else None


def is_unit_of_amount(text: str) -> bool:
    """Say whether a text is a unit that decides a number's size; that of pH does not."""
    unit = parse_unit(text)
    return unit is not None and unit.kind != _ACIDITY


def has_sizes(text: str) -> bool:
    """Say whether what is given in a unit may also be given in one of another size."""
    unit = parse_unit(text)
    return (
        unit is not None and len({size for kind, size in _SIZES.values() if kind == unit.kind}) > 1
    )


def conversion(source: str, target: str) -> Fraction | None:
    """Give what a value in one unit is multiplied with for another; None if they do not convert.

    >>> conversion("mg/L", "µg/L")
    Fraction(1000, 1)
    >>> conversion("NTU", "mg/L") is None
    True
    """
    one, other = parse_unit(source), parse_unit(target)
    if one is None or other is None or one.kind != other.kind:
        return None
    size = one.size / other.size
    if one.substance in ("", other.substance):
        return size
    if ratio := _SPECIATIONS.get((one.substance, other.substance)):
        return size * ratio
    ratio = _SPECIATIONS.get((other.substance, one.substance))
    return size / ratio if ratio else None


def leaves_speciation_open(unit: str, wanted: str) -> bool:
    """Say whether a concentration may be as an element or as its ion, and the unit does not tell.

    >>> leaves_speciation_open("mg/L", "mg/L NO3"), leaves_speciation_open("mg/L", "mg/L SO4")
    (True, False)
    """
    one, other = parse_unit(unit), parse_unit(wanted)
    if one is None or other is None or one.substance:
        return False
    return any(other.substance in pair for pair in _SPECIATIONS)


def taught(unit: str, aliases: Mapping[str, str]) -> str:
    """Give the unit that a user said a text stands for, else the text.

    >>> taught("s. units", {"S.Units": "pH"}), taught("mg/L", {"S.Units": "pH"})
    ('pH', 'mg/L')
    """
    if not aliases:
        return unit
    return {_plain(name): meant for name, meant in aliases.items()}.get(_plain(unit), unit)


def counts_things(unit: str) -> bool:
    """Say whether what is given in a unit is a number of things, and so a whole one.

    >>> counts_things("UFC/100 mL"), counts_things("mg/L")
    (True, False)
    """
    found = parse_unit(unit)
    return found is not None and found.kind == _COUNT and found.size == 1


def neighbour_unit(unit: str, factor: Fraction) -> str:
    """Name the usual unit that is so many times as large; empty if there is none.

    >>> neighbour_unit("µg/L", Fraction(1000))
    'mg/L'
    """
    found = parse_unit(unit)
    if found is None:
        return ""
    for name in ("ng/L", "µg/L", "mg/L", "g/L", "µS/cm", "mS/cm"):
        other = parse_unit(name)
        if other and other.kind == found.kind and other.size == found.size * factor:
            return name
    return ""


def convert(values: FloatArray, factor: Fraction) -> FloatArray:
    """Multiply with a factor.

    A power of ten moves the point of the decimal number that a value was read from: 22.12 times 10
    is 221.2, which no product of floats is.
    """
    if factor == 1:
        return values
    scaled = values * float(factor.numerator) / float(factor.denominator)
    if (places := _POWERS_OF_TEN.get(factor)) is None:
        return scaled
    text = pc.cast(arrow_numbers(values), pa.string())  # the shortest that is this float
    has_exponent = as_bools(pc.match_substring(text, "e"))
    rows = np.isfinite(values) & ~has_exponent
    plain = joined(text.filter(arrow_numbers(rows)), f"e{places}")
    scaled[rows] = pc.cast(plain, pa.float64()).to_numpy()
    for row in np.flatnonzero(has_exponent).tolist():  # few: below 0.0001, or very large
        scaled[row] = float(Decimal(text[row].as_py()).scaleb(places))
    return scaled


def _plain(text: str) -> str:
    """Reduce the ways in which people write one unit to one: ``µg.L⁻¹`` to ``ug/l``."""
    plain = unicodedata.normalize("NFKC", text.translate(_DEGREES)).casefold()
    plain = plain.replace("\u2212", "-").replace("\u03bc", "u").translate(_BRACES)
    plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    if plain[:1] + plain[-1:] in ("()", "[]"):
        plain = plain[1:-1]
    plain = re.sub(r"_(?=(?:l|cm|m)$)", "/", plain)
    plain = re.sub(r"\s+|_", "", plain).rstrip("*")
    return re.sub(r"(\w)[.·*]?(l|cm|m)\^?-1", r"\1/\2", plain)
