"""Columns that only limits ask for: compared, named, and of no effect on anything else."""

import csv
import json
from pathlib import Path

import pytest

NINE = (
    "ph,Hardness,Solids,Chloramines,Sulfate,Conductivity,Organic_carbon,Trihalomethanes,Turbidity"
)
VALUES = "7,200,100,3,10,500,1,50,0.2"


@pytest.fixture
def validate(cli, workdir):
    """Validate a file of the nine and some more columns against limits."""

    def run(header, *rows, limits="eu", more=()):
        lines = [f"{NINE},{header}", *(f"{VALUES},{row}" for row in rows)]
        Path("in.csv").write_text("\n".join([*lines, ""]), "utf-8")
        outcome = cli("validate", "in.csv", "--limits", limits, "--json", *more)
        return outcome, json.loads(outcome.out)["limits"]

    return run


def rows_of(limits, column):
    return [each["rows"] for each in limits["values"] if each["column"] == column]


def test_a_column_that_the_schema_lacks_is_held_against_its_limit_in_its_own_unit(validate):
    outcome, limits = validate("Plomb (mg/L)", "0.010", "0.011")
    assert (rows_of(limits, "Lead")[0]["within"], rows_of(limits, "Lead")[0]["above"]) == (1, 1)
    assert "for the limits also 'Plomb (mg/L)' as Lead (mg/L to µg/L)" in outcome.err
    assert limits["in_no_column"] == ["E. coli", "nitrate", "arsenic", "fluoride"]


def test_it_changes_no_finding_and_no_exit_code(validate):
    outcome, limits = validate("Lead", "x", "-3", "999999999")
    assert outcome.code == 0
    assert rows_of(limits, "Lead")[0]["indeterminate"] == 1
    assert json.loads(outcome.out)["findings_total"] == 0


def test_parameters_are_sorted_by_what_the_file_has_lacks_and_leaves_open(validate):
    _, limits = validate("Arsenic,Mercury,PFOA", "<20,0.1,0.01", ",,")
    (told,) = limits["parameters"]
    assert {"ph", "Mercury"} <= set(told["judged"])
    assert told["not_judged"] == ["Arsenic", "PFAS_20", "PFAS_total"]
    assert {"Lead", "E_coli", "Nitrate_and_nitrite"} <= set(told["lacking"])
    names = {name for kind in ("judged", "not_judged", "lacking") for name in told[kind]}
    assert names == {each["column"] for each in limits["values"]}


@pytest.mark.parametrize(
    ("header", "row", "name", "reason"),
    [
        ("Nitrates (mg/L)", "5", "Nitrate_NO3", "does not say as what"),
        ("Nitrate", "5", "Nitrate_NO3", "goes with several units"),
        ("Lead (grains/gallon)", "5", "Lead", "no known unit"),
        ("Lead,Pb (mg/L)", "5,1", "Lead", "two columns: Lead, Pb (mg/L)"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_reason(validate, header, row, name, reason):
    outcome, limits = validate(header, row)
    assert reason in limits["not_read"][name]
    assert name in limits["parameters"][0]["not_judged"]
    assert f"{name} is held against no limit: " in outcome.err


def test_a_rename_says_what_a_column_is(validate):
    _, limits = validate("Nitrate (mg/L)", "51", more=("--rename", "Nitrate (mg/L)=NO3"))
    assert rows_of(limits, "Nitrate_NO3")[0]["above"] == 1
    assert limits["not_read"] == {}


def test_score_names_them_in_its_column(cli, store_uri, workdir):
    Path("in.csv").write_text(f"{NINE},E. coli,Site\n{VALUES},3,A\n{VALUES},0,B\n", "utf-8")
    arguments = ("--limits", "eu", "-o", "out.csv", "--tracking-uri", store_uri)
    assert cli("score", "in.csv", *arguments).code == 0
    rows = list(csv.DictReader(Path("out.csv").read_text("utf-8").splitlines()))
    assert [row["limits"] for row in rows] == ["E_coli above 0 n/100 mL (eu)", ""]


OWN = """
name: own
metadata: {min_measurements: 1, units: {Plomb: mg/L}}
columns:
  Plomb: {dtype: float64, nullable: true}
  Nitrate: {dtype: float64, nullable: true}
"""


def test_columns_of_ones_own_schema_are_held_against_the_bundled_limits(cli, workdir):
    Path("own.yaml").write_text(OWN)
    Path("in.csv").write_text("Plomb,Nitrate\n0.011,5\n0.01,5\n")
    outcome = cli("validate", "in.csv", "--schema", "own.yaml", "--limits", "eu", "--json")
    limits = json.loads(outcome.out)["limits"]
    assert rows_of(limits, "Plomb")[0]["above"] == 1
    assert limits["parameters"][0]["judged"] == ["Plomb"]
    # Nothing says whether its nitrate is given as N or as NO3.
    assert limits["parameters"][0]["not_judged"] == ["Nitrate"]
