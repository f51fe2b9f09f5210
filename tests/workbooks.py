"""Small workbooks as laboratories write them, made for a test."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import openpyxl

HEADER = ["sample_id", "pH", "Hardness", "TDS", "Chloramines", "Sulfate", "Conductivity"]
HEADER += ["TOC", "THM", "Turbidity"]
VALUES = [7.14, 204.9, 20791.3, 7.35, 368.5, 564.3, 10.4, 86.9, 2.96]
UNITS = ["", "unité pH", *["mg/L"] * 4, "µS/cm", "mg/L", "µg/L", "NTU"]
ROW = ["W-1", *VALUES]
Rows = Sequence[Sequence[Any]]


def write_book(
    path: Path, sheets: Mapping[str, Rows] | Rows, change: Callable[[Any], None] | None = None
) -> str:
    """Write an .xlsx file; `change` is given the first sheet before it is saved."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in (sheets if isinstance(sheets, Mapping) else {"Sheet1": sheets}).items():
        sheet = book.create_sheet(name)
        for number, cells in enumerate(rows, 1):
            for column, value in enumerate(cells, 1):
                if value not in ("", None):
                    sheet.cell(number, column, value)
    if change:
        change(book.worksheets[0])
    book.save(path)
    return str(path)


def put_error(sheet: Any, place: str, text: str) -> None:
    """Put an error value into a cell."""
    sheet[place] = text
    sheet[place].data_type = "e"


def write_ods(path: Path, rows: Rows, *, extra: str = "") -> str:
    """Write an .ods file; cells that are XML already begin with ``<``, as does ``extra``."""
    body = "".join(
        f"<table:table-row>{''.join(map(_ods_cell, cells))}</table:table-row>" for cells in rows
    )
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text")
    )
    content = (
        f'<office:document-content {spaces} xmlns:calcext="urn:org:documentfoundation:calc">'
        f'<office:body><office:spreadsheet><table:table table:name="Feuille1">{body}{extra}'
        "</table:table></office:spreadsheet></office:body></office:document-content>"
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
        archive.writestr(
            "META-INF/manifest.xml",
            '<manifest xmlns="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>',
        )
    return str(path)


def _ods_cell(value: Any) -> str:
    if isinstance(value, str) and value.startswith("<table"):
        return value
    if value in ("", None):
        return "<table:table-cell/>"
    kind = f'"float" office:value="{value!r}"' if isinstance(value, float | int) else '"string"'
    text = f"<text:p>{escape(str(value))}</text:p>"
    return f"<table:table-cell office:value-type={kind}>{text}</table:table-cell>"


def rewrite(path: Path, part: str, change: Callable[[bytes], bytes]) -> None:
    """Change one part of a workbook."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[part] = change(parts.get(part, b""))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
