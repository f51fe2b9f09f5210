"""The schema of every parameter of the drinking-water rules: its names, numbers, units, bounds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.tables.units import parse_unit

ALL = load_schema("drinking-water")
NINE = load_schema("water")
# Numbers of SANDRE, written anew from the list of file formats.
SANDRE = {
    **{"ph": 1302, "Conductivity": 1303, "Turbidity": 1295, "Hardness": 1345, "Sulfate": 1338},
    **{"Trihalomethanes": 2036, "Chloride": 1337, "Organic_carbon": 1841, "Chlorine_free": 1398},
    **{"Nitrate_NO3": 1340, "Nitrite_NO2": 1339, "Ammonium_NH4": 1335, "Fluoride": 7073},
    **{"E_coli": 1449, "Enterococci": 6455, "Iron": 1393, "Manganese": 1394, "Aluminium": 1370},
    **{"Sodium": 1375, "Arsenic": 1369, "Lead": 1382, "Nickel": 1386, "Copper": 1392},
    **{"Cadmium": 1388, "Mercury": 1387, "Chromium": 1389, "Selenium": 1385, "Antimony": 1376},
}


def named(schema: TableSchema, kind: str) -> dict[str, str]:
    """Give the numbers of a list that aliases hold, by column."""
    pairs = ((name, alias) for name, each in schema.aliases.items() for alias in each)
    return {name: alias.split()[1] for name, alias in pairs if alias.startswith(f"{kind} ")}


def test_the_nine_are_those_of_water():
    for name in NINE.measurements:
        assert ALL.columns[name].checks == NINE.columns[name].checks
        assert ALL.units[name] == NINE.units[name]
        assert set(NINE.aliases[name]) <= set(ALL.aliases[name])
    assert ALL.label == NINE.label
    assert ALL.label_values == NINE.label_values


def test_no_column_is_required_and_each_has_a_unit_that_is_known():
    assert ALL.required == []
    assert set(ALL.units) == set(ALL.measurements)
    assert all(parse_unit(unit) for unit in ALL.units.values())


def test_numbers_are_those_of_the_lists():
    assert named(ALL, "SANDRE") == {name: str(number) for name, number in SANDRE.items()}
    cas = named(ALL, "CAS")
    assert cas["Nitrate_NO3"] == "14797-55-8"
    for number in cas.values():  # the last digit follows from the others
        *digits, check = map(int, number.replace("-", ""))
        assert sum(place * digit for place, digit in enumerate(reversed(digits), 1)) % 10 == check


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("Plomb (µg/L)", "Lead"),
        ("Escherichia coli (UFC/100 mL)", "E_coli"),
        ("entérocoques intestinaux", "Enterococci"),
        ("Aluminum", "Aluminium"),
        ("CAS_7439-92-1", "Lead"),
        ("1,2-dichloroéthane", "Dichloroethane_1_2"),
        ("Température (°C)", "Temperature"),
        ("NO3 (mg/L)", "Nitrate_NO3"),
        ("Nitrate (mg/L as N)", "Nitrate_NO3"),
        ("NO3-N", "Nitrate_N"),
        ("Nitrate as N (mg/L)", "Nitrate_N"),
        ("Nitrate (as N)", "Nitrate_N"),
        ("total chlorine", None),
        ("PAH", None),
    ],
)
def test_headers_in_english_french_and_numbers_are_known(cell, name):
    assert (ALL.header.column_of(cell) or (None,))[0] == name


def test_a_file_of_a_few_parameters_is_checked(cli, workdir):
    header = "Site,Plomb (mg/L),Nitrate (mg/L as N),E. coli"
    Path("in.csv").write_text(f"{header}\nA,0.02,5,0\nB,99,5,0\n")
    outcome = cli("validate", "in.csv", "--schema", "drinking-water")
    assert outcome.code == 1
    assert "99 (99000 µg/L) is above 15000" in " ".join(outcome.out.split())
    assert "'Nitrate (mg/L as N)' as Nitrate_NO3 (mg/L as N to mg/L NO3)" in outcome.err


@pytest.mark.parametrize("column", ["Nitrate", "Nitrates (mg/L)", "ammonium (mg/L)", "Nitrite"])
def test_nitrogen_of_which_nothing_says_as_what_is_refused(cli, workdir, column):
    Path("in.csv").write_text(f"Site,{column}\nA,5\n", "utf-8")
    outcome = cli("validate", "in.csv", "--schema", "drinking-water")
    assert outcome.code == 3
    assert re.search(r"none is told|does not say as what", outcome.err)
    name = next(iter(load_schema("drinking-water").header.match([column], "in.csv").columns))
    told = cli("validate", "in.csv", "--schema", "drinking-water", "--unit", f"{name}=mg/L as N")
    assert told.code == 0


def test_a_file_with_none_of_the_columns_is_no_table_of_them(cli, workdir):
    Path("in.csv").write_text("Site,Colony\nA,5\n")
    outcome = cli("validate", "in.csv", "--schema", "drinking-water")
    assert outcome.code == 3
    assert "not found in the header" in outcome.err
