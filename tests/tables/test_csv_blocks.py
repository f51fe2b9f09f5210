"""Cutting CSV at row ends and parsing the pieces: no cell may depend on where a cut fell."""

from __future__ import annotations

import codecs
import csv
import io
import random

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from laws import tried_on
from paths import FAULTY

from waterflow_cli.common.errors import InputError
from waterflow_cli.tables import csv_blocks
from waterflow_cli.tables.csv_blocks import (
    Block,
    Position,
    RowSyntax,
    parse_block,
    split_blocks,
)
from waterflow_cli.tables.row_ends import count_lines
from waterflow_cli.tables.table import Batch, RowFinding

FIRST_LINE = 2
START = Position(0, FIRST_LINE)
SIZES = [1, 2, 3, 5, 8, 13, 40, 200, 1 << 20]

Row = tuple[int, list[str], RowFinding | None]


def rows_with(n_columns: int, sep: str = ",", path: str = "river.csv") -> RowSyntax:
    columns = [f"column {number}" for number in range(n_columns)]
    return RowSyntax(path=path, columns=columns, sep=sep)


def split(data: bytes, block_bytes: int, sep: str = ",", start: bytes = b"") -> list[Block]:
    stream = io.BufferedReader(io.BytesIO(data))
    return list(split_blocks(start, stream.read, rows_with(2, sep), START, block_bytes))


def parse(data: bytes, n_columns: int, sep: str = ",") -> Batch:
    return parse_block(Block(data, FIRST_LINE, START), rows_with(n_columns, sep))


def cells_of(parsed: Batch) -> list[list[str]]:
    return [column.to_pylist() for column in parsed.columns.values()]


def rows_of(parsed: Batch) -> list[Row]:
    columns = cells_of(parsed)
    assert all(len(column) == len(parsed.lines) for column in columns)
    assert set(parsed.findings) <= set(range(len(parsed.lines)))
    return [
        (int(line), [column[row] for column in columns], parsed.findings.get(row))
        for row, line in enumerate(parsed.lines)
    ]


def read(data: bytes, n_columns: int, block_bytes: int, sep: str = ",") -> list[Row]:
    rows: list[Row] = []
    for block in split(data, block_bytes, sep):
        rows.extend(rows_of(parse_block(block, rows_with(n_columns, sep))))
    return rows


def separators_that_fit(line: str, n_columns: int, sep: str) -> list[str]:
    """List the other separators with which a row has its fields."""
    if n_columns < 2 or "\n" in line or "\r" in line:
        return []
    cells = {other: next(csv.reader([line], delimiter=other), []) for other in ",;\t|"}
    return [
        other
        for other, fields in cells.items()
        if other != sep and len(fields) == n_columns and (sep == "," or sep not in "".join(fields))
    ]


def has_text_after_quote(row: str, sep: str) -> bool:
    """Walk along a row, character by character."""
    state = "start"
    for character in row:
        is_edge = character in f"{sep}\r\n"
        if state == "quoted":
            state = "closed" if character == '"' else state
        elif state == "closed" and character == '"':
            state = "quoted"
        elif is_edge:
            state = "start"
        elif state in ("closed", "after"):
            if character != " ":
                return True
            state = "after"  # a quote is text now
        else:
            state = "quoted" if state == "start" and character == '"' else "plain"
    return False


def holds_rows(cells: list[str], n_columns: int, sep: str) -> bool:
    """Say whether two lines of a row look like rows, one at least half as much as the other."""
    counts, n_separators = [], 0
    for line in sep.join(cells).replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        fields = [field.strip() for field in line.split(sep)]
        n_separators += len(fields) - 1
        if len(fields) >= 2 and len(fields) - 1 >= n_columns // 2:
            counts.append(sum(field.isdigit() for field in fields))
    counts.sort()
    return (
        n_separators >= 1.5 * (n_columns - 1)
        and len(counts) > 1
        and counts[-2] > 0
        and 2 * counts[-2] >= counts[-1]
    )


def read_whole(text: str, n_columns: int, sep: str = ",") -> list[Row] | tuple[int, str]:
    """Read all at once with the csv module: the rows, or where and why they are refused."""
    ended = text if text.endswith(("\n", "\r")) else text + "\n"
    reader = csv.reader(io.StringIO(ended + "end", newline=""), delimiter=sep)
    rows: list[Row] = []
    line = FIRST_LINE
    last = []
    refused = []
    texts = io.StringIO(ended, newline="").readlines()
    for cells in reader:
        last = cells
        at, line = line, FIRST_LINE + reader.line_num
        if not cells or (n_columns > 1 and len(cells) == 1 and not cells[0].strip()):
            continue
        finding = None
        raw = "".join(texts[at - FIRST_LINE : line - FIRST_LINE])
        is_stray = has_text_after_quote(raw, sep)
        if (is_stray and count_lines(raw.encode()) > 1) or holds_rows(cells, n_columns, sep):
            refused.append((at, "quotes do not fit"))
        if is_stray:
            finding = RowFinding("stray_quote", {})
        elif "\0" in "".join(cells):
            finding = RowFinding("nul_byte", {})
        elif len(cells) != n_columns:
            values: dict[str, object] = {"n": len(cells), "n_columns": n_columns}
            if len(cells) > n_columns:
                values["extra"] = ", ".join(repr(cell) for cell in cells[n_columns:])
            fitting = separators_that_fit(sep.join(cells), n_columns, sep)
            rule = "other_separator" if fitting else "ragged_row"
            if fitting:
                values["other"] = repr(fitting[0])
            finding = RowFinding(rule, values)
        rows.append((at, (cells + [""] * n_columns)[:n_columns], finding))
    if last != ["end"]:
        opened = rows[-1][0] + sum(count_lines(cell.encode()) for cell in last[:-1])
        return opened, "never closed"
    return refused[0] if refused else rows[:-1]


def assert_read_as_whole(text: str, n_columns: int, block_bytes: int, sep: str = ",") -> None:
    expected = read_whole(text, n_columns, sep)
    if isinstance(expected, tuple):
        with pytest.raises(InputError, match=expected[1]) as caught:
            read(text.encode(), n_columns, block_bytes, sep)
        assert caught.value.line == expected[0]
    else:
        assert read(text.encode(), n_columns, block_bytes, sep) == expected


# Texts that have led CSV readers astray; each is tried at every small size of block.
TRAPS = [
    "1,2\n3,4\n",
    "1,2\r\n3,4\r\n",
    "1,2\r3,4\r",
    "1,2\n3,4",
    "1,2\r3,4",
    "1,2\r\n3,4\r",
    "1,2\n3,4\r5,6\r\n7,8",
    "\n\n1,2\n\n\n3,4\n\n",
    "\r\n\r\n1,2\r\n\r\n3,4\r\n\r\n",
    "\r\r1,2\r\r\r3,4\r\r",
    "1,2\n   \n3,4\n\t\n5,6\n",
    '"1\n1",2\n3,4\n',
    '"1\r\n1",2\r\n3,4\r\n',
    '"1\r1",2\r3,4\r',
    '"a\nb"\r"c\nd"\r1,2\r',
    '1,"a\nb"\r2,"c\nd"\r3,4\r',
    '1,x"\r2,"a\nb"\r3,c\r',
    '"\n","\r\n"\n"\r",""\n',
    '1,"\r"\n2,"\n"\r\n',
    '"\r""\n",1\n2,3\n',
    '5" pipe,2\n3,4\n',
    '5" pipe,"a\nb"\n3,6" pipe\n',
    '"a"x,2\n3,4\n',
    '"a"x","b\n3,4\n"\n5,6\n',
    '"a" ,"b"\n"c", "d\n5,6\n',
    '"","a"\n"",""\n',
    '""""\n"""",""""""\n',
    '"a""b\n""c",2\n3,4\n',
    '"a""","""b"\n3,4\n',
    '""a"",2\n3,4\n',
    '"",\n,""\n,\n',
    '""\n""""\n1,2\n',
    '1,2\n"3,4\n5,6\n',
    '1,2\n3,"4',
    '1,2\n3,"',
    '1,2\n3,"4\n5,6"" \n',
    '1,"x\ny","z\n5,6\n',
    "1,2\0\n3,4\n",
    "\0\n1,2\n",
    '1,"\0\n"\n3,4\n',
    "1\n1,2\n1,2,3\n1,2,3,4\n,\n",
    "\ufeff1,2\n\ufeff3,4\n",
    "\ufeff\n\ufeff,\n",
    "é,2\nß,日本\n",
    "1,\u2028\n2,\x85\n3,\x0b\x0c\x1c\n",
    " 1 , 2 \n",
    "end,\n,end\n",
    "",
    "\n",
    "\r",
]


@pytest.mark.parametrize("n_columns", [1, 2, 3])
@pytest.mark.parametrize("text", TRAPS, ids=lambda text: repr(text)[:40])
def test_known_traps_read_the_same_at_every_block_size(text: str, n_columns: int) -> None:
    for block_bytes in [*range(1, len(text.encode()) + 2), 200]:
        assert_read_as_whole(text, n_columns, block_bytes)


FRAGMENTS = [
    *'a1 "",,\n\r\t\0é\ufeff\u2028',
    "\r\n",
    '"\n',
    '\n"',
    ',"',
    '",',
    '""',
    '"a\nb"',
    '"a\r\nb",',
    '5" p',
    '"a"x',
]


@given(
    text=st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join),
    n_columns=st.integers(1, 3),
    sep=st.sampled_from([",", "\t"]),
    block_bytes=st.one_of(st.integers(1, 12), st.sampled_from(SIZES)),
)
@tried_on(1500)
def test_any_text_reads_as_the_csv_module_reads_the_whole(
    text: str, n_columns: int, sep: str, block_bytes: int
) -> None:
    assert_read_as_whole(text, n_columns, block_bytes, sep)


CELL = st.one_of(
    st.sampled_from(["", "1", "7.25", "nan", "a", " ", '5" pipe', 'say "x"', "é", '"', "\ufeff"]),
    st.text(alphabet='ab" ,\n\r\té\0', max_size=5),
)


@given(
    rows=st.lists(st.lists(CELL, min_size=2, max_size=2), min_size=1, max_size=12),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    block_bytes=st.one_of(st.integers(1, 40), st.sampled_from(SIZES)),
)
@tried_on(500)
def test_what_a_csv_writer_wrote_is_read_back(
    rows: list[list[str]], end: str, block_bytes: int
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    # Quoted only where need be, a line end must be the file's own: before Python 3.13 the writer
    # leaves others bare.
    plain = [[cell.replace("\r", "").replace("\n", end) for cell in cells] for cells in rows]
    csv.writer(text, lineterminator=end).writerows(plain)
    cells = [cells for _, cells, _ in read(text.getvalue().encode(), 2, block_bytes)]
    assert cells == rows + plain


PIECES = [b"a", b",", b'"', b"\n", b"\r", b"\0", b"\xc3\xa9", b"\xc3", b"\xa9", b"\xff"]
# A lone surrogate, an overlong NUL, and what lies beyond Unicode: no UTF-8, though they look it.
PIECES += [b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x92\xa7", b"\xef\xbb\xbf"]


@given(
    data=st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join),
    block_bytes=st.sampled_from(SIZES),
)
@tried_on(800)
@example(data=b'a,"\n\xff"\n', block_bytes=3)
@example(data=b"a,b\r\n\r\n\xff,b\r\n", block_bytes=4)
def test_first_byte_that_is_not_utf_8_is_named_by_its_line(data: bytes, block_bytes: int) -> None:
    # Latin-1 keeps the shape of the rows, so this tells whether quotes are refused.
    is_refused = isinstance(read_whole(data.decode("latin-1"), 2), tuple)
    bad = first_bad_byte(data)
    if bad is None:
        assert_read_as_whole(data.decode(), 2, block_bytes)
        return
    with pytest.raises(InputError) as caught:
        read(data, 2, block_bytes)
    if not is_refused:
        assert f"byte 0x{data[bad]:02X} is not UTF-8" in str(caught.value)
        assert caught.value.line == FIRST_LINE + count_lines(data[:bad])


def first_bad_byte(data: bytes) -> int | None:
    try:
        data.decode()
    except UnicodeDecodeError as exc:
        return exc.start
    return None


@given(
    text=st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join),
    block_bytes=st.sampled_from(SIZES),
)
@tried_on(300)
def test_blocks_join_to_the_text_and_know_their_lines(text: str, block_bytes: int) -> None:
    data = text.encode()
    if isinstance(read_whole(text, 2), tuple):
        return
    blocks = split(data, block_bytes)
    joined = b"".join(block.data for block in blocks)
    assert joined in (data, data + b"\n")
    line = FIRST_LINE
    for block in blocks:
        assert block.line == line
        line += count_lines(block.data)


@pytest.mark.parametrize(
    "row",
    ["1,2\n", "1,2\r\n", "1,2\r", '"a\nb",2\n', '"a\r\nb",2\r\n', '1,"a\nb"\r', '5" p,"a\nb"\r'],
    ids=repr,
)
def test_block_holds_no_more_than_was_read_and_one_row(row: str) -> None:
    blocks = split(row.encode() * 300, 64)
    assert max(len(block.data) for block in blocks) <= 64 + 2 * len(row)
    assert b"".join(block.data for block in blocks).rstrip() == (row.encode() * 300).rstrip()


def test_start_is_read_before_the_stream() -> None:
    blocks = split(b",2\n3,4\n", 100, start=b"1")
    assert b"".join(block.data for block in blocks) == b"1,2\n3,4\n"


def test_line_end_cut_in_two_counts_once() -> None:
    # The CR is the last byte of one read, the LF the first of the next.
    blocks = split(b"1,2\r\n3,4\r\n", 4)
    assert [(block.data, block.line) for block in blocks] == [(b"1,2\r\n", 2), (b"3,4\r\n", 3)]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", 0),
        (b"a", 0),
        (b"a\n", 1),
        (b"a\r\n", 1),
        (b"a\r", 1),
        (b"a\r\rb", 2),
        (b"a\n\rb", 2),
        (b"a\r\n\r\nb\n\r", 4),
    ],
)
def test_lf_crlf_and_lone_cr_each_end_a_line(data: bytes, lines: int) -> None:
    assert count_lines(data) == lines


def test_rows_after_a_quoted_line_end_start_further_down() -> None:
    rows = read(b'"a\nb\nc",1\r\n2,3\r\n"d\r\ne","f\rg"\r\n4,5\r\n', 2, 1 << 20)
    assert [line for line, _, _ in rows] == [2, 5, 6, 9]


def test_cells_are_kept_as_written() -> None:
    assert read(b' 1 ,NA\nnull,""\n', 2, 100) == [
        (2, [" 1 ", "NA"], None),
        (3, ["null", ""], None),
    ]


def test_blank_lines_are_no_rows_but_count_as_lines() -> None:
    rows = read(b"\n1,2\n\n   \n3,4\n", 2, 100)
    assert [(line, cells) for line, cells, _ in rows] == [(3, ["1", "2"]), (6, ["3", "4"])]


def test_block_of_blank_lines_parses_to_no_row() -> None:
    for n_columns in (1, 2):
        parsed = parse(b"\n\r\n\n", n_columns)
        assert cells_of(parsed) == [[]] * n_columns
        assert all(column.type == pa.string() for column in parsed.columns.values())
        assert (len(parsed.lines), parsed.findings) == (0, {})


def test_row_of_separators_is_a_row_of_empty_cells() -> None:
    assert rows_of(parse(b",,\n", 3)) == [(2, ["", "", ""], None)]
    assert rows_of(parse(b"\t\t\n", 3, sep="\t")) == [(2, ["", "", ""], None)]


def test_only_column_may_hold_blanks() -> None:
    assert [cells for _, cells, _ in rows_of(parse(b' \n""\n\n1\n', 1))] == [[" "], [""], ["1"]]


def test_ragged_rows_are_found_and_the_others_stay_whole() -> None:
    data = (FAULTY / "ragged_rows.csv").read_bytes().partition(b"\n")[2]
    parsed = parse(data, 3)
    assert parsed.findings == {
        1: RowFinding("ragged_row", {"n": 2, "n_columns": 3}),
        2: RowFinding("ragged_row", {"n": 4, "n_columns": 3, "extra": "'spilled'"}),
    }
    assert cells_of(parsed)[2] == ["2.5", "", "2.2", "3.0"]
    assert parsed.lines.tolist() == [2, 3, 4, 5]


def test_finding_of_a_row_with_another_separator_names_it() -> None:
    data = (FAULTY / "separator_changes.csv").read_bytes().partition(b"\n")[2]
    findings = parse(data, 3, sep=";").findings
    assert {row: finding.rule for row, finding in findings.items()} == {
        1: "ragged_row",  # with commas it would have four
        3: "other_separator",
    }
    assert findings[3].values == {"n": 1, "n_columns": 3, "other": "'|'"}


@pytest.mark.parametrize(
    ("row", "sep", "other"),
    [(b"7,1;2,5", ",", ";"), (b"7;2", ",", ";"), (b"7\t2", ";", "\t"), (b"7,2", "|", ",")],
)
def test_each_separator_may_be_the_other_one(row: bytes, sep: str, other: str) -> None:
    (finding,) = parse(row + b"\n", 2, sep=sep).findings.values()
    assert finding.rule == "other_separator"
    assert finding.values["other"] == repr(other)


@pytest.mark.parametrize("row", [b"7;2;3", b'"7\n;2"', b"7"])
def test_row_that_fits_with_no_separator_is_ragged(row: bytes) -> None:
    (finding,) = parse(row + b"\n", 2).findings.values()
    assert finding.rule == "ragged_row"


@pytest.mark.parametrize("row", [b"W;7,1;2,5;3,1;;\n", b"W;7,1;2,5;3,1;4,4;\n"])
def test_decimal_commas_do_not_part_a_row(row: bytes) -> None:
    assert parse(row, 4, ";").findings[0].rule == "ragged_row"


def test_row_of_a_table_of_one_column_has_no_other_separator() -> None:
    (finding,) = parse(b"1,5\n", 1).findings.values()
    assert finding == RowFinding("ragged_row", {"n": 2, "n_columns": 1, "extra": "'5'"})


def test_nul_byte_is_found_in_its_row_alone() -> None:
    parsed = parse((FAULTY / "nul_byte.csv").read_bytes().partition(b"\n")[2], 3)
    assert parsed.findings == {1: RowFinding("nul_byte", {})}
    assert cells_of(parsed)[1] == ["180", "1\x0075", "190"]


def test_nul_byte_in_a_ragged_row_is_told_first() -> None:
    assert parse(b"\0\n", 2).findings[0].rule == "nul_byte"


def test_byte_order_mark_in_mid_file_stays_in_its_cell() -> None:
    # As left by `cat a.csv b.csv`; Arrow would drop it where a block happens to start with it.
    data = b"1,2\n" + codecs.BOM_UTF8 + b"3,4\n"
    for block_bytes in (4, 100):
        assert read(data, 2, block_bytes)[1][1] == ["\ufeff3", "4"]


@pytest.mark.parametrize(
    "data", [b"1,2\n3,4\n", b'"1","2"\r\n', b'"a\nb","c""d"\n', b"1,2\r3,4\r", b'5" p,"a"\n']
)
def test_clean_text_never_needs_the_csv_module(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rows_of(parse(data, 2))
    monkeypatch.delattr(csv_blocks, "_parse_row_by_row")
    assert rows_of(parse(data, 2)) == expected


@given(
    text=st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=20).map("".join),
    n_columns=st.integers(1, 3),
)
@tried_on(500)
def test_fast_and_slow_path_never_disagree(text: str, n_columns: int) -> None:
    if isinstance(read_whole(text, n_columns), tuple):
        return
    for block in split(text.encode(), 1 << 20):
        either = parse_block(block, rows_with(n_columns))
        slow = csv_blocks._parse_row_by_row(block, rows_with(n_columns))
        assert rows_of(either) == rows_of(slow)


def test_row_by_row_each_row_has_its_line() -> None:
    block = Block(b'\n"a\nb",1\n2\n', 10, START)
    parsed = csv_blocks._parse_row_by_row(block, rows_with(2))
    assert parsed.lines.tolist() == [11, 13]
    assert cells_of(parsed) == [["a\nb", "2"], ["1", ""]]


def test_bad_utf_8_is_named_by_its_line_in_the_file() -> None:
    data = (FAULTY / "not_utf8.csv").read_bytes().partition(b"\n")[2]
    for block_bytes in SIZES:
        with pytest.raises(InputError, match="line 4: byte 0xE2 is not UTF-8") as caught:
            read(data, 3, block_bytes)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize("block_bytes", SIZES)
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('1,2\n3,"4\n5,6\n7,8\n', 3),
        ('1,2\r\n3,"4\r\n5,6\r\n', 3),
        ('1,2\r3,"4\r5,6\r', 3),
        ('"', 2),
        ('1,2\n3,"4\n5,"\n"6,7\n', 5),
        ('"a\nb",1\n"c\nd","e\nf\n', 5),
        ('"a\r\nb","c\rd","e\nf\n', 4),
        ('"a\r","\nb","e\nf\n', 4),
        ('5" pipe,1\n\n2,"x\n', 4),
    ],
)
def test_open_quote_is_named_by_the_line_where_it_opens(
    text: str, line: int, block_bytes: int
) -> None:
    with pytest.raises(InputError, match="a quoted cell opens here and is never closed") as caught:
        read(text.encode(), 2, block_bytes)
    assert caught.value.line == line
    assert "double it" in str(caught.value.hint)


def test_rows_before_an_open_quote_are_still_yielded() -> None:
    data = (FAULTY / "open_quote.csv").read_bytes().partition(b"\n")[2]
    stream = io.BufferedReader(io.BytesIO(data))
    blocks = split_blocks(b"", stream.read, rows_with(2, path="r.csv"), START, 8)
    first = Block(b"7.1,180,2.5\n", 2, Position(12, 3), quotes_fit=True)
    assert next(blocks) == first
    with pytest.raises(InputError, match=r"r\.csv, line 3: a quoted cell opens here"):
        list(blocks)


@pytest.fixture
def short_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_blocks, "MAX_ROW_BYTES", 100)


@pytest.mark.usefixtures("short_rows")
class TestRowsHaveALimit:
    @pytest.mark.parametrize("before", ["", "1,2\n" * 40, '5" p,2\n' * 40], ids=len)
    def test_open_quote_is_refused_before_the_file_is_read_to_its_end(self, before: str) -> None:
        data = before + '"a",\n1,"' + "x,y\n" * 5000
        stream = io.BufferedReader(io.BytesIO(data.encode()), 16)
        line = FIRST_LINE + before.count("\n") + 1
        with pytest.raises(InputError, match=f"line {line}: a quoted cell opens here"):
            list(split_blocks(b"", stream.read, rows_with(2), START, 16))
        assert stream.tell() < len(before) + 200

    def test_open_quote_is_named_even_where_the_cut_falls_into_a_character(self) -> None:
        for shift in range(3):
            with pytest.raises(InputError, match="line 2: a quoted cell opens here"):
                split(b"x" * shift + b',"' + "日".encode() * 5000, 16)

    def test_row_without_end_is_refused_as_too_long(self) -> None:
        with pytest.raises(InputError, match="line 3: the row is longer than") as caught:
            split(b"1,2\n" + b"x" * 5000, 16)
        assert "line ends" in str(caught.value.hint)

    def test_long_file_of_short_rows_passes(self) -> None:
        for row in (b"1,2\n", b"1,2\r", b'"a\nb",2\r\n', b'1,"a\nb"\r', b'1"x,"a\nb"\r'):
            joined = b"".join(block.data for block in split(row * 100, 16))
            assert joined.rstrip() == (row * 100).rstrip()

    def test_row_up_to_the_limit_passes(self) -> None:
        row = b'"' + b"x\n" * 40 + b'",2\n'
        assert len(read(row * 5, 2, 16)) == 5


def test_cell_of_many_megabytes_is_read() -> None:
    # The csv module's own limit on a cell must not strike before MAX_ROW_BYTES does.
    cell = "x" * (1 << 20)
    for tail in ('"\n', '"x\n'):
        rows = read(f'1,"{cell}{tail}'.encode(), 2, 1 << 18)
        assert [len(text) for text in rows[0][1]] == [1, len(cell) + len(tail) - 2]


@pytest.mark.slow
def test_open_quote_beyond_the_true_limit_is_refused() -> None:
    data = b'1,2\n3,"' + "ü7,8\n".encode() * (csv_blocks.MAX_ROW_BYTES // 6 + 1_000_000)
    with pytest.raises(InputError, match="line 3: a quoted cell opens here"):
        split(data, csv_blocks.BLOCK_BYTES)


def test_row_beyond_the_true_limit_is_refused() -> None:
    with pytest.raises(InputError, match="line 3: the row is longer than 16 MiB"):
        split(b"1,2\n" + b"x" * (21 << 20), csv_blocks.BLOCK_BYTES)


def test_large_text_with_all_sorts_of_rows_reads_as_a_whole() -> None:
    rng = random.Random(5)
    kinds = ["7.1,180", '"a\nb",1', '5" p,"x"', "", '"say ""x""",é', "1", "1,2,3", ",", '"\r\n",2']
    text = "".join(rng.choice(kinds) + rng.choice(["\n", "\r\n"]) for _ in range(20_000))
    expected = read_whole(text, 2)
    for block_bytes in (997, 65_536, 1 << 22):
        assert read(text.encode(), 2, block_bytes) == expected
