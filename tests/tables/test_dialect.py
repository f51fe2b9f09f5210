"""The start of a file: its separator, its header, its row of units, where the rows start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from paths import FAULTY

from waterflow_cli.common.errors import InputError
from waterflow_cli.tables.dialect import Dialect, Start, StartReader
from waterflow_cli.tables.headers import Header
from waterflow_cli.tables.reading_options import ReadingOptions

NO_NAMES = Header({})
NAMES = Header({"ph": [], "Solids": ["TDS"], "Turbidity": ["Turbidité"], "Sulfate": [], "site": []})


def reader(
    path: str = "river.csv", names: Header = NO_NAMES, **options: str | int | None
) -> StartReader:
    return StartReader(path, names, ReadingOptions(**options))  # type: ignore[arg-type]


def read(
    text: str | bytes, path: str = "river.csv", names: Header = NO_NAMES, **options: str | int
) -> Start:
    start = text.encode() if isinstance(text, str) else text
    return reader(path, names, **options).read(start, "utf-8")


# --- the header's line ----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_rows_start_on_the_line_after_the_header(end: str) -> None:
    start = read(f"ph,Solids{end}7,1{end}")
    assert start.columns == ["ph", "Solids"]
    assert (start.dialect.header_line, start.dialect.first_line) == (1, 2)
    assert start.rest == f"7,1{end}".encode()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_blank_lines_above_the_header_count(end: str) -> None:
    start = read(f"{end}  {end},,{end}ph,Solids{end}7,1")
    assert start.columns == ["ph", "Solids"]
    assert (start.dialect.header_line, start.dialect.first_line) == (4, 5)
    assert start.rest == b"7,1"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_header_may_span_two_lines(end: str) -> None:
    start = read(f'"p{end}H",Solids{end}7,1{end}')
    assert start.columns == [f"p{end}H", "Solids"]
    assert (start.dialect.header_line, start.dialect.first_line) == (1, 3)
    assert start.rest.startswith(b"7,1")


def test_header_without_a_line_end_leaves_nothing() -> None:
    start = read("ph,Solids")
    assert (start.columns, start.rest) == (["ph", "Solids"], b"")
    assert start.dialect.first_line == 2


def test_names_are_kept_as_written() -> None:
    columns = read('Turbidité, pH ,"a,b","say ""x""",5" pipe\n').columns
    assert columns == ["Turbidité", " pH ", "a,b", 'say "x"', '5" pipe']


@pytest.mark.parametrize("names", [NO_NAMES, NAMES], ids=["unknown names", "known names"])
@pytest.mark.parametrize(
    ("above", "line"),
    [
        ("# made by hand\n", 2),
        ("# one, two\n# three; four\n", 3),
        ("\n# made by hand\n\n", 4),
        ('"# a comment\nof two lines"\n', 3),
    ],
)
def test_comments_above_the_header_are_skipped(above: str, line: int, names: Header) -> None:
    start = read(f"{above}ph,Solids\n7,1\n", names=names)
    assert start.columns == ["ph", "Solids"]
    assert start.dialect.header_line == line
    assert f"header in line {line}" in str(start.dialect)
    assert start.rest == b"7,1\n"


@pytest.mark.parametrize(
    "above",
    [
        "Analyses de la semaine 12\n",
        "Laboratoire : Brest;;;\n\n",
        "Client;Ville de Brest\nDate;2024-03-05\n",
        "Rapport sur le pH et les sulfates\n",
        "Analyses;pH\n",
        "titre, avec, des, virgules\n",
    ],
)
def test_title_lines_above_known_names_are_skipped(above: str) -> None:
    start = read(f"{above}site;ph;Solids;Turbidité\nA;7;1;2\n", names=NAMES)
    assert start.columns == ["site", "ph", "Solids", "Turbidité"]
    assert start.dialect.header_line == above.count("\n") + 1
    assert start.rest == b"A;7;1;2\n"


def test_header_in_its_usual_place_goes_without_saying() -> None:
    assert str(read("ph,b\n1,2\n").dialect) == "utf-8, separator ','"
    assert str(read("\n\nph,b\n1,2\n").dialect) == "utf-8, separator ','"


def test_row_that_names_measurements_is_no_better_header_than_the_one_above() -> None:
    start = read("site,ph,Solids\nph,1,2\nSolids,ph,3\n", names=NAMES)
    assert start.dialect.header_line == 1


def test_header_line_says_where_the_header_is() -> None:
    text = "ph,Solids\n7,1\nph,Sulfate\n7,2\n"
    start = read(text, names=NAMES, header_line=3)
    assert (start.columns, start.rest) == (["ph", "Sulfate"], b"7,2\n")
    assert (start.dialect.header_line, start.dialect.first_line) == (3, 4)


def test_header_line_may_name_a_comment_s_line_or_unknown_names() -> None:
    assert read("a,b\n1,2\n3,4\n", names=NAMES, header_line=2).columns == ["1", "2"]
    assert read("ph,Solids\nx;y\n3;4\n", names=NAMES, header_line=2).columns == ["x", "y"]


@pytest.mark.parametrize("line", [4, 1000])
def test_header_line_beyond_the_file_is_refused(line: int) -> None:
    with pytest.raises(InputError, match=f"--header-line {line}: there is no such line"):
        read("a,b\n1,2\n3,4\n", header_line=line)


# --- the separator --------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [NO_NAMES, NAMES], ids=["unknown names", "known names"])
@pytest.mark.parametrize("sep", list(",;|\t"))
@pytest.mark.parametrize("path", ["river.csv", "river.tsv", "-"])
def test_separator_is_found(path: str, sep: str, names: Header) -> None:
    lines = [["site", "ph", "Solids"], ["A", "7.1", "1"], ["B", "6.9", "2"]]
    start = read("".join(sep.join(line) + "\n" for line in lines), path, names)
    assert (start.dialect.sep, start.columns) == (sep, lines[0])


def test_decimal_commas_do_not_make_commas_the_separator() -> None:
    for names in (NO_NAMES, NAMES):
        assert read("ph;Solids\n7,1;1,5\n6,9;2,5\n", names=names).dialect.sep == ";"


def test_known_names_tell_the_separator_where_the_shape_does_not() -> None:
    start = read("ph;Solids, total\n7,1;1\n6,9;2\n", names=NAMES)
    assert start.columns == ["ph", "Solids, total"]


def test_other_separators_within_quotes_do_not_count() -> None:
    start = read('"ph";"Solids";"a;b";"c,d"\n7;1;"1;2,5";"3,4"\n', names=NAMES)
    assert (start.dialect.sep, start.columns) == (";", ["ph", "Solids", "a;b", "c,d"])


@pytest.mark.parametrize(
    ("path", "is_tsv"),
    [("a.csv", 0), ("a.tsv", 1), ("a.TSV", 1), ("a.tsv.gz", 1), ("d.tsv/a.csv", 0), ("-", 0)],
)
def test_suffix_decides_for_tabs_where_two_separators_fit(path: str, is_tsv: bool) -> None:
    text = "a,b\tc\n1,5\t2\n"
    if is_tsv:
        assert read(text, path).columns == ["a,b", "c"]
    else:
        with pytest.raises(InputError, match=r"two separators fit: ',' and '\\t'"):
            read(text, path)


@pytest.mark.parametrize("path", ["river.csv", "river.tsv"])
@pytest.mark.parametrize(
    ("text", "names"), [("well|depth,m\nA|3,5\n", NO_NAMES), ("ph,TDS;Sulfate\n7,1;2\n", NAMES)]
)
def test_two_separators_that_fit_equally_are_refused(text: str, names: Header, path: str) -> None:
    with pytest.raises(
        InputError, match=f"{path}, line 1: two separators fit: '.' and '.'"
    ) as caught:
        read(text, path, names)
    assert "--sep" in str(caught.value.hint)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("sep", "columns"),
    [(",", ["well|depth", "m"]), ("|", ["well", "depth,m"]), (";", ["well|depth,m"])],
)
def test_sep_says_which_separator_it_is(sep: str, columns: list[str]) -> None:
    assert read("well|depth,m\nA|3,5\n", sep=sep).columns == columns


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;", "sep=;\r", "sep=;,,"])
def test_first_line_may_tell_the_separator(line: str) -> None:
    start = read(f"{line}\na,b;c\n1,5;2\n")
    assert (start.columns, start.rest) == (["a,b", "c"], b"1,5;2\n")
    assert start.dialect.header_line == 2


def test_sep_goes_before_the_first_line() -> None:
    assert read("sep=;\na,b;c\n1,5;2\n", sep=",").columns == ["a", "b;c"]


def test_column_named_sep_is_no_such_line() -> None:
    assert read("sep,x\n1,2\n").columns == ["sep", "x"]


@pytest.mark.parametrize("cell", ["1,000", "ND < 0,5", "-1\u202f234,5", "1,234,567", "12'345,6"])
def test_commas_of_a_number_part_no_cells_of_an_only_column(cell: str) -> None:
    start = read("ph\n" + "7\n" * 20 + f"{cell}\n", names=NAMES)
    assert (start.columns, start.dialect.sep) == (["ph"], ";")


@pytest.mark.parametrize("row", ["a, b", "7,", ",7", "7,b", '"1,000"', "7;5"])
def test_other_commas_below_an_only_column_part_cells(row: str) -> None:
    assert read("ph\n" + "7\n" * 20 + f"{row}\n", names=NAMES).dialect.sep == ","


def test_one_column_has_no_separator_to_find() -> None:
    for names in (NO_NAMES, NAMES):
        start = read("ph\n7.1\n6.9\n", names=names)
        assert (start.columns, start.rest) == (["ph"], b"7.1\n6.9\n")


# --- the row of units -----------------------------------------------------------------------------


def test_row_of_units_is_read_and_is_no_row() -> None:
    start = read("site;ph;Sulfate\n;pH;µg/L\nA;7;1\n", names=NAMES)
    assert start.units == {"ph": "pH", "Sulfate": "µg/L"}
    assert start.rest == b"A;7;1\n"
    assert (start.dialect.units_line, start.dialect.first_line) == (2, 3)
    assert str(start.dialect).endswith("units in line 2, in no output")


@pytest.mark.parametrize(
    "row", ["site;-;mg/L", "unité;;mg/L", "nom;NA;ppm", "mg/L;pH;mg/L", "°C;;mg/L SO4", ";;mg/L;;"]
)
def test_row_of_units_may_have_gaps_and_words_in_other_columns(row: str) -> None:
    start = read(f"site;ph;Sulfate;temp\n{row}\nA;7;1;2\n", names=Header({"ph": [], "Sulfate": []}))
    assert set(start.units) <= {"ph", "Sulfate"}
    assert "Sulfate" in start.units
    assert start.rest == b"A;7;1;2\n"


@pytest.mark.parametrize(
    "row", ["A;7;1", "A;;", ";;", "A;<0,5;", "A;7;mg/L", "A;x;y", "A;ND;<LQ", "mg/L;;"]
)
def test_row_without_units_of_measurements_is_a_row(row: str) -> None:
    start = read(f"site;ph;Sulfate\n{row}\n", names=Header({"ph": [], "Sulfate": []}))
    assert (start.units, start.rest) == ({}, f"{row}\n".encode())
    assert start.dialect.units_line is None


def test_unknown_unit_beside_known_ones_is_refused() -> None:
    with pytest.raises(
        InputError, match="line 2: column Sulfate: 'grains/gallon' is no known unit"
    ):
        read((FAULTY / "unknown_unit_row.csv").read_bytes(), names=NAMES)


def test_units_are_looked_for_below_a_header_of_known_names_only() -> None:
    assert read("a;b\nmg/L;NTU\n1;2\n").units == {}


# --- what is refused ------------------------------------------------------------------------------


def test_dialect_says_how_the_file_was_read() -> None:
    assert (
        str(Dialect(encoding="utf-8", sep=",", header_line=1, first_line=2))
        == "utf-8, separator ','"
    )
    assert (
        str(Dialect(encoding="utf-8 with BOM", sep="\t", header_line=1, first_line=2))
        == "utf-8 with BOM, separator tab"
    )
    assert str(Dialect(encoding="parquet", sep="", header_line=1, first_line=2)) == "parquet"
    assert str(
        Dialect(encoding="cp1252", sep=";", header_line=3, first_line=5, units_line=4, n_above=2)
    ) == ("cp1252, separator ';', header in line 3, units in line 4, in no output")


@pytest.mark.parametrize("text", ["", "\n", "  \n\r\n\t\n", ",,\n,,\n", "sep=;\n", "# only this\n"])
def test_nothing_but_blanks_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"river\.csv: is empty") as caught:
        read(text)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("text", ['"ph,b\n1,2\n', 'a,"b\n1,2\n3,4\n', 'a,"', 'a,"b""'])
def test_open_quote_in_the_header_is_refused(text: str) -> None:
    for names in (NO_NAMES, NAMES):
        with pytest.raises(
            InputError, match="line 1: a quoted cell opens here and is never closed"
        ):
            read(text, names=names)


def test_open_quote_is_named_by_its_own_line_not_the_headers() -> None:
    with pytest.raises(InputError, match="line 4: a quoted cell opens here"):
        read('\n"a\n\nb","c\n1,2\n')


def test_first_row_that_ends_in_the_word_end_is_no_open_quote() -> None:
    assert read("a,end").columns == ["a", "end"]
    assert read("end").columns == ["end"]
    assert read('a,"end"').columns == ["a", "end"]


def test_header_that_is_not_utf_8_is_refused_with_its_line() -> None:
    with pytest.raises(InputError, match="line 2: the header is not text in UTF-8") as caught:
        read("\nTurbidité,b\n".encode("cp1252"))
    assert "--encoding" in str(caught.value.hint)


def test_nul_byte_in_the_header_is_refused() -> None:
    with pytest.raises(InputError, match="line 1: column 2 of the header holds a NUL byte"):
        read("ph,b\0\n1,2\n")


def test_name_that_stands_twice_is_refused() -> None:
    for names in (NO_NAMES, NAMES):
        with pytest.raises(InputError, match="line 1: two columns 'ph', at positions 1 and 3"):
            read((FAULTY / "duplicate_names.csv").read_bytes(), names=names)


# --- how much of a file it takes ------------------------------------------------------------------

HEADERS = [
    "ph,b\n1,2\n",
    "\r\n \r\nph,b\r\n1,2\r\n",
    '"p\r\nh",b\r1,2\r',
    "ph,é\n1,2\n",
    '"a""b",c\n1,2',
]


@pytest.mark.parametrize("text", HEADERS, ids=repr)
def test_header_is_held_once_something_follows_its_line_end(text: str) -> None:
    data = text.encode()
    whole = read(data)
    first = len(data) - len(whole.rest) + 1
    held = [length for length in range(len(data) + 1) if reader().holds_rows(data[:length])]
    assert held == list(range(first, len(data) + 1))
    for length in held:
        start = read(data[:length])
        assert (start.dialect, start.columns) == (whole.dialect, whole.columns)
        assert whole.rest.startswith(start.rest)


@given(st.text(alphabet='ab,;"\r\n #é', max_size=30))
@tried_on(300)
def test_any_text_has_a_header_or_is_refused(text: str) -> None:
    for names in (NO_NAMES, Header({"a": [], "b": []})):
        try:
            start = read(text, names=names)
        except InputError:
            continue
        lines = text.encode().splitlines(keepends=True)
        assert start.rest == b"".join(lines[start.dialect.first_line - 1 :])
        assert 1 <= start.dialect.header_line < start.dialect.first_line
        assert start.columns
