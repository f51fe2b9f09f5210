"""The header: where it stands, what it names, where the rows start."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterflow_cli.dialect import Dialect, holds_header, read_header, separator_for
from waterflow_cli.errors import InputError

FAULTY = Path(__file__).parent / "faulty"


def read(text: str | bytes, path: str = "river.csv") -> tuple[Dialect, list[str], bytes]:
    return read_header(text.encode() if isinstance(text, str) else text, path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_rows_start_on_the_line_after_the_header(end: str) -> None:
    dialect, columns, rest = read(f"ph,Solids{end}7,1{end}")
    assert columns == ["ph", "Solids"]
    assert (dialect.header_line, dialect.first_line) == (1, 2)
    assert rest == f"7,1{end}".encode()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_blank_lines_above_the_header_count(end: str) -> None:
    dialect, columns, rest = read(f"{end}  {end},,{end}ph,Solids{end}7,1")
    assert columns == ["ph", "Solids"]
    assert (dialect.header_line, dialect.first_line) == (4, 5)
    assert rest == b"7,1"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_header_may_span_two_lines(end: str) -> None:
    dialect, columns, rest = read(f'"p{end}H",Solids{end}7,1{end}')
    assert columns == [f"p{end}H", "Solids"]
    assert (dialect.header_line, dialect.first_line) == (1, 3)
    assert rest.startswith(b"7,1")


def test_header_without_a_line_end_leaves_nothing() -> None:
    dialect, columns, rest = read("ph,Solids")
    assert (columns, rest) == (["ph", "Solids"], b"")
    assert dialect.first_line == 2


def test_byte_order_mark_is_no_part_of_the_first_name() -> None:
    dialect, columns, rest = read(codecs.BOM_UTF8 + b'"ph",b\n1,2\n')
    assert (columns, rest) == (["ph", "b"], b"1,2\n")
    assert dialect.encoding == "utf-8 with BOM"
    assert read("ph,b\n")[0].encoding == "utf-8"


def test_names_are_kept_as_written() -> None:
    _, columns, _ = read('Turbidité, pH ,"a,b","say ""x""",5" pipe\n')
    assert columns == ["Turbidité", " pH ", "a,b", 'say "x"', '5" pipe']


@pytest.mark.parametrize(
    ("path", "separator"),
    [
        ("a.csv", ","),
        ("a.tsv", "\t"),
        ("a.TSV", "\t"),
        ("a.tsv.gz", "\t"),
        ("dir.tsv/a.csv", ","),
        ("-", ","),
        ("a", ","),
    ],
)
def test_separator_goes_by_the_suffix(path: str, separator: str) -> None:
    assert separator_for(path) == separator


def test_tsv_header_is_cut_at_tabs() -> None:
    assert read("a,b\tc\n", "x.tsv")[1] == ["a,b", "c"]


def test_dialect_says_how_the_file_was_read() -> None:
    assert str(Dialect("utf-8", ",", 1, 2)) == "utf-8, separator ','"
    assert str(Dialect("utf-8 with BOM", "\t", 1, 2)) == "utf-8 with BOM, separator tab"
    assert str(Dialect("parquet", "", 1, 2)) == "parquet"


@pytest.mark.parametrize("text", ["", "\n", "  \n\r\n\t\n", ",,\n,,\n", "\ufeff", "\ufeff\n"])
def test_nothing_but_blanks_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"river\.csv: is empty") as caught:
        read(text)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("text", ['"ph,b\n1,2\n', 'a,"b\n1,2\n3,4\n', 'a,"', 'a,"b""'])
def test_open_quote_in_the_header_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="line 1: a quoted cell opens here and is never closed"):
        read(text)


def test_open_quote_is_named_by_its_own_line_not_the_headers() -> None:
    with pytest.raises(InputError, match="line 4: a quoted cell opens here"):
        read('\n"a\n\nb","c\n1,2\n')


def test_first_row_that_ends_in_the_word_end_is_no_open_quote() -> None:
    assert read("a,end")[1] == ["a", "end"]
    assert read("end")[1] == ["end"]
    assert read('a,"end"')[1] == ["a", "end"]


def test_utf_16_is_refused_by_name() -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        mark = codecs.BOM_UTF16_LE if encoding.endswith("le") else codecs.BOM_UTF16_BE
        with pytest.raises(InputError, match="is UTF-16"):
            read(mark + "ph,b\n1,2\n".encode(encoding))


def test_utf_16_without_a_mark_is_refused_too() -> None:
    with pytest.raises(InputError, match="NUL byte"):
        read("ph,b\n1,2\n".encode("utf-16-le"))


def test_header_that_is_not_utf_8_is_refused_with_its_line() -> None:
    with pytest.raises(InputError, match="line 2: the header is not text in UTF-8"):
        read("\nTurbidité,b\n".encode("cp1252"))


def test_binary_file_is_refused() -> None:
    with pytest.raises(InputError, match="the header is not text in UTF-8") as caught:
        read((FAULTY / "image.csv").read_bytes())
    assert "binary files cannot be read" in str(caught.value.hint)


def test_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(InputError, match="line 1: two columns 'ph', at positions 1 and 3"):
        read((FAULTY / "duplicate_names.csv").read_bytes())


HEADERS = [
    "ph,b\n1,2\n",
    "\r\n \r\nph,b\r\n1,2\r\n",
    '"p\r\nh",b\r1,2\r',
    "\ufeffph,é\n1,2\n",
    '"a""b",c\n1,2',
]


@pytest.mark.parametrize("text", HEADERS, ids=repr)
def test_header_is_held_once_something_follows_its_line_end(text: str) -> None:
    data = text.encode()
    whole = read(data)
    held = [length for length in range(len(data) + 1) if holds_header(data[:length], "river.csv")]
    first = len(data) - len(whole[2]) + 1
    assert held == list(range(first, len(data) + 1))
    for length in held:
        dialect, columns, rest = read(data[:length])
        assert (dialect, columns) == whole[:2]
        assert whole[2].startswith(rest)


@given(st.text(alphabet='ab,"\r\n \ufeffé', max_size=20))
@settings(max_examples=300, deadline=None)
def test_once_held_the_header_stays_the_same(text: str) -> None:
    data = text.encode()
    held = [length for length in range(len(data) + 1) if holds_header(data[:length], "river.csv")]
    outcomes = set()
    for length in held:
        try:
            dialect, columns, _ = read(data[:length])
            outcomes.add((dialect, tuple(columns)))
        except InputError as exc:
            outcomes.add(str(exc))
    assert len(outcomes) <= 1
