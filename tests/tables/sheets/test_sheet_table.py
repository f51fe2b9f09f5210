"""Workbooks as tables: header, units, notes, columns, lines and cells."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from workbooks import HEADER, ROW, UNITS, VALUES, put_error, write_book, write_ods

from waterflow_cli.common.errors import InputError
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.tables.sheets.opening import open_file
from waterflow_cli.tables.table import Table
from waterflow_cli.validation.report import ValidationOptions, validate_files

SCHEMA = load_schema("water")


def read(path: str, **options: Any) -> tuple[Table, list[dict[str, Any]], list[int]]:
    with open_file(path, SCHEMA.header, ReadingOptions(**options)) as table:
        batches = list(table.batches())
        rows = [
            dict(zip(batch.columns, cells, strict=True))
            for batch in batches
            for cells in zip(*(each.to_pylist() for each in batch.columns.values()), strict=True)
        ]
        return table, rows, [int(line) for batch in batches for line in batch.lines]


def test_titles_units_and_notes_are_told_from_rows(tmp_path):
    rows = [["Rapport"], [], HEADER, UNITS, ROW, [], ["W-2", *VALUES], [], ["Source : ARS"]]
    table, found, lines = read(write_book(tmp_path / "a.xlsx", rows))
    assert lines == [5, 7]
    assert [each["sample_id"] for each in found] == ["W-1", "W-2"]
    assert table.units["THM"] == "µg/L"
    assert str(table.dialect) == (
        "xlsx, sheet 'Sheet1', header in line 3, units in line 4, in no output"
    )
    assert [str(each) for each in table.remarks()] == [
        "notes below the rows not read (lines 8 to 9)"
    ]


def test_table_may_stand_anywhere_on_its_sheet(tmp_path):
    rows = [[], [], ["", "", *HEADER, "", "Date: 7/1"], ["", "", *ROW]]
    table, found, lines = read(write_book(tmp_path / "a.xlsx", rows))
    assert table.columns == [*HEADER, "Date: 7/1"]
    assert list(found[0].values())[:10] == ROW
    assert lines == [4]
    batch = next(read_batches(write_book(tmp_path / "b.xlsx", rows)))
    assert batch.cells.name("Hardness", 0, 4) == "Sheet1!E4"
    assert batch.cells.name("", 0, 4) == "Sheet1!4:4"


def read_batches(path: str) -> Any:
    with open_file(path, SCHEMA.header) as table:
        yield from table.batches()


def test_column_without_a_name_is_kept_where_it_holds_something(tmp_path):
    rows = [[*HEADER, "", ""], [*ROW, "", "seen twice"]]
    table, found, _ = read(write_book(tmp_path / "a.xlsx", rows))
    assert table.columns == [*HEADER, "unnamed_12"]
    assert found[0]["unnamed_12"] == "seen twice"


def test_header_line_is_a_row_of_the_sheet(tmp_path):
    path = write_book(tmp_path / "a.xlsx", [HEADER, ["a", "b"], ["x", 1.0]])
    table, found, _ = read(path, header_line=2)
    assert table.columns == ["a", "b"]
    assert found == [{"a": "x", "b": 1.0}]


def test_header_over_two_rows_is_joined_and_said(tmp_path):
    def merge(sheet):
        for cells in ("A1:A2", "B1:B2", "C1:G1", "H1:J1"):
            sheet.merge_cells(cells)

    top = ["sample_id", "pH", "Minerals", "", "", "", "", "Organics", "", ""]
    path = write_book(tmp_path / "a.xlsx", [top, ["", "", *HEADER[2:]], UNITS, ROW], merge)
    table, found, lines = read(path)
    assert table.columns == HEADER
    assert list(found[0].values()) == ROW
    assert lines == [4]
    assert table.dialect.units_line == 3
    assert "names joined over the rows of the header" in map(str, table.remarks())


def test_names_above_and_units_below_are_a_header_and_a_row_of_units(tmp_path):
    def merge(sheet):
        sheet.merge_cells("A1:A2")

    table, found, _ = read(write_book(tmp_path / "a.xlsx", [HEADER, UNITS, ROW], merge))
    assert table.units["Conductivity"] == "µS/cm"
    assert list(found[0].values()) == ROW


def test_site_over_several_rows_is_that_of_each(tmp_path):
    def merge(sheet):
        sheet.merge_cells("A2:A3")
        sheet.merge_cells("B2:B3")

    rows = [HEADER, ROW, ["", "", *VALUES[1:]]]
    table, found, _ = read(write_book(tmp_path / "a.xlsx", rows, merge))
    assert [each["sample_id"] for each in found] == ["W-1", "W-1"]
    assert [each["pH"] for each in found] == [7.14, None]
    assert [str(each) for each in table.remarks()] == [
        "merged cells with a value for their first row alone: B2"
    ]


@pytest.mark.parametrize("way", ["plain", "gz", "zip"])
def test_workbook_may_be_packed_once_more(way, tmp_path):
    path = write_book(tmp_path / "a.xlsx", [HEADER, ROW])
    if way == "gz":
        with gzip.open(tmp_path / "a.xlsx.gz", "wb") as sink, Path(path).open("rb") as source:
            shutil.copyfileobj(source, sink)
        path += ".gz"
    elif way == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.write(path, "a.xlsx")
        path = str(tmp_path / "a.zip")
    assert list(read(path)[1][0].values()) == ROW


def test_name_of_the_file_does_not_count(tmp_path):
    path = write_book(tmp_path / "a.xlsx", [HEADER, ROW])
    assert list(read(shutil.move(path, str(tmp_path / "a.csv")))[1][0].values()) == ROW


@pytest.mark.parametrize("size", [1, 2, 7])
def test_size_of_a_batch_changes_no_row(size, tmp_path):
    path = write_book(tmp_path / "a.xlsx", [HEADER, *([number, *VALUES] for number in range(7))])
    with open_file(path, SCHEMA.header, batch_rows=size) as table:
        batches = list(table.batches())
    assert [len(each) for each in batches] == [size] * (7 // size) + [7 % size] * bool(7 % size)
    assert [line for each in batches for line in each.lines] == list(range(2, 9))
    with open_file(path, SCHEMA.header, batch_rows=size) as table:
        rest = [task() for task in table.tasks(batches[0].end)]
    assert [line for each in rest for line in each.lines] == list(range(2 + size, 9))


@pytest.mark.parametrize(
    ("value", "rule", "shown"),
    [
        ("=1+1", "not_a_number", "=1+1"),
        ("#REF!", "not_a_number", "#REF!"),
        (date(2024, 1, 7), "not_a_number", "2024-01-07"),
        (True, "not_a_number", "TRUE"),
        ("7,1,2", "not_a_number", "7,1,2"),
        (15.5, "above_maximum", "15.5"),
    ],
)
def test_cell_that_is_no_measurement_is_a_finding_in_its_cell(value, rule, shown, tmp_path):
    def change(sheet):
        if value == "#REF!":
            put_error(sheet, "B3", value)

    rows = [HEADER, ROW, ["W-2", value, *VALUES[1:]]]
    path = write_book(tmp_path / "a.xlsx", {"Lab 1": rows}, change)
    (finding,) = validate_files([path], SCHEMA).findings
    assert (finding.cell, finding.line, finding.column) == ("'Lab 1'!B3", 3, "pH")
    assert (finding.rule, finding.value) == (rule, shown)
    assert str(finding).startswith(f"{path}, 'Lab 1'!B3, column pH: ")


def test_error_for_no_value_is_missing_as_in_a_text_file(tmp_path):
    path = write_book(
        tmp_path / "a.xlsx", [HEADER, ROW], lambda sheet: put_error(sheet, "C2", "#N/A")
    )
    report = validate_files([path], SCHEMA)
    assert report.passed
    assert report.cells.missing["Hardness"] == 1


def test_row_of_units_among_the_rows_stops_the_command(tmp_path):
    path = write_book(tmp_path / "a.xlsx", [HEADER, ROW, UNITS, ROW])
    with pytest.raises(InputError, match="line 3: a second header or row of units"):
        validate_files([path], SCHEMA)


def test_header_alone_has_no_rows(tmp_path):
    with pytest.raises(InputError, match="has a header and no rows"):
        read(write_book(tmp_path / "a.xlsx", [HEADER]))


def test_good_and_bad_rows_of_a_workbook_are_parted(tmp_path):
    path = write_book(tmp_path / "a.xlsx", [HEADER, ROW, ["W-2", 20.0, *VALUES[1:]]])
    options = ValidationOptions(good=str(tmp_path / "good.csv"), bad=str(tmp_path / "bad.csv"))
    validate_files([path], SCHEMA, options)
    assert (tmp_path / "good.csv").read_text().splitlines()[1].startswith("W-1,7.14,204.9,")
    assert "W-2,20," in (tmp_path / "bad.csv").read_text()


CELLS = st.one_of(
    st.floats(0, 1e6).map(lambda value: round(value, 6)),
    st.integers(0, 10**9).map(float),
    st.sampled_from(["", "<0.5", "> 200", "n.d."]),
)


@tried_on(30)
@given(st.lists(st.lists(CELLS, min_size=9, max_size=9), min_size=1, max_size=6), st.booleans())
def test_cells_that_a_workbook_was_given_are_those_that_are_read(tmp_path_factory, cells, is_ods):
    folder = tmp_path_factory.getbasetemp()
    rows = [HEADER, *([f"S-{number}", *each] for number, each in enumerate(cells))]
    write = write_ods if is_ods else write_book
    _, found, _ = read(write(folder / f"law.{'ods' if is_ods else 'xlsx'}", rows))
    for each, given_ in zip(found, rows[1:], strict=True):
        for value, written in zip(each.values(), given_, strict=True):
            if isinstance(written, float):
                assert float(value) == written
            else:
                assert (value or "") == written
