"""Workbooks through whole commands: the scores of the plain file, whatever it is written as."""

from __future__ import annotations

import csv
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from conftest import Cli
from paths import ROOT
from workbooks import HEADER, ROW, write_book, write_ods

WRITE = os.environ.get("WATERFLOW_WRITE_DOCS") == "1"
PAGE = ROOT / "docs" / "excel.md"
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


def table_of(path: str, sheet: str) -> list[list[Any]]:
    rows = openpyxl.load_workbook(path)[sheet].iter_rows(values_only=True)
    return [list(cells) for cells in rows]


def test_scores_as_a_workbook_are_those_of_the_text(cli, samples, store_uri, tmp_path):
    rows = [*rows_of(samples, 20), ["007", "soon", *["1"] * 8]]
    with Path("lab.csv").open("w", newline="") as file:
        csv.writer(file).writerows([MEASURED, *rows])
    uri = ("--tracking-uri", store_uri)
    assert cli("score", "lab.csv", "-o", "out.csv", *uri).code == 0
    assert cli("score", "lab.csv", "-o", "out.xlsx", *uri).code == 0
    with Path("out.csv").open(newline="") as file:
        expected = list(csv.reader(file))
    found = table_of("out.xlsx", "Rows")
    assert found[0] == expected[0]
    assert found[-1][:2] == ["007", "soon"]
    for cells, texts in zip(found[1:], expected[1:], strict=True):
        for cell, text in zip(cells, texts, strict=True):
            is_number = isinstance(cell, float | int)
            assert (float(text) == cell) if is_number else (text == (cell or ""))
    assert table_of("out.xlsx", "Findings")[1][1:6] == [22, None, "ph", "soon", "not_a_number"]
    assert cli("score", "lab.csv", "-o", "kept.xlsx", "--resume", *uri).code == 0
    assert table_of("kept.xlsx", "Rows") == found
    assert not list(Path().glob(".*"))


def test_rows_parted_into_workbooks_keep_their_findings(cli, tmp_path):
    bad = ["W-2", 20.0, "<0,5", *ROW[3:-1], "soon"]
    path = write_book(tmp_path / "a.xlsx", {"Lab 1": [HEADER, ROW, bad]})
    assert cli("validate", path, "--good", "good.xlsx", "--bad", "bad.xlsx").code == 1
    assert table_of("good.xlsx", "Rows") == [HEADER, ROW]
    assert table_of("bad.xlsx", "Rows")[1][:3] == ["W-2", 20, "<0,5"]
    found = table_of("bad.xlsx", "Findings")
    assert [cells[2] for cells in found] == ["cell", "'Lab 1'!B3", "'Lab 1'!J3"]
    assert cli("validate", "good.xlsx").code == 0
    assert cli("validate", path, "--bad", "bad.xlsx").code == 2


def test_french_text_scores_as_the_plain_file_does(cli, samples, store_uri):
    french_text_scores(cli, rows_of(samples, 20), store_uri)


@pytest.mark.slow
@pytest.mark.real_data
def test_real_table_as_french_text_scores_the_same(cli, real_table, store_uri):
    french_text_scores(cli, rows_of(real_table, 4000), store_uri)


def french_text_scores(cli: Cli, rows: Rows, uri: str) -> None:
    with Path("plain.csv").open("w", newline="") as file:
        csv.writer(file).writerows([MEASURED, *rows])
    expected, _ = scores(cli, "plain.csv", uri)
    fr = ("--excel", "fr")
    assert cli("validate", "plain.csv", "--good", "good.csv", *fr).code == 0
    assert Path("good.csv").read_bytes().startswith(b"\xef\xbb\xbfsample_id;ph;")
    found, err = scores(cli, "good.csv", uri)
    assert found == expected
    assert "utf-8 with BOM, separator ';', decimal ','" in err
    assert cli("score", "plain.csv", "-o", "fr.csv", *fr, "--tracking-uri", uri).code == 0
    with Path("fr.csv").open(newline="", encoding="utf-8-sig") as file:
        read = list(csv.DictReader(file, delimiter=";"))
    assert [row["probability"].replace(",", ".") for row in read] == [each[1] for each in expected]
    resumed = ("--resume", "--tracking-uri", uri)
    assert cli("score", "plain.csv", "-o", "kept.csv", *fr, *resumed).code == 0
    assert Path("kept.csv").read_bytes() == Path("fr.csv").read_bytes()


def test_french_findings_are_a_french_text(cli, tmp_path):
    path = write_book(tmp_path / "a.xlsx", [HEADER, [*ROW[:-1], "soon"]])
    found = cli("validate", path, "--format", "csv", "--excel", "fr").out
    assert found.startswith("\ufefffile;line;cell;column;value;rule;message\n")
    assert cli("validate", path, "--engine", "spark", "--excel", "fr").code == 2


def page_blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def cells_in(block: str) -> Rows:
    """Read a sheet as the page shows it: cells between bars, numbers as numbers."""
    rows = [[cell.strip() for cell in line.split("|")] for line in block.splitlines()]
    return [[float(c) if re.fullmatch(r"\d+(\.\d+)?", c) else c for c in row] for row in rows]


def test_page_about_excel_shows_what_its_commands_print(cli):
    (sheet,), text = page_blocks("sheet"), PAGE.read_text("utf-8")
    write_book(Path("rapport.xlsx"), {"Résultats": cells_in(sheet), "Notes": [["à lire"]]})
    for block in page_blocks("console"):
        shown = []
        for line in re.findall(r"^\$ waterflow (.*)$", block, re.MULTILINE):
            done = cli(*shlex.split(line))
            shown.append(f"$ waterflow {line}\n{done.out}{done.err}")
        printed = "".join(line.rstrip() + "\n" for line in "".join(shown).splitlines())
        if WRITE:
            text = text.replace(f"```console\n{block}", f"```console\n{printed}")
            PAGE.write_text(text, "utf-8")
        else:
            assert printed == block
