from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.json import json_text
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.main import main
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.metrics import METRICS
from waterflow_cli.registry.stores import connect
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.samples.simulation import write_simulation
from waterflow_cli.training.comparison import (
    NO_EVIDENCE,
    Candidate,
    Difference,
    Leaderboard,
    compare_procedures,
    judge_difference,
    paired_difference,
    plan_procedures,
    rank_candidates,
    reject_by_holm,
)
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.designs import corrected_interval
from waterflow_cli.training.intervals import Part, rank_effects
from waterflow_cli.training.options import CrossValidation, TrainingOptions
from waterflow_cli.training.runs.plots import draw_leaderboard
from waterflow_cli.training.trainer import make_design

SMALL = ("--cv", "3x1", "--balance", "none", "--param", "n_estimators=10")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 samples that a forest learns much from, and a straight line nothing."""
    path = tmp_path_factory.mktemp("compared") / "samples.csv"
    write_simulation(str(path), 300, seed=3, signal=0.95)
    return path


@pytest.fixture(scope="module")
def data(table):
    return load_training_data(str(table), load_schema())


def board_of(data, plugins, seeds=(0,), assignments=("n_estimators=10",), **options):
    common = TrainingOptions(**({"cv": CrossValidation(3, 1)} | options))
    loaded = [load_plugin(name) for name in plugins]
    procedures = plan_procedures(loaded, ["none"], seeds, assignments, common)
    return compare_procedures(data, procedures, make_design(data, common))


@pytest.fixture(scope="module")
def board(data):
    return board_of(data, ["logreg", "rf"])


def verdicts(board):
    return {each.name: board.verdict(each) for each in board.candidates}


# --- what a comparison says ----------------------------------------------------------------------


def test_the_one_that_learns_is_better_than_the_one_that_cannot(board):
    assert verdicts(board) == {"rf, none": "best", "logreg, none": "worse"}
    assert board.behind(board.candidates[1]).high < 0


def test_a_model_does_not_differ_from_itself(data):
    twice = board_of(data, ["logreg", "logreg"], assignments=())
    assert verdicts(twice) == {"logreg, none": "best", "logreg, none (2)": "no difference"}
    assert twice.behind(twice.candidates[1]) == Difference(0, 0, 0, 1)


def test_two_seeds_of_a_small_forest_show_no_evidence(data):
    seeds = board_of(data, ["rf"], seeds=(0, 1))
    assert sorted(verdicts(seeds)) == ["rf, none, seed 0", "rf, none, seed 1"]
    assert sorted(verdicts(seeds).values()) == ["best", NO_EVIDENCE]
    assert seeds.behind(seeds.candidates[1]).value != 0


def test_a_difference_is_paired_by_row_and_its_interval_respects_the_overlap(board):
    first, second = board.candidates
    found = paired_difference(first, second, "roc_auc")
    assert found.value == pytest.approx(
        np.mean(
            [b["roc_auc"] - a["roc_auc"] for a, b in zip(first.folds, second.folds, strict=True)]
        )
    )
    effects = second.effects["roc_auc"] - first.effects["roc_auc"]
    error = np.sqrt(1.5 * np.sum(effects**2))  # 100 rows tested, 200 trained on
    assert found.high - found.value == pytest.approx(1.959964 * error)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(found.value) / error))


def test_candidates_that_kept_no_effects_are_compared_by_their_folds(board):
    first, second = (replace(each, effects={}) for each in board.candidates)
    found = paired_difference(first, second, "roc_auc")
    values = [b["roc_auc"] - a["roc_auc"] for a, b in zip(first.folds, second.folds, strict=True)]
    expected = corrected_interval(np.array(values), 0.5)
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert (found.p_value < 0.05) == (not found.low <= 0 <= found.high)


def drawn_candidate(name, y, seed, *, gain=0.0):
    """Draw the scores of a candidate: part of them is the same for all."""
    common = np.random.default_rng(0).normal(size=len(y))
    scores = (0.8 + gain) * y + common / 2 + np.random.default_rng(seed).normal(size=len(y))
    rows = np.arange(len(y))
    area, effects = rank_effects([[Part(rows, y, scores, scores > 0)]])
    folds = [{"roc_auc": area, "rows": len(y), "rows_trained": 4 * len(y), "repeat": 0}]
    estimates = {"roc_auc": Estimate(area, area, area)}
    return Candidate(
        name=name, origin={}, estimates=estimates, folds=folds, effects={"roc_auc": effects}
    )


def board_of_drawn(candidates):
    return Leaderboard(
        candidates=rank_candidates(candidates), design="", design_sha256="", data_sha256=""
    )


def test_equals_are_seldom_called_different_however_many_and_one_that_is_better_often_is():
    y = (np.arange(300) < 120).astype(np.int64)
    false, found = 0, 0
    for seed in range(100):
        equals = [drawn_candidate(str(n), y, 1 + 10 * seed + n) for n in range(5)]
        verdicts = [verdict for *_, verdict in board_of_drawn(equals).compare_pairs("roc_auc")]
        false += any(verdict != NO_EVIDENCE for verdict in verdicts)
        better = drawn_candidate("better", y, 10 * seed, gain=0.55)  # by 0.1 of ROC AUC
        board = board_of_drawn([equals[0], better])
        found += board.verdict(board.candidates[1]) == "worse"
    assert false <= 8  # at most 5 are expected
    assert found >= 60


def test_a_difference_that_is_one_of_many_must_be_surer():
    assert reject_by_holm([0.03]) == [True]
    assert reject_by_holm([0.03] * 2) == [False] * 2
    assert reject_by_holm([0.03, 0.001, 0.9]) == [False, True, False]
    assert reject_by_holm([]) == []


def test_candidates_share_the_folds_and_each_fit_is_counted(data, board):
    design = make_design(data, TrainingOptions(cv=CrossValidation(3, 1)))
    assert (board.design_sha256, board.n_fits) == (design.digest, 2 * design.n_fits)
    assert board.n_rows == 300
    for each in board.candidates:
        assert [fold["rows"] for fold in each.folds] == [100, 100, 100]


def test_a_comparison_is_repeatable_whatever_the_jobs(data, board):
    again = board_of(data, ["rf", "logreg"], jobs=2)
    assert json_text(again.summary()) == json_text(board.summary())


def test_best_comes_first_whatever_the_order_given(data, board):
    names = [each.name for each in board_of(data, ["rf", "logreg"]).candidates]
    assert names == [each.name for each in board.candidates] == ["rf, none", "logreg, none"]


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (Estimate(0.0, 0.0, 0.0), "no difference"),
        (Estimate(-0.01, -0.03, 0.01), NO_EVIDENCE),
        (Estimate(-0.01, -0.02, 0.0), NO_EVIDENCE),
        (Estimate(-0.01, -0.02, -0.001), "worse"),
        (Estimate(-0.01, -0.01, -0.01), "worse"),
        (Estimate(0.02, 0.01, 0.03), "better"),
        (Estimate(0.02, np.nan, np.nan), "unknown: one fold shows no interval"),
    ],
)
def test_verdict_follows_from_the_interval(difference, verdict):
    assert judge_difference(difference) == verdict


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_the_verdict_turns_round_with_the_difference(values):
    def candidate(name, values):
        folds = [
            {"roc_auc": value, "rows": 10, "rows_trained": 40, "repeat": 0} for value in values
        ]
        return Candidate(name=name, origin={}, estimates={}, folds=folds)

    one, other = candidate("one", values), candidate("other", [0.0] * len(values))
    turned = {"better": "worse", "worse": "better"}
    there = judge_difference(paired_difference(one, other, "roc_auc"))
    back = judge_difference(paired_difference(other, one, "roc_auc"))
    assert back == turned.get(there, there)


# --- which candidates ----------------------------------------------------------------------------


def test_candidates_are_every_plugin_with_every_balance_and_seed():
    plugins = [load_plugin("rf"), load_plugin("logreg")]
    planned = plan_procedures(plugins, ["smote", "none"], [0, 1], [], TrainingOptions())
    found = [(each.plugin.name, each.options.balance, each.options.seed) for each in planned]
    assert len(set(found)) == len(found) == 8


def test_a_parameter_goes_to_the_plugins_that_have_it():
    plugins = [load_plugin("rf"), load_plugin("logreg")]
    given = ["n_estimators=10", "C=0.5"]
    rf, logreg = plan_procedures(plugins, ["none"], [0], given, TrainingOptions())
    assert (rf.options.params, logreg.options.params) == ({"n_estimators": 10}, {"C": 0.5})


def test_one_candidate_is_refused():
    with pytest.raises(UsageError, match="one candidate cannot be compared"):
        plan_procedures([load_plugin("rf")], ["none"], [0], [], TrainingOptions())


# --- the command ---------------------------------------------------------------------------------


def test_the_board_is_on_stdout_and_the_fits_on_stderr(cli, table):
    done = cli("compare", table, "--plugin", "logreg,rf", *SMALL)
    assert done.code == 0
    *_, best, other = done.out.splitlines()
    assert best.startswith(" rf, none")
    assert best.endswith("best")
    assert other.startswith(" logreg, none")
    assert other.endswith("worse")
    assert "Measuring 2 candidates by 3-fold cross-validation, once; 12 fits" in done.err
    assert not Path("mlflow.db").exists()


def test_json_holds_candidates_folds_and_every_pair(cli, table):
    done = cli("compare", table, "--plugin", "logreg, rf", "--seed", "0,1", *SMALL, "--json", "-q")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["version"] == 1
    assert found["fits"] == 24
    names = [each["name"] for each in found["candidates"]]
    assert len(names) == 4
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == [*combinations(names, 2)]
    for each in found["candidates"]:
        assert set(each["estimates"]) == set(METRICS)
        assert len(each["folds"]) == 3
    for pair in found["pairs"]:
        for difference in pair["second_minus_first"].values():
            assert set(difference) == {"value", "low", "high", "p_value", "verdict"}


def test_folds_have_a_seed_of_their_own_else_the_first_seed(cli, table):
    def digest(*options):
        done = cli("compare", table, "--plugin", "logreg", *SMALL[:4], *options, "--json")
        return json.loads(done.out)["design"]["sha256"]

    assert digest("--seed", "1,2") == digest("--seed", "2,1", "--design-seed", "1")
    assert digest("--seed", "1,2") != digest("--seed", "2,1")


def test_rows_of_a_group_stay_together(cli, table):
    done = cli("compare", table, "--plugin", "rf,logreg", *SMALL, "--group", "site", "--json")
    assert json.loads(done.out)["design"]["text"].endswith("groups kept together")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--plugin", "rf,logrek"), 2, "No model plugin named 'logrek'. Did you mean 'logreg'?"),
        (("--plugin", "rf", "--balance", "none,smot"), 2, "Did you mean 'smote'?"),
        (("--plugin", "rf", "--seed", "0,x"), 2, "whole numbers from 0 on"),
        (("--plugin", "rf,"), 2, "names with commas between them"),
        (("--plugin", "rf"), 2, "one candidate cannot be compared"),
        (("--plugin", "rf,logreg", "--param", "n_estimator=3"), 2, "Did you mean 'n_estimators'?"),
        (("--plugin", "rf,logreg", "--cv", "2x1"), 2, "3 to 20 folds"),
        (("--plugin", "rf,logreg", "--group", "site", "--time", "date"), 2, "in one way only"),
        (("--plugin", "rf,logreg", "-o", "board.jpg"), 2, "written as .png"),
        (("--plugin", "rf,logreg", "-o", "no/board.png"), 2, "there is no folder"),
        (("--plugin", "rf,logreg", "--group", "plant"), 3, "no column 'plant'"),
        (("--plugin", "rf", "--run", "@champion,1"), 2, "compared as they were trained"),
        ((), 2, "Compare what?"),
    ],
)
def test_wrong_usage_is_told(cli, table, arguments, code, message):
    done = cli("compare", table, *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert len(done.err.splitlines()) <= 3


# --- the picture ---------------------------------------------------------------------------------


def test_the_picture_shows_the_board_and_replaces_only_with_force(cli, table, workdir):
    picture = workdir / "board.png"
    picture.write_bytes(b"mine")
    command = ("compare", table, "--plugin", "rf,logreg", *SMALL, "-o", "board.png")
    refused = cli(*command)
    assert (refused.code, picture.read_bytes()) == (2, b"mine")
    assert "Measuring" not in refused.err
    done = cli(*command, "--force")
    assert (done.code, done.err.splitlines()[-1]) == (0, "Wrote board.png.")
    assert matplotlib.image.imread(picture).std() > 0.05  # it is not blank
    assert list(workdir.iterdir()) == [picture]


def test_more_candidates_make_a_higher_picture(board, tmp_path):
    many = Leaderboard(
        candidates=list(board.candidates) * 4, design=board.design, design_sha256="", data_sha256=""
    )
    heights = []
    for number, each in enumerate((board, many)):
        (tmp_path / f"{number}.png").write_bytes(draw_leaderboard(each))
        heights.append(matplotlib.image.imread(tmp_path / f"{number}.png").shape[0])
    assert heights[0] + 200 < heights[1]


# --- trained runs --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    """A store with runs on equal folds (rf, logreg), on other folds, and on other data."""
    folder = tmp_path_factory.mktemp("runs")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    other = folder / "other.csv"
    write_simulation(str(other), 300, seed=4, signal=0.95)
    for path, plugin, *options in (
        (table, "rf", *SMALL),
        (table, "logreg", *SMALL[:4]),
        (other, "rf", *SMALL),
        (table, "logreg", "--test-size", "0.3"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["train", str(path), "--plugin", plugin, *options, "--tracking-uri", uri, "-q"])
        assert stopped.value.code == 0
    return uri


@pytest.fixture
def runs(trained):
    found = connect(trained).search_model_versions("name='waterflow'")
    return {int(version.version): version.run_id for version in found}


@pytest.fixture
def compare_runs(cli, trained):
    def compare(*references, options=("--json",)):
        return cli("compare", "--run", ",".join(references), "--tracking-uri", trained, *options)

    return compare


@pytest.mark.slow
def test_runs_are_compared_like_the_procedures_that_they_trained(compare_runs, runs, board):
    done = compare_runs(runs[2], runs[1])
    assert done.code == 0
    found = json.loads(done.out)
    assert [(each["name"], each["verdict"]) for each in found["candidates"]] == [
        ("rf", "best"),
        ("logreg", "worse"),
    ]
    expected = json.loads(json_text(board.summary()))
    assert found["design"] == expected["design"]
    for mine, theirs in zip(found["candidates"], expected["candidates"], strict=True):
        assert mine["minus_best"] == theirs["minus_best"]
        assert mine["estimates"] == theirs["estimates"]
        assert mine["folds"] == theirs["folds"]
    assert [each["run_id"] for each in found["candidates"]] == [runs[1], runs[2]]


def test_runs_can_be_named_by_alias_and_version(compare_runs, runs):
    assert compare_runs("@champion", "2").out == compare_runs(runs[1], runs[2]).out


def test_runs_of_one_plugin_are_named_by_their_ids(compare_runs, runs):
    found = json.loads(compare_runs(runs[1], runs[1]).out)
    short = runs[1][:8]
    assert [each["name"] for each in found["candidates"]] == [short, f"{short} (2)"]
    assert found["candidates"][1]["verdict"] == "no difference"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (3, "were trained on different data"),
        (4, "different folds (3-fold cross-validation, once, seed 0; one hold-out of 30%, seed 0)"),
    ],
)
def test_runs_that_were_not_measured_on_the_same_folds_are_refused(
    compare_runs, runs, other, message
):
    done = compare_runs(runs[1], runs[other])
    assert (done.code, done.out) == (4, "")
    assert runs[1][:8] in done.err
    assert runs[other][:8] in done.err
    assert message in done.err


def test_one_hold_out_is_compared_by_its_rows(compare_runs, runs):
    done = compare_runs(runs[4], runs[4], options=())
    assert done.out.splitlines()[-1].endswith("+0.000 (+0.000 to +0.000)   no difference")


@pytest.mark.parametrize(
    ("reference", "code", "message"),
    [
        ("0" * 32, 4, f"No run '{'0' * 32}' in "),
        ("99", 4, "has no version 99"),
        ("rf", 4, "No run 'rf'"),
    ],
)
def test_a_run_that_is_not_there_is_told(compare_runs, reference, code, message):
    done = compare_runs("1", reference)
    assert (done.code, done.out) == (code, "")
    assert message in done.err


def test_one_run_is_refused(compare_runs):
    assert "one run cannot be compared" in compare_runs("@champion").err


def test_a_run_without_figures_by_fold_is_refused(compare_runs, trained, runs):
    client = connect(trained)
    run = client.create_run(client.get_run(runs[1]).info.experiment_id)
    done = compare_runs(runs[1], run.info.run_id)
    assert done.code == 4
    assert f"The run {run.info.run_id} keeps no figures by fold" in done.err


def test_settings_for_training_do_not_keep_runs_from_being_compared(compare_runs, workdir):
    (workdir / "waterflow.toml").write_text("plugin = 'rf'\ndata = 'samples.csv'\n")
    assert compare_runs("1", "2").code == 0
