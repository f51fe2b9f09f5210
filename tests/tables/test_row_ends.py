"""Where rows end, and quotes that hide it: never fewer rows than the file has, unsaid."""

from __future__ import annotations

from pathlib import Path

import pytest

from waterflow_cli.common.errors import InputError
from waterflow_cli.tables.headers import Header
from waterflow_cli.tables.reading import open_table
from waterflow_cli.tables.row_ends import has_stray_quote, whole_rows

NAMES = Header({"ph": [], "Sulfate": [], "Hardness": []})
HEAD = "site,ph,Sulfate,Hardness,remark\n"


def read(path: Path, text: str) -> list[tuple[int, str]]:
    """Give the line of each row, and the rule that it breaks."""
    path.write_text(text, "utf-8")
    with open_table(str(path), NAMES) as table:
        return [
            (int(line), batch.findings[row].rule if row in batch.findings else "")
            for batch in table.batches()
            for row, line in enumerate(batch.lines)
        ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "river.csv"


@pytest.mark.parametrize(
    ("text", "is_stray"),
    [
        ("a,b\n", False),
        ('"a","b"\n', False),
        ('"a""b",c\n', False),
        ('5" pipe,"b"\n', False),
        ('5" pipe,"a\nb"\n', False),
        ('"a" ,"b"  \n', False),
        ('x,"a,""b"",\n"\n', False),
        ('"a"x,b\n', True),
        ('5" pipe,"a"x\n', True),
        ('"a""b"c\n', True),
        ('"a" x\n', True),
        ('"ok\n1,2,"ok\n', True),
    ],
)
@pytest.mark.parametrize("sep", [",", "\t", "|"])
def test_text_after_a_closing_quote_is_stray(text: str, sep: str, *, is_stray: bool) -> None:
    assert has_stray_quote(text.replace(",", sep).encode(), sep) is is_stray


def test_whole_rows_end_outside_quotes() -> None:
    assert whole_rows(b'1,"a\nb"\n2,"c\n', ",") == b'1,"a\nb"\n'


@pytest.mark.parametrize(
    "rows",
    [
        'A,7,1,2,"ok\nB,7,1,2,\nC,7,1,2,"ok\nD,7,1,2,\n',  # text follows
        'A,7,1,2,"ok\nB,7,1,2,ok"\nC,7,1,2,\n',  # as valid as can be
        'A,7,1,2,"ok\nB,7,1,2,\nC,7,1,2\nD,7,1,2,ok"\n',
        '"A,7,1,2,ok\nB",7,1,2,ok\n',  # more cells than the header
        'A,"7,1,2,ok\nB,7",1,2,ok\n',
        'A,7,1,2,"ok\r\nB,<7,1,2,ok"\r\n',
    ],
)
def test_quotes_that_hold_rows_are_refused_by_their_line(rows: str, path: Path) -> None:
    with pytest.raises(InputError, match="line 2: quotes do not fit"):
        read(path, HEAD + rows)


@pytest.mark.parametrize(
    "remark", ["two\nlines", "pump off, sampled\nby hand, at 7, 8", "7\n8\n9", '5"\nand, 6""', "\n"]
)
def test_remark_of_several_lines_is_a_cell(remark: str, path: Path) -> None:
    quoted = remark.replace('"', '""')
    expected = [(2, ""), (2 + 1 + remark.count("\n"), "")]
    assert read(path, f'{HEAD}A,7,1,2,"{quoted}"\nB,7,1,2,\n') == expected


def test_remark_of_several_lines_may_stand_amid_the_numbers(path: Path) -> None:
    head = "site,ph,remark,Sulfate,Hardness\n"
    assert read(path, head + 'A,7,"two, or\nthree lines",1,2\nB,7,,1,2\n') == [(2, ""), (4, "")]


def test_row_of_one_line_with_a_stray_quote_is_a_finding(path: Path) -> None:
    rows = 'A,7,1,2,"ok"ay\nB,"7"1,1,2,\nC,7,1,2,5" pipe\n'
    assert read(path, HEAD + rows) == [(2, "stray_quote"), (3, "stray_quote"), (4, "")]


@pytest.mark.parametrize(
    "head",
    [
        'site,ph,Sulfate,Hardness,"remark\nA,7,1,2,"ok"\n',
        'site,ph,Sulfate,Hardness,"remark\nA,7,1,2,ok"\n',
        'site,ph,Sulfate,"Hard"ness,remark\n',
    ],
)
def test_stray_quotes_in_the_header_are_refused(head: str, path: Path) -> None:
    with pytest.raises(InputError, match="line 1: quotes do not fit"):
        read(path, head + "B,7,1,2,\n")


def test_header_over_two_lines_is_read(path: Path) -> None:
    head = 'site,ph,"Sulfate\n(mg/L)","Hardness\n(mg/L)",remark\n'
    assert read(path, head + "B,7,1,2,\n") == [(4, "")]
