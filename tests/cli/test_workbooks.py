"""Workbooks through whole commands: the scores of the plain file, whatever it is written as."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from workbooks import HEADER, ROW, write_book, write_ods

Rows = list[list[Any]]
MEASURED = ("sample_id", *("ph", "Hardness", "Solids", "Chloramines", "Sulfate", "Conductivity"))
MEASURED += ("Organic_carbon", "Trihalomethanes", "Turbidity")
UNITS = ["", "pH", "mg/L", "mg/L", "mg/L", "mg/L", "µS/cm", "mg/L", "µg/L", "NTU"]


def numbers(rows: Rows) -> Rows:
    return [[cells[0], *(float(cell) if cell else "" for cell in cells[1:])] for cells in rows]


def plain(folder: Path, rows: Rows) -> str:
    return write_book(folder / "lab.xlsx", [MEASURED, *numbers(rows)])


def french(folder: Path, rows: Rows) -> str:
    texts = [[cells[0], *(cell.replace(".", ",") for cell in cells[1:])] for cells in rows]
    top = [["Laboratoire des eaux"], [], ["échantillon", *MEASURED[1:]]]
    return write_book(folder / "lab.xlsx", {"Résultats": [*top, *texts], "Notes": [["x"]]})


def mixed(folder: Path, rows: Rows) -> str:
    """Every second cell a text with a decimal comma."""
    cells = [
        [each[0], *(text.replace(".", ",") if n % 2 else value for n, (text, value) in pairs)]
        for each, row in zip(rows, numbers(rows), strict=True)
        for pairs in [list(enumerate(zip(each[1:], row[1:], strict=True), len(each[0])))]
    ]
    return write_book(folder / "lab.xlsx", [MEASURED, *cells])


def two_rows(folder: Path, rows: Rows) -> str:
    def merge(sheet: Any) -> None:
        for cells in ("A1:A2", "B1:B2", "C1:G1", "H1:J1"):
            sheet.merge_cells(cells)

    top = ["sample_id", "ph", "Minerals", "", "", "", "", "Organics", "", ""]
    under = ["", "", *MEASURED[2:]]
    return write_book(folder / "lab.xlsx", [top, under, UNITS, *numbers(rows)], merge)


def on_its_side(folder: Path, rows: Rows) -> str:
    side = [list(cells) for cells in zip(MEASURED, UNITS, *numbers(rows), strict=True)]
    side[0][:2] = ["Paramètre", "Unité"]
    return write_book(folder / "lab.xlsx", side)


def ods(folder: Path, rows: Rows) -> str:
    return write_ods(folder / "lab.ods", [list(MEASURED), *numbers(rows)])


WAYS: dict[str, tuple[Callable[[Path, Rows], str], str]] = {
    "plain": (plain, r"xlsx, sheet 'Sheet1'"),
    "french": (french, r"xlsx, sheet 'Résultats', header in line 3, decimal ',', other sheets"),
    "mixed": (mixed, r"xlsx, sheet 'Sheet1', decimal ','"),
    "two rows": (two_rows, r"header in line 2, units in line 3, in no output, names joined over"),
    "on its side": (on_its_side, r"turned: a measurement in each row, samples across \('S-0', "),
    "ods": (ods, r"ods, sheet 'Feuille1'"),
}


def rows_of(path: Path, n: int) -> Rows:
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))[:n]
    return [[f"S-{k}", *(row[name] for name in MEASURED[1:])] for k, row in enumerate(table)]


def scores(cli: Cli, path: str, uri: str) -> tuple[list[tuple[str, ...]], str]:
    done = cli("score", path, "-o", "out.csv", "--force", "--tracking-uri", uri)
    assert done.code == 0, done.err
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = ("status", "probability", "prediction", "verdict", "rule")
    return [tuple(row[name] for name in kept) for row in rows], done.err


def compare(cli: Cli, way: str, rows: Rows, folder: Path, uri: str) -> None:
    with Path("plain.csv").open("w", newline="") as file:
        csv.writer(file).writerows([MEASURED, *rows])
    expected, _ = scores(cli, "plain.csv", uri)
    write, said = WAYS[way]
    found, err = scores(cli, write(folder, rows), uri)
    assert found == expected
    (line,) = (each for each in err.splitlines() if each.startswith("Read "))
    assert re.search(said, line)


@pytest.mark.parametrize("way", WAYS)
def test_workbook_scores_as_the_plain_file_does(way, cli, samples, store_uri, tmp_path):
    compare(cli, way, rows_of(samples, 20), tmp_path, store_uri)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("way", WAYS)
def test_real_table_scores_the_same_as_any_workbook(way, cli, real_table, store_uri, tmp_path):
    n_rows = 300 if way == "on its side" else 4000
    compare(cli, way, rows_of(real_table, n_rows), tmp_path, store_uri)


def test_findings_name_sheet_and_cell_in_every_form(cli, tmp_path):
    path = write_book(tmp_path / "a.xlsx", {"Lab": [HEADER, [*ROW[:-1], "soon"]]})
    place = "Lab!J2"
    assert place in cli("validate", path).out
    assert f",2,{place},Turbidity," in cli("validate", path, "--format", "csv").out
    assert f'"cell": "{place}"' in cli("validate", path, "--json").out
    assert f"<td>{place}</td>" in cli("validate", path, "--format", "html").out
    assert cli("validate", path, "--format", "text", "-o", "found.txt").code == 1
    assert f"{place}, column Turbidity" in Path("found.txt").read_text()


def test_sheet_is_chosen_by_an_option_or_a_setting(cli, tmp_path):
    path = write_book(tmp_path / "a.xlsx", {"2023": [HEADER, ROW], "2024": [HEADER, ROW, ROW]})
    refused = cli("validate", path)
    assert refused.code == 3
    assert "--sheet" in refused.err
    assert "2 rows" in cli("validate", path, "--sheet", "2024").err
    Path("waterflow.toml").write_text('sheet = "2023"\n')
    assert "1 row" in cli("validate", path).err
    assert cli("validate", path, "--sheet", "2025").code == 2
