"""Cells of a sheet as texts and as columns."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.tables.sheets.grid import arrow_columns, line_of, text_of_cell


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7.0, "7"),
        (-0.5, "-0.5"),
        (7.0999, "7.0999"),
        (1e20, "1e+20"),
        (True, "TRUE"),
        (date(2024, 1, 7), "2024-01-07"),
        (datetime(2024, 1, 7, 12, 35), "2024-01-07 12:35:00"),
        (time(12, 35), "12:35:00"),
        (timedelta(hours=30), "30:00:00"),
        (" as it is ", " as it is "),
    ],
)
def test_value_becomes_the_text_that_people_would_write(value, text):
    assert text_of_cell(value) == text


@tried_on(100)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_text_of_a_number_is_that_number(number):
    assert float(text_of_cell(number)) == number
    assert float(text_of_cell(number, ",").replace(",", ".")) == number


def test_row_becomes_one_line_whatever_its_cells_hold():
    assert line_of(["a\r\nb", 'say "no"', 7.0, "c\td"]) == 'a b\t"say ""no"""\t7\tc d'


def test_column_of_numbers_and_gaps_is_one_of_numbers():
    (column,) = arrow_columns([(1.5, "", 2.0)])
    assert column.to_pylist() == [1.5, None, 2.0]


@pytest.mark.parametrize("cells", [("", ""), (), (True, 1.0), (1.0, date(2024, 1, 7))])
def test_column_of_anything_else_is_text(cells):
    (column,) = arrow_columns([cells])
    assert column.type == pa.string()
    assert column.to_pylist() == [text_of_cell(cell) for cell in cells]


def test_numbers_beside_texts_are_written_with_the_mark_of_those():
    columns = arrow_columns([("7,1", 7.25), ("<1", 0.5), (1.5, 2.5), ("A, B", 3.0)])
    assert [column.to_pylist() for column in columns] == [
        ["7,1", "7,25"],
        ["<1", "0,5"],
        [1.5, 2.5],
        ["A, B", "3"],
    ]


def test_comma_in_a_name_is_no_decimal_mark():
    assert arrow_columns([("Bath, 3", 7.25)])[0].to_pylist() == ["Bath, 3", "7.25"]
