"""Units of measurements: how people write them, and what they convert to."""

from __future__ import annotations

import math
import sys
import unicodedata
from decimal import Decimal
from fractions import Fraction
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.units import conversion, convert, parse_unit, taught

SPELLINGS = {
    "mg/L": [
        "mg/litre",
        "mg/dm3",
        "g/m3",
        "mg/l",
        "MG/L",
        "mg L-1",
        "mg.L-1",
        "mg·L⁻¹",
        "mg*l^-1",
        "mgL",
        "mg L−1",
        "ppm",
        " mg / L ",
    ],
    "µg/L": ["ug/L", "μg/l", "µg.L-1", "µg L⁻¹", "ppb", "ug_L", "UG/L", "ugL"],
    "ng/L": ["ng.L-1", "ng/l"],
    "g/L": ["g/l", "g.L-1"],
    "mg/L CaCO3": [
        "mg/L as CaCO3",
        "mg(CaCO3)/L",
        "mg/L (CaCO3)",
        "mg{CaCO3}/L",
        "mg/L CaCO₃",
        "ppm CaCO3",
    ],
    "mg/L SO4": ["mg(SO4)/L", "mg/L en SO4", "mg/L as SO4"],
    "mg/L C": ["mg(C)/L", "mg/L de C"],
    "mg/L Cl2": ["mg(Cl2)/L", "mg/L as Cl2", "ppm Cl2"],
    "°f": ["°TH", "°F", "º f", "˚f", "°fH", "degf", "degré français", "degrés français"],
    "µS/cm": ["uS/cm", "µS.cm-1", "µS/cm à 25°C", "uS/cm @25C", "µS/cm a 25 °C"],
    "mS/cm": ["dS/m", "mS.cm-1", "ms/cm"],
    "mS/m": ["mS.m-1"],
    "umho/cm": ["µmhos/cm", "uScm", "USIE/CM", "µS/cm, 25 °C", "µS/cm bei 25 °C"],
    "°dH": ["° dH", "deg dH", "ºdH"],
    "NTU": ["N.T.U.", "UNT", "ntu", "NFU", "FNU", "FTU"],
    "mg/L N": [
        "mg/L as N",
        "mg(N)/L",
        "mg{N}/L",
        "mg/L en N",
        "mg N/L",
        "mg-N/L",
        "mgN/L",
        "mg/L (as N)",
        "mg/L-N",
    ],
    "mg/L NO3": ["mg{NO3}/L", "mg/L (NO3)", "mg/L as NO3"],
    "n/100 mL": ["n/(100mL)", "UFC/100mL", "MPN/100mL", "cfu/100ml", "NPP/100 mL", "#/100ml"],
    "°C": ["℃", "ºC", "deg C"],
    "pH": [
        "unité pH",
        "unités pH",
        "pH units",
        "std units",
        "Standard Units",
        "SU",
        "s.u.",
        "[pH]",
    ],
}
NONE = ["", "mg", "L", "grains/gallon", "µS", "mg/kg", "mol/L", "%", "mg/L K", "---", "NTU CaCO3"]
NONE += ["℉", "K", "\u212a", "℉H", "㎲/cm", "㎳/cm", "㎋U", "Μg/L"]
NONE += ["µS/cm à 20 °C", "kg/L", "/L", "mg/L mg/L", "7", "None", "mg/mL", "dH", "N", "meq/L"]


@pytest.mark.parametrize(
    ("unit", "written"), [(unit, text) for unit, texts in SPELLINGS.items() for text in texts]
)
def test_unit_is_one_however_it_is_written(unit: str, written: str) -> None:
    assert parse_unit(unit) is not None
    assert parse_unit(written) == parse_unit(unit)


@pytest.mark.parametrize("text", NONE)
def test_unit_that_is_not_in_the_table_is_none(text: str) -> None:
    assert parse_unit(text) is None
    assert conversion(text, "mg/L") is None


# Signs of several letters that are written as one, in units of the table.
WHOLE = {"㍷", "㍹", "㎥", "㎍", "㎎", "㎖", "㎛", "㎝", "㏗", "㏙", "㍲", "℃", "ﬅ", "ﬆ"}


def test_sign_that_looks_alike_is_the_unit_or_none() -> None:
    units = {text: parse_unit(text) for text in chain(SPELLINGS, *SPELLINGS.values())}
    for sign in map(chr, range(0x80, sys.maxunicode)):
        plain = unicodedata.normalize("NFKC", sign)
        if plain == sign or sign in WHOLE or not plain.strip():
            continue
        is_one = plain.isdigit() or len(plain.strip("()")) <= 1
        for text, unit in units.items():
            start = unicodedata.normalize("NFKC", text).casefold().find(plain.casefold())
            if start < 0:
                continue
            got = parse_unit(text[:start] + sign + text[start + len(plain) :])
            assert got is None or (got == unit and is_one), (sign, text)


FACTORS = [
    ("mg/L", "µg/L", Fraction(1000)),
    ("µg/L", "mg/L", Fraction(1, 1000)),
    ("ng/L", "µg/L", Fraction(1, 1000)),
    ("g/L", "mg/L", Fraction(1000)),
    ("ppm", "mg/L", Fraction(1)),
    ("ppb", "µg/L", Fraction(1)),
    ("mg/L as N", "mg/L NO3", Fraction("4.4268")),
    ("µg/L NO3", "mg/L N", 1 / (1000 * Fraction("4.4268"))),
    ("mg/L N", "mg/L NO2", Fraction("3.2845")),
    ("mg/L N", "mg/L NH4", Fraction("1.2878")),
    ("mg/L P", "mg/L PO4", Fraction("3.0662")),
    ("UFC/mL", "n/100 mL", Fraction(100)),
    ("°f", "mg/L CaCO3", Fraction(10)),
    ("mg/L CaCO3", "°f", Fraction(1, 10)),
    ("°dH", "mg/L CaCO3", Fraction("17.85")),
    ("mS/cm", "µS/cm", Fraction(1000)),
    ("mmhos/cm", "µS/cm", Fraction(1000)),
    ("mS/m", "µS/cm", Fraction(10)),
    ("µS/cm", "mS/cm", Fraction(1, 1000)),
    ("NFU", "NTU", Fraction(1)),
    ("unité pH", "pH", Fraction(1)),
    ("mg/L", "mg/L SO4", Fraction(1)),
    ("mg/L SO4", "mg/L SO4", Fraction(1)),
    ("µg(Cl2)/L", "mg/L Cl2", Fraction(1, 1000)),
]


@pytest.mark.parametrize(("source", "target", "factor"), FACTORS)
def test_conversion_is_exact(source: str, target: str, factor: Fraction) -> None:
    assert conversion(source, target) == factor


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("NTU", "mg/L"),
        ("µS/cm", "mg/L"),
        ("mg/L", "pH"),
        ("mg/L C", "mg/L SO4"),
        ("°f", "mg/L"),
        ("mg/L CaCO3", "mg/L Cl2"),
        ("mg/L", "grains/gallon"),
    ],
)
def test_units_of_other_kinds_or_substances_do_not_convert(source: str, target: str) -> None:
    assert conversion(source, target) is None


@given(
    st.decimals(0, 10**9, places=4) | st.decimals(0, 99, places=13),
    st.sampled_from([Fraction(1000), Fraction(1, 1000), Fraction(10), Fraction(1, 10)]),
)
def test_a_power_of_ten_moves_the_point_of_the_number_that_was_read(
    text: Decimal, factor: Fraction
) -> None:
    (got,) = convert(np.array([float(text)]), factor)
    assert got == float(Fraction(text) * factor)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-300, 1e-7, 1e300, math.inf])
def test_the_smallest_and_the_largest_values_are_converted_too(value: float) -> None:
    expected = value if math.isinf(value) else float(Decimal(repr(value)) * 1000)
    assert convert(np.array([value]), Fraction(1000))[0] == expected


def test_missing_values_stay_missing() -> None:
    assert math.isnan(convert(np.array([math.nan]), Fraction(1, 1000))[0])


def test_unit_of_the_schema_itself_changes_no_bit() -> None:
    values = np.random.default_rng(0).random(100)
    assert convert(values, Fraction(1)) is values


def test_units_of_the_bundled_schema_are_all_known() -> None:
    schema = load_schema()
    assert set(schema.units) == set(schema.measurements)
    for unit in schema.units.values():
        assert parse_unit(unit) is not None
        assert conversion(unit, unit) == 1


def test_unit_is_taught_however_it_is_written():
    assert taught("s. units", {"S.Units": "pH"}) == "pH"
    assert taught("mg/L", {"S.Units": "pH"}) == "mg/L"
