"""Decimal marks and thousands separators: found in the file, or refused with both readings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from paths import FAULTY

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.samples.number_marks import SLIPS, describe_marks, find_marks
from waterflow_cli.samples.schemas import parse_schema
from waterflow_cli.tables.numbers import NumberMarks
from waterflow_cli.tables.reading import open_table
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.tables.table import Batch
from waterflow_cli.validation.row_checker import RowChecker


def find(*columns: list[str], **options: str) -> NumberMarks:
    """Find the marks of columns a, b, … whose rows start on line 2."""
    names = "abcdef"[: len(columns)]
    cells = {name: pa.array(column) for name, column in zip(names, columns, strict=True)}
    batch = Batch(columns=cells, lines=np.arange(2, 2 + len(columns[0])))
    return find_marks(batch, {name: name for name in names}, "t.csv", ReadingOptions(**options))  # type: ignore[arg-type]


DECIMAL_COMMA = [
    ["1,5"],
    ["7,12", "180"],
    ["0,125"],
    ["1,2345"],
    ["1234,567"],
    [",5"],
    ["7,"],
    ["-0,5"],
    ["<0,5"],
    ["< 0,5", "7"],
    ["> 1200,5"],
    ["1 234,5"],
    ["1\u202f234,567"],
    ["1,5e-3"],
    ["ND<0,5"],
    ["nd < 0,5"],
    ["1,234", "1,5"],
    ["1,234", "0,234"],
]


@pytest.mark.parametrize("cells", DECIMAL_COMMA, ids=repr)
def test_decimal_comma_is_found(cells: list[str]) -> None:
    assert find(cells) == NumberMarks(",", "", find(cells).groups)


@pytest.mark.parametrize(
    "cells", [["7.5"], ["7"], [""], ["x"], ["1.234"], ["<0.5"], ["ND"], ["a, b"], ["7,1 mg/L, x"]]
)
def test_decimal_point_is_what_else_it_is(cells: list[str]) -> None:
    assert find(cells) == NumberMarks()


@pytest.mark.parametrize(
    ("cells", "decimal", "thousands"),
    [
        (["1.234,5"], ",", "."),
        (["1.234.567,5"], ",", "."),
        (["1.234.567", "0,5"], ",", "."),
        (["1.234.567", "12.345"], ",", "."),
        (["1,234.5"], ".", ","),
        (["1,234,567"], ".", ","),
        (["1,234", "1,234.5"], ".", ","),
        (["1,234", "1,234,567"], ".", ","),
        (["<1,234,567"], ".", ","),
        (["-1,234.50"], ".", ","),
    ],
)
def test_comma_or_point_between_groups_is_found(
    cells: list[str], decimal: str, thousands: str
) -> None:
    assert find(cells) == NumberMarks(decimal, thousands)


@pytest.mark.parametrize("mark", [" ", "\u00a0", "\u202f", "'", "\u2019"], ids=ascii)
def test_mark_that_can_be_nothing_else_is_told(mark: str) -> None:
    assert find([f"1{mark}234", "7"]) == NumberMarks(groups=mark)


@pytest.mark.parametrize(
    "columns",
    [(["7", " 204"], ["1", "130"]), (["7.1", "12"], [" 204.9", " 300"]), (["12", " ", "130"],)],
    ids=repr,
)
def test_end_of_one_cell_and_start_of_the_next_are_no_groups(columns: tuple[list[str]]) -> None:
    assert find(*columns) == NumberMarks()


@pytest.mark.parametrize(
    ("cells", "line", "first", "second", "mark"),
    [
        (["1,234"], 2, "1.234", "1234", ","),
        (["7", "12,345", "1,234"], 3, "12.345", "12345", ","),
        (["<1,234"], 2, "<1.234", "<1234", ","),
        (["-1,234", "7"], 2, "-1.234", "-1234", ","),
        (["7,5", "1.234"], 3, "1.234", "1234", "."),
    ],
)
def test_cell_that_may_be_two_numbers_is_refused(
    cells: list[str], line: int, first: str, second: str, mark: str
) -> None:
    with pytest.raises(InputError, match=f"is {first} or {second}, and nothing") as caught:
        find(cells)
    assert str(caught.value).startswith(f"t.csv, line {line}: column a: ")
    assert caught.value.hint == f"Say which: --decimal {mark} or --thousands {mark}"
    assert caught.value.exit_code == 3


def test_other_columns_tell_what_one_does_not() -> None:
    assert find(["1,234"], ["0,5"]) == NumberMarks(",")
    assert find(["1,234"], ["1,234,567"]) == NumberMarks(".", ",")


@pytest.mark.parametrize("column", ["a", "b"])
def test_two_decimal_marks_are_refused_with_both_places(column: str) -> None:
    columns = [["7", "7", "1,5"], ["2.5", "7", "7"]]
    with pytest.raises(InputError, match="has a decimal comma") as caught:
        find(*(columns if column == "a" else columns[::-1]))
    other = "b" if column == "a" else "a"
    assert str(caught.value) == (
        f"t.csv, line 4: column {column}: '1,5' has a decimal comma, and '2.5' in line 2, column "
        f"{other}, a decimal point."
    )
    assert caught.value.hint == "Say which one it is: --decimal comma or --decimal point"


@pytest.mark.parametrize(
    ("cells", "is_slip"),
    [
        (["1,5"] + ["1.5"] * 19, True),
        (["1,5"] + ["1.5"] * 18, False),
        (["1.5"] + ["1,5"] * 19, True),
    ],
)
def test_few_cells_with_the_other_mark_are_slips(cells: list[str], is_slip: bool) -> None:
    assert SLIPS == 0.05
    if is_slip:
        assert find(cells).decimal == cells[1][1]
    else:
        with pytest.raises(InputError, match="decimal comma"):
            find(cells)


@pytest.mark.parametrize(
    ("options", "decimal", "thousands"),
    [
        ({"decimal": ","}, ",", ""),
        ({"decimal": "."}, ".", ""),
        ({"thousands": ","}, ".", ","),
        ({"thousands": "."}, ",", "."),
        ({"decimal": ",", "thousands": "."}, ",", "."),
        ({"decimal": ".", "thousands": ","}, ".", ","),
    ],
)
@pytest.mark.parametrize("cells", [["1,5", "1.5"], ["7"], ["1,23"]])
def test_mark_that_is_told_is_taken(
    cells: list[str], options: dict[str, str], decimal: str, thousands: str
) -> None:
    assert find(cells, **options) == NumberMarks(decimal, thousands)


def test_decimal_that_is_told_settles_the_unclear_cell() -> None:
    assert find(["1,234"], decimal=",") == NumberMarks(",")
    assert find(["1,234"], decimal=".").decimal == "."
    assert find(["1.234"], decimal=",").decimal == ","


@pytest.mark.parametrize("mark", [",", "."])
def test_one_mark_for_both_is_wrong_usage(mark: str) -> None:
    with pytest.raises(UsageError, match="--decimal and --thousands are the same mark") as caught:
        find(["7"], decimal=mark, thousands=mark)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        (NumberMarks(), []),
        (NumberMarks(","), ["decimal ','"]),
        (NumberMarks(",", "."), ["decimal ','", "thousands '.'"]),
        (NumberMarks(".", ",", " \u202f"), ["thousands ','", "thousands ' '", "thousands U+202F"]),
    ],
)
def test_marks_are_described(marks: NumberMarks, words: list[str]) -> None:
    assert describe_marks(marks) == words


@given(
    st.lists(st.sampled_from(["1,5", "1.5", "1,234", "1.234,5", "7", "", "<0,5"]), min_size=1),
    st.randoms(use_true_random=False),
)
@tried_on(100)
def test_order_of_the_cells_does_not_matter(cells: list[str], random: object) -> None:
    def outcome(cells: list[str]) -> str:
        try:
            return str(find(cells))
        except InputError as exc:
            return str(exc.hint)

    shuffled = list(cells)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert outcome(shuffled) == outcome(cells)


# --- in files -------------------------------------------------------------------------------------

SCHEMA = parse_schema(
    "columns:\n" + "".join(f"  {name}: {{dtype: float64, nullable: true}}\n" for name in "ab"),
    "s.yaml",
)


def messages(path: Path, block_bytes: int = 1 << 20, **options: str) -> tuple[list[str], str]:
    reading = ReadingOptions(**options)  # type: ignore[arg-type]
    with open_table(str(path), SCHEMA.header, reading, block_bytes=block_bytes) as table:
        checker = RowChecker(SCHEMA, table, reading)
        found = [
            f"line {f.line}: {f.message}"
            for b in table.batches()
            for f in checker.check(b).findings()
        ]
    return found, checker.reading


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "mixed_decimals.csv",
            r"line 2: column .* a decimal comma, and '2\.4' in line 3, column Turb",
        ),
        ("unclear_thousands.csv", r"line 2: column \w+: '(1,234|2,150)' is \d\.\d+ or \d+, and"),
    ],
)
def test_faulty_file_is_refused_with_its_places(name: str, says: str) -> None:
    columns = "ph: {}, Solids: {}, Turbidity: {}, Conductivity: {}"
    options = "{dtype: float64, nullable: true, required: false}"
    aliases = "metadata: {aliases: {Turbidity: [turbidité]}}"
    schema = parse_schema(f"columns: {{{columns.replace('{}', options)}}}\n{aliases}\n", "s.yaml")
    with (
        pytest.raises(InputError, match=says) as caught,
        open_table(str(FAULTY / name), schema.header) as table,
    ):
        RowChecker(schema, table)
    assert "--decimal" in str(caught.value.hint)


def test_slip_is_a_finding_of_its_row(tmp_path: Path) -> None:
    path = tmp_path / "river.csv"
    path.write_text("a;b\n" + "1,5;2,5\n" * 20 + "1.5;2,5\n")
    for size in (1, 100, 1 << 20):
        found, reading = messages(path, size)
        assert found == ["line 22: '1.5' is not a number (decimal mark ',')."]
        assert reading == "utf-8, separator ';', decimal ','"


@pytest.mark.parametrize(
    ("usual", "slip"),
    [("1,234.5", "0,500"), ("1,234.5", "7,5"), ("1.234,5", "0.125"), ("1.234,5", "12.5")],
)
@pytest.mark.parametrize("is_told", [False, True])
def test_slip_among_thousands_is_a_finding_and_never_a_thousandfold_value(
    usual: str, slip: str, is_told: bool, tmp_path: Path
) -> None:
    path = tmp_path / "river.csv"
    path.write_text("a;b\n" + f"{usual};7\n" * 30 + f"{slip};7\n")
    options = {"decimal": usual[5], "thousands": usual[1]} if is_told else {}
    assert messages(path, **options)[0] == [
        f"line 32: '{slip}' is not a number (decimal mark '{usual[5]}')."
    ]


def test_cell_of_the_other_kind_is_a_finding_where_the_mark_is_told(tmp_path: Path) -> None:
    path = tmp_path / "river.csv"
    path.write_text("a;b\n1,5;2.5\n3.5;4,5\n")
    assert messages(path, decimal=",")[0] == [
        "line 2: '2.5' is not a number (decimal mark ',').",
        "line 3: '3.5' is not a number (decimal mark ',').",
    ]
    assert messages(path, decimal=".")[0] == [
        "line 2: '1,5' is not a number (decimal mark '.').",
        "line 3: '4,5' is not a number (decimal mark '.').",
    ]


def test_unclear_cell_is_never_read_as_one_of_its_two_numbers_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "river.csv"
    path.write_text("a;b\n" + "1.5;2\n" * 30 + "1,234;2\n")
    with pytest.raises(InputError, match=r"line 32: column a: '1,234' is 1\.234 or 1234"):
        messages(path)


def test_marks_do_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    path = tmp_path / "river.csv"
    path.write_text("a;b\n" + "1,234;2\n" * 300 + "0,5;2\n")
    for size in (1, 50, 1 << 20):
        assert messages(path, size) == ([], "utf-8, separator ';', decimal ','")


def test_text_columns_tell_nothing_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "river.csv"
    path.write_text('a;b;note\n1.5;2.5;"1,5"\n')
    assert messages(path) == ([], "utf-8, separator ';'")
