"""Headers over two rows, and merged cells among the rows."""

from __future__ import annotations

from typing import Any

import pytest

from waterflow_cli.tables.headers import Header
from waterflow_cli.tables.sheets.facts import Range
from waterflow_cli.tables.sheets.grid import Grid
from waterflow_cli.tables.sheets.headers import fill_merged, join_header

NAMES = Header({name: [] for name in ("pH", "Sulfate", "Turbidity", "Hardness")})


def joined(rows: list[list[Any]], *merged: Range) -> tuple[int | None, list[Any]]:
    grid = Grid(rows=rows, merged=list(merged))
    row = join_header(grid, NAMES)
    return row, grid.rows[row or 0]


def test_names_that_reach_down_beside_a_group_join_those_under_its_title():
    row, header = joined(
        [["Site", "pH", "Ions", ""], ["", "", "Sulfate", "Hardness"], ["A", 7.0, 1.0, 2.0]],
        *(Range(0, 0, 1, 0), Range(0, 1, 1, 1), Range(0, 2, 0, 3)),
    )
    assert (row, header) == (1, ["Site", "pH", "Sulfate", "Hardness"])


def test_names_under_the_titles_of_groups_stay_as_they_are():
    rows = [["Physics", "", "Ions", ""], ["pH", "Turbidity", "Sulfate", "Hardness"], [7.0] * 4]
    assert joined(rows, Range(0, 0, 0, 1), Range(0, 2, 0, 3)) == (None, rows[0])


def test_title_that_is_a_name_is_part_of_the_names_under_it():
    row, header = joined(
        [["Site", "pH", "Sulfate", ""], ["", "", "mg/L", "flag"], ["A", 7.0, 1.0, "U"]],
        *(Range(0, 0, 1, 0), Range(0, 1, 1, 1), Range(0, 2, 0, 3)),
    )
    assert (row, header) == (1, ["Site", "pH", "Sulfate mg/L", "Sulfate flag"])


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        (["value", "Q", "Result", "LQ"], ["Site", "pH", "pH Q", "Sulfate", "Sulfate LQ"]),
        (["Min", "Max", "Min", "Max"], ["Site", "pH Min", "pH Max", "Sulfate Min", "Sulfate Max"]),
    ],
)
def test_name_of_a_group_stands_for_none_of_its_columns_but_the_value(below, expected):
    rows = [["Site", "pH", "", "Sulfate", ""], ["", *below], ["A", 7.0, "U", 1.0, 2.0]]
    row, header = joined(rows, Range(0, 1, 0, 2), Range(0, 3, 0, 4))
    assert (row, header) == (1, expected)


def test_row_of_bounds_under_a_group_is_no_header():
    rows = [["Site", "pH", ""], ["A", "<7,5", "U"], ["B", "7,1", ""]]
    assert joined(rows, Range(0, 1, 0, 2))[0] is None


def test_merged_title_above_a_plain_header_joins_nothing():
    rows = [["Report", "", ""], ["pH", "Sulfate", "Turbidity"], [7.0, 1.0, 2.0]]
    assert joined(rows, Range(0, 0, 0, 2))[0] is None


def test_row_of_numbers_is_no_header():
    rows = [["pH", "Sulfate"], [7.0, 2.0]]
    assert joined(rows, Range(0, 0, 1, 0))[0] is None


@pytest.mark.parametrize("value", ["Site 1", "P-1"])
def test_text_over_several_rows_is_that_of_each(value):
    grid = Grid(rows=[["site", "pH"], [value, 7.0], ["", 7.5]], merged=[Range(1, 0, 2, 0)])
    assert fill_merged(grid, 1) == []
    assert [cells[0] for cells in grid.rows] == ["site", value, value]


@pytest.mark.parametrize("value", [7.0, "<0,5", "7,1"])
def test_value_over_several_rows_is_not_given_away(value):
    grid = Grid(rows=[["site", "pH"], ["A", value], ["B", ""]], merged=[Range(1, 1, 2, 1)])
    assert fill_merged(grid, 1) == [Range(1, 1, 2, 1)]
    assert grid.rows[2][1] == ""
