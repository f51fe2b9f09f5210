from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from learnable import write_learnable

from waterflow_cli.registry.stores import connect

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

N_ROWS = 300
PLAIN = ("--plugin", "logreg", "--balance", "none")
QUICK = (*PLAIN, "--cv", "3x1")
FOREST = ("--plugin", "rf", "--param", "n_estimators=10", "--cv", "3x1")
# No 30 % of the rows can show this.
OUT_OF_REACH = "precision=0.99@99%"
MEASUREMENTS = (
    *("ph", "Hardness", "Solids", "Chloramines", "Sulfate", "Conductivity"),
    *("Organic_carbon", "Trihalomethanes", "Turbidity"),
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """300 simulated samples with the columns sample_id, site and date."""
    path = tmp_path_factory.mktemp("table") / "table.csv"
    write_learnable(path, N_ROWS, seed=5)
    return path


@pytest.fixture
def uri(new_store):
    return new_store


@pytest.fixture
def train(cli, table, uri):
    def run(*options, data=table, base=QUICK):
        return cli("train", data, *base, "--tracking-uri", uri, *options)

    return run


def statuses(uri):
    client = connect(uri)
    experiment = client.get_experiment_by_name("waterflow")
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    return [run.info.status for run in found]


def assert_refused_before_a_run(outcome, uri, code, *says):
    assert (outcome.code, outcome.out) == (code, "")
    for text in says:
        assert text in outcome.err
    assert "Measuring" not in outcome.err
    assert statuses(uri) == []


def strict_json(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def edited(table, column, row, value):
    """Write a copy of the table with another value in one cell; give its path and line."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    rows[row + 1][rows[0].index(column)] = value
    with Path("edited.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return "edited.csv", row + 2


# --- how the rows are split ----------------------------------------------------------------------


@pytest.mark.parametrize("cv", ["", "5", "x", "5x", "x2", "5x2x1", "5.0x2", "-5x2", "²x2", "a x b"])
def test_another_form_of_cv_is_refused(cv, train, uri):
    outcome = train("--cv", cv, base=PLAIN)
    assert_refused_before_a_run(outcome, uri, 2, f"--cv {cv}: it is written FOLDSxREPEATS")


@pytest.mark.parametrize("cv", ["2x2", "1x1", "21x1", "5x0", "5x101", "0x0"])
def test_too_few_or_many_folds_are_refused(cv, train, uri):
    outcome = train("--cv", cv, base=PLAIN)
    assert_refused_before_a_run(outcome, uri, 2, f"--cv {cv}: 3 to 20 folds, 1 to 100 repeats.")


@pytest.mark.parametrize("size", ["0", "0.04", "0.51", "1", "nan", "half"])
def test_a_share_that_cannot_be_held_out_is_refused(size, train, uri):
    assert_refused_before_a_run(train("--test-size", size), uri, 2, "--test-size")


@pytest.mark.slow
def test_an_asked_share_is_held_out_once(train):
    outcome = train("--test-size", "0.2", "--json", base=PLAIN)
    assert outcome.code == 0, outcome.err
    summary = strict_json(outcome.out)
    assert [(fold["rows"], fold["rows_trained"]) for fold in summary["folds"]] == [(60, 240)]
    assert summary["evaluation"]["rows"] == 60
    assert summary["rows_trained"] == N_ROWS


def test_a_quick_answer_says_what_it_leaves_out(train):
    outcome = train("--quick", "--report", "page.html", base=PLAIN)
    assert outcome.code == 0, outcome.err
    assert "one quick hold-out of a fifth, 60 rows: estimate and 95 % interval" in outcome.out
    assert "(2 fits, besides the baselines)" in outcome.out
    assert "A quick answer: the figures are of a model that learned from three" in outcome.err
    assert "Which measurements matter" not in Path("page.html").read_text(encoding="utf-8")


def test_the_spread_of_the_thresholds_is_printed_where_there_is_one(train):
    tuned = train(base=PLAIN)
    assert tuned.code == 0, tuned.err
    found = re.search(r"each of (\d+) folds it lay between (0\.\d+) and (0\.\d+), with", tuned.out)
    assert found
    low, high = map(float, found.groups()[1:])
    assert low < high
    assert "folds it lay" not in train("--threshold", "0.4", base=PLAIN).out


def test_a_group_column_that_is_not_there_is_named_with_the_nearest(train, uri):
    outcome = train("--group", "sites")
    assert_refused_before_a_run(outcome, uri, 3, "no column 'sites' (--group)", "'site'?")


@pytest.mark.slow
def test_groups_stay_together_on_the_command_line(train, table):
    outcome = train("--group", "site", "--json")
    assert outcome.code == 0, outcome.err
    sizes = pd.read_csv(table)["site"].value_counts()
    for fold in strict_json(outcome.out)["folds"]:
        assert fold["rows"] + fold["rows_trained"] == N_ROWS
        # A number of rows that whole sites can have.
        sums = {0}
        for size in sizes:
            sums |= {total + size for total in sums}
        assert fold["rows"] in sums


def test_a_date_that_cannot_be_read_is_named_with_its_line(train, table, uri):
    path, line = edited(table, "date", 41, "31st of May")
    says = f"{path}, line {line}, column date: no date such as 2024-05-31, and no number"
    outcome = train("--time", "date", data=path)
    assert_refused_before_a_run(outcome, uri, 1, says, "(1 such row)")


def test_a_date_that_is_missing_is_named_with_its_line(train, table, uri):
    path, line = edited(table, "date", 7, "")
    outcome = train("--time", "date", data=path)
    assert_refused_before_a_run(
        outcome, uri, 1, f"{path}, line {line}, column date: the time is missing"
    )


@pytest.mark.slow
def test_what_is_tested_is_newer_than_what_was_learned(train):
    outcome = train("--time", "date", "--json")
    assert outcome.code == 0, outcome.err
    folds = strict_json(outcome.out)["folds"]
    assert len(folds) == 3
    trained = [fold["rows_trained"] for fold in folds]
    assert trained == sorted(trained)
    assert trained[-1] < N_ROWS


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--group", "site", "--time", "date"), "--group and --time"),
        (("--group", "site", "--test-size", "0.2"), "--group and --test-size"),
        (("--time", "date", "--test-size", "0.2"), "--time and --test-size"),
        (("--cv", "5x1", "--test-size", "0.2"), "--cv and --test-size"),
        (("--cv", "5x1", "--quick"), "--cv and --quick"),
        (("--test-size", "0.2", "--quick"), "--test-size and --quick"),
    ],
)
def test_two_ways_of_splitting_are_refused(options, named, train, uri):
    outcome = train(*options)
    assert_refused_before_a_run(outcome, uri, 2, f"{named}: the rows can be split in one way only.")


# --- guarantees ----------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [("--group", "site"), ("--time", "date")])
def test_no_guarantee_for_rows_that_are_not_exchangeable(split, train, uri):
    outcome = train(*split, "--guarantee", "precision=0.8@90%")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--guarantee goes with neither --group nor --time" in outcome.err
    assert connect(uri).search_registered_models() == []


def test_a_guarantee_must_be_asked_for_to_be_required(train, uri):
    outcome = train("--require-guarantee")
    assert_refused_before_a_run(outcome, uri, 2, "--require-guarantee: no --guarantee is asked")


@pytest.mark.parametrize("text", ["precision=0.8", "npv=80%@90%", "recall=0.8@90%", "npv=2@90%"])
def test_a_guarantee_of_another_form_is_refused(text, train, uri):
    assert_refused_before_a_run(train("--guarantee", text), uri, 2, f"--guarantee {text}: ")


def test_a_required_guarantee_that_cannot_be_given_registers_nothing(train, uri):
    outcome = train(
        *("--guarantee", OUT_OF_REACH, "--require-guarantee"), *("--report", "page.html")
    )
    assert (outcome.code, outcome.out) == (1, "")
    assert f"Cannot be guaranteed on 90 rows: {OUT_OF_REACH}." in outcome.err
    assert "No model was registered." in outcome.err
    client = connect(uri)
    assert client.search_registered_models() == []
    assert client.search_model_versions() == []
    assert statuses(uri) == ["FAILED"]
    assert list(Path().iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guarantees", "policy", "reasons"),
    [
        (
            [OUT_OF_REACH],
            "likely_potable never, likely_not_potable up to ",
            {"probability above ", "probability at most "},
        ),
        (
            ["npv=0.999@99%"],
            "likely_not_potable never, else send_to_lab",
            {"probability below ", "probability at least "},
        ),
        (
            [OUT_OF_REACH, "npv=0.999@99%"],
            "likely_potable never, likely_not_potable never, else send_to_lab",
            {"the model decides nothing"},
        ),
    ],
)
def test_reasons_say_it_where_a_side_never_decides(
    guarantees, policy, reasons, train, cli, table, uri
):
    options = [part for text in guarantees for part in ("--guarantee", text)]
    outcome = train(*options)
    assert outcome.code == 0, outcome.err
    assert policy in outcome.out
    for text in guarantees:
        assert f"Guarantee {text}: cannot be given; that side is always send_to_lab." in outcome.out
    scored = cli("score", table, "-o", "out.csv", "--tracking-uri", uri)
    assert scored.code == 0, scored.err
    found = pd.read_csv("out.csv", dtype=str)
    for reason in found["reason"]:
        assert any(reason.startswith(start) for start in reasons), reason
        assert not reason.partition(";")[0].endswith((" 2", " -1"))  # bounds that cannot be
    closed = {"likely_potable"} if "likely_potable never" in policy else set()
    closed |= {"likely_not_potable"} if "likely_not_potable never" in policy else set()
    assert not closed & set(found["verdict"])


@pytest.mark.slow
def test_a_guarantee_is_void_for_samples_of_another_kind(train, cli, uri):
    assert train("--guarantee", "npv=0.3@60%", base=FOREST).code == 0
    options = ("--tracking-uri", uri, "--require-guarantee", "--force")
    write_learnable(Path("new.csv"), N_ROWS, seed=6)
    scored = cli("score", "new.csv", "-o", "out.csv", *options)
    assert (scored.code, "Void for" in scored.err) == (0, False), scored.err
    rows = pd.read_csv("out.csv", dtype=str)
    others = rows[rows["verdict"] != "likely_not_potable"].iloc[:, :-7]
    others.to_csv("others.csv", index=False)
    again = cli("score", "others.csv", "-o", "again.csv", *options)
    assert again.code == 1
    assert "Void for these samples" in again.err
    assert "npv=0.3@60%" in again.err
    assert len(pd.read_csv("again.csv")) == len(others)


@pytest.mark.slow
def test_a_guarantee_that_no_model_keeps_is_not_scored_by(train, cli, table, uri):
    assert train().code == 0
    scored = cli("score", table, "-o", "out.csv", "--tracking-uri", uri, "--require-guarantee")
    assert scored.code == 1
    assert "keeps no guarantee." in scored.err
    assert not Path("out.csv").exists()


# --- searches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--journal", "trials.journal"), "--journal goes with --tune alone."),
        (("--time-limit", "5"), "--time-limit goes with --tune alone."),
        (("--tune", "0"), "'--tune'"),
        (("--tune", "2", "--time-limit", "0"), "'--time-limit'"),
        (("--tune", "2", "--time-limit", "-1"), "'--time-limit'"),
        (("--tune", "2", "--time-limit", "nan"), "'--time-limit'"),
    ],
)
def test_options_of_a_search_go_with_one(options, named, train, uri):
    assert_refused_before_a_run(train(*options), uri, 2, named)
    assert list(Path().iterdir()) == []


def test_a_search_with_nothing_left_to_search_is_refused(train, uri):
    outcome = train("--tune", "2", "--param", "C=1.0")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--tune: the plugin 'logreg' names no parameter to search beyond" in outcome.err
    assert connect(uri).search_registered_models() == []


# --- what is registered --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("calibration", ["isotonic", "none"])
def test_score_gives_the_probabilities_of_the_mlflow_model(calibration, train, cli, table, uri):
    outcome = train("--calibrate", calibration, "--json", base=FOREST)
    assert outcome.code == 0, outcome.err
    summary = strict_json(outcome.out)
    assert cli("score", table, "-o", "out.csv", "--tracking-uri", uri).code == 0
    scored = pd.read_csv("out.csv")
    assert set(scored["status"]) == {"scored"}
    connect(uri)
    model = mlflow.pyfunc.load_model(f"models:/waterflow/{summary['registered']['version']}")
    expected = model.predict(pd.read_csv(table)[list(MEASUREMENTS)].astype(float))
    assert np.array_equal(scored["probability"], expected["probability"].astype(float))
    assert np.array_equal(scored["prediction"], expected["prediction"].astype(int))
    assert scored["verdict"].tolist() == expected["verdict"].tolist()
    if calibration == "isotonic":  # a staircase has few steps
        assert 1 < scored["probability"].nunique() < N_ROWS / 3


@pytest.mark.slow
def test_each_calibration_gives_other_probabilities(train, cli, table, uri):
    found = {}
    for calibration in ("sigmoid", "none"):
        summary = strict_json(train("--calibrate", calibration, "--json", base=FOREST).out)
        version = str(summary["registered"]["version"])
        output = f"{calibration}.csv"
        assert (
            cli("score", table, "-o", output, "--model", version, "--tracking-uri", uri).code == 0
        )
        found[calibration] = pd.read_csv(output)["probability"]
    assert not np.allclose(found["sigmoid"], found["none"], atol=1e-6)


# --- the summary ---------------------------------------------------------------------------------


def test_the_summary_is_strict_json_with_folds_points_and_guarantees(train):
    outcome = train(
        *("--json", "--guarantee", OUT_OF_REACH, "--guarantee", "npv=0.2@50%"),
        *("--threshold", "1", "--cv", "3x2"),
        base=PLAIN,
    )
    assert outcome.code == 0, outcome.err
    summary = strict_json(outcome.out)
    assert summary["version"] == 1
    assert [fold["repeat"] for fold in summary["folds"]] == [0, 0, 0, 1, 1, 1]
    assert [fold["rows"] for fold in summary["folds"]] == [70] * 6
    assert {fold["rows_trained"] for fold in summary["folds"]} == {140}
    # From 1 on nothing is called potable, so its precision is undefined: null.
    assert {fold["precision_potable"] for fold in summary["folds"]} == {None}
    names = [point["name"] for point in summary["operating_points"]]
    assert names == ["tuned threshold", "0.5 of the probability", "reject everything"]
    assert summary["operating_points"][-1]["precision_potable"] is None
    refused, _ = summary["guarantees"]
    assert refused == {
        "guarantee": OUT_OF_REACH,
        "cut": None,
        "n_rows": 90,
        "n_decided": 0,
        "observed": None,
        "method": "split",
    }
    assert (summary["rows_trained"], summary["threshold"]) == (210, 1)
