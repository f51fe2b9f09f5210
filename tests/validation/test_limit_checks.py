"""Measurements held against limits: what is above, below, within, and what cannot be told."""

import csv
import io
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterflow_cli.common.errors import UsageError
from waterflow_cli.registry.location import load_model
from waterflow_cli.samples.nondetects import Censored
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.scoring.job import score_files
from waterflow_cli.scoring.scorer import RESULT_COLUMNS
from waterflow_cli.scoring.task import ScoringOptions
from waterflow_cli.tables.table import Batch, RowFinding
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.runs.page import health_limits
from waterflow_cli.validation.batches import CheckedBatch
from waterflow_cli.validation.limit_checks import (
    LimitCounts,
    LimitStatus,
    check_limits,
    compare_with_limit,
    rows_above,
)
from waterflow_cli.validation.limits import NEVER_MEASURED, PROFILES, LimitProfile, load_limits

NINE = load_schema().measurements
ALL = load_limits(PROFILES)
(EPA,) = load_limits(["epa"])
LIMITS = {limit.column: limit for limit in EPA.limits}
PH, SULFATE = LIMITS["ph"], LIMITS["Sulfate"]
AT_LEAST = replace(SULFATE, minimum=5.0, maximum=None)
ABOVE, BELOW = "above the value (single sample)", "below the value (single sample)"
NAN = float("nan")


def censored(texts):
    """Read "<0.5" and ">200" into bounds; other cells are not censored."""
    below = np.array([text.startswith("<") for text in texts])
    above = np.array([text.startswith(">") for text in texts])
    bound = np.array([float(text[1:]) if text[0] in "<>" else NAN for text in texts])
    return Censored(below, above, bound)


def checked_batch(columns, *, bounds=(), broken=()):
    """A batch as it comes from the checks, from numbers by column."""
    n_rows = len(next(iter(columns.values())))
    numbers = {name: np.array(values, dtype=float) for name, values in columns.items()}
    missing = {name: np.isnan(values) for name, values in numbers.items()}
    faulty = {row: RowFinding("ragged_row", {"n": 1, "n_columns": 2}) for row in broken}
    cells = {name: pa.array(map(str, values)) for name, values in columns.items()}
    batch = Batch(columns=cells, lines=np.arange(2, n_rows + 2), findings=faulty)
    return CheckedBatch(
        file="in.csv", batch=batch, numbers=numbers, missing=missing, censored=dict(bounds)
    )


def statuses(limit, values, bounds=None):
    values = np.array(values, dtype=float)
    measured = ~np.isnan(values)
    if bounds is not None:
        measured |= bounds.below | bounds.above
    return [LimitStatus(code).name for code in compare_with_limit(limit, values, measured, bounds)]


# --- one limit -----------------------------------------------------------------------------------


def test_a_value_equal_to_a_bound_is_within():
    values = [6.4, 6.5, 7, 8.5, 8.6, NAN]
    expected = ["BELOW", "WITHIN", "WITHIN", "WITHIN", "ABOVE", "NOT_MEASURED"]
    assert statuses(PH, values) == expected
    assert statuses(SULFATE, [0, 250, np.nextafter(250, 251)]) == ["WITHIN", "WITHIN", "ABOVE"]


@pytest.mark.parametrize(
    ("limit", "cell", "expected"),
    [
        (SULFATE, "<250", "WITHIN"),
        (SULFATE, "<250.1", "INDETERMINATE"),
        (SULFATE, ">250", "ABOVE"),
        (SULFATE, ">249.9", "INDETERMINATE"),
        (PH, "<6.5", "BELOW"),
        (PH, "<6.6", "INDETERMINATE"),
        (PH, "<9", "INDETERMINATE"),
        (PH, ">8.5", "ABOVE"),
        (PH, ">8.4", "INDETERMINATE"),
        (AT_LEAST, "<5", "BELOW"),
        (AT_LEAST, "<5.1", "INDETERMINATE"),
        (AT_LEAST, ">5", "WITHIN"),
        (AT_LEAST, ">4.9", "INDETERMINATE"),
        (SULFATE, "<nan", "INDETERMINATE"),
        (SULFATE, ">nan", "INDETERMINATE"),
    ],
)
@pytest.mark.parametrize("substitute", [0.0, 1e6, NAN])
def test_a_bound_is_compared_and_never_its_substitute(limit, cell, expected, substitute):
    assert statuses(limit, [substitute], censored([cell])) == [expected]


VALUES = st.floats(-10, 300, allow_nan=False)


@given(limit=st.sampled_from([PH, SULFATE, AT_LEAST]), bound=VALUES, is_below=st.booleans())
def test_a_bound_decides_just_when_all_values_that_it_allows_agree(limit, bound, is_below):
    edges = [edge for edge in (limit.minimum, limit.maximum) if edge is not None]
    candidates = [-1e9, 1e9, bound - 1e-6, bound + 1e-6]
    candidates += [edge + step for edge in edges for step in (-1e-6, 0, 1e-6)]
    # Just beside the bound, between it and an edge that lies closer than the steps.
    candidates += [(bound + edge) / 2 for edge in edges]
    candidates += [np.nextafter(each, to) for each in (bound, *edges) for to in (-1e9, 1e9)]
    allowed = [value for value in candidates if (value < bound if is_below else value > bound)]
    possible = set(statuses(limit, allowed))
    (told,) = statuses(limit, [NAN], censored([f"{'<' if is_below else '>'}{bound!r}"]))
    assert told == (possible.pop() if len(possible) == 1 else "INDETERMINATE")


# --- a batch -------------------------------------------------------------------------------------


def check(batch, profiles=(EPA,)):
    return check_limits(batch, profiles, NINE)


def test_rows_name_what_is_above_below_and_indeterminate():
    batch = checked_batch(
        {
            "ph": [7.0, 6.0, 9.0, NAN],
            "Trihalomethanes": [80, 80.5, 40, 100],
            "Chloramines": [4, 2, 1, 1],
        },
        bounds={"Chloramines": censored(["4", "2", "<10", "<2"])},
    )
    assert check(batch).texts().to_pylist() == [
        "",
        "ph below 6.5 (epa); Trihalomethanes above 80 µg/L (epa)",
        "ph above 8.5 (epa); Chloramines indeterminate (epa)",
        "Trihalomethanes above 80 µg/L (epa)",
    ]


def test_a_condition_is_named_where_a_column_has_several_values():
    batch = checked_batch({"Conductivity": [1050.0]})
    assert check(batch, load_limits(["fr"])).texts().to_pylist() == [
        "Conductivity above 1000 µS/cm (fr: at 20 °C)"
    ]


def test_rows_not_read_whole_and_columns_not_there_count_as_not_measured():
    batch = checked_batch({"Sulfate": [300, 300, NAN]}, broken=[1])
    flags = check(batch)
    position = flags.limits.index(SULFATE)
    assert (flags.codes[position] == LimitStatus.ABOVE).tolist() == [True, False, False]
    assert (flags.codes[position] == LimitStatus.NOT_MEASURED).tolist() == [False, True, True]
    assert flags.measured == {name: int(name == "Sulfate") for name in NINE}
    assert (flags.codes[flags.limits.index(PH)] == LimitStatus.NOT_MEASURED).all()
    assert flags.texts().to_pylist() == ["Sulfate above 250 mg/L (epa)", "", ""]


def test_a_batch_without_rows_has_no_texts():
    flags = check(checked_batch({"ph": []}))
    assert flags.texts().to_pylist() == []
    assert not np.any(flags.by_limit)


def test_any_number_of_limits_is_named_in_order():
    limits = tuple(
        replace(SULFATE, profile="many", where=str(number), maximum=float(number))
        for number in range(70)
    )
    profile = LimitProfile(
        name="many", title="Many", limits=limits, unlimited=(), notes=(), sha256=""
    )
    texts = check(checked_batch({"Sulfate": [0, 3, 69.5]}), [profile]).texts().to_pylist()
    assert [text.count("above") for text in texts] == [0, 3, 70]
    assert texts[1] == "; ".join(f"Sulfate above {n} mg/L (many: {n})" for n in range(3))


@given(st.data())
def test_texts_and_counts_are_those_of_the_rows_one_by_one(data):
    n_rows = data.draw(st.integers(1, 12))
    cells = st.lists(
        st.sampled_from([NAN, 0.2, 3.0, 7.0, 90.0, 600.0]), min_size=n_rows, max_size=n_rows
    )
    columns = {
        name: data.draw(cells) for name in data.draw(st.sets(st.sampled_from(NINE), min_size=1))
    }
    whole = check_limits(checked_batch(columns), ALL, NINE)
    counts = LimitCounts(profiles=ALL, measurements=NINE)
    texts = []
    for row in range(n_rows):
        held = checked_batch({name: [v[row]] for name, v in columns.items()})
        flags = check_limits(held, ALL, NINE)
        counts.add(flags)
        texts += flags.texts().to_pylist()
    assert whole.texts().to_pylist() == texts
    assert counts.by_limit == whole.by_limit
    assert counts.measured == whole.measured
    assert all(sum(sums) == n_rows for sums in counts.by_limit)


def test_counts_go_on_from_their_json():
    profiles = load_limits(["epa", "who"])
    first, second = (LimitCounts(profiles=profiles, measurements=NINE) for _ in range(2))
    batch = checked_batch({"ph": [6.0, 9.0, 7.0], "Sulfate": [1, NAN, 300]})
    first.add(check_limits(batch, profiles, NINE))
    second.take_up(json.loads(json.dumps(first.content())))
    assert second.content() == first.content()
    (value,) = [each for each in first.content()["values"] if each["column"] == "ph"]
    assert value["rows"] == {
        "not_measured": 0,
        "within": 1,
        "above": 1,
        "below": 1,
        "indeterminate": 0,
    }
    assert first.not_measured == [name for name in NINE if name not in ("ph", "Sulfate")]
    assert first.in_no_column == list(NEVER_MEASURED)


def test_what_the_schema_measures_is_not_called_unmeasured():
    counts = LimitCounts(profiles=(EPA,), measurements=("Nitrate", "e_coli"))
    assert counts.in_no_column == ["arsenic", "lead", "fluoride"]


@pytest.mark.real_data
def test_nearly_all_rows_labelled_potable_lie_above_a_health_limit(real_table):
    data = load_training_data(str(real_table), load_schema())
    above = rows_above(health_limits(), data.X)
    assert above[data.y == 1].mean() == pytest.approx(0.973, abs=5e-4)


# --- validate ------------------------------------------------------------------------------------

HEADER = [*NINE]
TABLE = [
    ["7", "200", "400", "3.5", "100", "500", "1", "", "0.2"],
    ["6", "200", "600", "4", "", "500", "1", "", "0.2"],
    ["9", "200", "400", "5", "260", "500", "1", "", "0.2"],
]


def write_table(path, rows=TABLE, header=HEADER):
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def read_table(path):
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def table(workdir):
    write_table("in.csv")


def test_validate_counts_by_limit_and_says_what_was_not_measured(cli, table):
    outcome = cli("validate", "in.csv", "--limits", "epa,who")
    assert (outcome.code, outcome.out) == (0, "")
    (head,) = [line for line in outcome.err.splitlines() if "measurement" in line]
    assert ABOVE in head
    assert BELOW in head
    (ph,) = [line for line in outcome.err.splitlines() if " ph " in line]
    assert re.search(r" 1 +1 +0 +0 +US EPA", ph), "the counts, and the source of the limit"
    absent = ", ".join(NEVER_MEASURED)
    assert (
        f"Not measured: {absent} (in no column); Trihalomethanes (no result in any row)."
        in outcome.err
    )


def test_validate_says_the_same_as_json_and_only_where_it_is_asked_to(cli, table):
    content = json.loads(cli("validate", "in.csv", "--limits", "epa", "--json").out)["limits"]
    assert content["profiles"] == [{"name": "epa", "title": EPA.title, "sha256": EPA.sha256}]
    rows = {value["column"]: value["rows"] for value in content["values"]}
    assert (rows["Sulfate"]["above"], rows["Sulfate"]["not_measured"]) == (1, 1)
    assert (rows["Chloramines"]["above"], rows["Chloramines"]["within"]) == (1, 2)
    assert rows["Trihalomethanes"]["not_measured"] == 3
    assert content["not_measured"] == ["Trihalomethanes"]
    assert content["in_no_column"] == list(NEVER_MEASURED)
    plain = cli("validate", "in.csv", "--json")
    assert "limits" not in json.loads(plain.out)
    assert "single sample" not in plain.err


@pytest.mark.parametrize("ph", ["7", "15", "0"])
def test_limits_change_no_exit_code(cli, workdir, ph):
    write_table("in.csv", [[ph, *TABLE[0][1:]]])
    codes = [cli("validate", "in.csv", *more).code for more in ((), ("--limits", "who,eu,epa,fr"))]
    assert codes[0] == codes[1]


def test_quiet_keeps_the_counts_off_the_terminal(cli, table):
    assert cli("validate", "in.csv", "--limits", "epa", "-q").err == ""


def test_limits_that_do_not_exist_are_wrong_usage(cli, table):
    outcome = cli("validate", "in.csv", "--limits", "epa,fra")
    assert outcome.code == 2
    assert "No limits named 'fra'. Did you mean 'fr'?" in outcome.err


def test_good_and_bad_rows_say_how_they_stand(cli, workdir):
    write_table("in.csv", [*TABLE, ["x", *TABLE[2][1:]]])
    arguments = ("--good", "good.csv", "--bad", "bad.csv", "--limits", "epa")
    assert cli("validate", "in.csv", *arguments).code == 1
    header, *good = read_table("good.csv")
    assert header == [*HEADER, "limits"]
    assert [row[-1] for row in good] == [
        "",
        "ph below 6.5 (epa); Solids above 500 mg/L (epa)",
        "ph above 8.5 (epa); Chloramines above 4 mg/L as Cl2 (epa); Sulfate above 250 mg/L (epa)",
    ]
    header, bad = read_table("bad.csv")
    assert header == [*HEADER, "rule", "reason", "limits"]
    assert bad[-1] == "Chloramines above 4 mg/L as Cl2 (epa); Sulfate above 250 mg/L (epa)"


def test_a_column_of_that_name_is_not_overwritten(cli, workdir):
    write_table("in.csv", [[*row, "mine"] for row in TABLE], [*HEADER, "limits"])
    outcome = cli("validate", "in.csv", "--limits", "epa", "--good", "good.csv")
    assert outcome.code == 2
    assert ": it has a column 'limits'" in outcome.err
    assert cli("validate", "in.csv", "--limits", "epa").code == 0


def test_the_page_of_findings_has_the_counts(cli, table):
    arguments = ("--limits", "epa", "--format", "html", "-o", "page.html")
    assert cli("validate", "in.csv", *arguments).code == 0
    page = Path("page.html").read_text("utf-8")
    assert f"<th>{ABOVE}</th>" in page
    assert "Not measured: E. coli" in page


def test_a_result_below_a_limit_of_quantification_above_the_limit_is_indeterminate(cli, workdir):
    cells = ["7", "200", "400", "<5", "<250", "500", "2", ">80", "0.2"]
    write_table("in.csv", [cells, [*cells[:3], "<4", *cells[4:]]])
    outcome = cli("validate", "in.csv", "--limits", "epa", "--good", "good.csv", "--json")
    rows = {v["column"]: v["rows"] for v in json.loads(outcome.out)["limits"]["values"]}
    assert (rows["Chloramines"]["indeterminate"], rows["Chloramines"]["within"]) == (1, 1)
    assert (rows["Sulfate"]["within"], rows["Trihalomethanes"]["above"]) == (2, 2)
    above = "Trihalomethanes above 80 µg/L (epa)"
    expected = [f"Chloramines indeterminate (epa); {above}", above]
    assert [row[-1] for row in read_table("good.csv")[1:]] == expected


# --- score ---------------------------------------------------------------------------------------


@pytest.fixture
def score(cli, store_uri):
    def run(*arguments, output="out.csv"):
        return cli("score", *arguments, "-o", output, "--tracking-uri", store_uri)

    return run


def test_score_adds_one_column_after_the_results_and_changes_nothing_else(score, samples):
    assert score(samples, output="plain.csv").code == 0
    outcome = score(samples, "--limits", "epa,who")
    assert outcome.code == 0
    plain, limited = read_table("plain.csv"), read_table("out.csv")
    assert limited[0][-8:] == [*RESULT_COLUMNS, "limits"]
    assert [row[:-1] for row in limited] == plain
    counts = Counter(part for row in limited[1:] for part in row[-1].split("; "))
    content = json.loads(score(samples, "--limits", "epa,who", "--json", "--force").out)
    above = {
        (value["profile"], value["column"], value["where"]): value["rows"]["above"]
        for value in content["limits"]["values"]
    }
    assert above["epa", "Trihalomethanes", ""] == counts["Trihalomethanes above 80 µg/L (epa)"] > 0
    assert above["who", "Chloramines", ""] == counts["Chloramines above 3 mg/L (who)"] > 0
    assert ABOVE in outcome.err
    assert f"Not measured: {', '.join(NEVER_MEASURED)} (in no column)." in outcome.err


def test_the_column_takes_the_prefix(score, samples):
    assert score(samples, "--limits", "epa", "--prefix", "wf_", "--columns", "ids").code == 0
    assert read_table("out.csv")[0][-1] == "wf_limits"


def test_an_input_column_of_that_name_is_refused_only_with_limits(score, workdir):
    write_table("in.csv", [[*row, "mine"] for row in TABLE], [*HEADER, "limits"])
    outcome = score("in.csv", "--limits", "epa")
    assert outcome.code == 2
    assert ": its column 'limits' has the name" in outcome.err
    assert score("in.csv").code == 0


def test_invalid_rows_are_held_against_the_limits_too(score, workdir):
    write_table("in.csv", [["x", *TABLE[2][1:]], TABLE[0]])
    assert score("in.csv", "--limits", "epa").code == 0
    _, invalid, good = read_table("out.csv")
    assert invalid[len(HEADER)] == "invalid"
    assert invalid[-1] == "Chloramines above 4 mg/L as Cl2 (epa); Sulfate above 250 mg/L (epa)"
    assert good[-1] == ""


@pytest.mark.parametrize("output", ["out.csv", "out.parquet", "out.jsonl"])
def test_the_bytes_depend_on_neither_jobs_nor_batches(score, samples, output):
    whole = score(samples, "--limits", "fr,epa", "--json", output=output)
    expected = Path(output).read_bytes()
    options = ("--limits", "fr,epa", "--json", "--force", "--jobs", "2", "--batch-rows", "50")
    parts = score(samples, *options, output=output)
    if not output.endswith(".parquet"):  # whose row groups follow the batches
        assert Path(output).read_bytes() == expected
    assert json.loads(parts.out)["limits"] == json.loads(whole.out)["limits"]


class StoppedError(Exception):
    """A job that is killed."""


def test_counts_of_a_resumed_job_are_those_of_one_that_was_never_stopped(
    store_uri, samples, workdir
):
    model = load_model("@champion", name="waterflow", tracking_uri=store_uri)
    limits = load_limits(["epa", "who"], model.schema)
    options = ScoringOptions(limits=limits, batch_rows=50, resume=True)
    whole = score_files(model, [str(samples)], "whole.csv", options)

    def stop(n_rows, _share):
        if n_rows > 150:
            raise StoppedError

    with pytest.raises(StoppedError):
        score_files(model, [str(samples)], "out.csv", options, stop)
    with pytest.raises(UsageError):
        score_files(model, [str(samples)], "out.csv", replace(options, limits=load_limits(["epa"])))
    resumed = score_files(model, [str(samples)], "out.csv", options)
    assert resumed.n_resumed > 0
    assert resumed.counts == whole.counts
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_limits_are_part_of_what_decides_a_job():
    deciding = ScoringOptions(limits=(EPA,)).deciding
    assert deciding["limits"] == {"epa": EPA.sha256}
    assert "limits" not in ScoringOptions().deciding
    json.dump(deciding, io.StringIO())
