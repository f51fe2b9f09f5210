"""Tables that lie on their side: what is a sample, a unit, a limit, and where cells stand."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from workbooks import write_book

from waterflow_cli.common.errors import InputError
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.sheets.transposed import find_names
from waterflow_cli.tables.table import Batch, Table

SCHEMA = load_schema("water")
REPORT: list[list[Any]] = [
    ["Laboratoire des eaux", ""],
    [],
    ["Paramètre", "Unité", "Méthode", "Limite de qualité", "P1", "P2"],
    ["Date", "", "", "", date(2024, 1, 2), date(2024, 1, 3)],
    ["Physico-chimie"],
    ["pH", "unité pH", "NF T90-008", "6,5 à 9", 7.1, 7.25],
    ["Dureté", "°f", "", "", 20.5, 21.0],
    ["Sulfates", "mg/L", "", 250.0, 300.5, "<0,5"],
    ["Turbidité", "NFU", "", 1.0, 3.0, ""],
    [],
    ["Remarque : prélevé par le client"],
]


def open_rows(path: str) -> tuple[Table, list[Batch]]:
    with open_samples(path, SCHEMA) as table:
        return table, list(table.batches())


def as_text(rows: list[list[Any]], sep: str = ";") -> str:
    cells = ([str(cell).replace(".", ",") for cell in row] for row in rows)
    return "".join(f"{sep.join(row)}\n" for row in cells)


def written(tmp_path: Path, rows: list[list[Any]], form: str) -> str:
    if form == "xlsx":
        return write_book(tmp_path / "a.xlsx", rows)
    path = tmp_path / "a.csv"
    path.write_text(as_text(rows), "utf-8")
    return str(path)


@pytest.mark.parametrize("form", ["xlsx", "csv"])
def test_report_of_a_laboratory_has_a_row_for_each_sample(form, tmp_path):
    table, (batch,) = open_rows(written(tmp_path, REPORT, form))
    columns = {name: cells.to_pylist() for name, cells in batch.columns.items()}
    assert list(columns) == ["sample_id", "Date", "pH", "Dureté", "Sulfates", "Turbidité"]
    assert columns["sample_id"] == ["P1", "P2"]
    assert [str(value).replace(",", ".") for value in columns["pH"]] == ["7.1", "7.25"]
    assert columns["Sulfates"] == ["300,5", "<0,5"]
    assert columns["Date"] == ["2024-01-02", "2024-01-03"]
    assert table.units == {
        "pH": "unité pH",
        "Dureté": "°f",
        "Sulfates": "mg/L",
        "Turbidité": "NFU",
    }
    assert [str(each) for each in table.remarks()][-3:] == [
        "turned: a measurement in each row, samples across ('P1', 'P2') as sample_id",
        "units in column 'Unité'",
        "columns beside the samples NOT READ: 'Méthode', 'Limite de qualité'",
    ]


@pytest.mark.parametrize(("form", "sheet"), [("xlsx", "Sheet1!"), ("csv", "")])
def test_cells_are_named_where_they_stand(form, sheet, tmp_path):
    _, (batch,) = open_rows(written(tmp_path, REPORT, form))
    line = int(batch.cell_lines["Sulfates"][1])
    assert line == 8
    assert batch.cells is not None
    assert batch.cells.name("Sulfates", 1, line) == f"{sheet}F8"
    assert batch.cells.name("", 1, 3) == f"{sheet}F:F"


def test_names_need_not_stand_first_nor_have_a_head(tmp_path):
    rows = [["", 1.0, "pH", 7.1], ["", 2.0, "Sulfate", 3.0], ["", 3.0, "Turbidity", 4.0]]
    _, (batch,) = open_rows(written(tmp_path, rows, "xlsx"))
    assert batch.columns["sample_id"].to_pylist() == ["B", "D"]


@pytest.mark.parametrize(
    "title",
    [
        *(
            "Limite",
            "Norme",
            "WHO guideline",
            "Valeur guide",
            "LQ",
            "OMS",
            "EU",
            "Acceptable limit",
        ),
        *("MAC", "MCL", "Max. allowed", "Concentration maximale admissible", "Grenzwert", "Target"),
    ],
)
def test_limit_is_no_sample(title, tmp_path):
    rows = [["Parameter", title, "S1"], ["pH", 9.0, 7.0], ["Sulfate", 250.0, 3.0]]
    rows += [["Turbidity", 1.0, 4.0]]
    table, (batch,) = open_rows(written(tmp_path, rows, "xlsx"))
    assert batch.columns["sample_id"].to_pylist() == ["S1"]
    assert f"columns beside the samples NOT READ: '{title}'" in map(str, table.remarks())


@pytest.mark.parametrize("head", ["Parameter", ""])
def test_head_is_the_row_that_names_the_units_whatever_stands_below_it(head, tmp_path):
    rows = [[head, "Unit", "S1", "S2"], ["Site", "", "X", "Y"], ["pH", "", 7.0, 7.1]]
    rows += [["Sulfate", "mg/L", 3.0, 4.0], ["Turbidity", "NTU", 4.0, 5.0]]
    _, (batch,) = open_rows(written(tmp_path, rows, "xlsx"))
    assert batch.columns["sample_id"].to_pylist() == ["S1", "S2"]
    assert batch.columns["Site"].to_pylist() == ["X", "Y"]


def test_unit_is_found_by_what_a_column_holds(tmp_path):
    rows = [["x", "S1", "y"], ["pH", 7.0, ""], ["Sulfate", 3.0, "mg/L"], ["Turbidity", 4.0, "NTU"]]
    table, _ = open_rows(written(tmp_path, rows, "xlsx"))
    assert table.units == {"Sulfate": "mg/L", "Turbidity": "NTU"}


def test_unknown_unit_is_refused_with_its_place(tmp_path):
    rows = [
        ["x", "Unit", "S1"],
        ["pH", "", 7.0],
        ["Sulfate", "gpg", 3.0],
        ["Turbidity", "NTU", 4.0],
    ]
    with pytest.raises(InputError, match="line 3: row 'Sulfate': 'gpg' is no known unit"):
        open_rows(written(tmp_path, rows, "xlsx"))


def test_measurement_in_two_rows_is_refused(tmp_path):
    rows = [["x", "S1"], ["pH", 7.0], ["Sulfate", 3.0], ["Turbidity", 4.0], ["note", 1.0]]
    with pytest.raises(InputError, match="two columns 'note'"):
        open_rows(written(tmp_path, [*rows, ["note", 2.0]], "xlsx"))


def test_parameters_without_samples_are_refused(tmp_path):
    rows = [["Parameter", "Limit"], ["pH", 9.0], ["Sulfate", 250.0], ["Turbidity", 1.0]]
    with pytest.raises(InputError, match="no column of a sample"):
        open_rows(written(tmp_path, rows, "xlsx"))


def test_titles_that_come_twice_do_not_hide_such_a_table(tmp_path):
    rows = [["Report", "x", "x"], ["Parameter", "S1", "S2"], ["pH", 7.0, 7.1]]
    rows += [["Sulfate", 3.0, 4.0], ["Turbidity", 4.0, 5.0]]
    _, (batch,) = open_rows(written(tmp_path, rows, "xlsx"))
    assert batch.columns["sample_id"].to_pylist() == ["S1", "S2"]


def test_names_that_come_again_are_those_of_results():
    names = SCHEMA.header
    rows = [["pH", 7.0], ["Sulfate", 3.0], ["Turbidity", 4.0]]
    assert find_names(rows, names)[1] == {0: "ph", 1: "Sulfate", 2: "Turbidity"}
    assert find_names([*rows, *rows], names)[1] == {}


@tried_on(30)
@given(
    st.lists(
        st.lists(st.floats(0.001, 1e6).map(lambda value: round(value, 4)), min_size=9, max_size=9),
        min_size=1,
        max_size=5,
    )
)
def test_turned_table_holds_what_the_upright_one_does(tmp_path_factory, cells):
    folder = tmp_path_factory.getbasetemp()
    header = list(SCHEMA.measurements)
    rows = [["sample", *header], *([f"S-{n}", *each] for n, each in enumerate(cells))]
    _, (upright,) = open_rows(write_book(folder / "up.xlsx", rows))
    _, (turned,) = open_rows(
        write_book(folder / "side.xlsx", [list(each) for each in zip(*rows, strict=True)])
    )
    for name in header:
        assert turned.columns[name].equals(upright.columns[name])
    assert turned.columns["sample_id"].to_pylist() == upright.columns["sample"].to_pylist()
