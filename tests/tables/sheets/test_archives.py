"""Workbooks as archives: what kind, damaged, locked, or made to fill a memory."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest
from workbooks import HEADER, ROW, write_book

from waterflow_cli.common.errors import InputError
from waterflow_cli.tables.sheets.archives import WorkbookArchive
from waterflow_cli.tables.sheets.opening import open_file


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return Path(write_book(tmp_path / "lab.xlsx", [HEADER, ROW]))


def archive_of(data: bytes) -> WorkbookArchive:
    return WorkbookArchive(io.BytesIO(data), "lab.xlsx")


def test_part_of_each_sheet_is_found_by_the_sheets_name(tmp_path):
    path = write_book(tmp_path / "lab.xlsx", {"Été": [HEADER], "B": [ROW]})
    parts = archive_of(Path(path).read_bytes()).sheet_parts
    assert parts == {"Été": "xl/worksheets/sheet1.xml", "B": "xl/worksheets/sheet2.xml"}


def test_archive_within_an_archive_is_no_workbook():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", "ph\n7\n")
    with pytest.raises(InputError, match="within an archive, and no workbook"):
        archive_of(packed.getvalue())


@pytest.mark.parametrize("cut", [30, 0.3, 0.6, 0.9])
def test_workbook_that_is_cut_short_is_refused(cut, book):
    data = book.read_bytes()
    book.write_bytes(data[: cut if cut > 1 else int(len(data) * cut)])
    with pytest.raises(InputError, match="damaged or cut short"), open_file(str(book)) as table:
        list(table.batches())


@pytest.mark.parametrize("name", ["xl/workbook.xml", "content.xml"])
def test_what_only_looks_like_a_workbook_is_refused(name, tmp_path):
    path = tmp_path / "lab.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "ph\n7\n")
    with pytest.raises(InputError, match="the workbook is damaged"), open_file(str(path)):
        pass


def test_damage_to_any_byte_is_an_input_error_or_nothing(book):
    data = book.read_bytes()
    for place in range(0, len(data), 97):
        book.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        try:
            with open_file(str(book)) as table:
                list(table.batches())
        except InputError:
            continue


def test_part_that_claims_to_be_small_is_not_unpacked_further(book):
    data = bytearray(book.read_bytes())
    with zipfile.ZipFile(book) as archive:
        info = archive.getinfo("xl/worksheets/sheet1.xml")
    real = struct.pack("<I", info.file_size)
    while (at := data.find(real)) >= 0:
        data[at : at + 4] = struct.pack("<I", 10)
    with pytest.raises(InputError, match="damaged"):
        archive_of(bytes(data)).read("xl/worksheets/sheet1.xml")


def test_part_that_repeats_itself_too_often_is_refused(monkeypatch):
    monkeypatch.setattr("waterflow_cli.tables.sheets.archives._MOST_BYTES", 1 << 20)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", bytes(4 << 20))
    with pytest.raises(InputError, match="unpacks to more than 100 times its size"):
        archive_of(packed.getvalue()).read("xl/workbook.xml")


def test_workbook_with_an_encrypted_part_is_named(book):
    data = bytearray(book.read_bytes())
    with zipfile.ZipFile(book) as archive:
        for info in archive.infolist():
            data[info.header_offset + 6] |= 1
    at = -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        data[at + 8] |= 1
    with pytest.raises(InputError, match="password"):
        archive_of(bytes(data)).read("xl/workbook.xml")
