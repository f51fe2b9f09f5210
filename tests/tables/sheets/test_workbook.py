"""Which sheet of a workbook is read, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from workbooks import HEADER, ROW, put_error, write_book, write_ods

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.sheets.grid import Grid
from waterflow_cli.tables.sheets.workbook import read_sheet

NAMES = load_schema("water").header
TABLE = [HEADER, ROW]


def grid_of(path: str, sheet: str | None = None) -> Grid:
    with Path(path).open("rb") as file:
        return read_sheet(file, path, NAMES, sheet)


@pytest.mark.parametrize("others", [{"Notes": [["Read me"]]}, {"Empty": []}, {}])
def test_only_sheet_with_a_table_is_read(others, tmp_path):
    grid = grid_of(write_book(tmp_path / "a.xlsx", {**others, "Data": TABLE}))
    assert grid.sheet == "Data"
    assert grid.rows == TABLE
    assert bool(grid.remarks) == bool(others)


def test_several_sheets_with_tables_are_named(tmp_path):
    path = write_book(tmp_path / "a.xlsx", {"2023": TABLE, "2024": TABLE, "Notes": [["x"]]})
    with pytest.raises(InputError, match="several sheets hold a table: '2023', '2024'") as caught:
        grid_of(path)
    assert "--sheet '2023'" in (caught.value.hint or "")
    grid = grid_of(path, "2024")
    assert [str(each) for each in grid.remarks] == ["other sheets not read: 2023, Notes"]


def test_sheet_is_named_in_any_case_or_suggested(tmp_path):
    path = write_book(tmp_path / "a.xlsx", {"Résultats": TABLE, "2024": TABLE})
    assert grid_of(path, "résultats").sheet == "Résultats"
    with pytest.raises(UsageError, match=r"has no such sheet\. Did you mean 'Résultats'"):
        grid_of(path, "Resultats")


def test_hidden_sheet_is_read_only_by_its_name(tmp_path):
    def hide(sheet):
        sheet.sheet_state = "hidden"

    path = write_book(tmp_path / "a.xlsx", {"Old": TABLE, "New": TABLE}, hide)
    grid = grid_of(path)
    assert grid.sheet == "New"
    assert [str(each) for each in grid.remarks] == ["hidden sheets not read: Old"]
    assert grid_of(path, "Old").sheet == "Old"


def test_table_on_its_side_is_one_too(tmp_path):
    turned = [list(cells) for cells in zip(*TABLE, strict=True)]
    path = write_book(tmp_path / "a.xlsx", {"Notes": [["x"]], "Side": turned})
    assert grid_of(path).sheet == "Side"


def test_list_of_limits_is_no_table(tmp_path):
    limits = [["Paramètre", "Limite"], ["pH", 9.0], ["Sulfates", 250.0], ["Turbidité", 1.0]]
    grid = grid_of(write_book(tmp_path / "a.xlsx", {"Normes": limits, "Data": TABLE}))
    assert grid.sheet == "Data"
    assert [str(each) for each in grid.remarks] == ["other sheets not read: Normes"]


def test_table_of_results_is_one_too(tmp_path):
    results = [
        ["code_prelevement", "code_parametre", "resultat_alphanumerique", "libelle_unite"],
        ["1", "1302", "7", "unité pH"],
    ]
    path = write_book(tmp_path / "a.xlsx", {"Notes": [["x"]], "Side": results})
    with open_samples(path, load_schema("water")) as table:
        assert table.dialect.sheet == "Side"
        (batch,) = table.batches()
    assert batch.columns["ph"].to_pylist() == ["7"]


def test_workbook_without_cells_is_empty(tmp_path):
    with pytest.raises(InputError, match="is empty"):
        grid_of(write_book(tmp_path / "a.xlsx", {"A": [], "B": []}))


def test_what_is_hidden_or_never_computed_is_said(tmp_path):
    def change(sheet):
        sheet["C2"] = "=1+1"
        put_error(sheet, "K4", "#REF!")
        sheet["D2"].number_format = '"<"0'
        sheet["E2"].number_format = '0.0" µg/L"'
        for row in (2, 3, 9):
            sheet.row_dimensions[row].hidden = True
        sheet.column_dimensions["B"].hidden = True

    grid = grid_of(write_book(tmp_path / "a.xlsx", [HEADER, ROW, ROW], change))
    assert [str(each) for each in grid.remarks] == [
        "hidden rows read: 2-3",
        "hidden columns read: B",
        "formulas WITHOUT A VALUE: 1",
        "shown by formats of numbers, and NOT READ: 'µg/L'",
        "numbers shown as bounds by their format: 1",
    ]
    assert grid.rows[1][2:4] == ["=1+1", "<20791.3"]
    assert grid.rows[3] == [""] * 10 + ["#REF!"]


def test_ods_is_read_like_any_workbook(tmp_path):
    grid = grid_of(write_ods(tmp_path / "a.ods", TABLE))
    assert (grid.rows, grid.sheet, grid.form) == (TABLE, "Feuille1", "ods")
