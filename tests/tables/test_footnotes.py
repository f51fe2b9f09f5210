"""Notes below the rows: what is left out, and what is a row all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from waterflow_cli.tables.csv_blocks import TAIL_BYTES
from waterflow_cli.tables.reading import open_table

HEAD = "site;ph;Sulfate\n"
ROWS = "A;7;1\nB;6;2\n"
BLOCKS = [1, 7, 40, 1 << 20]


def read(path: Path, block_bytes: int) -> tuple[list[int], list[str]]:
    """Give the lines of the rows, and what the table says of its notes."""
    with open_table(str(path), block_bytes=block_bytes) as table:
        assert table.remarks() == []
        lines = [int(line) for batch in table.batches() for line in batch.lines]
    return lines, table.remarks()


def said(first: int, last: int) -> list[str]:
    return [f"notes below the rows not read (lines {first} to {last})"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "river.csv"


@pytest.mark.parametrize("block_bytes", BLOCKS)
@pytest.mark.parametrize(
    ("below", "last"),
    [
        ("\nSource : ARS Bretagne\n", 5),
        ("Source : ARS Bretagne\n", 4),
        ("Source: ARS, Rennes\n", 4),
        ("\nvalues checked by hand\n", 5),
        ("\n\nvalues checked\nby hand\n\n", 8),
        ("# end\n", 4),
        ("Étalonnage : mars 2024\n", 4),
        ("* measured on site\n* and not elsewhere\n", 5),
        ("\n* measured on site", 5),
        ("Légende : ND, non détecté\n", 4),
        ("Source : ARS\r\n\r\nDate : 2024-03-05\r\n", 6),
    ],
)
def test_notes_below_the_rows_are_left_out_and_told(
    below: str, last: int, block_bytes: int, path: Path
) -> None:
    path.write_text(HEAD + ROWS + below, "utf-8", newline="")
    lines, remarks = read(path, block_bytes)
    assert lines == [2, 3]
    assert remarks == said(4, last)


@pytest.mark.parametrize("block_bytes", BLOCKS)
@pytest.mark.parametrize(
    ("below", "lines"),
    [
        ("values checked by hand\n", [4]),
        ("C\n", [4]),
        ("C;5;\n", [4]),
        (";;\n", [4]),
        ("\nC;5;3\n", [5]),
        ("\nC;;3\n", [5]),
        ("\nC;5;\n", [5]),
        ("\n;;3\n", [5]),
        (";;\n;;\n", [4, 5]),
        (";;\nvalues checked by hand;;\n", [4, 5]),
        ("#6;;\n", [4]),
        ("Source : ARS;;\n", [4]),
        (";;\nSource : ARS;;\n", [4, 5]),
        ('\n"C"\n', [5]),
        ("\n\n", []),
        ("\nSource : ARS;2;3\n", [5]),
        ("Source : ARS\nC;5;3\n", [4, 5]),
        ("\nchecked by hand\nC;5;3\n", [5, 6]),
    ],
)
def test_what_may_be_a_row_is_kept(
    below: str, lines: list[int], block_bytes: int, path: Path
) -> None:
    path.write_text(HEAD + ROWS + below, "utf-8")
    assert read(path, block_bytes) == ([2, 3, *lines], [])


@pytest.mark.parametrize("block_bytes", BLOCKS)
@pytest.mark.parametrize("below", [",,\n6.5,,\n", "\n6.5,,\n", ",,\n6.5,,\n,,\n", "\n<0.5,,\n"])
def test_number_in_the_first_column_is_a_row_even_below_an_empty_one(
    below: str, block_bytes: int, path: Path
) -> None:
    path.write_text("ph,Sulfate,note\n7,1,x\n" + below, "utf-8")
    lines, remarks = read(path, block_bytes)
    assert 4 in lines
    assert remarks == []


@pytest.mark.parametrize("text", ["a\n1\n\nnote\n", "a\n1\nSource : x\n", "a\n1\n# x\n"])
def test_table_of_one_column_has_no_notes(text: str, path: Path) -> None:
    path.write_text(text, "utf-8")
    lines, remarks = read(path, 1 << 20)
    assert lines[-1] == text.count("\n")
    assert remarks == []


@pytest.mark.parametrize("block_bytes", [100, 1 << 12, 1 << 20])
def test_notes_of_a_long_file_are_found(block_bytes: int, path: Path) -> None:
    path.write_text(HEAD + "A;7;1\n" * 10_000 + "\nSource : ARS\n", "utf-8")
    lines, remarks = read(path, block_bytes)
    assert lines == list(range(2, 10_002))
    assert remarks == said(10_002, 10_003)


@pytest.mark.parametrize("block_bytes", [50, 1 << 12, 1 << 20])
@pytest.mark.parametrize("n_notes", [10, 400])
def test_rows_left_out_do_not_depend_on_the_block_size(
    n_notes: int, block_bytes: int, path: Path
) -> None:
    notes = "* a line of notes\n" * n_notes
    path.write_text(HEAD + "A;7;1\n" * 1000 + "\n" + notes, "utf-8")
    lines, remarks = read(path, block_bytes)
    assert (lines, remarks) == read(path, 1 << 19)
    assert (remarks == said(1002, 1002 + n_notes)) == (len(notes) < TAIL_BYTES)
    assert lines[:1000] == list(range(2, 1002))


def test_quoted_cell_of_several_lines_is_no_note(path: Path) -> None:
    path.write_text(HEAD + 'A;7;"x\n\nSource : y\n"\n', "utf-8")
    assert read(path, 1 << 20) == ([2], [])
