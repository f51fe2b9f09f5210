"""Workbooks as outputs: numbers to the last digit, texts as they were, whole or not at all."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.errors import UsageError
from waterflow_cli.tables import workbook_writing
from waterflow_cli.tables.numbers import PLAIN_MARKS, NumberMarks
from waterflow_cli.tables.sheets.opening import open_file
from waterflow_cli.tables.workbook_writing import WorkbookWriter
from waterflow_cli.tables.writing import open_table_writer


def write(path: Path, *batches: dict[str, list[Any]], marks: NumberMarks = PLAIN_MARKS) -> str:
    with path.open("wb") as sink, open_table_writer(str(path), sink) as writer:
        writer.marks, writer.numeric = marks, ["x", "b"]
        for columns in batches:
            writer.write({name: pa.array(cells) for name, cells in columns.items()})
    return str(path)


def sheet_of(path: str) -> Any:
    return openpyxl.load_workbook(path)["Rows"]


def cells_of(path: str) -> list[list[Any]]:
    return [[cell.value for cell in row] for row in sheet_of(path).iter_rows()]


def test_numbers_are_numbers_and_names_stay_texts(tmp_path):
    texts = ["7.10", "-0.5", "007", "12E5", "1234567890123456", "<0.5", "=1+1", "", "7,1"]
    path = write(tmp_path / "a.xlsx", {"x": texts, "n": [1.5, math.nan, math.inf, *[2.0] * 6]})
    assert [row[0] for row in cells_of(path)[1:]] == [7.1, -0.5, *texts[2:7], None, "7,1"]
    assert [row[1] for row in cells_of(path)[1:4]] == [1.5, None, None]


def test_numbers_with_the_mark_of_the_file_are_numbers(tmp_path):
    path = write(tmp_path / "a.xlsx", {"x": ["7,1", "7.1", "<0,5", "1,5"]}, marks=NumberMarks(","))
    assert [row[0] for row in cells_of(path)[1:]] == [7.1, "7.1", "<0,5", 1.5]


def test_name_keeps_the_zeros_that_a_number_may_lose(tmp_path):
    path = write(tmp_path / "a.xlsx", {"id": ["12.10", "12.1", "12"], "x": ["12.10", "12.1", "12"]})
    assert cells_of(path)[1:] == [["12.10", 12.1], [12.1, 12.1], [12, 12]]


def french(path: Path, columns: dict[str, list[Any]], marks: NumberMarks = PLAIN_MARKS) -> bytes:
    with path.open("wb") as sink, open_table_writer(str(path), sink, "fr") as writer:
        writer.marks, writer.numeric = marks, ["x"]
        for name, cells in columns.items():
            columns[name] = pa.array(cells)
        writer.write(columns)
        writer.write(columns)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("7.1", "7,1"),
        ("-0.5e-3", "-0,5e-3"),
        ("< 0.5", "< 0,5"),
        (".5", ",5"),
        ("20 791.3", "20 791,3"),
        ("245.5 mg/L", "245,5 mg/L"),
        ("1.234", "1,2340"),
        ("1234.567", "1234,567"),
        ("7", "7"),
        ("soon", "soon"),
    ],
)
def test_french_text_has_decimal_commas(cell, written, tmp_path):
    text = french(tmp_path / "a.csv", {"id": ["1.10"], "x": [cell], "n": [0.25]})
    assert text == b"\xef\xbb\xbfid;x;n\n" + 2 * f"1.10;{written};0,25\n".encode()


def test_groups_of_thousands_do_not_become_decimals(tmp_path):
    text = french(tmp_path / "a.csv", {"x": ["1,234", "12,345.6"]}, NumberMarks(".", ","))
    assert text.decode("utf-8-sig").split()[1:3] == ["1234", "12345,6"]


def test_text_that_is_french_already_stays_as_it_is(tmp_path):
    text = french(tmp_path / "a.csv", {"x": ["1.234,5", "<0,5"]}, NumberMarks(",", "."))
    assert text.decode("utf-8-sig").split()[1:3] == ["1.234,5", "<0,5"]


def test_truths_and_whole_numbers_are_kept(tmp_path):
    path = write(tmp_path / "a.xlsx", {"a": [True, False, None], "b": [1, 2, None]})
    assert cells_of(path)[1:] == [[True, 1], [False, 2]]


def test_header_stays_in_sight_and_has_filters(tmp_path):
    sheet = sheet_of(write(tmp_path / "a.xlsx", {"a": [1.0, 2.0], "reason": ["x", "y"]}))
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:B3"
    assert sheet.column_dimensions["B"].width == 60
    assert sheet["A1"].font.bold
    assert not sheet["A2"].font.bold


def test_workbook_opens_without_a_complaint(tmp_path):
    path = write(tmp_path / "a.xlsx", {"a": [1.0]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert openpyxl.load_workbook(path).sheetnames == ["Rows"]


TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"), max_size=12
)


@tried_on(60)
@given(st.lists(st.one_of(TEXTS, st.floats(allow_nan=False, allow_infinity=False).map(repr))))
@example(["_x0041_", "a\r\nb", "\x01", "<&>", " ", "_x"])
def test_what_is_written_reads_back(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "law.xlsx"
    rows = [text or "-" for text in texts] + ["end"]
    write(path, {"name": ["n"] * len(rows), "x": rows})
    with open_file(str(path)) as table:
        found = [cell for batch in table.batches() for cell in batch.columns["x"].to_pylist()]
    assert len(found) == len(rows)
    for given_, read in zip(rows, found, strict=True):
        if isinstance(read, float) or read != given_:
            assert float(read) == float(given_)


@tried_on(60)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_read_back_to_the_last_digit(tmp_path_factory, numbers):
    path = tmp_path_factory.getbasetemp() / "numbers.xlsx"
    write(path, {"a": numbers, "b": [repr(number) for number in numbers]})
    with open_file(str(path)) as table:
        (batch,) = table.batches()
    assert batch.columns["a"].to_pylist() == numbers
    assert [float(cell) for cell in batch.columns["b"].to_pylist()] == numbers


def test_bytes_do_not_depend_on_the_size_of_a_batch(tmp_path):
    rows = {"a": [f"S-{n}" for n in range(50)], "b": [n / 7 for n in range(50)]}
    parts = [{name: cells[n : n + 7] for name, cells in rows.items()} for n in range(0, 50, 7)]
    whole = Path(write(tmp_path / "a.xlsx", rows)).read_bytes()
    assert Path(write(tmp_path / "b.xlsx", *parts)).read_bytes() == whole


def test_findings_have_a_sheet_where_there_are_any(tmp_path):
    path = tmp_path / "a.xlsx"
    with path.open("wb") as sink, open_table_writer(str(path), sink) as writer:
        writer.write({"a": pa.array([1.0])})
        assert writer.findings is not None
        writer.findings.write({"line": pa.array([2]), "message": pa.array(["no"])})
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["Rows", "Findings"]
    assert [cell.value for cell in book["Findings"][2]] == [2, "no"]


def test_output_without_rows_is_a_workbook_too(tmp_path):
    path = write(tmp_path / "a.xlsx")
    assert openpyxl.load_workbook(path).sheetnames == ["Rows"]
    assert cells_of(write(tmp_path / "b.xlsx", {"a": []})) == [["a"]]


def test_what_a_sheet_cannot_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(workbook_writing, "MOST_ROWS", 3)
    monkeypatch.setattr(workbook_writing, "MOST_COLUMNS", 2)
    with pytest.raises(UsageError, match="holds 3 rows at most"):
        write(tmp_path / "a.xlsx", {"a": [1.0, 2.0]}, {"a": [3.0]})
    with pytest.raises(UsageError, match="holds 2 columns at most"):
        write(tmp_path / "a.xlsx", {"a": [1], "b": [1], "c": [1]})
    with pytest.raises(UsageError, match="column 'a' holds a text of more than 32767 characters"):
        write(tmp_path / "a.xlsx", {"a": ["x" * 32768]})


def test_error_leaves_a_file_without_its_end(tmp_path):
    sink = io.BytesIO()

    def fail() -> None:
        with WorkbookWriter(sink) as writer:
            writer.write({"a": pa.array([1.0])})
            raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        fail()
    length = len(sink.getvalue())
    assert b"xl/workbook.xml" not in sink.getvalue()
    assert len(sink.getvalue()) == length
