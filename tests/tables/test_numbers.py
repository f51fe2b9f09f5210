"""The strict grammar of numbers: what is a number, what is missing, what is bad."""

from __future__ import annotations

import datetime as dt
import math
import re
import struct
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.tables.numbers import (
    LARGEST,
    MISSING_TOKENS,
    NumberColumn,
    NumberMarks,
    is_missing_text,
    missing_text,
    parse_numbers,
)

NUMBERS = {
    "0": 0.0,
    "-0": -0.0,
    "7": 7.0,
    "007": 7.0,
    "+1": 1.0,
    "-1.5": -1.5,
    ".5": 0.5,
    "5.": 5.0,
    "1e5": 1e5,
    "1E+5": 1e5,
    "2.5e-3": 2.5e-3,
    " 7 ": 7.0,
    "\t7": 7.0,
    "7\n": 7.0,
    "7\r\n": 7.0,
    "7\u00a0": 7.0,
    "\u202f7": 7.0,
    "9007199254740993": 9007199254740992.0,
    "1e-999": 0.0,
    "5e-324": 5e-324,
    "2.2250738585072011e-308": 2.2250738585072011e-308,
    "3.4028234663852886e38": 3.4028234663852886e38,
    "0" * 400 + "1": 1.0,
    "1 500": 1500.0,
    "-1 500.25": -1500.25,
    "1\u00a0500": 1500.0,
    "1\u202f234\u202f567.5": 1234567.5,
    "1'500": 1500.0,
    "12\u2019345": 12345.0,
    " 1 500 ": 1500.0,
}
MISSING = [*MISSING_TOKENS, "NaN", "NAN", "N/A", "NULL", "None", "ND", "N.D.", " ", "\u00a0", " - "]
BAD = [
    "1_0",
    "0x1F",
    "0b1",
    "１２",
    "٣",
    "½",
    "inf",
    "-inf",
    "Infinity",
    "-nan",
    "+nan",
    "nan(1)",
    "nan0",
    "true",
    "false",
    "2020-01-01",
    "12:30",
    "1,5",
    "1,500.0",
    "1 50",
    "15 00",
    "1500 000",
    "1 500 00",
    " 500 500 5",
    "1' 500",
    "1e999",
    "-1e999",
    "1" * 310,
    "1.7976931348623159e308",
    "3.4028234663852889e38",
    "-1e39",
    "<0.5",
    "< 0.5",
    "ND<0.5",
    "7 mg/L",
    "7%",
    "1e",
    "1e+",
    "e5",
    "1e5.0",
    ".",
    "-.",
    "+",
    "+-1",
    "--1",
    "- 1",
    "1.2.3",
    "1f",
    "1d",
    "1L",
    "1j",
    "1\n2",
    "7\x00",
    "7\u200b",
    "7\u2009",
    "\x0b7",
    "7\x0c",
    "\ufeff7",
    "unknown",
    "?",
]


def parse(*cells: str | None) -> NumberColumn:
    return parse_numbers(pa.array(cells, pa.string()))


def kind_of(column: NumberColumn, row: int) -> str:
    """Name what a cell was read as, checking that the three arrays agree."""
    missing, bad = bool(column.missing[row]), bool(column.bad[row])
    assert not (missing and bad)
    assert math.isnan(column.values[row]) == (missing or bad)
    return "missing" if missing else "bad" if bad else "number"


@pytest.mark.parametrize("others", [[], ["1"], ["x"], [""], ["nan"]], ids=repr)
@pytest.mark.parametrize(("text", "value"), NUMBERS.items(), ids=lambda part: repr(part)[:30])
def test_number_is_read_whatever_stands_beside_it(
    text: str, value: float, others: list[str]
) -> None:
    column = parse(text, *others)
    assert kind_of(column, 0) == "number"
    assert struct.pack("<d", column.values[0]) == struct.pack("<d", value)


@pytest.mark.parametrize("others", [[], ["1"], ["x"]], ids=repr)
@pytest.mark.parametrize("text", MISSING, ids=repr)
def test_missing_token_is_missing_whatever_stands_beside_it(text: str, others: list[str]) -> None:
    assert kind_of(parse(text, *others), 0) == "missing"


@pytest.mark.parametrize("others", [[], ["1"], ["x"]], ids=repr)
@pytest.mark.parametrize("text", BAD, ids=lambda text: repr(text)[:30])
def test_anything_else_is_bad_whatever_stands_beside_it(text: str, others: list[str]) -> None:
    assert kind_of(parse(text, *others), 0) == "bad"


def test_bad_cell_leaves_its_neighbours_alone() -> None:
    column = parse("1.5", "x", "", "nan", " 2 ", None, "1e999")
    kinds = [kind_of(column, row) for row in range(7)]
    assert kinds == ["number", "bad", "missing", "missing", "number", "missing", "bad"]
    assert column.values[[0, 4]].tolist() == [1.5, 2.0]


def test_null_is_missing_in_clean_and_in_dirty_text() -> None:
    assert parse("1", None).missing.tolist() == [False, True]
    assert parse("x", None).missing.tolist() == [False, True]
    assert parse("x", None).bad.tolist() == [True, False]


def test_arrays_can_be_written_to() -> None:
    for column in (parse("1", ""), parse("1", "x"), parse_numbers(pa.array([1.5]))):
        for array in (column.values, column.missing, column.bad):
            array[0] = 0
            assert array[0] == 0


def test_empty_column_gives_empty_arrays() -> None:
    column = parse()
    assert len(column.values) == len(column.missing) == len(column.bad) == 0


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_both_widths_of_text_read_the_same(kind: pa.DataType) -> None:
    column = parse_numbers(pa.array(["1", "x", None, " ND "], kind))
    assert column.missing.tolist() == [False, False, True, True]
    assert column.bad.tolist() == [False, True, False, False]
    assert parse_numbers(pa.array(["1", "2"], kind)).values.tolist() == [1.0, 2.0]


@given(st.floats(min_value=-LARGEST, max_value=LARGEST))
def test_repr_of_a_float_is_read_bit_for_bit(value: float) -> None:
    for others in ([], ["x"]):
        column = parse(repr(value), *others)
        assert kind_of(column, 0) == "number"
        assert struct.pack("<d", column.values[0]) == struct.pack("<d", value)


CELLS = st.one_of(
    st.sampled_from([*NUMBERS, *MISSING, *BAD]),
    st.text(alphabet="0123456789+-.eE ", max_size=8),
    st.text(alphabet="0159+-.eExXaAnNfFiI_,\t\r\n\x0b\x0c\x1f\u00a0\u2009\u0660", max_size=6),
    st.floats().map(repr),
    st.from_regex(
        r"[ \u00a0]?[+-]?[0-9]{1,4}[ '\u00a0\u2019][0-9]{3}([ '][0-9]{3})?(\.5?)? ?", fullmatch=True
    ),
    st.text(max_size=4),
)


def expected_kind(text: str) -> str:
    """Read the grammar once more, with Python's own means."""
    trimmed = text.strip(" \t\n\r\u00a0\u202f")
    if trimmed.lower() in MISSING_TOKENS:
        return "missing"
    if re.fullmatch(
        r"[+-]?[1-9]\d{0,2}([ \u00a0\u202f'\u2019])\d{3}(\1\d{3})*(\.\d*)?", trimmed, re.ASCII
    ):
        return "number"
    if re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", trimmed, re.ASCII) is None:
        return "bad"
    return "number" if abs(float(trimmed)) <= LARGEST else "bad"


def expected_value(text: str) -> float:
    return float(re.sub(r"[ \t\n\r\u00a0\u202f'\u2019]", "", text))


@given(st.lists(CELLS, min_size=1, max_size=8))
@tried_on(500)
def test_cells_follow_the_grammar_alone_and_together(cells: list[str]) -> None:
    together = parse(*cells)
    for row, text in enumerate(cells):
        alone = parse(text)
        kind = expected_kind(text)
        assert kind_of(alone, 0) == kind_of(together, row) == kind, text
        if kind == "number":
            assert alone.values[0] == together.values[row] == expected_value(text)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None, -3], pa.int64()),
        pa.array([1, None, -3], pa.int8()),
        pa.array([1.0, None, -3.0], pa.float32()),
        pa.array([1.0, float("nan"), -3.0], pa.float64()),
        pa.array(np.array([1.0, np.nan, -3.0], dtype=np.float16)),
        pa.array([Decimal("1.0"), None, Decimal("-3.0")], pa.decimal128(5, 2)),
        pa.array([Decimal("1.0"), None, Decimal("-3.0")], pa.decimal256(50, 2)),
    ],
    ids=lambda column: str(column.type),
)
def test_typed_numbers_are_taken_as_they_are(column: pa.Array) -> None:
    read = parse_numbers(column)
    assert [kind_of(read, row) for row in range(3)] == ["number", "missing", "number"]
    assert read.values[[0, 2]].tolist() == [1.0, -3.0]


def test_integer_beyond_a_double_is_rounded_to_the_nearest() -> None:
    assert parse_numbers(pa.array([2**60 + 1])).values.tolist() == [float(2**60 + 1)]
    assert parse_numbers(pa.array([2**64 - 1], pa.uint64())).values.tolist() == [float(2**64 - 1)]


def test_typed_infinity_is_bad_and_leaves_no_value() -> None:
    column = parse_numbers(pa.array([float("inf"), float("-inf"), 1.0, None]))
    assert [kind_of(column, row) for row in range(4)] == ["bad", "bad", "number", "missing"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([True, None]),
        pa.array([dt.datetime(2020, 1, 1), None]),
        pa.array([dt.date(2020, 1, 1), None]),
        pa.array([dt.timedelta(1), None]),
        pa.array([dt.time(1), None]),
        pa.array([b"1", None]),
        pa.array([[1], None]),
        pa.array([{"a": 1}, None]),
    ],
    ids=lambda column: str(column.type),
)
def test_other_types_hold_no_number(column: pa.Array) -> None:
    read = parse_numbers(column)
    assert [kind_of(read, row) for row in range(2)] == ["bad", "missing"]


def test_column_of_nulls_is_missing() -> None:
    assert parse_numbers(pa.array([None, None])).missing.tolist() == [True, True]


COMMA = NumberMarks(decimal=",")
WITH_MARKS = [
    ("1,5", COMMA, 1.5),
    ("-0,25", COMMA, -0.25),
    (",5", COMMA, 0.5),
    ("5,", COMMA, 5.0),
    ("1,5e-3", COMMA, 1.5e-3),
    ("7", COMMA, 7.0),
    ("1 234,5", COMMA, 1234.5),
    ("1\u202f234\u202f567,5", COMMA, 1234567.5),
    ("1.234,5", NumberMarks(",", "."), 1234.5),
    ("1.234", NumberMarks(",", "."), 1234.0),
    ("1.234.567", NumberMarks(",", "."), 1234567.0),
    ("1'234,5", NumberMarks(",", "."), 1234.5),
    ("1,234.5", NumberMarks(".", ","), 1234.5),
    ("1,234", NumberMarks(".", ","), 1234.0),
]
BAD_WITH_MARKS = [
    ("1.5", COMMA),
    ("1,234.5", COMMA),
    ("1.234", COMMA),
    ("1,2,3", COMMA),
    ("1.23,5", NumberMarks(",", ".")),
    ("1.2345", NumberMarks(",", ".")),
    ("1234.567", NumberMarks(",", ".")),
    (".234", NumberMarks(",", ".")),
    ("1,234,5", NumberMarks(".", ",")),
    ("12,34", NumberMarks(".", ",")),
    # No one writes 500 so: the mark is a decimal one here.
    ("0,500", NumberMarks(".", ",")),
    ("-00,500", NumberMarks(".", ",")),
    ("0.125", NumberMarks(",", ".")),
    ("012.125", NumberMarks(",", ".")),
    ("1,234 567", NumberMarks(".", ",")),
]


@pytest.mark.parametrize("others", [[], ["7"], ["x"], [""]], ids=repr)
@pytest.mark.parametrize(("text", "marks", "value"), WITH_MARKS, ids=repr)
def test_number_is_read_with_the_marks_of_its_file(
    text: str, marks: NumberMarks, value: float, others: list[str]
) -> None:
    column = parse_numbers(pa.array([text, *others]), marks)
    assert kind_of(column, 0) == "number"
    assert column.values[0] == value


@pytest.mark.parametrize("others", [[], ["7"], ["x"]], ids=repr)
@pytest.mark.parametrize(("text", "marks"), BAD_WITH_MARKS, ids=repr)
def test_number_with_other_marks_is_bad(text: str, marks: NumberMarks, others: list[str]) -> None:
    assert kind_of(parse_numbers(pa.array([text, *others]), marks), 0) == "bad"


@given(st.lists(st.decimals(-(10**7), 10**7, places=3), min_size=1, max_size=5))
def test_any_marks_give_the_same_values(values: list[Decimal]) -> None:
    for decimal, thousands in ((".", ""), (",", ""), (".", ","), (",", "."), (",", "\u202f")):
        swap = str.maketrans({",": thousands, ".": decimal})
        text = pa.array([f"{value:,}".translate(swap) for value in values])
        other = thousands if thousands in (",", ".") else ""
        read = parse_numbers(text, NumberMarks(decimal, other))
        assert read.values.tolist() == list(map(float, values))


@pytest.mark.parametrize("marks", [NumberMarks(), COMMA, NumberMarks(",", ".")], ids=repr)
def test_part_of_an_array_is_read_as_the_whole(marks: NumberMarks) -> None:
    whole = pa.array(["1,5", "x", "2.5", "", "1 234", "7"])
    read = parse_numbers(whole, marks)
    part = parse_numbers(whole.slice(2, 3), marks)
    np.testing.assert_array_equal(part.values, read.values[2:5])
    np.testing.assert_array_equal(part.missing, read.missing[2:5])


def test_one_cell_is_missing_where_a_column_s_is() -> None:
    cells = [*MISSING, *BAD, *NUMBERS]
    assert [is_missing_text(cell) for cell in cells] == missing_text(pa.array(cells)).tolist()


def test_missing_text_knows_tokens_blanks_and_nulls() -> None:
    column = pa.array(["", " ", None, "NA", " n/a ", "0", "x", "nan.", "none of it"])
    assert missing_text(column).tolist() == [True] * 5 + [False] * 4
