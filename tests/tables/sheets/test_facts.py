"""What the text of a sheet tells: extent, errors, formulas, formats, hidden rows."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import pytest
from openpyxl.comments import Comment
from workbooks import HEADER, ROW, put_error, write_book, write_ods

from waterflow_cli.common.errors import InputError
from waterflow_cli.tables.sheets.archives import WorkbookArchive
from waterflow_cli.tables.sheets.facts import Range, SheetFacts, column_of, letters_of, read_facts

PART = "xl/worksheets/sheet1.xml"


def facts_of(path: str, sheet: str = "Sheet1") -> SheetFacts:
    with Path(path).open("rb") as file:
        return read_facts(WorkbookArchive(file, path), sheet)


def facts_of_text(text: bytes) -> SheetFacts:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "xl/workbook.xml",
            '<workbook xmlns="m" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/'
            'relationships"><sheets><sheet name="S" r:id="a"/></sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels", '<R><L Id="a" Target="worksheets/sheet1.xml"/></R>'
        )
        archive.writestr(PART, text)
    return read_facts(WorkbookArchive(packed, "lab.xlsx"), "S")


@pytest.mark.parametrize("number", [0, 1, 25, 26, 701, 702, 16383])
def test_letters_of_a_column_name_it_back(number):
    assert column_of(letters_of(number)) == number


def test_extent_is_that_of_the_cells(tmp_path):
    path = write_book(tmp_path / "a.xlsx", [HEADER, ROW], lambda sheet: sheet.cell(40, 30, 1))
    facts = facts_of(path)
    assert (facts.n_rows, facts.n_columns, facts.n_cells) == (40, 30, 21)


def spelled(text: bytes, spelling: str) -> bytes:
    if spelling == "prefix":
        return re.sub(rb"<(/?)(?=[a-z])", rb"<\1x:", text)
    if spelling == "single quotes":
        return text.replace(b'"', b"'")
    if spelling == "blanks":
        return text.replace(b'="', b' = "')
    return text


@pytest.mark.parametrize("spelling", ["plain", "prefix", "single quotes", "blanks"])
def test_sheet_is_understood_however_its_xml_is_spelled(spelling):
    text = (
        b'<worksheet><cols><col min="2" max="3" hidden="1"/></cols><sheetData>'
        b'<row r="1"><c r="A1"><v>1</v></c></row>'
        b'<row r="2" hidden="1"><c r="A2" t="e"><v>#REF!</v></c><c r="B2"><f>A1+1</f></c></row>'
        b'</sheetData><mergeCells><mergeCell ref="A1:B1"/></mergeCells></worksheet>'
    )
    facts = facts_of_text(spelled(text, spelling))
    assert (facts.n_rows, facts.n_columns) == (2, 2)
    assert facts.texts == {(1, 0): "#REF!", (1, 1): "=A1+1"}
    assert facts.merged == [Range(0, 0, 0, 1)]
    assert (facts.hidden_rows, facts.hidden_columns) == ([2], [2, 3])


def test_error_values_are_read_with_their_text(tmp_path):
    def change(sheet):
        put_error(sheet, "C2", "#REF!")
        put_error(sheet, "D2", "#N/A")

    facts = facts_of(write_book(tmp_path / "a.xlsx", [HEADER, ROW], change))
    assert facts.texts == {(1, 2): "#REF!", (1, 3): "#N/A"}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (b'<c r="B2"><f>SUM(A1:A9)</f><v>3</v></c>', {}),
        (b'<c r="B2"><f>SUM(A1:A9)</f><v></v></c>', {(1, 1): "=SUM(A1:A9)"}),
        (b'<c r="B2"><f>A1&lt;2</f><v/></c>', {(1, 1): "=A1<2"}),
        (b'<c r="B2"><f t="shared" si="0"/></c>', {(1, 1): "="}),
        (b'<c r="B2" t="str"><f>""</f><v></v></c>', {}),
    ],
)
def test_formula_without_a_value_is_no_empty_cell(cell, expected):
    row = b'<worksheet><sheetData><row r="2">' + cell + b"</row></sheetData></worksheet>"
    facts = facts_of_text(row)
    assert facts.texts == expected
    assert facts.n_uncomputed == len(expected)


def test_error_that_stands_nowhere_is_refused():
    text = b'<worksheet><sheetData><row><c t="e"><v>#REF!</v></c></row></sheetData></worksheet>'
    with pytest.raises(InputError, match="does not say in which cell"):
        facts_of_text(text)


@pytest.mark.parametrize(
    ("code", "sign", "shown"),
    [
        ('"<"0.0', "<", []),
        ('0.0" mg/L"', None, ["mg/L"]),
        ("[<1]0.00;0.0", None, []),
        ('0.0" env."', None, ["env."]),
        ('0.0"*"', None, ["*"]),
        (r"0.0\*", None, ["*"]),
        ("0.0%", None, ["%"]),
        ("#,##0.0,", None, ["#,##0.0,"]),
        ('"ND"', None, ["ND"]),
        (";;;", None, [";;;"]),
        ("#,##0.00_-;-#,##0.00", None, []),
        ("General", None, []),
    ],
)
def test_format_that_changes_what_a_number_says_is_seen(code, sign, shown, tmp_path):
    def change(sheet):
        sheet["C2"].number_format = code

    facts = facts_of(write_book(tmp_path / "a.xlsx", [HEADER, ROW], change))
    assert facts.signs == ({(1, 2): sign} if sign else {})
    assert facts.shown == shown


@pytest.mark.parametrize(
    "cells",
    [
        b'<row r="1"><c r="A1"><v>1</v></c></row><row r="9"><c r="XFD1048576"><v>1</v></c></row>',
        b'<row r="1"><c r="A1048576"><v>1</v></c><c r="ZZ1"><v>1</v></c></row>',
        b'<row r="1048576">' + b"<c><v>1</v></c>" * 900 + b"</row>",
    ],
)
def test_cells_that_lie_far_apart_fill_no_memory(cells):
    with pytest.raises(InputError, match="cells lie far apart"):
        facts_of_text(b"<worksheet><sheetData>" + cells + b"</sheetData></worksheet>")


def test_rows_are_the_same_however_the_text_is_cut(tmp_path, monkeypatch):
    rows = [HEADER, *([number, *ROW[1:]] for number in range(200))]
    path = write_book(tmp_path / "a.xlsx", rows, lambda sheet: put_error(sheet, "C77", "#REF!"))
    whole = facts_of(path)
    monkeypatch.setattr("waterflow_cli.tables.sheets.archives._PIECE_BYTES", 501)
    assert facts_of(path) == whole


ERROR = (
    '<table:table-cell table:formula="of:=1/0" office:value-type="string" office:string-value=""'
    ' calcext:value-type="error"><text:p>#DIV/0!</text:p></table:table-cell>'
)
UNCOMPUTED = '<table:table-cell table:formula="of:=[.A1]"/>'


def test_ods_tells_errors_formulas_and_hidden_rows(tmp_path):
    hidden = '<table:table-row table:visibility="collapse"><table:table-cell/></table:table-row>'
    path = write_ods(tmp_path / "a.ods", [HEADER, [1.5, ERROR, UNCOMPUTED]], extra=hidden)
    facts = facts_of(path, "Feuille1")
    assert facts.texts == {(1, 1): "#DIV/0!", (1, 2): "=[.A1]"}
    assert facts.hidden_rows == [3]
    assert (facts.n_rows, facts.n_columns) == (2, 10)


def test_empty_rows_to_the_end_of_an_ods_sheet_are_no_extent(tmp_path):
    rest = (
        '<table:table-row table:number-rows-repeated="1048574">'
        '<table:table-cell table:number-columns-repeated="16384"/></table:table-row>'
    )
    facts = facts_of(write_ods(tmp_path / "a.ods", [HEADER, ROW], extra=rest), "Feuille1")
    assert (facts.n_rows, facts.n_columns) == (2, 10)


@pytest.mark.parametrize(
    "cells",
    [
        '<table:table-cell table:number-columns-repeated="16383"/>'
        '<table:table-cell office:value-type="float" office:value="1"/>',
        '<table:table-cell table:number-columns-repeated="16384" office:value-type="float" '
        'office:value="1"/>',
    ],
)
def test_ods_rows_repeated_without_end_are_refused(cells, tmp_path):
    row = f'<table:table-row table:number-rows-repeated="1048574">{cells}</table:table-row>'
    path = write_ods(tmp_path / "a.ods", [HEADER, ROW], extra=row)
    with pytest.raises(InputError, match="cells lie far apart"):
        facts_of(path, "Feuille1")


def test_comment_on_a_cell_is_seen_with_its_text(tmp_path):
    def change(sheet):
        sheet["C2"].comment = Comment("estimated", "lab")

    facts = facts_of(write_book(tmp_path / "a.xlsx", [HEADER, ROW], change))
    assert facts.comments == {(1, 2): "estimated"}


def test_comment_in_an_ods_file_is_seen(tmp_path):
    note = "<office:annotation><text:p>estimated</text:p></office:annotation>"
    cell = (
        '<table:table-cell office:value-type="float" office:value="7.5">'
        f"{note}<text:p>7.5</text:p></table:table-cell>"
    )
    facts = facts_of(write_ods(tmp_path / "a.ods", [["site", "ph"], ["A", cell]]), "Feuille1")
    assert list(facts.comments) == [(1, 1)]


def test_formats_of_empty_cells_and_of_texts_show_nothing(tmp_path):
    def change(sheet):
        for place in ("A1", "C2", "D9"):
            sheet[place].number_format = '0.0"*"'
        sheet["C2"] = "n.d."

    assert facts_of(write_book(tmp_path / "a.xlsx", [HEADER, ROW], change)).shown == []
