"""Rows against a schema: each rule, its words, and agreement with pandera itself."""

from __future__ import annotations

import datetime as dt
import math
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.errors
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from paths import FAULTY

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.schemas import TableSchema, load_schema, parse_schema
from waterflow_cli.tables.reading import open_table
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.validation.batches import CheckedBatch, Finding, row_reasons
from waterflow_cli.validation.row_checker import RowChecker


def schema_of(**columns: str) -> TableSchema:
    """Build a schema of nullable columns from their further options."""
    lines = [f"  {name}: {{nullable: true, {options}}}" for name, options in columns.items()]
    return parse_schema("\n".join(["columns:", *lines]), "mine.yaml")


class Checks:
    """Checks tables written as text, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def batches(
        self,
        schema: TableSchema,
        table: str | Path | dict[str, object],
        *,
        block_bytes: int = 1 << 20,
        renames: dict[str, str] | None = None,
        without_label: bool = False,
    ) -> list[CheckedBatch]:
        if isinstance(table, dict):
            path = self.folder / "river.parquet"
            pq.write_table(pa.table(table), path)
        elif isinstance(table, str):
            path = self.folder / "river.csv"
            path.write_text(table, "utf-8", newline="")
        else:
            path = table
        names = schema.header.renamed(renames or {})
        with open_table(str(path), names, block_bytes=block_bytes) as opened:
            checker = RowChecker(schema, opened, without_label=without_label)
            return [checker.check(batch) for batch in opened.batches()]

    def findings(
        self, schema: TableSchema, table: str | Path | dict[str, object], **options: object
    ) -> list[Finding]:
        return [
            finding
            for checked in self.batches(schema, table, **options)  # type: ignore[arg-type]
            for finding in checked.findings()
        ]

    def messages(
        self, schema: TableSchema, table: str | Path | dict[str, object], **options: object
    ) -> list[str]:
        """List the findings without the name of the file."""
        findings = self.findings(schema, table, **options)
        return [str(finding).partition(", ")[2] for finding in findings]

    def bad_lines(
        self, schema: TableSchema, table: str | Path | dict[str, object], **options: object
    ) -> list[int]:
        return [finding.line for finding in self.findings(schema, table, **options)]


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Checks:
    return Checks(tmp_path_factory.mktemp("checks"))


RULES = [
    ("dtype: float64", "x", "not_a_number", "'x' is not a number."),
    ("dtype: float64", "1_0", "not_a_number", "'1_0' is not a number."),
    ("dtype: float64", "<x", "not_a_number", "'<x' is not a number."),
    ("dtype: float64", "<-0.5", "not_a_number", "'<-0.5' is not a number."),
    (
        "dtype: float64",
        "<LQ",
        "no_limit",
        "'<LQ' gives no detection limit: --loq a=VALUE",
    ),
    ("dtype: float64", "1e999", "not_a_number", "'1e999' is not a number."),
    ("dtype: float64", " x ", "not_a_number", "' x ' is not a number."),
    ("dtype: int64", "1.5", "not_whole", "'1.5' is not a whole number."),
    ("dtype: int64", "x", "not_whole", "'x' is not a whole number."),
    (
        "dtype: 'datetime64[ns]'",
        "2024-02-30",
        "not_a_date",
        "'2024-02-30' is not a date (YYYY-MM-DD).",
    ),
    ("dtype: float64, nullable: false", "", "missing_value", "the value is missing."),
    ("dtype: float64, nullable: false", "ND", "missing_value", "the value is missing."),
    ("dtype: str, nullable: false", " ", "missing_value", "the value is missing."),
    (
        "dtype: float64, in_range: {min_value: 0, max_value: 14}",
        "15.2",
        "above_maximum",
        "15.2 is above 14.",
    ),
    (
        "dtype: float64, in_range: {min_value: 0, max_value: 14}",
        "-0.5",
        "below_minimum",
        "-0.5 is below 0.",
    ),
    (
        "dtype: float64, in_range: {min_value: 0, max_value: 14, include_min: false}",
        "0",
        "below_minimum",
        "0 is not above 0.",
    ),
    (
        "dtype: float64, in_range: {min_value: 0, max_value: 14, include_max: false}",
        "14.0",
        "above_maximum",
        "14.0 is not below 14.",
    ),
    ("dtype: float64, gt: 0", "0", "greater_than", "0 is not above 0."),
    ("dtype: float64, ge: 0", "-1", "greater_than_or_equal_to", "-1 is below 0."),
    ("dtype: float64, lt: 5", "5", "less_than", "5 is not below 5."),
    ("dtype: float64, le: 5", "5.1", "less_than_or_equal_to", "5.1 is above 5."),
    ("dtype: float64, isin: [0, 1]", "2", "not_allowed", "'2' is not one of 0, 1."),
    ("dtype: int64, isin: [0, 1]", "2", "not_allowed", "'2' is not one of 0, 1."),
    ("dtype: str, isin: [north, south]", "N", "not_allowed", "'N' is not one of north, south."),
    ("dtype: float64, notin: [7]", "7", "notin", "'7' fails notin([7])."),
    ("dtype: float64, eq: 7", "8", "equal_to", "'8' fails equal_to(7)."),
    (
        "dtype: str, str_matches: '^[A-Z]+$'",
        "a",
        "str_matches",
        "'a' fails str_matches('^[A-Z]+$').",
    ),
    ("dtype: str, str_startswith: W", "X1", "str_startswith", "'X1' fails str_startswith('W')."),
    (
        "dtype: str, str_length: {max_value: 2}",
        "abc",
        "str_length",
        "'abc' fails str_length(None, 2).",
    ),
    (
        "dtype: 'datetime64[ns]', ge: 2020-01-01",
        "2019-12-31",
        "greater_than_or_equal_to",
        "2019-12-31 is below 2020-01-01 00:00:00.",
    ),
]


@pytest.mark.parametrize(("options", "cell", "rule", "message"), RULES, ids=lambda part: part)
def test_rule_is_named_and_worded(
    options: str, cell: str, rule: str, message: str, checks: Checks
) -> None:
    options = options if "nullable" in options else f"{options}, nullable: true"
    schema = parse_schema(f"columns:\n  a: {{{options}}}\n", "mine.yaml")
    (finding,) = checks.findings(schema, f'b,a\n1,"{cell}"\n')
    assert (finding.line, finding.column, finding.value) == (2, "a", cell)
    assert finding.rule == rule
    assert finding.message == message
    assert str(finding) == f"{checks.folder}/river.csv, line 2, column a: {finding.message}"


@pytest.mark.parametrize(
    ("options", "cells"),
    [
        ("dtype: float64", ["7", " 7 ", "+1", "1e5", "nan", "", "N/A", "-"]),
        ("dtype: float64", ["1 500", "1'500", "<0.5", "< 0.5", "ND<0.5", ">200", "ND"]),
        ("dtype: int64", ["1", "1.0", "1e3", "-0", "", "99999999999999999999"]),
        ("dtype: float64, in_range: {min_value: 0, max_value: 14}", ["0", "14", "14.0", ""]),
        ("dtype: float64, isin: [0, 1]", ["0", "1", "1.0", "1e0", " 1", ""]),
        ("dtype: float64, gt: 0", ["1e-300", ""]),
        ("dtype: str", ["x", "7", "", " y "]),
        ("dtype: str, isin: [north]", ["north", "", "NA"]),
        ("dtype: str, str_matches: '[A-Z]'", ["Abc", "", "null"]),
        (
            "dtype: 'datetime64[ns]'",
            ["2024-02-29", "2024-02-29T10:00", "2024-02-29 10:00:30", " 2024-01-01 ", "", "NA"],
        ),
    ],
)
def test_good_and_missing_cells_pass(options: str, cells: list[str], checks: Checks) -> None:
    rows = "".join(f"{cell},x\n" for cell in cells)
    assert checks.messages(schema_of(a=options), f"a,b\n{rows}") == []


@pytest.mark.parametrize(
    "cell",
    ["now", "today", "NaT", "-1", "1", "01/02/2024", "2024-13-01", "2024-06-31", "2024-01-01x"],
)
def test_what_only_looks_like_a_date_to_pandas_is_none(cell: str, checks: Checks) -> None:
    schema = schema_of(a="dtype: 'datetime64[ns]'")
    assert [f.rule for f in checks.findings(schema, f"a,b\n{cell},1\n2024-01-01,1\n")] == [
        "not_a_date"
    ]


def test_dates_with_time_zones_compare_in_utc(checks: Checks) -> None:
    schema = schema_of(a="dtype: 'datetime64[ns]', ge: 2024-01-01, unique: true")
    cells = ["2024-01-01", "2024-01-01T00:30:00+01:00", "2024-01-01T00:00:00Z", "2024-01-01T01:00"]
    findings = checks.findings(schema, "a\n" + "\n".join(cells) + "\n")
    assert [(f.line, f.rule) for f in findings] == [
        (3, "greater_than_or_equal_to"),
        (4, "duplicate"),
    ]


def test_bad_cell_does_not_hide_what_else_is_wrong_in_its_column(checks: Checks) -> None:
    schema = schema_of(ph="dtype: float64, in_range: {min_value: 0, max_value: 14}")
    assert checks.messages(schema, "ph,b\nx,1\n15,1\n7,1\n-1,1\n") == [
        "line 2, column ph: 'x' is not a number.",
        "line 3, column ph: 15 is above 14.",
        "line 5, column ph: -1 is below 0.",
    ]


def test_faulty_cells_are_found_with_their_text(checks: Checks) -> None:
    schema = schema_of(ph="dtype: float64", Hardness="dtype: float64", Turbidity="dtype: float64")
    assert checks.messages(schema, FAULTY / "not_a_number.csv") == [
        "line 3, column ph: 'seven' is not a number.",
        "line 4, column Hardness: '1_90' is not a number.",
        "line 5, column Hardness: '1,81' is not a number (decimal mark '.').",
    ]


def test_column_is_named_as_the_file_writes_it(checks: Checks) -> None:
    schema = schema_of(ph="dtype: float64, gt: 0")
    assert checks.messages(schema, "P.H.\n-1\n") == ["line 2, column P.H.: -1 is not above 0."]


def test_ragged_and_nul_rows_are_findings_and_judged_no_further(checks: Checks) -> None:
    schema = schema_of(
        ph="dtype: float64, gt: 7.05", Hardness="dtype: float64", Turbidity="dtype: float64"
    )
    messages = checks.messages(schema, FAULTY / "ragged_rows.csv")
    assert messages == [
        "line 3: 2 fields where the header has 3",
        "line 4: 4 fields where the header has 3; beyond it: 'spilled'",
    ]
    (finding,) = checks.findings(schema, FAULTY / "nul_byte.csv")[:1]
    assert (finding.line, finding.column, finding.rule) == (3, "", "nul_byte")


def test_faulty_rows_do_not_count_as_missing_or_as_repeated(checks: Checks) -> None:
    schema = parse_schema(
        "columns:\n  a: {dtype: float64, unique: true}\n  b: {dtype: float64}\n"
        "metadata: {min_measurements: 2}\nunique: [a, b]\nchecks: {gt: 0}\n",
        "mine.yaml",
    )
    (checked,) = checks.batches(schema, "a,b\n-1\n-1,2,3\n1,2\n")
    assert [f.rule for f in checked.findings()] == ["ragged_row", "ragged_row"]
    assert not any(mask.any() for mask in checked.missing.values())
    assert checked.invalid.tolist() == [True, True, False]


def test_findings_come_by_line_then_by_column_of_the_file(checks: Checks) -> None:
    schema = schema_of(a="dtype: float64, ge: 0", b="dtype: float64, ge: 0, le: -2")
    findings = checks.findings(schema, "b,a\n-1,-1\n1,x\n\nx,-1\n1\n")
    assert [(f.line, f.column, f.rule) for f in findings] == [
        (2, "b", "greater_than_or_equal_to"),
        (2, "b", "less_than_or_equal_to"),
        (2, "a", "greater_than_or_equal_to"),
        (3, "b", "less_than_or_equal_to"),
        (3, "a", "not_a_number"),
        (5, "b", "not_a_number"),
        (5, "a", "greater_than_or_equal_to"),
        (6, "", "ragged_row"),
    ]


@given(
    cells=st.lists(
        st.tuples(*[st.sampled_from(["1", "-1", "x", "", "99"])] * 2), min_size=1, max_size=12
    ),
    limit=st.integers(0, 30),
)
@tried_on(150)
def test_limited_findings_are_the_first_of_all(
    cells: list[tuple[str, str]], limit: int, checks: Checks
) -> None:
    schema = schema_of(a="dtype: float64, ge: 0, le: 50", b="dtype: float64, ge: 0, isin: [1, 99]")
    (checked,) = checks.batches(schema, "a,b\n" + "".join(f"{a},{b}\n" for a, b in cells))
    found = checked.findings()
    assert checked.findings(limit) == found[:limit]
    assert found == sorted(found, key=lambda finding: (finding.line, finding.column))
    assert {finding.line for finding in found} == {
        row + 2 for row in np.flatnonzero(checked.invalid)
    }


def test_numbers_and_missing_cells_go_with_the_batch(checks: Checks) -> None:
    schema = schema_of(a="dtype: float64", n="dtype: int64", s="dtype: str")
    (checked,) = checks.batches(schema, "a,n,s\n1.5,2,x\nNA,,\nx,2.5,NA\n")
    assert set(checked.numbers) == {"a", "n"}
    np.testing.assert_array_equal(checked.numbers["a"], [1.5, np.nan, np.nan])
    assert {name: mask.tolist() for name, mask in checked.missing.items()} == {
        "a": [False, True, False],
        "n": [False, True, False],
        "s": [False, True, True],
    }
    assert checked.invalid.tolist() == [False, False, True]


def test_reasons_are_gathered_for_each_invalid_row(checks: Checks) -> None:
    schema = schema_of(a="dtype: float64, ge: 0", b="dtype: float64, le: 1")
    (checked,) = checks.batches(schema, "a,b\n-1,2\n1,1\n1\n")
    assert row_reasons(checked) == [
        "a: -1 is below 0; b: 2 is above 1",
        "1 field where the header has 2",
    ]


class TestMeasurements:
    schema = parse_schema(
        "columns:\n"
        "  a: {dtype: float64, nullable: true}\n"
        "  b: {dtype: float64, nullable: true, required: false}\n"
        "  c: {dtype: float64, nullable: true, required: false}\n"
        "  label: {dtype: float64, nullable: true, required: false}\n"
        "metadata: {label: label, min_measurements: 2}\n",
        "mine.yaml",
    )

    def test_row_with_too_few_is_a_finding_of_the_row(self, checks: Checks) -> None:
        (finding,) = checks.findings(self.schema, "a,b,c\n1,2,\n1,,NA\n,1,2\n")
        assert (finding.line, finding.column, finding.value) == (3, "", "")
        assert finding.rule == "too_few_measurements"
        assert finding.message == "1 measurement; at least 2 needed."

    def test_label_counts_for_nothing(self, checks: Checks) -> None:
        assert checks.bad_lines(self.schema, "a,b,label\n1,,1\n1,2,\n") == [2]

    def test_columns_that_the_file_lacks_count_as_missing(self, checks: Checks) -> None:
        assert checks.bad_lines(self.schema, "a,x\n1,2\n") == [2]

    def test_cell_that_is_no_number_is_no_missing_one(self, checks: Checks) -> None:
        rules = [f.rule for f in checks.findings(self.schema, "a,b\nx,1\n")]
        assert rules == ["not_a_number"]

    def test_bundled_schema_wants_one(self, checks: Checks) -> None:
        names = load_schema().measurements
        header = ",".join(names)
        rows = f"{header}\n{',' * 8}\n7{',' * 8}\n"
        assert checks.messages(load_schema(), rows) == [
            "line 2: 0 measurements; at least 1 needed."
        ]

    def test_schema_without_numeric_columns_wants_none(self, checks: Checks) -> None:
        schema = parse_schema(
            "columns: {s: {nullable: true}}\nmetadata: {min_measurements: 1}\n", "mine.yaml"
        )
        assert checks.messages(schema, "s,t\n,1\n") == []


class TestColumns:
    schema = parse_schema(
        "name: wells\nstrict: true\nmetadata: {label: safe, aliases: {ph: [acidity]}}\n"
        "columns:\n  ph: {dtype: float64}\n  depth: {dtype: float64}\n"
        "  note: {required: false, nullable: true}\n  safe: {dtype: int64, isin: [0, 1]}\n",
        "mine.yaml",
    )

    def test_missing_columns_are_named_with_what_the_file_has(self, checks: Checks) -> None:
        message = (
            r"river.csv, line 2: columns depth, safe not found in the header"
            r" \(utf-8, separator ','; it has: x, ph\)"
        )
        with pytest.raises(InputError, match=message) as caught:
            checks.batches(self.schema, "\nx,ph\n1,2\n")
        assert "--rename" in str(caught.value.hint)
        assert caught.value.exit_code == 3

    def test_image_is_no_table_of_any_schema(self, checks: Checks) -> None:
        with pytest.raises(InputError, match="is a picture") as caught:
            checks.batches(self.schema, FAULTY / "image.csv")
        assert caught.value.exit_code == 3

    def test_one_missing_column_is_told_in_the_singular(self, checks: Checks) -> None:
        with pytest.raises(InputError, match="column safe not found"):
            checks.batches(self.schema, "ph,depth\n1,2\n")

    def test_long_header_is_shortened(self, checks: Checks) -> None:
        header = ",".join(f"c{number}" for number in range(30))
        with pytest.raises(InputError, match=r"c10, c11, … 30 in all\)") as caught:
            checks.batches(self.schema, f"{header}\n{header}\n")
        assert "c12" not in str(caught.value)

    def test_strict_schema_refuses_other_columns(self, checks: Checks) -> None:
        with pytest.raises(InputError, match="line 1: column 'x' is not in the strict schema well"):
            checks.batches(self.schema, "ph,depth,safe,x\n1,2,1,3\n")

    def test_strict_schema_takes_optional_columns_and_aliases(self, checks: Checks) -> None:
        assert checks.messages(self.schema, "Acidity,note,depth,SAFE\n7,,2,1\n") == []

    def test_other_columns_pass_a_schema_that_is_not_strict(self, checks: Checks) -> None:
        assert checks.messages(schema_of(a="dtype: float64"), "x,a\n?,1\n") == []

    def test_renamed_column_is_found(self, checks: Checks) -> None:
        table = "pee haitch,depth,safe\n7,x,1\n"
        findings = checks.findings(self.schema, table, renames={"pee haitch": "ph"})
        assert [(f.column, f.rule) for f in findings] == [("depth", "not_a_number")]

    def test_two_columns_for_one_are_refused(self, checks: Checks) -> None:
        with pytest.raises(InputError, match="both stand for ph"):
            checks.batches(self.schema, "ph,acidity,depth,safe\n1,1,1,1\n")

    @pytest.mark.parametrize("table", ["ph,depth\n7,1\n", "ph,depth,safe\n7,1,x\n"])
    def test_without_the_label_it_is_neither_required_nor_checked(
        self, table: str, checks: Checks
    ) -> None:
        (checked,) = checks.batches(self.schema, table, without_label=True)
        assert checked.findings() == []
        assert "safe" not in checked.numbers

    def test_without_the_label_a_strict_schema_still_knows_its_name(self, checks: Checks) -> None:
        with pytest.raises(InputError, match="column 'unsafe' is not in the strict schema"):
            checks.batches(self.schema, "ph,depth,safe,unsafe\n7,1,1,1\n", without_label=True)

    def test_schema_without_a_label_can_be_checked_without_it(self, checks: Checks) -> None:
        schema = schema_of(a="dtype: float64")
        assert checks.bad_lines(schema, "a\nx\n", without_label=True) == [2]

    def test_reading_tells_columns_that_go_by_another_name(self, tmp_path: Path) -> None:
        path = tmp_path / "river.csv"
        path.write_text("Acidity,DEPTH,safe\n7,1,1\n")
        with open_table(str(path), self.schema.header) as table:
            checker = RowChecker(self.schema, table)
        assert checker.columns == {"ph": "Acidity", "depth": "DEPTH", "safe": "safe"}
        assert checker.reading == "utf-8, separator ','; 'Acidity' as ph"


class TestUnique:
    def test_later_row_with_a_value_seen_before_is_found(self, checks: Checks) -> None:
        schema = schema_of(a="dtype: float64, unique: true")
        assert checks.messages(schema, "a,b\n1,\n2,\n1.0,\n,\n,\nx,\nx,\n 1e0 ,\n") == [
            "line 4, column a: the value stood in an earlier row and must be unique.",
            "line 7, column a: 'x' is not a number.",
            "line 8, column a: 'x' is not a number.",
            "line 9, column a: the value stood in an earlier row and must be unique.",
        ]

    @pytest.mark.parametrize("block_bytes", [1, 5, 1 << 20])
    def test_values_are_compared_across_batches(self, block_bytes: int, checks: Checks) -> None:
        schema = schema_of(s="dtype: str, unique: true", d="dtype: 'datetime64[ns]'")
        table = "s,d\na,2024-01-01\nb,\na,\nb,\nc,\n"
        assert checks.bad_lines(schema, table, block_bytes=block_bytes) == [4, 5]

    @pytest.mark.parametrize("block_bytes", [1, 1 << 20])
    @pytest.mark.parametrize(
        "dtypes", [("float64", "float64"), ("str", "float64"), ("'datetime64[ns]'", "str")]
    )
    def test_rows_are_compared_by_several_columns_where_none_is_missing(
        self, dtypes: tuple[str, str], block_bytes: int, checks: Checks
    ) -> None:
        schema = parse_schema(
            f"columns:\n  a: {{dtype: {dtypes[0]}, nullable: true}}\n"
            f"  b: {{dtype: {dtypes[1]}, nullable: true}}\nunique: [a, b]\n",
            "mine.yaml",
        )
        table = "a,b\n2024,1\n2024,2\n2025,1\n2024,1\n,1\n,1\n2024,\n2024,\n2025,1\n"
        findings = checks.findings(schema, table, block_bytes=block_bytes)
        assert [(f.line, f.column, f.rule) for f in findings] == [
            (5, "", "duplicate"),
            (10, "", "duplicate"),
        ]

    def test_row_without_a_good_cell_is_equal_to_none(self, checks: Checks) -> None:
        schema = parse_schema(
            "columns:\n  a: {dtype: float64}\n  b: {dtype: str}\nunique: [a, b]\n", "mine.yaml"
        )
        rules = [f.rule for f in checks.findings(schema, "a,b\nx,1\ny,1\n")]
        assert rules == ["not_a_number", "not_a_number"]

    def test_optional_column_that_is_absent_is_left_out_of_the_comparison(
        self, checks: Checks
    ) -> None:
        schema = parse_schema(
            "columns:\n  a: {dtype: float64}\n  b: {dtype: str, required: false}\nunique: [a, b]\n",
            "mine.yaml",
        )
        assert checks.bad_lines(schema, "a,c\n1,2\n1,3\n2,2\n") == [3]
        assert checks.bad_lines(schema, "a,b\n1,2\n1,3\n2,2\n") == []

    def test_rows_are_not_compared_without_the_label_that_tells_them_apart(
        self, checks: Checks
    ) -> None:
        schema = parse_schema(
            "columns:\n  a: {dtype: float64}\n  y: {dtype: int64}\nunique: [a, y]\n"
            "metadata: {label: y}\n",
            "mine.yaml",
        )
        table = "a,y\n1,0\n1,1\n1,1\n"
        assert checks.bad_lines(schema, table) == [4]
        assert checks.bad_lines(schema, table, without_label=True) == []


class TestChecksOfRows:
    schema = parse_schema(
        "columns:\n  a: {dtype: float64, nullable: true}\n"
        "  b: {dtype: float64, nullable: true, required: false}\n"
        "checks: {in_range: {min_value: 0, max_value: 5}}\n",
        "mine.yaml",
    )

    def test_row_is_found_once_whichever_cell_fails(self, checks: Checks) -> None:
        table = "a,b\n1,1\n-1,1\n1,6\n-1,6\n,\n,1\nx,1\nx,9\n"
        findings = checks.findings(self.schema, table)
        assert [(f.line, f.column, f.rule) for f in findings] == [
            (3, "", "in_range"),
            (4, "", "in_range"),
            (5, "", "in_range"),
            (8, "a", "not_a_number"),
            (9, "", "in_range"),
            (9, "a", "not_a_number"),
        ]
        assert findings[0].message == "the row fails in_range(0, 5)."

    def test_columns_that_are_absent_are_not_judged(self, checks: Checks) -> None:
        assert checks.bad_lines(self.schema, "a\n1\n9\n") == [3]

    def test_check_that_does_not_fit_is_refused(self, checks: Checks) -> None:
        schema = parse_schema("columns:\n  s: {dtype: str}\nchecks: {gt: 0}\n", "mine.yaml")
        with pytest.raises(UsageError, match="check greater_than cannot judge a row"):
            checks.batches(schema, "s\nx\n")


def test_check_of_a_column_as_a_whole_is_refused(checks: Checks) -> None:
    schema = schema_of(a="dtype: float64, unique_values_eq: [1, 2]")
    with pytest.raises(UsageError, match="unique_values_eq judges a column as a whole") as caught:
        checks.batches(schema, "a\n1\n2\n")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("options", "cell"),
    [
        ("dtype: float64, str_matches: x", "1"),
        ("dtype: str, gt: 0", "x"),
        ("dtype: float64, in_range: {min_value: a, max_value: b}", "1"),
        ("dtype: 'datetime64[ns]', gt: 5", "2024-01-01"),
    ],
)
def test_check_that_does_not_fit_its_column_is_refused(
    options: str, cell: str, checks: Checks
) -> None:
    with pytest.raises(UsageError, match="cannot judge column a") as caught:
        checks.batches(schema_of(a=options), f"a\n{cell}\n")
    assert "dtype" in str(caught.value.hint)


def test_list_of_allowed_values_is_shortened(checks: Checks) -> None:
    schema = schema_of(a=f"dtype: float64, isin: {list(range(40))}")
    (message,) = checks.messages(schema, "a\n77\n")
    assert message.endswith("'77' is not one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … 40 in all.")


def test_list_of_twelve_is_shown_whole(checks: Checks) -> None:
    schema = schema_of(a=f"dtype: float64, isin: {list(range(12))}")
    (message,) = checks.messages(schema, "a\n77\n")
    assert message.endswith("is not one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11.")


@pytest.mark.parametrize(
    "options", ["dtype: str, str_matches: x", "dtype: float64, gt: 0", "dtype: float64, eq: 0"]
)
def test_column_of_nothing_but_missing_cells_passes_any_check(options: str, checks: Checks) -> None:
    assert checks.messages(schema_of(a=options), "a,b\n,1\nNA,2\n") == []


PARQUET = {
    "number": ({"a": [7.0, None, float("nan"), float("inf")]}, "dtype: float64", [5]),
    "integer": ({"a": [1, None, 2]}, "dtype: int64, isin: [1]", [4]),
    "whole floats": ({"a": [1.0, None, 2.5]}, "dtype: int64", [4]),
    "decimal text": ({"a": ["1.5", None, "x", " 2 "]}, "dtype: float64", [4]),
    "half floats": (
        {"a": pa.array([7.5, None, float("inf")], pa.float16())},
        "dtype: float64",
        [4],
    ),
    "lists as numbers": ({"a": [[1.5], None]}, "dtype: float64", [2]),
    "bytes as numbers": ({"a": [b"1.5", None]}, "dtype: float64", [2]),
    "booleans": ({"a": [True, None]}, "dtype: float64", [2]),
    "instants as numbers": ({"a": [dt.datetime(2024, 1, 1), None]}, "dtype: float64", [2]),
    "text": ({"a": ["x", None, "y"]}, "dtype: str, isin: [x]", [4]),
    "numbers as text": ({"a": [1, None, 2]}, "dtype: str, isin: ['1']", [4]),
    "lists as text": ({"a": [[1], None, []]}, "dtype: str", [2, 4]),
    "structs as text": ({"a": [{"x": 1}, None]}, "dtype: str", [2]),
    "bytes as text": ({"a": [b"\xff", None]}, "dtype: str", [2]),
    "lists as dates": ({"a": [[1], None]}, "dtype: 'datetime64[ns]'", [2]),
    "dates": (
        {"a": [dt.date(2024, 1, 1), None, dt.date(2019, 1, 1)]},
        "dtype: 'datetime64[ns]', gt: 2020-01-01",
        [4],
    ),
    "instants": (
        {"a": [dt.datetime(2024, 1, 1, 10, 30), None, dt.datetime(2019, 1, 1)]},
        "dtype: 'datetime64[ns]', gt: 2020-01-01",
        [4],
    ),
    "instants with a zone": (
        {"a": pa.array([dt.datetime(2024, 1, 1), None], pa.timestamp("us", "Europe/Paris"))},
        "dtype: 'datetime64[ns]', gt: 2020-01-01",
        [],
    ),
    "integers as dates": ({"a": [1, None]}, "dtype: 'datetime64[ns]'", [2]),
    "nulls": ({"a": pa.array([None, None])}, "dtype: str", []),
}


@pytest.mark.parametrize(("table", "options", "lines"), PARQUET.values(), ids=PARQUET)
def test_parquet_columns_of_any_type_are_judged(
    table: dict[str, object], options: str, lines: list[int], checks: Checks
) -> None:
    assert checks.bad_lines(schema_of(a=options), table) == lines
    nulls = [row + 2 for row, cell in enumerate(pa.array(table["a"]).to_pylist()) if cell is None]
    required = parse_schema(f"columns: {{a: {{{options}}}}}", "mine.yaml")
    findings = checks.findings(required, table)
    missing = [finding.line for finding in findings if finding.rule == "missing_value"]
    assert set(nulls) <= set(missing)
    assert all(f.value in ("", "nan") for f in findings if f.rule == "missing_value")


CELL = st.one_of(
    st.none(),
    st.sampled_from([0.0, 1.0, 7.0, 14.0, -0.0, 100.0, 1e-300]),
    st.floats(-20, 120, allow_nan=False),
)
PANDERA = parse_schema(
    """
columns:
  a: {dtype: float64, nullable: true, in_range: {min_value: 0, max_value: 14}}
  b: {dtype: float64, nullable: false, ge: 0, lt: 100}
  c: {dtype: float64, nullable: true, isin: [0, 1]}
  d:
    dtype: float64
    nullable: true
    checks: {in_range: {min_value: 0, max_value: 14, include_min: false, include_max: false}}
checks: {le: 110}
""",
    "mine.yaml",
)


def failing_rows(schema: TableSchema, frame: pd.DataFrame) -> set[int]:
    """Ask pandera itself which rows fail."""
    try:
        schema.pandera.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as exc:
        return set(exc.failure_cases["index"])
    return set()


# A row of zeros is a finding of waterflow's own.
ROW = st.tuples(CELL, CELL, CELL, CELL).filter(lambda row: any(row) or set(row) == {None})


@given(rows=st.lists(ROW, min_size=1, max_size=10), block_bytes=st.integers(1, 60))
@tried_on(80)
def test_rows_found_are_the_rows_that_fail_pandera_s_own_validation(
    rows: list[tuple[float | None, ...]], block_bytes: int, checks: Checks
) -> None:
    frame = pd.DataFrame(rows, columns=list("abcd"), dtype="float64")
    text = frame.to_csv(index=False)
    batches = checks.batches(PANDERA, text, block_bytes=block_bytes)
    invalid = np.concatenate([checked.invalid for checked in batches])
    assert set(np.flatnonzero(invalid)) == failing_rows(PANDERA, frame)
    # From Parquet the same, as no text lies between.
    (checked,) = checks.batches(PANDERA, {name: pa.array(frame[name]) for name in frame})
    assert checked.invalid.tolist() == invalid.tolist()


@pytest.mark.parametrize(
    "check",
    [
        "in_range: {min_value: 0, max_value: 14}",
        "in_range: {min_value: 0, max_value: 14, include_min: false}",
        "in_range: {min_value: 0, max_value: 14, include_max: false}",
        "ge: 0",
        "gt: 0",
        "le: 14",
        "lt: 14",
        "isin: [0, 1, 14]",
        "notin: [0, 14]",
        "eq: 7",
        "ne: 7",
        "gt: {min_value: 0, name: positive}",
    ],
)
@given(cells=st.lists(CELL, min_size=1, max_size=4))
@tried_on(30)
def test_single_check_finds_the_rows_that_fail_it_in_pandera(
    check: str, cells: list[float | None], checks: Checks
) -> None:
    schema = schema_of(a=f"dtype: float64, {check}")
    frame = pd.DataFrame({"a": cells}, dtype="float64")
    (checked,) = checks.batches(schema, {"a": pa.array(frame["a"])})
    assert set(np.flatnonzero(checked.invalid)) == failing_rows(schema, frame)


BOUNDS = {
    name: dict(column.checks[0].statistics or {})
    for name, column in load_schema().pandera.columns.items()
    if name != "Potability"
}
SAMPLE = st.fixed_dictionaries(
    {
        name: st.one_of(
            st.just(math.nan),
            st.floats(bound["min_value"], bound["max_value"]),
            st.sampled_from([bound["min_value"], bound["max_value"]]),
        )
        for name, bound in BOUNDS.items()
    }
    | {"Potability": st.sampled_from([0, 1])}
).filter(lambda sample: any(sample[name] > 0 for name in BOUNDS))


@given(
    rows=st.lists(SAMPLE, min_size=1, max_size=8),
    seed=st.integers(0, 99),
    block_bytes=st.integers(20, 400),
)
@tried_on(40)
def test_valid_table_stays_valid_when_its_rows_are_shuffled(
    rows: list[dict[str, float]], seed: int, block_bytes: int, checks: Checks
) -> None:
    for order in (rows, random.Random(seed).sample(rows, len(rows))):
        text = pd.DataFrame(order).to_csv(index=False)
        assert checks.messages(load_schema(), text, block_bytes=block_bytes) == []


LINES = st.sampled_from(
    [
        "7,1,x",
        "15,1,x",
        "x,1,y",
        ",,",
        "NA,2,",
        "7",
        "7,1,x,9",
        "",
        "  ",
        '7,"1\n",z',
        "7,1_0,é",
        "-1,,",
    ]
)


@given(lines=st.lists(LINES, min_size=1, max_size=12), block_bytes=st.integers(1, 60))
@tried_on(100)
def test_findings_do_not_depend_on_the_block_size(
    lines: list[str], block_bytes: int, checks: Checks
) -> None:
    schema = schema_of(
        a="dtype: float64, in_range: {min_value: 0, max_value: 14}",
        b="dtype: int64",
        c="dtype: str, unique: true",
    )
    text = "a,b,c\n7,1,first\n" + "\n".join(lines) + "\n"
    assert checks.findings(schema, text, block_bytes=block_bytes) == checks.findings(schema, text)


@given(lines=st.lists(LINES, min_size=1, max_size=8), seed=st.integers(0, 99))
@tried_on(100)
def test_reasons_of_a_row_do_not_depend_on_its_neighbours(
    lines: list[str], seed: int, checks: Checks
) -> None:
    schema = schema_of(a="dtype: float64, ge: 0", b="dtype: int64", c="dtype: str")

    def reasons(lines: list[str]) -> list[str]:
        # A last row, lest a line of one cell be a note below the rows.
        table = "a,b,c\n7,1,first\n" + "\n".join(lines) + "\n7,1,last\n"
        (checked,) = checks.batches(schema, table)
        return sorted(row_reasons(checked))

    assert reasons(random.Random(seed).sample(lines, len(lines))) == reasons(lines)


ZEROS = ("ph", "Hardness", "Solids", "Turbidity")


@pytest.mark.parametrize(
    ("row", "way", "is_found"),
    [
        ("0,0,0,0", "half", True),
        ("0,,0.0,0", "half", True),
        ("0,0,,", "half", False),
        ("0,0,0,0.01", "half", False),
        (",,,", "half", False),
        ("<0,<0,<0,<0.0", "half", True),
        ("<5,<5,<5,<5", "zero", False),
        ("0,0,0,<5", "zero", False),
        ("0,0,0,x", "half", False),
    ],
)
def test_row_of_zeros_is_a_finding(tmp_path, row, way, is_found):
    columns = "".join(f"  {name}: {{dtype: float64, nullable: true}}\n" for name in ZEROS)
    schema = parse_schema(f"schema_type: dataframe\ncolumns:\n{columns}", "zeros.yaml")
    path = tmp_path / "a.csv"
    path.write_text(f"{','.join(ZEROS)}\n7,100,200,0\n{row}\n")
    reading = ReadingOptions(nondetect=way)
    with open_samples(str(path), schema, reading) as table:
        checker = RowChecker(schema, table, reading)
        (checked,) = [checker.check(batch) for batch in table.batches()]
    found = [finding.line for finding in checked.findings() if finding.rule == "all_zero"]
    assert found == ([3] if is_found else [])


def test_bound_that_a_value_broke_in_another_unit_is_shown_beside_it_in_the_schema_s(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("ph,Solids (g/L)\n7,300.5\n7,0.3\n", "utf-8")
    with open_samples(str(path), load_schema()) as table:
        checker = RowChecker(load_schema(), table, may_lack=True)
        (checked,) = [checker.check(batch) for batch in table.batches()]
    assert [each.message for each in checked.findings()] == ["300.5 (300500 mg/L) is above 100000."]
    assert [each.value for each in checked.findings()] == ["300.5"]


def test_word_of_a_label_that_nobody_knows_names_the_option_that_tells(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("ph,Potability\n7,pass\n7,yes\n", "utf-8")
    with open_samples(str(path), load_schema()) as table:
        checker = RowChecker(load_schema(), table, may_lack=True)
        (checked,) = [checker.check(batch) for batch in table.batches()]
    (finding,) = checked.findings()
    assert "--label-value 'pass=0' or 'pass=1'" in finding.message


def test_unit_of_a_column_for_which_the_schema_has_none_is_named(tmp_path):
    schema = parse_schema("columns: {Lead: {dtype: float64}}", "mine.yaml")
    path = tmp_path / "a.csv"
    path.write_text("Lead (mg/L)\n7\n", "utf-8")
    with open_samples(str(path), schema) as table:
        reading = RowChecker(schema, table).reading
    assert "'Lead (mg/L)' as Lead (mg/L NOT COMPARED: the schema names no unit)" in reading
