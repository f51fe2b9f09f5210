"""Files in, one file out: every row, in order, as it was written, with its verdict."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import random
import sys
import warnings
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from marks import slow

from waterflow_cli.common.errors import DataRefusedError, UsageError
from waterflow_cli.common.workers import map_in_order
from waterflow_cli.registry.location import load_model
from waterflow_cli.samples.schemas import parse_schema
from waterflow_cli.scoring import job as scoring_job
from waterflow_cli.scoring.job import score_files
from waterflow_cli.scoring.refusals import refuse_too_many
from waterflow_cli.scoring.scorer import RESULT_COLUMNS
from waterflow_cli.scoring.task import ScoringOptions
from waterflow_cli.tables import reading
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.validation import pass_over

PLAUSIBLE = {
    "ph": "7",
    "Hardness": "200",
    "Solids": "20000",
    "Chloramines": "7",
    "Sulfate": "300",
    "Conductivity": "400",
    "Organic_carbon": "14",
    "Trihalomethanes": "66",
    "Turbidity": "4",
}
MEASUREMENTS, GOOD = list(PLAUSIBLE), list(PLAUSIBLE.values())


@pytest.fixture(scope="module")
def model(store_uri):
    return load_model("@champion", name="waterflow", tracking_uri=store_uri)


@pytest.fixture
def score(cli, store_uri):
    """Score from the command line with the model of the session's store."""

    def run(*arguments, output="out.csv"):
        return cli("score", *arguments, "-o", output, "--tracking-uri", store_uri)

    return run


def read_csv(content, separator=","):
    """Read CSV with Python's csv module: the header, and the rows as dicts."""
    text = content.decode("utf-8") if isinstance(content, bytes) else content
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    return header, [dict(zip(header, row, strict=True)) for row in rows]


def read_output(path):
    return read_csv(Path(path).read_bytes())


def read_rows(path):
    """Read an output of any format by other means than waterflow's: a dict a row."""
    content = Path(path).read_bytes()
    if path.endswith(".gz"):
        content = gzip.decompress(content)
    elif path.endswith(".zst"):
        content = pa.input_stream(path, compression="zstd").read()
    if path.endswith(".parquet"):
        return pq.read_table(path).to_pylist()
    if ".jsonl" in path:
        return [json.loads(line) for line in content.decode().split("\n")[:-1]]
    return read_csv(content, "\t" if ".tsv" in path else ",")[1]


def write_csv(path, header, rows, **options):
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=options.pop("lineterminator", "\n"), **options)
        writer.writerow(header)
        writer.writerows(rows)


def good_rows(n_rows, **changes):
    """Rows of an id and nine plausible measurements; changes are by column and row."""
    rows = [[f"S{number}", *GOOD] for number in range(n_rows)]
    for column, cells in changes.items():
        for row, cell in cells.items():
            rows[row][1 + MEASUREMENTS.index(column)] = cell
    return rows


HEADER = ["id", *MEASUREMENTS]


# --- every row, in order, as it was written -------------------------------------------------------


@pytest.mark.slow
@pytest.mark.real_data
def test_real_table_comes_out_whole_in_order_and_as_written(score, real_table, store_uri, workdir):
    header, *lines = real_table.read_bytes().splitlines()
    assert header.endswith(b",Potability")
    unlabelled = [line.rpartition(b",")[0] for line in (header, *lines)]
    Path("in.csv").write_bytes(b"\n".join(unlabelled) + b"\n")
    outcome = score("in.csv")
    assert outcome.code == 0, outcome.err
    written = Path("out.csv").read_bytes().splitlines()
    assert len(written) == 1 + 3276
    for line, source in zip(written, unlabelled, strict=True):
        assert line.startswith(source + b",")
        assert line[len(source) + 1 :].count(b",") == 6
    _, rows = read_output("out.csv")
    assert Counter(row["status"] for row in rows) == {"scored": 3276}

    import mlflow

    frame = pd.read_csv("in.csv", float_precision="round_trip")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.set_tracking_uri(store_uri)
        predicted = mlflow.pyfunc.load_model("models:/waterflow@champion").predict(frame)
    assert [float(row["probability"]) for row in rows] == predicted["probability"].tolist()
    assert [int(row["prediction"]) for row in rows] == predicted["prediction"].tolist()
    assert [row["verdict"] for row in rows] == predicted["verdict"].tolist()


NASTY = [
    'say "hi"',
    "a,b;c\td",
    "two\nlines",
    "two\r\nlines",
    "  spaces  ",
    "007",
    "1e3",
    "NA",
    "",
    "null",
    "é—水\u2028\u00a0",
    "'single' \\ \\n",
    '"',
    "=1+1",
    "\ufeffmark",
    "1_000",
    "TRUE",
    "\x0bcontrol\x7f",
]


@pytest.fixture
def nasty(workdir):
    """A file of cells that careless readers and writers change; its table as csv reads it."""
    header = ["id", 'a "quoted", name', *MEASUREMENTS, "after"]
    rows = [[f"{number:03}", note, *GOOD, note] for number, note in enumerate(NASTY)]
    rows[3][2], rows[4][2], rows[5][2], rows[6][2] = " 7.0 ", "NA", "", "7e0"
    write_csv("in.csv", header, rows, lineterminator="\r\n")
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.mark.parametrize(
    "output",
    [
        *("out.csv", "out.tsv", "out.jsonl", "out.parquet"),
        *("out.csv.gz", "out.csv.zst", "out.jsonl.gz", "out.tsv.zst"),
    ],
)
def test_text_of_the_input_is_preserved(output, score, nasty):
    outcome = score("in.csv", output=output)
    assert outcome.code == 0, outcome.err
    rows = read_rows(output)
    assert [{name: row[name] for name in nasty[0]} for row in rows] == nasty
    assert list(rows[0]) == [*nasty[0], *RESULT_COLUMNS]
    assert {row["status"] for row in rows} == {"scored"}
    kind = str if output.startswith(("out.csv", "out.tsv")) else float
    assert {type(row["probability"]) for row in rows} == {kind}


def test_every_format_holds_the_same_values(score, nasty):
    results = {}
    for output in ("out.csv", "out.tsv", "out.jsonl", "out.parquet"):
        assert score("in.csv", output=output).code == 0
        results[output] = [
            [str(row[name]) for name in RESULT_COLUMNS if name != "probability"]
            + [float(row["probability"])]
            for row in read_rows(output)
        ]
        assert len(results[output]) == len(nasty)
    assert all(rows == results["out.csv"] for rows in results.values())


def test_stdout_takes_the_rows_and_nothing_else(score, nasty):
    assert score("in.csv").code == 0
    outcome = score("in.csv", output="-")
    assert outcome.code == 0
    assert outcome.out.encode() == Path("out.csv").read_bytes()
    assert "scored" in outcome.err
    assert "Wrote" not in outcome.err


def test_stdin_is_read_like_a_file(score, nasty, monkeypatch):
    assert score("in.csv").code == 0
    with Path("in.csv").open(encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        outcome = score("-", output="piped.csv")
    assert outcome.code == 0
    assert Path("piped.csv").read_bytes() == Path("out.csv").read_bytes()
    assert "Read - as utf-8" in outcome.err


@pytest.mark.parametrize("packed", ["in.csv.gz", "in.tsv", "in.csv.zst"])
def test_packing_of_the_input_changes_no_result(packed, score, nasty):
    assert score("in.csv").code == 0
    content = Path("in.csv").read_bytes()
    if packed.endswith(".gz"):
        Path(packed).write_bytes(gzip.compress(content))
    elif packed.endswith(".zst"):
        with pa.CompressedOutputStream(packed, "zstd") as stream:
            stream.write(content)
    else:
        write_csv(packed, nasty[0], [row.values() for row in nasty], delimiter="\t")
    assert score(packed, output="packed.csv").code == 0
    assert Path("packed.csv").read_bytes() == Path("out.csv").read_bytes()


def test_parquet_is_scored_like_the_csv_it_came_from(score, samples, workdir):
    pq.write_table(pa_csv.read_csv(samples), "in.parquet")
    assert score(samples).code == 0
    assert score("in.parquet", output="from_parquet.csv").code == 0
    names = [*MEASUREMENTS, *RESULT_COLUMNS]
    _, expected = read_output("out.csv")
    _, rows = read_output("from_parquet.csv")
    for row, other in zip(rows, expected, strict=True):
        assert {name: row[name] for name in RESULT_COLUMNS} == {
            name: other[name] for name in RESULT_COLUMNS
        }
        assert [float(row[n] or "nan") for n in names[:9]] == pytest.approx(
            [float(other[n] or "nan") for n in names[:9]], rel=0, abs=0, nan_ok=True
        )


def test_parquet_keeps_the_types_of_the_input(score, samples, workdir):
    table = pa_csv.read_csv(samples).append_column("list", pa.array([[1]] * 400))
    pq.write_table(table, "in.parquet")
    assert score("in.parquet", output="out.parquet").code == 0
    written = pq.read_table("out.parquet")
    assert written.select(table.column_names).equals(table)
    assert written.schema.field("probability").type == pa.float64()
    assert written.schema.field("prediction").type == pa.int64()
    outcome = score("in.parquet")
    assert outcome.code == 2
    assert "The column 'list' holds list<element: int64>" in outcome.err
    assert sorted(path.name for path in workdir.iterdir()) == ["in.parquet", "out.parquet"]
    assert score("in.parquet", "--columns", "ids,list", output="x.csv").code == 2
    assert score("in.parquet", "--columns", "ph", output="x.csv").code == 0


# --- statuses and reasons -------------------------------------------------------------------------


@pytest.fixture
def dirty(workdir):
    """Six rows: good, not a number, above the bound, good but incomplete, ragged, good."""
    rows = good_rows(6, ph={1: "acid", 2: "15.2", 3: "NA"}, Sulfate={2: "-1", 3: ""})
    rows[4] = rows[4][:4]
    write_csv("in.csv", HEADER, rows)
    return rows


def test_each_row_says_what_became_of_it_and_why(score, dirty):
    outcome = score("in.csv")
    assert outcome.code == 0
    _, rows = read_output("out.csv")
    assert [row["id"] for row in rows] == [f"S{number}" for number in range(6)]
    assert [row["status"] for row in rows] == [
        *("scored", "invalid", "invalid", "scored", "invalid", "scored")
    ]
    assert rows[1]["reason"] == "ph: 'acid' is not a number"
    assert rows[2]["reason"] == "ph: 15.2 is above 14; Sulfate: -1 is below 0"
    assert rows[3]["reason"].endswith("; imputed: ph Sulfate")
    assert rows[4]["reason"] == "4 fields where the header has 10"
    assert [rows[3]["ph"], rows[3]["Sulfate"]] == ["NA", ""]
    for row in rows:
        invalid = row["status"] == "invalid"
        assert (row["probability"] == "") == (row["prediction"] == "") == invalid
        assert row["model_version"] == "waterflow/1"
        assert not invalid or row["verdict"] == "send_to_lab"
    assert "6 rows by waterflow/1: 3 scored (" in outcome.err
    assert "3 invalid." in outcome.err


def test_json_counts_what_was_written(score, dirty):
    outcome = score("in.csv", "--json")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    _, rows = read_output("out.csv")
    assert report.pop("cells")["missing"]["Sulfate"] == 1  # the other is in a ragged row
    verdicts = Counter(row["verdict"] for row in rows if row["status"] == "scored")
    assert report.pop("verdicts") == {
        name: verdicts[name] for name in ("send_to_lab", "likely_not_potable", "likely_potable")
    }
    assert report == {
        "version": 1,
        "model": "waterflow/1",
        "output": "out.csv",
        "outputs": ["out.csv"],
        "rows": 6,
        "rows_resumed": 0,
        "rows_scored": 3,
        "rows_invalid": 3,
        "files": {"in.csv": "utf-8, separator ','"},
    }


def test_invalid_rows_can_be_dropped(score, dirty):
    assert score("in.csv").code == 0
    outcome = score("in.csv", "--on-invalid", "drop", output="kept.csv")
    assert outcome.code == 0
    header, rows = read_output("out.csv")
    assert read_output("kept.csv") == (header, [row for row in rows if row["status"] == "scored"])
    assert "6 rows by waterflow/1: 3 scored" in outcome.err


def test_nothing_is_left_to_keep_when_all_rows_are_dropped(score, workdir):
    write_csv("in.csv", HEADER, good_rows(2, ph={0: "x", 1: "y"}))
    for output in ("out.csv", "out.parquet", "out.jsonl"):
        assert score("in.csv", "--on-invalid", "drop", output=output).code == 0
        assert read_rows(output) == []
    assert Path("out.csv").read_text().startswith("id,ph,")


def test_one_invalid_row_can_fail_the_whole(score, dirty, workdir):
    outcome = score("in.csv", "--on-invalid", "fail", "--rejects", "rejects.csv")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines() == [
        "Error: in.csv, line 3, column ph: 'acid' is not a number.",
        "No file was written (--on-invalid fail).",
    ]
    assert [path.name for path in workdir.iterdir()] == ["in.csv"]


@pytest.mark.parametrize("output", ["out.csv", "out.csv.gz", "out.csv.zst", "out.parquet"])
def test_failing_late_leaves_what_was_there(output, score, workdir, monkeypatch):
    monkeypatch.setitem(reading.open_table.__wrapped__.__kwdefaults__, "block_bytes", 200)
    write_csv("in.csv", HEADER, good_rows(50, ph={49: "x"}))
    Path(output).write_text("precious\n")
    outcome = score("in.csv", "--on-invalid", "fail", "--force", "--jobs", "1", output=output)
    assert outcome.code == 1
    assert "line 51, column ph: 'x'" in outcome.err
    assert Path(output).read_text() == "precious\n"
    assert sorted(path.name for path in workdir.iterdir()) == ["in.csv", output]


def test_rejects_hold_each_invalid_row_as_it_was_written(score, workdir):
    Path("in.csv").write_bytes(
        ("\ufeff" + ",".join([*HEADER, "note"]) + "\r\n").encode()
        + f'S1,acid,{",".join(GOOD[1:])},"two\r\nlines, ""quoted"""\r\n'.encode()
        + f"S2,{','.join(GOOD)},é\r\n\r\n".encode()
        + f"S3,15.2,-1,{','.join(GOOD[2:])},\r\n".encode()
        + b"S4,7\r\n"
    )
    outcome = score("in.csv", "--rejects", "rejects.csv")
    assert outcome.code == 0
    header, rows = read_output("rejects.csv")
    assert header == ["file", "line", "raw", "rule", "reason"]
    good = ",".join(GOOD[1:])
    assert [list(row.values()) for row in rows] == [
        [
            *("in.csv", "2", f'S1,acid,{good},"two\r\nlines, ""quoted"""'),
            *("not_a_number", "ph: 'acid' is not a number"),
        ],
        [
            *("in.csv", "6", f"S3,15.2,-1,{','.join(GOOD[2:])},"),
            *("above_maximum;below_minimum", "ph: 15.2 is above 14; Hardness: -1 is below 0"),
        ],
        ["in.csv", "7", "S4,7", "ragged_row", "2 fields where the header has 11"],
    ]
    _, scored = read_output("out.csv")
    invalid = [row for row in scored if row["status"] == "invalid"]
    for name in ("rule", "reason"):
        assert [row[name] for row in invalid] == [row[name] for row in rows]


def test_rejects_of_parquet_have_no_text_but_their_cells(score, workdir):
    table = pa.table(
        {name: [float(cell)] * 2 for name, cell in zip(MEASUREMENTS, GOOD, strict=True)}
    )
    table = table.set_column(0, "ph", pa.array([7.0, 99.0]))
    pq.write_table(table.append_column("note", pa.array([None, None], pa.string())), "in.parquet")
    assert score("in.parquet", "--rejects", "rejects.jsonl").code == 0
    (row,) = read_rows("rejects.jsonl")
    assert (row["line"], row["rule"]) == (3, "above_maximum")
    assert row["raw"] == "99.0,200.0,20000.0,7.0,300.0,400.0,14.0,66.0,4.0,"


def test_rejects_of_a_clean_file_are_a_header(score, samples):
    assert score(samples, "--rejects", "rejects.csv").code == 0
    assert Path("rejects.csv").read_text() == "file,line,raw,rule,reason\n"


# --- columns --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        ("all", ["sample_id", "site", "date", *MEASUREMENTS, "Potability"]),
        ("ids", ["sample_id", "site", "date"]),
        ("site,ph", ["site", "ph"]),
        ("ph , site", ["ph", "site"]),
        ("Potability", ["Potability"]),
    ],
)
def test_columns_choose_what_is_kept_of_the_input(choice, kept, score, samples):
    assert score(samples, "--columns", choice).code == 0
    header, rows = read_output("out.csv")
    assert header == [*kept, *RESULT_COLUMNS]
    _, source = read_csv(samples.read_bytes())
    assert [[row[name] for name in kept] for row in rows] == [
        [row[name] for name in kept] for row in source
    ]


def test_choosing_columns_changes_no_result(score, samples):
    assert score(samples).code == 0
    assert score(samples, "--columns", "ids", output="ids.csv").code == 0
    _, rows = read_output("out.csv")
    _, others = read_output("ids.csv")
    assert [[row[name] for name in RESULT_COLUMNS] for row in rows] == [
        [row[name] for name in RESULT_COLUMNS] for row in others
    ]


@pytest.mark.parametrize("choice", ["sit", "ph,sit", "", "ph,,site"])
def test_column_that_is_not_there_is_refused(choice, score, samples, workdir):
    outcome = score(samples, "--columns", choice)
    assert (outcome.code, outcome.out) == (2, "")
    name = "sit" if "sit" in choice and "site" not in choice else ""
    assert f"--columns: {samples} has no column '{name}'." in outcome.err
    assert not name or "Did you mean 'site'?" in outcome.err
    assert list(workdir.iterdir()) == []


def test_prefix_renames_the_results_only(score, samples):
    assert score(samples, "--prefix", "wf_").code == 0
    header, _ = read_output("out.csv")
    assert header[-7:] == [f"wf_{name}" for name in RESULT_COLUMNS]
    assert header[:2] == ["sample_id", "site"]


@pytest.mark.parametrize("name", RESULT_COLUMNS)
def test_name_of_a_result_in_the_input_is_refused_by_name(name, score, workdir):
    write_csv("in.csv", [*HEADER, name], [[*row, "mine"] for row in good_rows(3)])
    outcome = score("in.csv")
    assert (outcome.code, outcome.out) == (2, "")
    assert f": its column '{name}' has the name of a result." in outcome.err
    assert "--prefix" in outcome.err
    assert [path.name for path in workdir.iterdir()] == ["in.csv"]
    assert score("in.csv", "--prefix", "wf_").code == 0
    _, rows = read_output("out.csv")
    assert [row[name] for row in rows] == ["mine"] * 3
    assert score("in.csv", "--columns", "id", output="ids.csv").code == 0
    outcome = score("in.csv", "--columns", "id", "--prefix", "i", output="x.csv")
    assert outcome.code == 0


def test_output_of_a_scoring_can_be_scored_again(score, samples):
    assert score(samples).code == 0
    assert score("out.csv", "--prefix", "again_", output="again.csv").code == 0
    _, rows = read_output("again.csv")
    assert all(row[name] == row[f"again_{name}"] for row in rows for name in RESULT_COLUMNS)


def test_columns_can_be_renamed_for_reading(score, workdir):
    write_csv("in.csv", ["id", "acid value", *MEASUREMENTS[1:]], good_rows(2))
    outcome = score("in.csv", output="other.csv")
    assert outcome.code == 0
    assert "No value in any row, so imputed in all: ph." in outcome.err
    assert "of what the model learned from; if one goes by another name" in outcome.err
    outcome = score("in.csv", "--rename", "acid value=ph")
    assert (outcome.code, "imputed in all" in outcome.err) == (0, False)
    assert read_output("out.csv")[0][:2] == ["id", "acid value"]


# --- several inputs -------------------------------------------------------------------------------


@pytest.fixture
def two_files(workdir):
    write_csv("b.csv", HEADER, good_rows(2))
    write_csv("a.csv", HEADER, good_rows(3, ph={1: "x"}))


def test_several_files_come_out_in_order_with_their_names(score, two_files):
    outcome = score("b.csv", "a.csv", "--rejects", "rejects.csv")
    assert outcome.code == 0
    header, rows = read_output("out.csv")
    assert header == [*HEADER, "source_file", *RESULT_COLUMNS]
    assert [(row["source_file"], row["id"]) for row in rows] == [
        *(("b.csv", "S0"), ("b.csv", "S1")),
        *(("a.csv", "S0"), ("a.csv", "S1"), ("a.csv", "S2")),
    ]
    _, rejects = read_output("rejects.csv")
    assert [(row["file"], row["line"]) for row in rejects] == [("a.csv", "3")]
    assert "Read b.csv as" in outcome.err
    assert "Read a.csv as" in outcome.err
    assert "5 rows" in outcome.err


def test_glob_is_expanded_in_order(score, two_files):
    write_csv("c[1].csv", HEADER, good_rows(1))
    outcome = score("[ab].csv", "c[1].csv")
    assert outcome.code == 0
    _, rows = read_output("out.csv")
    assert [row["source_file"] for row in rows] == [*["a.csv"] * 3, *["b.csv"] * 2, "c[1].csv"]


def test_one_file_by_a_glob_is_one_file(score, two_files):
    assert score("a*.csv").code == 0
    assert "source_file" not in read_output("out.csv")[0]


def test_two_decimal_marks_do_not_go_into_one_output(score, workdir):
    write_csv("a.csv", HEADER, good_rows(3, ph={0: "7.4"}))
    (workdir / "c.csv").write_text(
        (workdir / "a.csv").read_text().replace(",", ";").replace(".", ",")
    )
    outcome = score("a.csv", "c.csv")
    assert (outcome.code, outcome.out) == (3, "")
    error, hint = outcome.err.splitlines()
    assert error == "Error: c.csv: its decimal mark is ',', and that of a.csv '.'."
    assert "into a folder" in hint
    assert not (workdir / "out.csv").exists()


@pytest.mark.parametrize(
    "header", [[*HEADER[::-1]], [*HEADER, "note"], ["ID", *MEASUREMENTS], ["id", "pH", *HEADER[2:]]]
)
def test_differing_headers_are_refused(header, score, two_files, workdir):
    write_csv("c.csv", header, [["7"] * len(header)])
    outcome = score("a.csv", "c.csv")
    assert (outcome.code, outcome.out) == (3, "")
    error, hint = outcome.err.splitlines()
    assert error == "Error: c.csv, line 1: its header differs from that of a.csv."
    assert "one by one" in hint
    assert sorted(path.name for path in workdir.iterdir()) == ["a.csv", "b.csv", "c.csv"]


def test_fault_in_a_later_file_leaves_nothing(score, two_files, workdir):
    Path("c.csv").write_text(",".join(HEADER) + "\n")
    outcome = score("a.csv", "b.csv", "c.csv")
    assert outcome.code == 3
    assert "c.csv: has a header and no rows" in outcome.err
    assert sorted(path.name for path in workdir.iterdir()) == ["a.csv", "b.csv", "c.csv"]


def test_column_called_source_file_is_refused_for_several_files(score, workdir):
    for name in ("a.csv", "b.csv"):
        write_csv(name, [*HEADER, "source_file"], [[*row, "mine"] for row in good_rows(1)])
    outcome = score("a.csv", "b.csv")
    assert outcome.code == 2
    assert ": it has a column 'source_file' already." in outcome.err
    assert score("a.csv").code == 0
    assert score("a.csv", "b.csv", "--columns", "ids,ph", output="x.csv").code == 2
    assert score("a.csv", "b.csv", "--columns", "id", output="x.csv").code == 0
    assert [row["source_file"] for row in read_output("x.csv")[1]] == ["a.csv", "b.csv"]


def test_csv_and_parquet_of_one_header_go_into_text_but_not_into_parquet(score, two_files, workdir):
    numbers = {name: [float(cell)] for name, cell in zip(MEASUREMENTS, GOOD, strict=True)}
    pq.write_table(pa.table({"id": ["P"], **numbers}), "c.parquet")
    assert score("b.csv", "c.parquet").code == 0
    assert [row["id"] for row in read_output("out.csv")[1]] == ["S0", "S1", "P"]
    outcome = score("b.csv", "c.parquet", output="out.parquet")
    assert outcome.code == 2
    assert "The column 'ph' holds double here and string before" in outcome.err
    assert not Path("out.parquet").exists()


# --- models ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def references(store_uri):
    """Each way to name the one model of the store, with the label that its rows show."""
    import mlflow

    client = mlflow.MlflowClient(store_uri)
    version = client.get_model_version("waterflow", "1")
    (output,) = client.get_run(version.run_id).outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    digest = "sha256:" + logged.tags["waterflow.manifest_sha256"][:12]
    folder = logged.artifact_location.removeprefix("file://")
    return {
        "alias": ("@champion", "waterflow/1"),
        "number": ("1", "waterflow/1"),
        "alias_uri": ("models:/waterflow@champion", "waterflow/1"),
        "version_uri": ("models:/waterflow/1", "waterflow/1"),
        "logged_uri": (f"models:/{output.model_id}", digest),
        "run": (f"runs:/{version.run_id}/model", digest),
        "folder": (folder, digest),
    }


@pytest.mark.parametrize(
    "kind", ["alias", "number", "alias_uri", "version_uri", "logged_uri", "run", "folder"]
)
def test_every_name_of_a_model_gives_the_same_scores(kind, references, score, samples):
    assert score(samples).code == 0
    reference, label = references[kind]
    outcome = score(samples, "--model", reference, output="again.csv")
    assert outcome.code == 0, outcome.err
    _, expected = read_output("out.csv")
    _, rows = read_output("again.csv")
    assert {row.pop("model_version") for row in expected} == {"waterflow/1"}
    assert {row.pop("model_version") for row in rows} == {label}
    assert rows == expected


def test_model_folder_needs_no_store(references, cli, samples, workdir):
    folder, _ = references["folder"]
    outcome = cli("score", samples, "-o", "out.csv", "--model", folder)
    assert outcome.code == 0, outcome.err
    assert [path.name for path in workdir.iterdir()] == ["out.csv"]


# --- blocks and jobs ------------------------------------------------------------------------------


@pytest.fixture
def many_rows(workdir, samples):
    """A file with a bit of everything, long enough for some blocks."""
    generator = random.Random(5)
    rows = good_rows(300)
    for row in rows:
        row[generator.randrange(1, 10)] = generator.choice(["", "NA", "x", "-1", "1e9", "3.5"])
        row.append(generator.choice(NASTY))
    rows[50] = rows[50][:5]
    write_csv("in.csv", [*HEADER, "note"], rows)


@pytest.mark.slow
@pytest.mark.parametrize("output", ["out.csv", *slow("out.jsonl.gz", "out.csv.zst", "out.parquet")])
def test_jobs_and_blocks_change_no_byte(output, score, many_rows, monkeypatch):
    written = {}
    defaults = reading.open_table.__wrapped__.__kwdefaults__
    for block_bytes, jobs in ((1 << 22, "1"), (1 << 22, "2"), (300, "1"), (1000, "2"), (5000, "3")):
        monkeypatch.setitem(defaults, "block_bytes", block_bytes)
        outcome = score(
            *("in.csv", "--force", "--jobs", jobs, "--rejects", "rejects.csv"), output=output
        )
        assert outcome.code == 0, outcome.err
        written[block_bytes, jobs] = Path(output).read_bytes(), Path("rejects.csv").read_bytes()
    assert len(set(written.values())) == 1
    assert len(read_rows(output)) == 300


def test_unique_values_are_looked_up_in_order_whatever_the_jobs(model, workdir, monkeypatch):
    """A model of which the schema says that ids are unique; its rows are scored in order."""
    columns = "columns:\n  id: {dtype: str, unique: true}\n"
    text = model.schema.text.replace("columns:\n", columns, 1)
    unique = replace(model, schema=parse_schema(text, "unique"))
    assert unique.schema.has_unique
    rows = good_rows(60)
    rows[40][0] = "S3"
    write_csv("in.csv", HEADER, rows)
    monkeypatch.setitem(reading.open_table.__wrapped__.__kwdefaults__, "block_bytes", 200)
    used = []

    def record_jobs(call, items, jobs):
        used.append(jobs)
        return map_in_order(call, items, jobs)

    monkeypatch.setattr(pass_over, "map_in_order", record_jobs)
    score_files(model, ["in.csv"], "other.csv", ScoringOptions(jobs=2))
    summary = score_files(unique, ["in.csv"], "out.csv", ScoringOptions(jobs=2))
    assert used == [2, 1]
    assert (summary.n_rows, summary.n_scored, summary.n_invalid) == (60, 59, 1)
    (invalid,) = [row for row in read_output("out.csv")[1] if row["status"] == "invalid"]
    assert invalid["id"] == "S3"
    assert "must be unique" in invalid["reason"]


# --- laws -----------------------------------------------------------------------------------------


# What the cells are is not to be found out from so few.
PLAIN = ReadingOptions(encoding="utf-8", sep=",", decimal=".")
CELLS = st.one_of(
    st.sampled_from(["7", "", "NA", "n/a", "x", "-1", "1e400", "15", "<0.5", " 8 ", "007", "1,5"]),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00℉"), max_size=4),
)


@tried_on(40)
@given(
    rows=st.lists(st.lists(CELLS, min_size=9, max_size=11), min_size=1, max_size=12),
    blocks=st.sampled_from([60, 400, 1 << 22]),
    jobs=st.sampled_from([1, 2]),
)
def test_every_row_in_is_scored_or_invalid(model, rows, blocks, jobs):
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setitem(reading.open_table.__wrapped__.__kwdefaults__, "block_bytes", blocks)
        source, output = str(Path(folder) / "in.csv"), str(Path(folder) / "out.csv")
        # A file without any value of what a model learned most from is refused as a whole.
        rows = [["7"] * 9, *rows]
        numbered = [[f"S{number}", *row] for number, row in enumerate(rows)]
        write_csv(source, HEADER, numbered, lineterminator="\r\n")
        rejects = str(Path(folder) / "rejects.jsonl")
        options = ScoringOptions(reading=PLAIN, rejects=rejects, jobs=jobs)
        summary = score_files(model, [source], output, options)
        _, written = read_output(output)
        counts = Counter(row["status"] for row in written)
        assert summary.n_rows == len(rows) == len(written)
        assert summary.n_scored == counts["scored"] == sum(summary.verdicts.values())
        assert summary.n_invalid == counts["invalid"] == len(read_rows(rejects))
        for row, cells in zip(written, numbered, strict=True):
            held = (cells + [""] * len(HEADER))[: len(HEADER)]
            assert [row[name] for name in HEADER] == held
            assert (row["status"] == "invalid") == (row["probability"] == "")
            if len(cells) != len(HEADER):
                assert row["status"] == "invalid"


def test_numbers_of_a_summary_add_up():
    summary = scoring_job.ScoringSummary(model="m", n_rows=5, n_invalid=2)
    assert summary.n_scored == 3


def test_core_refuses_what_the_command_refuses(model, dirty):
    with pytest.raises(DataRefusedError, match=r"^in\.csv, line 3, column ph: 'acid' is not"):
        score_files(model, ["in.csv"], "out.csv", ScoringOptions(on_invalid="fail"))
    with pytest.raises(UsageError, match="is both -o and --rejects"):
        score_files(model, ["in.csv"], "out.csv", ScoringOptions(rejects="./out.csv"))
    with pytest.raises(UsageError, match="is an input"):
        score_files(model, ["in.csv"], "in.csv", ScoringOptions(force=True))


# --- each input into its own file of a folder -----------------------------------------------------


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.fixture
def packed_files(workdir):
    """Three inputs with three headers and packings: two rows, three (one invalid), one."""
    Path("in").mkdir()
    write_csv("in/a.csv", HEADER, good_rows(2))
    write_csv("in/b.csv", [*HEADER, "note"], [[*row, "n"] for row in good_rows(3, ph={1: "x"})])
    write_csv("in/c.txt", HEADER[1:], [row[1:] for row in good_rows(1)])
    Path("in/a.csv.gz").write_bytes(gzip.compress(Path("in/a.csv").read_bytes()))
    Path("in/b.csv.bz2").write_bytes(bz2.compress(Path("in/b.csv").read_bytes()))
    Path("in/a.csv").unlink()
    Path("in/b.csv").unlink()
    return ["in/a.csv.gz", "in/b.csv.bz2", "in/c.txt"]


def test_folder_takes_one_file_for_each_input(score, packed_files):
    outcome = score(*packed_files, "--json", output="new/out/")
    assert outcome.code == 0, outcome.err
    assert names_in("new/out") == ["a.csv.gz", "b.csv", "c.csv"]
    report = json.loads(outcome.out)
    assert report["outputs"] == ["new/out/a.csv.gz", "new/out/b.csv", "new/out/c.csv"]
    assert (report["rows"], report["rows_scored"], report["rows_invalid"]) == (6, 5, 1)
    assert list(report["files"]) == packed_files
    assert [len(read_rows(path)) for path in report["outputs"]] == [2, 3, 1]
    assert read_output("new/out/b.csv")[0] == [*HEADER, "note", *RESULT_COLUMNS]
    assert "source_file" not in read_output("new/out/c.csv")[0]


def test_file_in_a_folder_holds_what_the_input_alone_would_give(score, packed_files):
    assert score(*packed_files, output="out/").code == 0
    for path, name in zip(packed_files, names_in("out"), strict=True):
        assert score(path, output=f"alone_{name}").code == 0
        assert Path(f"alone_{name}").read_bytes() == Path("out", name).read_bytes()


def test_folder_that_is_there_needs_no_slash(score, packed_files):
    Path("out").mkdir()
    assert score(packed_files[0], output="out").code == 0
    assert names_in("out") == ["a.csv.gz"]


@pytest.mark.parametrize(
    ("first", "second", "target"),
    [
        ("a.csv", "other/a.csv", "out/a.csv"),
        ("a.csv", "a.csv.bz2", "out/a.csv"),
        ("a.txt", "a.csv", "out/a.csv"),
        ("a.csv", "a.csv", "out/a.csv"),
        ("a.csv", "./a.csv", "out/a.csv"),
    ],
)
def test_inputs_that_would_share_a_file_are_refused_by_both_names(
    first, second, target, score, workdir
):
    outcome = score(first, second, output="out/")
    assert (outcome.code, outcome.out) == (2, "")
    error, hint = outcome.err.splitlines()
    assert error == f"Error: {first} and {second} would both be written to {target}."
    assert "two folders" in hint
    assert names_in(workdir) == []


def test_standard_input_has_no_name_in_a_folder(score, workdir):
    outcome = score("-", output="out/")
    assert (outcome.code, outcome.out) == (2, "")
    assert "Standard input has no name for a file in a folder" in outcome.err
    assert names_in(workdir) == []


@pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "force"])
def test_input_inside_the_folder_is_never_overwritten(force, score, two_files):
    Path("out").mkdir()
    write_csv("out/c.csv", HEADER, good_rows(4))
    before = Path("out/c.csv").read_bytes()
    outcome = score("a.csv", "out/c.csv", *force, output="out/")
    assert (outcome.code, outcome.out) == (2, "")
    assert "out/c.csv: is an input; the output must be another file." in outcome.err
    assert names_in("out") == ["c.csv"]
    assert Path("out/c.csv").read_bytes() == before


def test_file_of_another_input_in_the_folder_is_never_overwritten(score, two_files):
    """The output of one input would be another input, under another name."""
    Path("out").mkdir()
    Path("a.csv").rename("out/b.csv")
    before = Path("out/b.csv").read_bytes()
    Path("out/link").symlink_to("b.csv")
    outcome = score("b.csv", "out/link", "--force", output="out/")
    assert (outcome.code, outcome.out) == (2, "")
    assert "out/b.csv: is an input" in outcome.err
    assert Path("out/b.csv").read_bytes() == before


def test_file_in_the_folder_is_replaced_only_by_force(score, two_files):
    Path("out").mkdir()
    Path("out/a.csv").write_text("precious\n")
    outcome = score("b.csv", "a.csv", output="out/")
    assert outcome.code == 2
    assert "out/a.csv: exists already." in outcome.err
    assert names_in("out") == ["a.csv"]
    assert Path("out/a.csv").read_text() == "precious\n"
    assert score("b.csv", "a.csv", "--force", output="out/").code == 0
    assert [len(read_rows(f"out/{name}")) for name in ("a.csv", "b.csv")] == [3, 2]


def test_rejects_are_one_file_for_all_inputs_of_a_folder(score, two_files):
    write_csv("c.csv", HEADER[::-1], [row[::-1] for row in good_rows(2, Turbidity={0: "-5"})])
    assert score("a.csv", "b.csv", "c.csv", "--rejects", "rejects.csv", output="out/").code == 0
    assert names_in("out") == ["a.csv", "b.csv", "c.csv"]
    _, rejects = read_output("rejects.csv")
    assert [(row["file"], row["line"]) for row in rejects] == [("a.csv", "3"), ("c.csv", "2")]


def test_rejects_may_not_be_a_file_of_the_folder(score, two_files):
    outcome = score("a.csv", "b.csv", "--rejects", "out/b.csv", output="out/")
    assert outcome.code == 2
    assert "out/b.csv: is both -o and --rejects" in outcome.err
    assert not Path("out").exists()


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [
        (",".join(HEADER) + "\n", (), 3),
        (",".join(HEADER) + '\nS1,"7,' + ",".join(GOOD[1:]) + "\n", (), 3),
        ("a,b\n1,2\n", (), 4),
        (",".join(HEADER) + "\nS1,x," + ",".join(GOOD[1:]) + "\n", ("--on-invalid", "fail"), 1),
        (",".join(HEADER) + "\nS1,x," + ",".join(GOOD[1:]) + "\n", ("--max-invalid", "20"), 1),
    ],
    ids=["no rows", "open quote", "other columns", "fail", "too many"],
)
def test_fault_in_a_later_file_leaves_no_file_in_the_folder(
    text, arguments, code, jobs, score, workdir
):
    write_csv("a.csv", HEADER, good_rows(2))
    write_csv("b.csv", HEADER, good_rows(1))
    Path("c.csv").write_text(text)
    outcome = score(
        *("a.csv", "b.csv", "c.csv", "--rejects", "rejects.csv", "--jobs", jobs),
        *arguments,
        output="out/",
    )
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert "c.csv" in outcome.err or "--max-invalid" in outcome.err
    assert names_in(workdir) == ["a.csv", "b.csv", "c.csv"]


# --- how many rows may be invalid -----------------------------------------------------------------


@pytest.fixture
def one_in_eight(workdir):
    """Two files of 16 rows in all, two of them invalid: 12.5 per cent."""
    write_csv("a.csv", HEADER, good_rows(10, ph={3: "x"}))
    write_csv("b.csv", HEADER, good_rows(6, Sulfate={5: "-1"}))


@pytest.mark.parametrize("on_invalid", ["mark", "drop"])
@pytest.mark.parametrize("percent", ["12.5", "12.6", "100"])
def test_share_of_invalid_rows_up_to_the_bound_passes(percent, on_invalid, score, one_in_eight):
    outcome = score("a.csv", "b.csv", "--max-invalid", percent, "--on-invalid", on_invalid)
    assert outcome.code == 0, outcome.err
    assert len(read_output("out.csv")[1]) == (16 if on_invalid == "mark" else 14)


@pytest.mark.parametrize("output", ["out.csv", "out.parquet", "out/"])
@pytest.mark.parametrize("percent", ["12.4", "12.499", "0"])
def test_share_of_invalid_rows_above_the_bound_leaves_nothing(
    percent, output, score, one_in_eight, workdir
):
    outcome = score(
        *("a.csv", "b.csv", "--max-invalid", percent, "--rejects", "rejects.csv"),
        output=output,
    )
    assert (outcome.code, outcome.out) == (1, "")
    error, hint = outcome.err.splitlines()
    assert error == (
        f"Error: 2 of 16 rows are invalid: 12.5 %, more than the {percent} % of --max-invalid."
    )
    assert "waterflow validate" in hint
    left = [path for path in workdir.rglob("*") if path.is_file()]
    assert sorted(path.name for path in left) == ["a.csv", "b.csv"]


def test_too_many_invalid_rows_leave_what_was_there(score, one_in_eight):
    Path("out.csv").write_text("precious\n")
    assert score("a.csv", "--max-invalid", "1", "--force").code == 1
    assert Path("out.csv").read_text() == "precious\n"


def test_clean_file_passes_where_no_row_may_be_invalid(score, samples):
    assert score(samples, "--max-invalid", "0", "--columns", "ids").code == 0
    assert {row["status"] for row in read_output("out.csv")[1]} == {"scored"}


@given(n_rows=st.integers(1, 10**7), data=st.data())
def test_share_that_is_written_as_the_bound_is_never_above_it(n_rows, data):
    """Any share of at most six digits after the point, as a user would type it."""
    n_invalid = data.draw(st.integers(0, n_rows))
    summary = scoring_job.ScoringSummary(model="m", n_rows=n_rows, n_invalid=n_invalid)
    exact = Fraction(100 * n_invalid, n_rows)
    bound = Fraction(f"{float(exact):.6f}")
    if exact <= bound:
        refuse_too_many(summary, float(bound))
    else:
        with pytest.raises(DataRefusedError, match=f"^{n_invalid} of {n_rows} rows are invalid"):
            refuse_too_many(summary, float(bound))


@pytest.mark.parametrize("percent", ["-1", "101", "nan", "many"])
def test_bound_that_is_no_percentage_is_refused(percent, score, samples):
    outcome = score(samples, "--max-invalid", percent)
    assert (outcome.code, outcome.out) == (2, "")
    assert "--max-invalid" in outcome.err
    assert not Path("out.csv").exists()
