"""Files of samplings: what a sample takes over of them, its label, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.samples.opening import find_inputs, open_samples
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.reading_options import ReadingOptions

SCHEMA = load_schema()
PROFILE = """
[results]
sample = ["referenceprel"]
parameter = "cdparametre"
value = "rqana"
unit = "unite"

[parameters]
1302 = "ph"
1338 = "Sulfate"

[samplings]
sample = ["referenceprel"]
keep = ["cdreseau", "dateprel"]
label = ["bacterio", "chimique"]
unjudged = ["S"]

[label]
C = 1
N = 0
D = 0
"""
RESULTS = """\
referenceprel,cdparametre,rqana,unite
0001,1302,7.1,unité pH
0002,1302,7.2,unité pH
0003,1302,7.3,unité pH
0001,1338,210,mg/L
0004,1302,7.4,unité pH
"""
SAMPLINGS = """\
referenceprel,cdreseau,dateprel,bacterio,chimique
0004,033000104,2024-05-04,S,S
0002,033000102,2024-05-02,C,C
0001,033000101,2024-05-01,C,N
0002,033000199,2024-05-02,D,C
0009,033000109,2024-05-09,C,C
"""


@pytest.fixture
def files(workdir):
    Path("own.toml").write_text(PROFILE, "utf-8")
    Path("results.txt").write_text(RESULTS, "utf-8")
    Path("samplings.txt").write_text(SAMPLINGS, "utf-8")
    return workdir


def reading(*samplings, **others):
    return ReadingOptions(profile="own.toml", samplings=samplings, **others)


def read(options):
    """Give the rows of the joined table, and what was said of how it was read."""
    with open_samples("results.txt", SCHEMA, options) as table:
        rows = [
            dict(zip(batch.columns, cells, strict=True))
            for batch in table.batches()
            for cells in zip(
                *(column.to_pylist() for column in batch.columns.values()), strict=True
            )
        ]
        return rows, [str(text) for text in table.remarks()]


def test_a_sample_takes_over_what_its_sampling_tells(files):
    rows, said = read(reading("samplings.txt"))
    kept = [(row["referenceprel"], row["cdreseau"], row["dateprel"]) for row in rows]
    assert kept == [
        ("0001", "033000101", "2024-05-01"),
        ("0002", "033000102", "2024-05-02"),
        ("0003", "", ""),
        ("0004", "033000104", "2024-05-04"),
    ]
    assert [row["ph"] for row in rows] == ["7.1", "7.2", "7.3", "7.4"]
    assert said[1:] == [
        "4 samplings in 5 rows of samplings.txt",
        "1 sampling without a result here",
        "1 sample without a sampling there",
    ]


def test_where_each_row_belongs_to_a_sample_nothing_else_is_said(files):
    Path("results.txt").write_text(RESULTS.replace("0003", "0009"), "utf-8")
    lines = SAMPLINGS.splitlines(keepends=True)
    Path("samplings.txt").write_text("".join(lines[:4] + lines[5:]), "utf-8")
    assert read(reading("samplings.txt"))[1] == [
        "4 samples of 5 results (own)",
        "4 samplings of samplings.txt",
    ]


def test_a_sample_is_potable_where_all_its_conclusions_say_so(files):
    rows, _ = read(reading("samplings.txt"))
    # One conclusion against; a derogation for the second network; no sampling; nothing judged.
    assert [row["Potability"] for row in rows] == ["0", "0", "", ""]
    rows, _ = read(reading("samplings.txt", label_values={"D": 1}))
    assert [row["Potability"] for row in rows] == ["0", "1", "", ""]


def test_samplings_may_stand_in_several_files(files):
    head, *rest = SAMPLINGS.splitlines(keepends=True)
    Path("a.txt").write_text(head + "".join(rest[:2]), "utf-8")
    Path("b.txt").write_text(head + "".join(rest[2:]), "utf-8")
    assert read(reading("a.txt", "b.txt"))[0] == read(reading("samplings.txt"))[0]


def test_one_of_several_files_may_lack_a_column_that_is_taken_over(files):
    head, *rest = SAMPLINGS.splitlines(keepends=True)
    Path("a.txt").write_text(head + "".join(rest[:2]), "utf-8")
    lines = [line.split(",") for line in (head, *rest[2:])]
    Path("b.txt").write_text("".join(",".join([a, b, *c]) for a, b, _, *c in lines), "utf-8")
    for paths in (("a.txt", "b.txt"), ("b.txt", "a.txt")):
        rows, _ = read(reading(*paths))
        kept = {row["referenceprel"]: (row["cdreseau"], row["dateprel"]) for row in rows}
        assert kept["0001"] == ("033000101", "")
        assert kept["0004"] == ("033000104", "2024-05-04")


def test_files_of_samplings_are_told_from_those_of_results(files):
    found, options = find_inputs(("samplings.txt", "results.txt"), reading())
    assert (found, options.samplings) == (["results.txt"], ("samplings.txt",))
    found, options = find_inputs(("results.txt", "results.txt"), reading())
    assert (found, options.samplings) == (["results.txt", "results.txt"], ())


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("C,N", "C,X", r"line 4: column chimique: 'X' is no conclusion that the profile own knows"),
        ("0009,", ",", r"line 6: column referenceprel: the row names no sampling"),
        ("bacterio", "bakterio", r"line 1: the profile's column 'bacterio' is not in the header"),
        ("033000109,2024", "2024", r"line 6: .*fields where the header has 5"),
    ],
)
def test_samplings_that_say_something_unknown_are_refused(files, old, new, problem):
    Path("samplings.txt").write_text(SAMPLINGS.replace(old, new, 1), "utf-8")
    with pytest.raises(InputError, match=problem):
        read(reading("samplings.txt"))


def test_samplings_go_with_a_table_of_results_alone(files):
    Path("wide.csv").write_text("ph,Sulfate\n7.1,210\n", "utf-8")
    with (
        pytest.raises(UsageError, match=r"--samplings: wide.csv has one row for each sample"),
        open_samples("wide.csv", SCHEMA, ReadingOptions(samplings=("samplings.txt",))),
    ):
        pass
