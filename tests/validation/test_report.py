"""Whole files against a schema: what is found, how it is written, what becomes of the rows."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.samples.schemas import load_schema, parse_schema
from waterflow_cli.tables import reading
from waterflow_cli.validation.report import (
    FINDING_COLUMNS,
    ValidationOptions,
    findings_table,
    render_findings,
    validate_files,
)

PH = """\
name: acidity
metadata: {label: Safe, aliases: {ph: [acidity]}}
columns:
  ph: {dtype: float64, in_range: {min_value: 0, max_value: 14}}
  site: {dtype: str, required: false, nullable: true}
  Safe: {dtype: float64, required: false, nullable: true, isin: [0, 1]}
"""


def read_csv(content):
    text = content.decode("utf-8") if isinstance(content, bytes) else content
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def read_file(path):
    return read_csv(Path(path).read_bytes())


@pytest.fixture
def schema_file(workdir):
    (workdir / "acidity.yaml").write_text(PH)
    return "acidity.yaml"


@pytest.fixture
def acid(workdir, schema_file):
    """Seven rows, three of which break the schema: in lines 3, 6 and 8."""
    text = 'ph,site,Safe\n7,a,1\n15.2,b,0\n7,"two\nlines",1\nx,c,2\n7,,\n,d,0\n6.5,e,1\n'
    (workdir / "in.csv").write_text(text)
    return "in.csv", "--schema", schema_file


FINDINGS = [
    ("in.csv", 3, "ph", "15.2", "above_maximum", "15.2 is above 14."),
    ("in.csv", 6, "ph", "x", "not_a_number", "'x' is not a number."),
    ("in.csv", 6, "Safe", "2", "not_allowed", "'2' is not one of 0, 1."),
    ("in.csv", 8, "ph", "", "missing_value", "the value is missing."),
]


# --- the real table -------------------------------------------------------------------------------


@pytest.mark.real_data
def test_real_table_passes_and_its_missing_values_are_counted(cli, real_table):
    outcome = cli("validate", real_table)
    assert (outcome.code, outcome.out) == (0, "")
    assert "Missing values: ph 491, Sulfate 781, Trihalomethanes 162." in outcome.err
    assert "3276 rows, all pass (schema water)." in outcome.err
    outcome = cli("validate", real_table, "--json")
    report = json.loads(outcome.out)
    assert (report["passed"], report["rows"], report["rows_invalid"]) == (True, 3276, 0)
    missing = {name: count for name, count in report["missing"].items() if count}
    assert missing == {"ph": 491, "Sulfate": 781, "Trihalomethanes": 162}


@pytest.mark.real_data
def test_cells_broken_by_hand_are_found_by_line_column_and_value(cli, real_table, workdir):
    lines = real_table.read_text("utf-8").split("\n")
    header = lines[0].split(",")
    broken = [(3, "ph", "14.2"), (1500, "Sulfate", "a lot"), (3277, "Turbidity", "-0.1")]
    for line, column, value in broken:
        cells = lines[line - 1].split(",")
        cells[header.index(column)] = value
        lines[line - 1] = ",".join(cells)
    (workdir / "river.csv").write_text("\n".join(lines))
    outcome = cli("validate", "river.csv", "--json")
    assert outcome.code == 1
    report = json.loads(outcome.out)
    found = [(each["line"], each["column"], each["value"]) for each in report["findings"]]
    assert found == broken
    assert (report["rows"], report["rows_invalid"], report["findings_total"]) == (3276, 3, 3)
    outcome = cli("validate", "river.csv")
    assert outcome.code == 1
    shown = [line.split()[:3] for line in outcome.out.splitlines()[2:]]
    assert shown == [["river.csv", str(line), column] for line, column, _ in broken]
    assert "3276 rows, 3 do not pass: 3 findings, 3 shown (schema water)." in outcome.err


# --- forms ----------------------------------------------------------------------------------------


def test_table_shows_each_finding(cli, acid):
    outcome = cli("validate", *acid)
    assert outcome.code == 1
    header, _, *rows = outcome.out.splitlines()
    assert header.split() == list(FINDING_COLUMNS)
    for row, finding in zip(rows, FINDINGS, strict=True):
        assert row.split() == " ".join(map(str, finding)).split()


def test_summary_says_how_the_file_was_read_and_what_was_found(cli, acid):
    assert cli("validate", *acid).err.splitlines() == [
        "Read in.csv as utf-8, separator ','.",
        "Missing values: ph 1, site 1, Safe 1.",
        "Findings: Safe not_allowed 1, ph above_maximum 1, ph missing_value 1, ph not_a_number 1.",
        "7 rows, 3 do not pass: 4 findings, 4 shown (schema acidity).",
    ]


COUNTS_OF_BOUNDS_AND_UNITS = (
    *("nondetects", "above_range", "without_limit"),
    *("left_out", "marks", "positive", "small", "large", "converted"),
)


def test_json_counts_the_bounds_exactly(cli, schema_file, workdir):
    rows = ["ph", *["<7", "7", ">14", "ND", "<LQ", "< 6"] * 50]
    (workdir / "in.csv").write_text("\n".join(rows) + "\n")
    for more in ((), ("--nondetect", "zero"), ("--nondetect", "missing"), ("--loq", "ph=1")):
        outcome = cli("validate", "in.csv", "--schema", schema_file, "--json", *more)
        report = json.loads(outcome.out)
        told = {name: report[name].get("ph", 0) for name in COUNTS_OF_BOUNDS_AND_UNITS[:3]}
        unnamed = {(): 0, ("--loq", "ph=1"): 100}.get(more, 50)
        silent = 0 if more[:1] == ("--loq",) else 50
        assert told == {
            "nondetects": 100 + unnamed,
            "above_range": 50,
            "without_limit": silent,
        }


def test_json_is_one_object_and_the_same_by_both_options(cli, acid):
    outcome = cli("validate", *acid, "--json")
    assert outcome.code == 1
    report = json.loads(outcome.out)
    assert report.pop("findings") == [
        dict(zip(FINDING_COLUMNS, finding, strict=True)) for finding in FINDINGS
    ]
    assert report == {
        "version": 1,
        "passed": False,
        "schema": "acidity",
        "rows": 7,
        "rows_invalid": 3,
        "findings_total": 4,
        "by_rule": [
            {"column": "Safe", "rule": "not_allowed", "count": 1},
            {"column": "ph", "rule": "above_maximum", "count": 1},
            {"column": "ph", "rule": "missing_value", "count": 1},
            {"column": "ph", "rule": "not_a_number", "count": 1},
        ],
        "missing": {"ph": 1, "site": 1, "Safe": 1},
        **{key: {} for key in COUNTS_OF_BOUNDS_AND_UNITS},
        "files": {"in.csv": "utf-8, separator ','"},
    }
    assert cli("validate", *acid, "--format", "json").out == outcome.out


def test_csv_holds_each_finding(cli, acid):
    outcome = cli("validate", *acid, "--format", "csv")
    assert outcome.code == 1
    assert read_csv(outcome.out) == [
        list(FINDING_COLUMNS),
        *(list(map(str, finding)) for finding in FINDINGS),
    ]


@pytest.mark.parametrize("form", ["json", "csv", "html"])
def test_file_holds_what_stdout_shows(form, cli, acid):
    shown = cli("validate", *acid, "--format", form)
    outcome = cli("validate", *acid, "--format", form, "-o", "findings")
    assert (outcome.code, outcome.out) == (1, "")
    assert Path("findings").read_bytes().decode("utf-8") == shown.out


def test_text_in_a_file_is_a_line_a_finding(cli, acid):
    outcome = cli("validate", *acid, "-o", "findings.txt")
    assert (outcome.code, outcome.out) == (1, "")
    assert Path("findings.txt").read_text("utf-8").splitlines() == [
        "in.csv, line 3, column ph: 15.2 is above 14.",
        "in.csv, line 6, column ph: 'x' is not a number.",
        "in.csv, line 6, column Safe: '2' is not one of 0, 1.",
        "in.csv, line 8, column ph: the value is missing.",
    ]


@pytest.mark.parametrize("form", ["text", "json", "csv", "html"])
def test_findings_of_a_clean_file_are_none_in_every_form(form, cli, samples):
    outcome = cli("validate", samples, "--format", form)
    assert outcome.code == 0
    if form == "text":
        assert outcome.out == ""
    elif form == "json":
        assert json.loads(outcome.out)["findings"] == []
    elif form == "csv":
        assert outcome.out == ",".join(FINDING_COLUMNS) + "\n"
    else:
        assert "All rows pass." in outcome.out
    outcome = cli("validate", samples, "--format", form, "-o", "findings")
    assert outcome.code == 0
    assert Path("findings").is_file()


class Page(HTMLParser):
    """Collects the elements of a page and the text of its cells."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.elements, self.cells, self.text = Counter(), [], ""
        self.links = []

    def handle_starttag(self, tag, attrs):
        self.elements[tag] += 1
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data):
        self.text += data
        if self.cells:
            self.cells[-1] += data


def test_page_takes_names_and_values_for_text(cli, workdir):
    (workdir / "<i>s.yaml").write_text(
        "name: <b>s</b>\ncolumns:\n  '<script>alert(1)</script>': {dtype: float64, le: 14}\n"
    )
    name = "<img src=x onerror=alert(2)>.csv"
    value = "</td></table><script>alert(3)</script>&amp;\"'"
    with (workdir / name).open("w") as file:
        csv.writer(file).writerows([["<script>alert(1)</script>"], [value], [15]])
    outcome = cli("validate", name, "--schema", "<i>s.yaml", "--format", "html")
    assert outcome.code == 1
    page = Page()
    page.feed(outcome.out)
    assert not {"script", "img", "i"} & set(page.elements)
    assert page.elements["b"] == 1
    assert page.elements["table"] == 1
    assert page.elements["tr"] == 3
    assert page.cells[:4] == [name, "2", "<script>alert(1)</script>", value]
    assert "<b>s</b>" in page.text
    assert "2 rows do not pass." in page.text
    assert page.links == []


def test_page_says_how_many_findings_it_leaves_out(workdir):
    Path("in.csv").write_text("ph\n" + "15\n" * 30)
    report = validate_files(["in.csv"], parse_schema(PH, "acidity"))
    assert "<p>The first 20 of 30 findings.</p>" in render_findings(report)
    assert len(findings_table(report.findings)["line"]) == 20


# --- counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "shown"), [(0, 0), (1, 1), (3, 3), (100, 60)])
def test_first_findings_are_shown_and_all_are_counted(limit, shown, cli, schema_file):
    Path("in.csv").write_text("ph,Safe\n" + "15,2\n" * 30)
    outcome = cli("validate", "in.csv", "--schema", schema_file, "--max-errors", limit, "--json")
    assert outcome.code == 1
    report = json.loads(outcome.out)
    assert len(report["findings"]) == shown
    assert (report["findings_total"], report["rows_invalid"]) == (60, 30)
    lines = [(each["line"], each["column"]) for each in report["findings"]]
    assert lines == [(2 + i // 2, ("ph", "Safe")[i % 2]) for i in range(shown)]
    outcome = cli("validate", "in.csv", "--schema", schema_file, "--max-errors", limit)
    assert f"60 findings, {shown} shown" in outcome.err
    assert len(outcome.out.splitlines()) == (shown + 2 if shown else 0)


def test_twenty_findings_are_shown_by_default(cli, schema_file):
    Path("in.csv").write_text("ph\n" + "15\n" * 30)
    outcome = cli("validate", "in.csv", "--schema", schema_file)
    assert len(outcome.out.splitlines()) == 2 + 20
    assert "30 findings, 20 shown" in outcome.err


@pytest.mark.parametrize("block_bytes", [10, 50, 1 << 22])
def test_blocks_change_no_report(block_bytes, workdir, monkeypatch):
    Path("in.csv").write_text("ph,Safe\n" + "15,2\n7,1\n,\n" * 20 + "7,1,extra\n")
    schema = parse_schema(PH, "acidity")
    expected = validate_files(["in.csv"], schema, ValidationOptions(max_findings=50))
    defaults = reading.open_table.__wrapped__.__kwdefaults__
    monkeypatch.setitem(defaults, "block_bytes", block_bytes)
    assert validate_files(["in.csv"], schema, ValidationOptions(max_findings=50)) == expected
    assert (expected.n_rows, expected.n_invalid, expected.n_findings) == (61, 41, 61)
    assert expected.by_rule["", "ragged_row"] == 1
    assert not expected.passed


# --- several files, schemas, names ----------------------------------------------------------------


def test_several_files_are_one_report(cli, schema_file, workdir):
    Path("a.csv").write_text("ph\n7\n15\n")
    Path("b.tsv").write_text("site\tph\na\t-1\n")
    Path("c.csv").write_text("ph\n7\n")
    outcome = cli("validate", "b.tsv", "a.csv", "c.csv", "--schema", schema_file, "--json")
    assert outcome.code == 1
    report = json.loads(outcome.out)
    assert (report["rows"], report["rows_invalid"]) == (4, 2)
    assert [(each["file"], each["line"]) for each in report["findings"]] == [
        ("b.tsv", 2),
        ("a.csv", 3),
    ]
    assert report["files"] == {
        "b.tsv": "utf-8, separator tab",
        "a.csv": "utf-8, separator ','",
        "c.csv": "utf-8, separator ','",
    }
    globbed = cli("validate", "?.csv", "--schema", schema_file, "--json")
    assert list(json.loads(globbed.out)["files"]) == ["a.csv", "c.csv"]


def test_file_that_cannot_be_read_ends_the_whole(cli, schema_file, workdir):
    Path("a.csv").write_text("ph\n7\n")
    outcome = cli("validate", "a.csv", "no_such.csv", "--schema", schema_file)
    assert (outcome.code, outcome.out) == (3, "")
    assert "no_such.csv: no such file" in outcome.err


def test_schema_of_ones_own_with_another_label(cli, schema_file, workdir):
    Path("in.csv").write_text("ph,Safe\n7,1\n7,0\n7,\n")
    outcome = cli("validate", "in.csv", "--schema", schema_file)
    assert outcome.code == 0
    assert "3 rows, all pass (schema acidity)." in outcome.err
    Path("in.csv").write_text("ph,Safe\n7,yes\n7,3\n")
    report = json.loads(cli("validate", "in.csv", "--schema", schema_file, "--json").out)
    assert [(each["value"], each["rule"]) for each in report["findings"]] == [
        ("yes", "not_a_number"),
        ("3", "not_allowed"),
    ]


def test_header_names_match_by_alias_and_whatever_their_case(cli, samples, workdir):
    text = samples.read_text("utf-8")
    header = (
        "sample id,SITE,date,pH value,total_HARDNESS,TDS,chloramine,SO4,EC,T.O.C.,TTHM,turb,Potable"
    )
    Path("in.csv").write_text(text.replace(text.splitlines()[0], header, 1).replace(",9.", ",99."))
    outcome = cli("validate", "in.csv", "--json")
    assert outcome.code == 1, outcome.err
    written = {each["column"] for each in json.loads(outcome.out)["findings"]}
    assert written == {"pH value", "chloramine"}


def test_renamed_column_is_read_as_what_it_stands_for(cli, schema_file, workdir):
    Path("in.csv").write_text("sour,what=ever\n15,1\n")
    outcome = cli("validate", "in.csv", "--schema", schema_file)
    assert outcome.code == 3
    assert "column ph not found in the header" in outcome.err
    renames = ("--rename", "sour=ph", "--rename", "what=ever=Safe")
    outcome = cli("validate", "in.csv", "--schema", schema_file, *renames, "--json")
    assert outcome.code == 1
    (finding,) = json.loads(outcome.out)["findings"]
    assert (finding["column"], finding["value"]) == ("sour", "15")
    outcome = cli("validate", "in.csv", "--schema", schema_file, "--rename", "sur=ph")
    assert outcome.code == 2
    assert "in.csv has no column 'sur'. Did you mean 'sour'?" in outcome.err


# --- good rows and bad rows -----------------------------------------------------------------------


def test_split_puts_each_row_on_its_side_as_it_was_written(cli, acid):
    outcome = cli("validate", *acid, "--good", "good.csv", "--bad", "bad.csv")
    assert outcome.code == 1
    assert read_file("good.csv") == [
        ["ph", "site", "Safe"],
        ["7", "a", "1"],
        ["7", "two\nlines", "1"],
        ["7", "", ""],
        ["6.5", "e", "1"],
    ]
    assert read_file("bad.csv") == [
        ["ph", "site", "Safe", "rule", "reason"],
        ["15.2", "b", "0", "above_maximum", "ph: 15.2 is above 14"],
        [
            *("x", "c", "2", "not_a_number;not_allowed"),
            "ph: 'x' is not a number; Safe: '2' is not one of 0, 1",
        ],
        ["", "d", "0", "missing_value", "ph: the value is missing"],
    ]


@pytest.mark.parametrize("option", ["--good", "--bad"])
def test_one_side_can_be_written_alone(option, cli, acid, workdir):
    assert cli("validate", *acid, option, "side.jsonl").code == 1
    rows = [json.loads(line) for line in Path("side.jsonl").read_text("utf-8").splitlines()]
    assert [row["ph"] for row in rows] == (
        ["7", "7", "7", "6.5"] if option == "--good" else ["15.2", "x", ""]
    )
    assert sorted(path.name for path in workdir.iterdir()) == [
        *("acidity.yaml", "in.csv", "side.jsonl")
    ]


def test_side_without_rows_is_a_header(cli, samples):
    outcome = cli("validate", samples, "--good", "good.csv", "--bad", "bad.csv")
    assert outcome.code == 0
    assert Path("good.csv").read_bytes() == samples.read_bytes()
    header = samples.read_text("utf-8").splitlines()[0]
    assert Path("bad.csv").read_text() == f"{header},rule,reason\n"


def test_good_rows_can_be_piped(cli, acid):
    outcome = cli("validate", *acid, "--good", "-", "-o", "findings.txt")
    assert outcome.code == 1
    assert len(read_csv(outcome.out)) == 5


def test_split_keeps_the_types_of_parquet(cli, samples):
    table = pa_csv.read_csv(samples)
    broken = table.set_column(3, "ph", pa_csv.read_csv(samples)["Hardness"])
    pq.write_table(broken, "in.parquet")
    outcome = cli("validate", "in.parquet", "--good", "good.parquet", "--bad", "bad.parquet")
    assert outcome.code == 1
    good, bad = pq.read_table("good.parquet"), pq.read_table("bad.parquet")
    assert len(good) + len(bad) == 400
    assert good.schema.equals(table.schema)
    assert bad.column_names == [*table.column_names, "rule", "reason"]


def test_input_with_a_column_reason_has_no_bad_side(cli, schema_file, workdir):
    Path("in.csv").write_text("ph,reason\n15,x\n")
    outcome = cli(
        "validate", "in.csv", "--schema", schema_file, "--good", "g.csv", "--bad", "b.csv"
    )
    assert (outcome.code, outcome.out) == (2, "")
    assert ": it has a column 'reason', which --bad adds." in outcome.err
    assert sorted(path.name for path in workdir.iterdir()) == ["acidity.yaml", "in.csv"]
    assert cli("validate", "in.csv", "--schema", schema_file, "--good", "g.csv").code == 1


@pytest.mark.parametrize("options", [("--good", "g.csv"), ("--bad", "b.csv")])
def test_several_files_are_not_split(options, cli, acid, workdir):
    before = sorted(workdir.iterdir())
    outcome = cli("validate", "in.csv", *acid, *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert "--good and --bad split one file; several were named." in outcome.err
    assert sorted(workdir.iterdir()) == before


def test_fault_late_in_the_file_leaves_no_side(cli, schema_file, workdir, monkeypatch):
    monkeypatch.setitem(reading.open_table.__wrapped__.__kwdefaults__, "block_bytes", 1 << 16)
    rows = f"7,{'é' * 200}\n15,x\n" * 3000
    Path("in.csv").write_bytes(b"ph,site\n" + rows.encode() + b"7,\xff\n")
    Path("good.parquet").write_text("precious\n")
    outcome = cli(
        *("validate", "in.csv", "--schema", schema_file, "--force"),
        *("--good", "good.parquet", "--bad", "bad.csv.gz"),
    )
    assert outcome.code == 3
    assert "in.csv, line 6002: byte 0xFF is not UTF-8" in outcome.err
    assert Path("good.parquet").read_text() == "precious\n"
    assert sorted(path.name for path in workdir.iterdir()) == [
        *("acidity.yaml", "good.parquet", "in.csv")
    ]


CELLS = st.sampled_from(
    ["7", "15", "", "NA", "x", "a,b", 'q"q', "two\nlines", " 7 ", "0", "1", "é", "\t"]
)


@tried_on(60)
@given(
    rows=st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=1, max_size=9),
    columns=st.sampled_from([["ph"], ["ph", "Safe"], ["site", "ph", "Safe"]]),
    block_bytes=st.sampled_from([12, 1 << 22]),
)
def test_split_loses_no_row_and_invents_none(rows, columns, block_bytes):
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setitem(reading.open_table.__wrapped__.__kwdefaults__, "block_bytes", block_bytes)
        source, good, bad = (str(Path(folder) / name) for name in ("in.csv", "g.csv", "b.csv"))
        held = [row if len(columns) > 1 else row[:1] for row in rows]
        with Path(source).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([columns, *held])
        schema = parse_schema(PH, "acidity")
        try:
            report = validate_files([source], schema, ValidationOptions(good=good, bad=bad))
        except InputError as exc:  # cells whose line ends look like rows that quotes hide
            if "quotes do not fit" not in exc.message:
                raise
            return
        width = len(columns)
        expected = Counter(tuple((row + [""] * width)[:width]) for row in held)
        (good_header, *good_rows), (bad_header, *bad_rows) = read_file(good), read_file(bad)
        assert (good_header, bad_header) == (columns, [*columns, "rule", "reason"])
        split = [*map(tuple, good_rows), *(tuple(row[:-2]) for row in bad_rows)]
        assert Counter(split) == expected
        assert (len(good_rows), len(bad_rows)) == (
            report.n_rows - report.n_invalid,
            report.n_invalid,
        )
        assert all(row[-1] for row in bad_rows)
        assert report.passed == (not bad_rows)
        if good_rows:  # what passed once passes again
            assert validate_files([good], schema).passed


def test_core_refuses_two_sides_in_one_file(acid):
    options = ValidationOptions(good="x.csv", bad="./x.csv")
    with pytest.raises(UsageError, match=r"is both --good and --bad"):
        validate_files(["in.csv"], load_schema("acidity.yaml"), options)
