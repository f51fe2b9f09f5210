"""Any file is opened as what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from workbooks import HEADER, ROW, write_book

from waterflow_cli.tables.headers import Header
from waterflow_cli.tables.sheets.opening import open_file

NAMES = Header({name: [] for name in ("pH", "Sulfate", "Turbidity")})


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv"])
def test_workbook_and_text_are_told_by_what_they_hold(name, tmp_path):
    path = tmp_path / name
    if name == "a.xlsx":
        write_book(path, [HEADER, ROW])
    else:
        path.write_text(f"{','.join(HEADER)}\n{','.join(map(str, ROW))}\n")
    with open_file(str(path), NAMES) as table:
        assert table.columns == HEADER
        assert (table.dialect.sheet == "Sheet1") == (name == "a.xlsx")
        assert table.turned() is None
        assert len(list(table.batches())) == 1


def test_long_file_of_text_is_not_kept_to_be_turned(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("name,a,b\n" + "pH,7,7\n" * 400_000)
    with open_file(str(path), NAMES) as table:
        assert table.whole_text is None
        assert table.turned() is None
