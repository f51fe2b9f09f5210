"""Files of one row a sample, with and without a profile that names their columns and units."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from waterflow_cli.common.errors import InputError
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.schemas import load_schema, parse_schema
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.validation.row_checker import RowChecker

SCHEMA = load_schema()
PROFILE = """
title = "The laboratory of the town"
[columns]
"Acidité (labo)" = "ph"
"Q12" = "Turbidity"
[units]
Hardness = "°f"
Conductivity = "mS/cm"
"""
# The profile's names and units for columns of the bundled schema.
NAMES = {"ph": "Acidité (labo)", "Turbidity": "Q12"}
SIZES = {"Hardness": 10, "Conductivity": 1000}


TAUGHT = """
title = "A laboratory with names of its own for units"
[units]
Sulfate = "mg/L"
[unit_aliases]
"part of a thousand" = "g/L"
"""


@pytest.fixture
def profile(tmp_path: Path) -> str:
    path = tmp_path / "own.toml"
    path.write_text(PROFILE, "utf-8")
    return str(path)


@pytest.fixture
def laboratory(samples: Path, tmp_path: Path) -> str:
    """The simulated samples as the laboratory would write them."""
    with samples.open(newline="") as file:
        header, *rows = csv.reader(file)
    sizes = [SIZES.get(name, 0) for name in header]
    path = tmp_path / "laboratory.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([NAMES.get(name, name) for name in header])
        for row in rows:
            pairs = zip(row, sizes, strict=True)
            writer.writerow(str(Decimal(c) / size) if size and c else c for c, size in pairs)
    return str(path)


def first_values(path: str, **options: object) -> dict[str, float]:
    reading = ReadingOptions(**options)  # type: ignore[arg-type]
    with open_samples(path, SCHEMA, reading) as table:
        checker = RowChecker(SCHEMA, table, reading)
        numbers = checker.check(next(table.batches())).numbers
    return {name: float(values[0]) for name, values in numbers.items()}


def write(tmp_path: Path, **columns: tuple[str, str]) -> str:
    """Write one sample; `columns` gives the header and the cell of some measurements."""
    cells = {name: (name, "7") for name in SCHEMA.measurements} | columns
    path = tmp_path / "river.csv"
    path.write_text("\n".join(";".join(line) for line in zip(*cells.values(), strict=True)) + "\n")
    return str(path)


def test_profile_names_columns_and_units(tmp_path, profile):
    path = write(
        tmp_path,
        ph=("Acidité (labo)", "7.5"),
        Turbidity=("Q12", "3"),
        Hardness=("dureté", "20"),
        Conductivity=("EC", "0.5"),
    )
    found = first_values(path, profile=profile)
    assert (found["ph"], found["Turbidity"]) == (7.5, 3)
    assert (found["Hardness"], found["Conductivity"]) == (200, 500)


@pytest.mark.parametrize("header", ["ACIDITE (LABO)", "acidité labo", "pH"])
def test_names_of_a_profile_match_as_those_of_the_schema_do(tmp_path, profile, header):
    assert first_values(write(tmp_path, ph=(header, "7.5")), profile=profile)["ph"] == 7.5


def test_unit_in_the_file_goes_before_that_of_the_profile(tmp_path, profile):
    path = write(tmp_path, Hardness=("Hardness (mg/L)", "20"), Conductivity=("EC", "0.5"))
    found = first_values(path, profile=profile)
    assert (found["Hardness"], found["Conductivity"]) == (20, 500)


def test_unit_of_the_user_goes_before_that_of_the_profile(tmp_path, profile):
    path = write(tmp_path, Hardness=("Hardness", "20"))
    assert first_values(path, profile=profile, units={"Hardness": "mg/L"})["Hardness"] == 20


def test_rename_of_the_user_goes_with_a_profile(tmp_path, profile):
    path = write(
        tmp_path, ph=("Acidité (labo)", "7.5"), Sulfate=("x", "12"), Hardness=("dureté", "20")
    )
    found = first_values(path, profile=profile, renames={"x": "Sulfate"})
    assert (found["ph"], found["Sulfate"], found["Hardness"]) == (7.5, 12, 200)


def test_two_columns_for_one_measurement_are_refused(tmp_path, profile):
    path = write(tmp_path, ph=("Acidité (labo)", "7.5"), Potability=("pH", "1"))
    with pytest.raises(InputError, match="both stand for ph"):
        first_values(path, profile=profile)


def test_public_table_reads_alike_with_its_profile(samples):
    assert first_values(str(samples), profile="kaggle") == first_values(str(samples))


@pytest.mark.slow
def test_profile_of_ones_own_works_in_each_command(cli, profile, laboratory, samples, store_uri):
    outcome = cli("validate", laboratory, "--profile", profile)
    assert outcome.code == 0, outcome.err
    assert "'Q12' as Turbidity" in outcome.err
    assert "Hardness (°f to mg/L CaCO3)" in outcome.err
    for path, *more in ((samples,), (laboratory, "--profile", profile)):
        arguments = (*more, "-o", f"{Path(path).stem}.csv", "--columns", "ids")
        assert cli("score", path, *arguments, "--tracking-uri", store_uri).code == 0
    columns = ("probability", "verdict", "prediction", "status")
    texts = [Path(f"{name}.csv").read_text("utf-8") for name in ("samples", "laboratory")]
    scored = [list(csv.DictReader(text.splitlines())) for text in texts]
    one, other = ([[row[name] for name in columns] for row in rows] for rows in scored)
    assert one == other
    assert len(one) == 400
    learning = ("--plugin", "logreg", "--test-size", "0.3")
    outcome = cli("train", laboratory, "--profile", profile, *learning)
    assert outcome.code == 0, outcome.err
    outcome = cli("train", laboratory, *learning)
    assert outcome.code == 3


PARAMETERS_DOWN = (
    "measurement,uom,A,B\npH,,7.0,6.3\nConductivity,uS/cm,140,660\nSulfate,mg/L,19,<1\n"
)


def opened(text: str, path: Path) -> list[str]:
    path.write_text(text, "utf-8")
    with open_samples(str(path), SCHEMA) as table:
        return table.columns


def test_table_on_its_side_has_a_row_for_each_sample(tmp_path: Path) -> None:
    path = tmp_path / "river.csv"
    columns = opened(PARAMETERS_DOWN, path)
    assert columns == ["sample_id", "pH", "Conductivity", "Sulfate"]
    with open_samples(str(path), SCHEMA) as table:
        (batch,) = table.batches()
        assert batch.columns["Sulfate"].to_pylist() == ["19", "<1"]


@pytest.mark.parametrize(
    "text",
    [
        "sample,parameter,value\nA,pH,7\nA,Sulfate,1\nA,Hardness,2\nB,pH,7\n",
        "parameter,value,unit,sample\npH,7,,A\nSulfate,1,mg/L,A\nHardness,2,mg/L,A\n",
        "what,A\npH,7\n",
        "site,ph,Sulfate\npH,7,1\nSulfate,7,1\nHardness,7,1\n",
    ],
)
def test_names_in_cells_alone_make_no_table_on_its_side(text: str, tmp_path: Path) -> None:
    assert opened(text, tmp_path / "river.csv") == text.partition("\n")[0].split(",")


OWN_UNITS = (
    "pH,Hardness (part of a thousand),TDS,Chloramines,SO4,EC,TOC,THM,NTU\n7,0.2,5,1,2,3,4,5,6\n"
)


def test_unit_is_taught_by_an_option_a_schema_or_a_profile(tmp_path):
    path, profile = tmp_path / "own.csv", tmp_path / "own.toml"
    path.write_text(OWN_UNITS)
    profile.write_text(TAUGHT)
    units = {"part of a thousand": "g/L"}
    text = SCHEMA.text.replace(
        "metadata:\n", "metadata:\n  unit_aliases: {part of a thousand: g/L}\n"
    )
    by_schema = parse_schema(text, "own")
    for schema, options in (
        (SCHEMA, {"unit_aliases": units}),
        (SCHEMA, {"profile": str(profile)}),
        (by_schema, {}),
    ):
        reading = ReadingOptions(renames={"NTU": "Turbidity"}, **options)  # type: ignore[arg-type]
        with open_samples(str(path), schema, reading) as table:
            checked = RowChecker(schema, table, reading).check(next(table.batches()))
        assert checked.numbers["Hardness"].tolist() == [200.0]


def test_unit_that_nobody_taught_is_refused(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(OWN_UNITS)
    with pytest.raises(InputError, match="'part of a thousand' is no known unit"):
        first_values(str(path), renames={"NTU": "Turbidity"})


@pytest.mark.parametrize("text", ["SU=apples", "SU"])
def test_unit_alias_of_no_known_unit_is_wrong_usage(text, samples, cli):
    done = cli("validate", samples, "--unit-alias", text)
    assert done.code == 2
    assert "a known unit" in done.err


def test_line_in_a_row_of_units_is_no_unit(tmp_path):
    path = tmp_path / "own.csv"
    units = "---,°f,mg/L,mg/L,---,uS/cm,mg/L,ug/L,NTU"
    path.write_text(
        f"pH,Hardness,TDS,Chloramines,SO4,EC,TOC,THM,Turbidity\n{units}\n7,15,3,1,---,4,2,3,1\n"
    )
    values = first_values(str(path))
    assert (values["Hardness"], values["ph"]) == (150.0, 7.0)
    assert np.isnan(values["Sulfate"])
