"""Files as people have them: what would be wrong by a factor is read right, told, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.schemas import load_schema, parse_schema
from waterflow_cli.scoring.frames import frame_table
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.validation.batches import CheckedBatch
from waterflow_cli.validation.row_checker import RowChecker

SCHEMA = load_schema()
NAMES = (
    "ph",
    "Dureté",
    "TDS",
    "Chloramines",
    "Sulfates",
    "Conductivité",
    "COT",
    "THM",
    "Turbidité",
)
HEAD = ";".join(("échantillon", *NAMES))
ROW = "E1;7,2;245;320,5;0,08;35;540;1,2;23,4;0,25"
SHORT = parse_schema(
    """
name: short
metadata:
  label: null
  aliases: {ph: [], THM: [TTHM]}
  units: {THM: µg/L}
columns:
  ph: {dtype: float64, nullable: true, in_range: {min_value: 0, max_value: 14}}
  THM: {dtype: float64, nullable: true, required: false}
  Sulfate: {dtype: float64, nullable: true, required: false}
""".replace("  label: null\n", ""),
    "short",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lab.csv"


def check(
    path: Path, text: str, schema=SCHEMA, **options: object
) -> tuple[CheckedBatch, RowChecker]:
    path.write_text(text, "utf-8")
    reading = ReadingOptions(**options)
    with open_samples(str(path), schema, reading) as table:
        checker = RowChecker(schema, table, reading)
        (batch,) = table.batches()
        return checker.check(batch), checker


def rules(checked: CheckedBatch) -> list[tuple[int, str]]:
    return [(finding.line, finding.rule) for finding in checked.findings()]


def test_row_of_units_above_the_header_is_read(path):
    units = ";;°f;mg/L;mg/L;mg/L;mS/cm;mg/L;mg/L;NFU"
    row = "E1;7,2;24,5;320,5;0,08;35;0,54;1,2;0,0234;0,25"
    checked, checker = check(path, f"{units}\n{HEAD}\n{row}\n")
    assert checked.numbers["Hardness"].tolist() == [245]
    assert checked.numbers["Conductivity"].tolist() == [540]
    assert checked.numbers["Trihalomethanes"] == pytest.approx([23.4], rel=1e-15)
    assert "units in line 1, in no output" in checker.reading


@pytest.mark.parametrize("title", ["résultats en mg/L sauf pH", ";;TH (°f);;;;;THM (mg/L);"])
def test_units_in_a_title_are_told_to_be_unread(title, path):
    _, checker = check(path, f"{title}\n{HEAD}\n{ROW}\n")
    assert "units in line 1 NOT READ" in checker.reading


def test_title_without_a_unit_is_passed_over(path):
    _, checker = check(path, f"Contrôle du 12 mars\n{HEAD}\n{ROW}\n")
    assert "NOT READ" not in checker.reading


@pytest.mark.parametrize("unit", ["[mg/L]", "(mg/L)", "mg/L"])
def test_units_may_stand_in_brackets(unit, path):
    checked, _ = check(path, f"ph;THM\n;{unit}\n7,2;0,0234\n", SHORT)
    assert checked.numbers["THM"] == pytest.approx([23.4], rel=1e-15)


@pytest.mark.parametrize("name", ["THM en mg/L", "trihalo_mg_L", "Trihalo (mg/L)", "THM tot mg/L"])
def test_rename_keeps_the_unit_of_the_old_name(name, path):
    checked, _ = check(path, f"ph;{name}\n7,2;0,0234\n", SHORT, renames={name: "THM"})
    assert checked.numbers["THM"] == pytest.approx([23.4], rel=1e-15)


def test_renamed_name_with_an_unknown_unit_is_refused(path):
    with pytest.raises(InputError, match="'mg/L as K' is no known unit"):
        check(path, "ph;x (mg/L as K)\n7,2;3\n", SHORT, renames={"x (mg/L as K)": "THM"})


@pytest.mark.parametrize("name", ["THM %", "THM‰", "Sulfate-S"])
def test_percentages_and_sulfur_are_other_things(name, path):
    checked, _ = check(path, f"ph;{name}\n7,2;3\n", SHORT)
    assert set(checked.numbers) == {"ph"}


def test_sulfur_in_brackets_is_no_plural(path):
    with pytest.raises(InputError, match="'S' is no known unit"):
        check(path, f"{HEAD}\n{ROW}\n".replace("Sulfates", "Sulfate (S)"))


def test_name_that_goes_with_several_units_needs_one(path):
    text = f"{HEAD}\n{ROW}\n".replace("Dureté", "TH")
    with pytest.raises(InputError, match="column TH: this name goes with several units") as caught:
        check(path, text)
    assert "--unit Hardness=UNIT" in str(caught.value.hint)
    checked, _ = check(path, text, units={"TH": "°f"})
    assert checked.numbers["Hardness"].tolist() == [2450]
    checked, _ = check(path, text.replace("TH;", "TH (°f);", 1))
    assert checked.numbers["Hardness"].tolist() == [2450]


def test_two_units_for_one_column_are_refused(path):
    with pytest.raises(UsageError, match="--unit: two values are given for THM"):
        check(path, "ph;THM\n7,2;3\n", SHORT, units={"THM": "mg/L", "TTHM": "µg/L"})


@pytest.mark.parametrize(
    "second",
    [
        "échantillon;Turbidité;THM;COT;Conductivité;Sulfates;Chloramines;TDS;Dureté;ph",
        ";;°f;mg/L;mg/L;mg/L;mS/cm;mg/L;mg/L;NFU",
        ";;;;;;mS/cm;;;",
        ";;;;;;mS/cm",
        "Unité;;;;;;mS/cm;;;",
        ";;;;;;Conductivité (mS/cm);;;",
        ";;;;;;en mS/cm;;;",
        ";;;;;;;;(unité : mg/L);",
    ],
)
def test_second_table_below_the_first_stops_at_its_line(second, path):
    with pytest.raises(InputError, match="line 3: a second header or row of units stands here"):
        check(path, f"{HEAD}\n{ROW}\n{second}\n{ROW}\n")


def test_unit_beside_numbers_is_a_finding_of_its_row_alone(path):
    odd = ROW.split(";")
    odd[6] = "mS/cm"
    checked, _ = check(path, "\n".join([HEAD, ROW, ";".join(odd), ROW]) + "\n")
    assert {(line, rule) for line, rule in rules(checked)} == {(3, "not_a_number")}


@pytest.mark.parametrize("n_odd", [3, 2000])
def test_row_of_units_is_found_below_many_odd_rows(n_odd, path):
    odd = ";".join(["x"] * 10) + "\n"
    with pytest.raises(InputError, match=f"line {n_odd + 3}: a second header or row of units"):
        check(path, f"{HEAD}\n{ROW}\n{odd * n_odd};;;;;;mS/cm;;;\n{ROW}\n")


def test_same_header_again_is_a_finding_and_no_more(path):
    checked, _ = check(path, f"{HEAD}\n{ROW}\n{HEAD}\n{ROW}\n")
    assert {line for line, _ in rules(checked)} == {3}


def test_rows_above_a_fuller_header_are_not_passed_over(path):
    checked, _ = check(path, "site,ph\na,7.1\nb,15.9\nsite,ph,Sulfate\nc,7,3\n", SHORT)
    assert (3, "above_maximum") in rules(checked)


@pytest.mark.parametrize(
    "label",
    [
        "Total",
        "Moy.",
        "MOYENNE 2023",
        "Sous-total",
        "Nb analyses",
        "P90",
        "LQ",
        "Limite de qualité",
    ],
)
def test_rows_that_are_no_samples_are_findings(label, path):
    checked, _ = check(path, f"{HEAD}\n{ROW}\n{ROW.replace('E1', label)}\n")
    assert rules(checked) == [(3, "summary_row")]


@pytest.mark.parametrize("label", ["Totem", "N1", "Limours", "Mini-lac", "Unitec"])
def test_other_names_are_samples(label, path):
    checked, _ = check(path, f"{HEAD}\n{ROW}\n{ROW.replace('E1', label)}\n")
    assert rules(checked) == []


@pytest.mark.parametrize("name", ["THM qualifier", "unité THM", "THM LQ"])
def test_column_that_qualifies_a_measurement_is_told_to_be_unread(name, path):
    _, checker = check(path, f"ph;THM;{name}\n7,2;3;x\n", SHORT)
    assert f"NOT READ, though about a measurement: '{name}'" in checker.reading


def test_three_decimals_alone_stop_where_commas_are_usual(path):
    with pytest.raises(InputError, match=r"'20\.791' is 20\.791 or 20791"):
        check(path, "ph;THM\n7;20.791\n8;18.630\n", SHORT)
    checked, _ = check(path, "ph,THM\n7,20.791\n8,18.630\n", SHORT)
    assert checked.numbers["THM"].tolist() == [20.791, 18.63]


@pytest.mark.parametrize("nondetect", ["half", "zero"])
@pytest.mark.parametrize("mark", [",", "."])
def test_nd_with_points_is_missing_whatever_the_decimal_mark(mark, nondetect, path):
    checked, _ = check(path, f"ph;THM\n7{mark}25;n.d.\n7{mark}5;3\n", SHORT, nondetect=nondetect)
    assert np.isnan(checked.numbers["THM"][0])
    assert checked.missing["THM"].tolist() == [True, False]
    assert rules(checked) == []


def test_spreadsheet_s_empty_columns_are_no_hindrance(path):
    checked, _ = check(path, "ph;THM;;;\n7,2;3;;;\n", SHORT)
    assert list(checked.batch.columns) == ["ph", "THM", "", "unnamed_4", "unnamed_5"]


def test_text_of_frames_and_parquet_is_read_like_that_of_csv(tmp_path):
    frame = pd.DataFrame({"site": ["A", "Total"], "ph": ["7.2", "6"], "THM": ["<0.5", "3"]})
    frame = frame.astype("str")
    frame.to_parquet(tmp_path / "lab.parquet")
    with open_samples(str(tmp_path / "lab.parquet"), SHORT) as table:
        checker = RowChecker(SHORT, table)
        (batch,) = table.batches()
        checked = checker.check(batch)
    assert rules(checked) == [(3, "summary_row")]
    table = frame_table(frame, SHORT.header)
    (batch,) = table.batches()
    again = RowChecker(SHORT, table).check(batch)
    assert again.numbers["THM"].tolist() == checked.numbers["THM"].tolist() == [0.25, 3]
