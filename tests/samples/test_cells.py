"""Columns of measurements as numbers in the schema's unit, with their bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from paths import FAULTY

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.schemas import load_schema, parse_schema
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.validation.batches import CheckedBatch
from waterflow_cli.validation.row_checker import RowChecker

SCHEMA = parse_schema(
    """
metadata:
  label: safe
  units: {ph: pH, Sulfate: mg/L SO4, THM: µg/L, Conductivity: µS/cm, Hardness: mg/L CaCO3}
columns:
  ph: {dtype: float64, nullable: true, required: false}
  Sulfate: {dtype: float64, nullable: true, required: false}
  THM: {dtype: float64, nullable: true, required: false, le: 1000}
  Conductivity: {dtype: float64, nullable: true, required: false}
  Hardness: {dtype: float64, nullable: true, required: false}
  Turbidity: {dtype: float64, nullable: true, required: false}
  count: {dtype: int64, nullable: true, required: false}
  safe: {dtype: float64, nullable: true, required: false}
""",
    "mine.yaml",
)
NAN = math.nan


class Reads:
    """Reads tables written as text, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "river.csv"

    def read(
        self, text: str, *, batch_rows: int | None = None, **options: object
    ) -> tuple[list[CheckedBatch], str]:
        self.path.write_text(text, "utf-8")
        reading = ReadingOptions(**options)  # type: ignore[arg-type]
        with open_samples(str(self.path), SCHEMA, reading, batch_rows=batch_rows) as table:
            checker = RowChecker(SCHEMA, table, reading)
            return [checker.check(batch) for batch in table.batches()], checker.reading

    def one(self, text: str, **options: object) -> CheckedBatch:
        (checked,) = self.read(text, **options)[0]
        return checked

    def rules(self, text: str, **options: object) -> list[tuple[int, str, str]]:
        findings = self.one(text, **options).findings()
        return [(finding.line, finding.column, finding.rule) for finding in findings]


@pytest.fixture
def reads(tmp_path: Path) -> Reads:
    return Reads(tmp_path)


# --- units ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "column", "value", "words"),
    [
        ("ph;THM (mg/L)\n7;0,08\n", "THM", 80.0, "'THM (mg/L)' as THM (mg/L to µg/L)"),
        ("ph;THM_mg_L\n7;0,08\n", "THM", 80.0, "(mg_L to µg/L)"),
        ("ph;THM mg/L\n7;0,08\n", "THM", 80.0, "(mg/L to µg/L)"),
        (
            "ph;THM\n;mg/L\n7;0,08\n",
            "THM",
            80.0,
            "units in line 2, in no output, decimal ','; THM (mg/L to µg/L)",
        ),
        ("ph;Hardness (°f)\n7;18,5\n", "Hardness", 185.0, "(°f to mg/L CaCO3)"),
        ("ph;Conductivity [mS/cm]\n7;0,41\n", "Conductivity", 410.0, "(mS/cm to µS/cm)"),
        ("ph;Sulfate (µg/L)\n7;5\n", "Sulfate", 0.005, "(µg/L to mg/L SO4)"),
    ],
)
def test_values_are_converted_to_the_unit_of_the_schema(
    text: str, column: str, value: float, words: str, reads: Reads
) -> None:
    batches, reading = reads.read(text)
    assert batches[0].numbers[column].tolist() == [value]
    assert words in reading


@pytest.mark.parametrize("unit", ["ppb", "µg.L-1", "ug/L"])
def test_unit_that_is_the_schema_s_by_another_name_converts_nothing(
    unit: str, reads: Reads
) -> None:
    batches, reading = reads.read(f"ph,THM\npH,{unit}\n7,80.5\n")
    assert batches[0].numbers["THM"].tolist() == [80.5]
    assert " to " not in reading


def test_header_and_row_of_units_may_agree(reads: Reads) -> None:
    checked = reads.one("ph,THM (mg/L)\n,mg.L-1\n7,0.08\n")
    assert checked.numbers["THM"].tolist() == [80.0]


def test_bounds_and_checks_are_in_the_unit_of_the_schema(reads: Reads) -> None:
    checked = reads.one("ph;THM (mg/L)\n7;<0,5\n7;1,5\n7;0,9\n")
    assert checked.censored["THM"].bound[0] == 500.0
    assert checked.numbers["THM"].tolist() == [250.0, 1500.0, 900.0]
    assert [finding.line for finding in checked.findings()] == [3]


def test_unit_option_goes_before_what_the_file_says(reads: Reads) -> None:
    checked = reads.one("ph,THM (furlong)\n7,80\n", units={"THM": "µg/L"})
    assert checked.numbers["THM"].tolist() == [80.0]
    checked = reads.one("ph,THM (µg/L)\n7,80\n", units={"thm": "mg/L"})
    assert checked.numbers["THM"].tolist() == [80_000.0]


@pytest.mark.parametrize(
    ("name", "says", "line"),
    [
        ("unknown_unit.csv", "column Sulfate .grains/gallon.: 'grains/gallon' is no known unit", 1),
        ("unknown_unit_row.csv", "column Sulfate: 'grains/gallon' is no known unit", 2),
        ("unfitting_unit.csv", "column Turbidity .mg/L.: 'mg/L' does not convert to NTU", 1),
        ("two_units.csv", "the header says mg/L, the row of units µg/L", 2),
    ],
)
def test_unit_of_a_file_that_does_not_fit_is_refused(name: str, says: str, line: int) -> None:
    columns = ("ph", "Sulfate", "Turbidity")
    schema = parse_schema(
        "metadata: {units: {ph: pH, Sulfate: mg/L SO4, Turbidity: NTU}}\ncolumns:\n"
        + "".join(f"  {column}: {{nullable: true, dtype: float64}}\n" for column in columns),
        "mine.yaml",
    )
    with (
        pytest.raises(InputError, match=f"{name}, line {line}: .*{says}") as caught,
        open_samples(str(FAULTY / name), schema) as table,
    ):
        RowChecker(schema, table)
    assert caught.value.exit_code == 3
    assert "--unit" in str(caught.value.hint) or "docs/reading.md" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("units", "says"),
    [
        ({"THM": "furlong"}, "--unit THM=furlong: 'furlong' is no known unit"),
        ({"THM": "mS/cm"}, "--unit THM=mS/cm: 'mS/cm' does not convert to µg/L"),
        ({"Turbidity": "NTU"}, "the schema knows no unit of Turbidity"),
        ({"THMs": "mg/L"}, "--unit THMs: the file has no such column. Did you mean 'THM'"),
        ({"Sulfate": "mg/L"}, "--unit Sulfate: the file has no such column"),
    ],
)
def test_unit_option_that_does_not_fit_is_wrong_usage(
    units: Mapping[str, str], says: str, reads: Reads
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        reads.read("ph,THM,Turbidity\n7,1,1\n", units=units)
    assert caught.value.exit_code == 2


# --- non-detects ----------------------------------------------------------------------------------

NONDETECTS = "ph;Turbidity;safe\n7;<0,5;1\n7;>5;1\n7;<LQ;0\n7;ND;1\n7;1;0\n7;;0\n"


@pytest.mark.parametrize(
    ("way", "loq", "numbers", "bad_lines"),
    [
        ("half", None, [0.25, 5, NAN, NAN, 1, NAN], [4]),
        ("half", 0.3, [0.25, 5, 0.15, 0.15, 1, NAN], []),
        ("loq", None, [0.5, 5, NAN, NAN, 1, NAN], [4]),
        ("loq", 0.3, [0.5, 5, 0.3, 0.3, 1, NAN], []),
        ("zero", None, [0, 5, 0, NAN, 1, NAN], []),
        ("zero", 0.3, [0, 5, 0, 0, 1, NAN], []),
        ("missing", None, [NAN, NAN, NAN, NAN, 1, NAN], []),
        ("missing", 0.3, [NAN, NAN, NAN, NAN, 1, NAN], []),
        ("error", None, [NAN, NAN, NAN, NAN, 1, NAN], [2, 3, 4]),
        ("error", 0.3, [NAN, NAN, NAN, NAN, 1, NAN], [2, 3, 4, 5]),
    ],
)
@pytest.mark.parametrize("batch_rows", [1, None])
def test_non_detects_count_as_what_was_asked_for(
    way: str,
    loq: float | None,
    numbers: list[float],
    bad_lines: list[int],
    batch_rows: int | None,
    reads: Reads,
) -> None:
    batches, _ = reads.read(
        NONDETECTS,
        batch_rows=batch_rows,
        nondetect=way,
        loq={} if loq is None else {"turbidity": loq},
    )
    got = np.concatenate([checked.numbers["Turbidity"] for checked in batches])
    np.testing.assert_array_equal(got, numbers)
    findings = [finding for checked in batches for finding in checked.findings()]
    assert [finding.line for finding in findings] == bad_lines
    assert {finding.rule for finding in findings} <= {"nondetect" if way == "error" else "no_limit"}
    missing = np.concatenate([checked.missing["Turbidity"] for checked in batches])
    absent = [row for row, number in enumerate(numbers) if math.isnan(number)]
    assert np.flatnonzero(missing).tolist() == [row for row in absent if row + 2 not in bad_lines]


def test_bounds_are_kept_with_the_batch(reads: Reads) -> None:
    censored = reads.one(NONDETECTS).censored["Turbidity"]
    assert censored.below.tolist() == [True, False, False, False, False, False]
    assert censored.above.tolist() == [False, True, False, False, False, False]
    np.testing.assert_array_equal(censored.bound, [0.5, 5, NAN, NAN, NAN, NAN])
    assert censored.without_limit == 1


def test_limit_that_is_told_is_the_bound_of_those_without(reads: Reads) -> None:
    censored = reads.one(NONDETECTS, loq={"Turbidity": 0.3}).censored["Turbidity"]
    assert censored.below.tolist() == [True, False, True, True, False, False]
    np.testing.assert_array_equal(censored.bound, [0.5, 5, 0.3, 0.3, NAN, NAN])
    assert censored.without_limit == 0


def test_limit_is_in_the_unit_of_the_schema(reads: Reads) -> None:
    checked = reads.one("ph;THM (mg/L)\n7;<LQ\n", loq={"THM": 4.0})
    assert checked.numbers["THM"].tolist() == [2.0]
    assert checked.censored["THM"].bound.tolist() == [4.0]


def test_columns_without_such_cells_have_no_bounds(reads: Reads) -> None:
    checked = reads.one("ph,Turbidity\n7,NA\n-,1\nx,2\n")
    assert checked.censored == {}


def test_missing_cell_says_nothing_of_a_limit(reads: Reads) -> None:
    checked = reads.one("ph,Turbidity\n7,NA\n7,\n7,-\n7,null\n", loq={"Turbidity": 0.3})
    assert checked.censored == {}
    assert checked.missing["Turbidity"].all()


@pytest.mark.parametrize("cell", ["<1", "ND<1", ">0", "traces", "<LQ"])
@pytest.mark.parametrize("way", ["half", "zero", "missing", "error"])
def test_label_takes_no_bound(cell: str, way: str, reads: Reads) -> None:
    text = f"ph,safe\n7,{cell}\n"
    assert reads.rules(text, nondetect=way) == [(2, "safe", "not_a_number")]


def test_label_that_is_nd_is_missing(reads: Reads) -> None:
    assert reads.rules("ph,safe\n7,ND\n") == []


def test_limit_for_a_column_that_is_not_there_is_wrong_usage(reads: Reads) -> None:
    with pytest.raises(UsageError, match=r"--loq THN: the file has no such column\. Did you mean"):
        reads.read("ph,THM\n7,1\n", loq={"THN": 1.0})


def test_non_detects_in_a_row_that_is_none_are_not_counted(reads: Reads) -> None:
    checked = reads.one("ph,Turbidity,safe\n7,<0.5\n7,<0.5,1\n")
    assert [finding.rule for finding in checked.findings()] == ["ragged_row"]
    assert checked.censored["Turbidity"].below.tolist() == [False, True]


def test_text_in_a_parquet_file_is_read_in_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "river.parquet"
    pq.write_table(pa.table({"ph": [7.0, 7.0, 7.0], "Turbidity": ["<0.5", None, "1 500"]}), path)
    with open_samples(str(path), SCHEMA) as table:
        checker = RowChecker(SCHEMA, table)
        (checked,) = [checker.check(batch) for batch in table.batches()]
    np.testing.assert_array_equal(checked.numbers["Turbidity"], [0.25, NAN, 1500])
    assert checked.censored["Turbidity"].below.tolist() == [True, False, False]
    assert checked.findings() == []


def test_numbers_of_a_parquet_file_are_converted_too(tmp_path: Path) -> None:
    path = tmp_path / "river.parquet"
    pq.write_table(pa.table({"THM (mg/L)": [0.08, None]}), path)
    with open_samples(str(path), SCHEMA) as table:
        checker = RowChecker(SCHEMA, table)
        (checked,) = [checker.check(batch) for batch in table.batches()]
    np.testing.assert_array_equal(checked.numbers["THM"], [80.0, NAN])


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        *(
            (text, 1)
            for text in ("Potable", "POTABLE ", "yes", "oui", "C", "conforme", "true", "1")
        ),
        *((text, 0) for text in ("Not potable", "not_potable", "non-potable", "No", "N", "faux")),
        *((text, 0) for text in ("Non conforme", "unsafe", "0", "0.0")),
        *((text, None) for text in ("S", "D", "maybe", "O", "2", "potables")),
    ],
)
def test_label_in_words_is_read_as_the_schema_says(tmp_path, cell, number):
    columns = "pH,Hardness,TDS,Chloramines,Sulfate,EC,TOC,THM,Turbidity,Potability"
    path = tmp_path / "a.csv"
    path.write_text(f"{columns}\n7,1,1,1,1,1,1,1,1,{cell}\n", "utf-8")
    checked = read_label(str(path), load_schema(), ReadingOptions())
    if number is None:
        assert [finding.column for finding in checked.findings()] == ["Potability"]
    else:
        assert checked.findings() == []
        assert checked.numbers["Potability"].tolist() == [number]


@pytest.mark.parametrize(
    ("options", "cells", "numbers"),
    [
        ({}, "good,bad,1,0", [1, 0, 1, 0]),
        ({"label_values": {"good": 0, "BAD": 1}}, "good,bad,,1", [0, 1, NAN, 1]),
        ({"label_values": {"1": 0, "0": 1}}, "1,0,good,bad", [0, 1, 1, 0]),
        ({"label_values": {"2": 0}}, "2,1,good,", [0, 1, 1, NAN]),
        ({"profile": "p.toml"}, "gut,bad,1,good", [1, 1, 1, 1]),
        ({"profile": "p.toml", "label_values": {"gut": 0}}, "gut,bad,1,good", [0, 1, 1, 1]),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_words_of_a_label_are_those_of_schema_profile_and_user(
    tmp_path, monkeypatch, options, cells, numbers, suffix
):
    monkeypatch.chdir(tmp_path)
    Path("p.toml").write_text("[label]\ngut = 1\nbad = 1\n", "utf-8")
    own = parse_schema(
        "metadata: {label: safe, label_values: {good: 1, bad: 0}}\ncolumns:\n"
        "  ph: {dtype: float64}\n  safe: {dtype: float64, nullable: true, isin: [0, 1]}\n",
        "own.yaml",
    )
    rows = cells.split(",")
    if suffix == "csv":
        Path("a.csv").write_text("\n".join(["ph,safe", *(f"7,{cell}" for cell in rows), ""]))
    else:
        pq.write_table(pa.table({"ph": [7.0] * len(rows), "safe": rows}), "a.parquet")
    checked = read_label(f"a.{suffix}", own, ReadingOptions(**options))
    np.testing.assert_array_equal(checked.numbers["safe"], numbers)
    assert checked.findings() == []


def test_label_of_booleans_is_read(tmp_path):
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"ph": [7.0, 8.0], "safe": [True, False]}), path)
    reading = ReadingOptions(label_values={"true": 1, "false": 0})
    checked = read_label(path, SCHEMA, reading)
    assert checked.numbers["safe"].tolist() == [1, 0]


def read_label(path: str, schema: TableSchema, reading: ReadingOptions) -> CheckedBatch:
    with open_samples(path, schema, reading) as table:
        checker = RowChecker(schema, table, reading)
        (checked,) = [checker.check(batch) for batch in table.batches()]
    return checked


@pytest.mark.parametrize("value", ["2", "yes", "1.0", ""])
def test_word_of_a_label_stands_for_0_or_1(cli, workdir, value):
    Path("a.csv").write_text("ph\n7\n")
    outcome = cli("validate", "a.csv", "--label-value", f"good={value}")
    assert outcome.code == 2
    assert "WORD=0 or WORD=1 is expected" in outcome.err


@pytest.mark.parametrize("values", ["{yes: 1}", "{good: 2}", "{good: true}", "[good]"])
def test_faulty_words_of_a_schema_are_refused(values):
    text = f"metadata: {{label: ph, label_values: {values}}}\ncolumns:\n  ph: {{dtype: float64}}\n"
    with pytest.raises(UsageError, match="'label_values' in its metadata must be 0 or 1 for each"):
        parse_schema(text, "own.yaml")
