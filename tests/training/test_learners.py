from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from imblearn.pipeline import Pipeline as BalancedPipeline
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression

from waterflow_cli.common.errors import DataRefusedError, PluginError, UsageError
from waterflow_cli.models.contract import GROUP
from waterflow_cli.models.discovery import LoadedPlugin, load_plugin
from waterflow_cli.registry.runs import TrackingOptions
from waterflow_cli.registry.stores import connect
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.samples.simulation import write_simulation
from waterflow_cli.training.data import TrainingData, load_training_data
from waterflow_cli.training.designs import score_folds
from waterflow_cli.training.judging import evaluate_folds, judge_fold
from waterflow_cli.training.learners import TunedLearner, single_threaded_fits
from waterflow_cli.training.options import CrossValidation, TrainingOptions
from waterflow_cli.training.runs.log import run_training
from waterflow_cli.training.runs.record import Training
from waterflow_cli.training.trainer import make_design, train_model

pytest.importorskip("optuna")
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

N_ROWS = 240
N_FOLDS = 3
CV = CrossValidation(3, 1)
# The estimator draws at random for the first ten trials; what comes after rests on those.
N_BEYOND_RANDOM = 14
LEVELS = tuple(range(40))
FOREST = {"n_estimators": 10}
SPACE_OF_FOREST = {"max_features", "min_samples_leaf"}

# Kills its own process in the first trial from some number on that is measured.
KILLED_IN_SEARCH = """
import os, signal, sys
import numpy as np
import optuna
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import load_training_data
from waterflow_cli.training.options import TrainingOptions
from waterflow_cli.training.learners import TunedLearner
path, journal, n_trials, number = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
report = optuna.Trial.report
def report_or_die(trial, value, step):
    if trial.number >= number:
        os.kill(os.getpid(), signal.SIGKILL)
    report(trial, value, step)
optuna.Trial.report = report_or_die
data = load_training_data(path, load_schema())
options = TrainingOptions(
    params={"max_iter": 10}, balance="none", n_trials=n_trials, journal=journal
)
TunedLearner(load_plugin("hgb"), data, options).search(np.arange(len(data.y)))
"""


@dataclass
class Record:
    """Which rows each fit was given, and which rows each fit predicted, in the order of time."""

    fits: list[set[int]] = field(default_factory=list)
    predictions: list[tuple[set[int], set[int]]] = field(default_factory=list)


RECORD = Record()


@pytest.fixture
def record(monkeypatch):
    fresh = Record()
    monkeypatch.setitem(globals(), "RECORD", fresh)
    return fresh


class Noisy(ClassifierMixin, BaseEstimator):
    """A logistic regression that sees the measurements through noise, and notes its rows.

    The first column holds the number of the row.
    """

    def __init__(self, noise=0.0):
        self.noise = noise

    def fit(self, X, y):
        self.rows_ = _numbers(X)
        RECORD.fits.append(self.rows_)
        self.model_ = LogisticRegression(max_iter=1000).fit(self._blur(X), y)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X):
        RECORD.predictions.append((self.rows_, _numbers(X)))
        return self.model_.predict_proba(self._blur(X))

    def predict(self, X):
        return (self.predict_proba(X)[:, 1] > 0.5).astype(int)

    def _blur(self, X):
        values = np.asarray(X, dtype=float)[:, 1:]
        return values + 0.1 * self.noise * np.random.default_rng(len(values)).normal(
            size=values.shape
        )


def _numbers(X):
    return set(np.asarray(X)[:, 0].astype(int).tolist())


class NoisyPlugin:
    """Offers one parameter, of which less is better; may fail at one of its fits."""

    contract = 1
    summary = "Adds noise"
    requires: ClassVar = {}
    trusted_types = ()

    def __init__(self, space=None, *, fails_at=None, error=RuntimeError):
        self.search_space = {"noise": LEVELS} if space is None else space
        self.fails_at, self.error, self.n_built = fails_at, error, 0
        self.asked = []

    def default_params(self):
        return {"noise": 0}

    def build_pipeline(self, *, columns, balance, random_state, params):
        self.asked.append(dict(params))
        self.n_built += 1
        if self.n_built == self.fails_at:
            raise self.error("stopped here")
        return BalancedPipeline(
            [("imputer", SimpleImputer()), ("classifier", Noisy(params.get("noise", 0)))]
        )


def load(model):
    return LoadedPlugin(EntryPoint("noisy", "tests:plugin", GROUP), model)


def quick(**options):
    return TrainingOptions(**{"cv": CV, "balance": "none", "n_trials": 8, **options})


def search(data, plugin=None, rows=None, **options):
    learner = TunedLearner(plugin or load(NoisyPlugin()), data, quick(**options))
    return learner.search(np.arange(len(data.y)) if rows is None else rows)


def levels_of(found):
    return [trial.params["noise"] for trial in found.trials]


@pytest.fixture(scope="module")
def data():
    """240 rows, each of which holds its own number in the first column."""
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], [150, 90])
    random.shuffle(y)
    columns = {
        "row": np.arange(N_ROWS, dtype=float),
        "ph": random.normal(7 + y, 1),
        "Sulfate": random.normal(300 + y, 1),
    }
    return TrainingData(
        path="samples.csv", X=pd.DataFrame(columns), y=y, sha256="0" * 64, n_dropped=0
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    write_simulation(str(path), 300, seed=5, signal=0.9)
    return path


@pytest.fixture(scope="module")
def simulated(table):
    return load_training_data(str(table), load_schema())


# --- a search ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_equal_seeds_give_equal_searches_and_others_give_others(data):
    first = search(data, seed=1, n_trials=N_BEYOND_RANDOM)
    assert repr(search(data, seed=1, n_trials=N_BEYOND_RANDOM)) == repr(first)
    assert len(first.trials) == N_BEYOND_RANDOM
    assert levels_of(search(data, seed=2)) != levels_of(first)[:8]


def test_a_search_leaves_no_trace_of_the_number_of_jobs(data):
    assert repr(search(data, jobs=2)) == repr(search(data, jobs=1))


def test_the_best_trial_that_was_not_cut_short_wins(data):
    found = search(data, n_trials=30)
    values = np.array([trial.roc_auc for trial in found.trials])
    pruned = np.isnan(values)
    assert pruned.any()
    assert not pruned[:5].any()  # with too little to compare with, none is cut short
    assert found.params == found.trials[int(np.nanargmax(values))].params
    # Less noise is better, so what was cut short is what is bad.
    levels = np.array(levels_of(found))
    assert levels[pruned].min() > found.params["noise"]


def test_a_trial_that_is_cut_short_saves_its_last_folds(data, record):
    found = search(data, n_trials=30)
    cut = sum(np.isnan(trial.roc_auc) for trial in found.trials)
    distinct = len(set(levels_of(found)))
    assert len(record.fits) <= N_FOLDS * distinct - cut + N_FOLDS * (cut - 1)
    assert len(record.fits) < N_FOLDS * len(found.trials)


def test_a_trial_is_measured_on_folds_that_it_did_not_see(data, record):
    (trial,) = search(data, n_trials=1).trials
    assert len(record.fits) == len(record.predictions) == N_FOLDS
    assert all(not seen & asked for seen, asked in record.predictions)
    assert sorted(row for _, asked in record.predictions for row in asked) == list(range(N_ROWS))
    assert 0.5 < trial.roc_auc <= 1


def test_a_search_sees_no_row_but_those_it_is_given(data, record):
    given = np.arange(0, N_ROWS, 2)
    search(data, rows=given)
    seen = set().union(*record.fits, *(asked for _, asked in record.predictions))
    assert seen == set(given.tolist())


@pytest.mark.slow
def test_a_parameter_that_the_user_set_is_not_searched(simulated):
    plugin = load_plugin("extra-trees")
    assert set(plugin.model.search_space) == {*FOREST, *SPACE_OF_FOREST}
    found = search(simulated, plugin, params=FOREST, n_trials=3)
    assert [set(trial.params) for trial in found.trials] == [SPACE_OF_FOREST] * 3
    result = train_model(simulated, plugin, quick(params=FOREST, n_trials=1, test_size=0.3))
    assert result.params["n_estimators"] == 10


def test_what_the_user_set_reaches_every_trial(data):
    model = NoisyPlugin({"noise": LEVELS, "other": (1, 2)})
    search(data, load(model), params={"other": 7}, n_trials=3)
    assert {params["other"] for params in model.asked} == {7}


@pytest.mark.parametrize(("space", "params"), [({}, {}), ({"noise": LEVELS}, {"noise": 1})])
def test_a_plugin_with_nothing_left_to_search_is_refused(data, space, params):
    with pytest.raises(UsageError, match="'noisy' names no parameter to search beyond"):
        train_model(data, load(NoisyPlugin(space)), quick(params=params))


def test_a_time_limit_ends_a_search_after_one_trial_at_least(data):
    assert len(search(data, time_limit=1e-9).trials) == 1
    assert len(search(data, time_limit=600.0).trials) == 8


# --- a search that is stopped --------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("n_before", [3, 12])
def test_a_search_that_goes_on_through_the_journal_ends_as_an_undisturbed_one(
    data, tmp_path, n_before
):
    journal = str(tmp_path / "trials.journal")
    undisturbed = search(data, n_trials=N_BEYOND_RANDOM)
    before = search(data, n_trials=n_before, journal=journal)
    assert repr(before.trials) == repr(undisturbed.trials[:n_before])
    assert repr(search(data, n_trials=N_BEYOND_RANDOM, journal=journal)) == repr(undisturbed)


def test_trials_of_the_journal_are_not_made_again(data, tmp_path, record):
    journal = str(tmp_path / "trials.journal")
    first = search(data, journal=journal)
    n_fits = len(record.fits)
    assert repr(search(data, journal=journal)) == repr(first)
    assert len(record.fits) == n_fits


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("fails_at", [1, 4])
def test_a_search_that_an_error_stopped_goes_on_to_the_same_end(data, tmp_path, error, fails_at):
    journal = str(tmp_path / "trials.journal")
    with pytest.raises((KeyboardInterrupt, PluginError), match="stopped here"):
        search(data, load(NoisyPlugin(fails_at=fails_at, error=error)), journal=journal)
    assert repr(search(data, journal=journal)) == repr(search(data))


@pytest.mark.slow
@pytest.mark.parametrize("number", [3])
def test_a_search_that_was_killed_goes_on_to_the_same_end(simulated, table, tmp_path, number):
    journal = str(tmp_path / "trials.journal")
    arguments = [str(table), journal, str(N_BEYOND_RANDOM), str(number)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_IN_SEARCH, *arguments], check=False, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    assert Path(journal).stat().st_size > 0
    plugin = load_plugin("hgb")
    options = {"params": {"max_iter": 10}, "n_trials": N_BEYOND_RANDOM}
    resumed = search(simulated, plugin, journal=journal, **options)
    assert repr(resumed) == repr(search(simulated, plugin, **options))


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"balance": "weight"}, {"params": {"other": 1}}], ids=str
)
def test_another_choice_takes_no_trial_from_the_journal(data, tmp_path, record, other):
    journal = str(tmp_path / "trials.journal")
    search(data, journal=journal, n_trials=2)
    n_fits = len(record.fits)
    search(data, journal=journal, n_trials=2, **other)
    assert len(record.fits) > n_fits


def test_other_rows_and_other_data_take_no_trial_from_the_journal(data, tmp_path, record):
    journal = str(tmp_path / "trials.journal")
    search(data, journal=journal, n_trials=1)
    search(data, journal=journal, n_trials=1, rows=np.arange(200))
    search(replace(data, y=1 - data.y), journal=journal, n_trials=1)
    assert len(record.fits) == 3 * N_FOLDS


def test_other_columns_of_the_same_file_take_no_trial_from_the_journal(data, tmp_path):
    # As with another --schema or --rename: the file's sha256 is the same.
    journal = str(tmp_path / "trials.journal")
    search(data, journal=journal, n_trials=2)
    fewer = replace(data, X=data.X.drop(columns="ph"))
    assert repr(search(fewer, journal=journal, n_trials=2)) == repr(search(fewer, n_trials=2))


# --- a training with a search --------------------------------------------------------------------


def test_no_search_sees_a_row_that_its_fit_is_measured_on(data, record):
    result = train_model(data, load(NoisyPlugin()), quick(n_trials=2, test_size=0.25))
    ((fold,),) = result.measured.folds
    held_out = set(fold.rows.tolist())
    assert len(held_out) == 60
    seen = [bool(rows & held_out) for rows in record.fits]
    # All that was learned before the model itself saw no row that was held out.
    first = seen.index(True)
    assert first >= 4 * (2 * N_FOLDS) // 2
    measured = [n for n, (_, asked) in enumerate(record.predictions) if held_out == asked]
    assert measured
    assert not record.predictions[measured[0]][0] & held_out


@pytest.mark.slow
def test_a_parameter_that_fits_the_tested_rows_alone_is_not_found(data):
    """A search that saw the tested rows would look perfect; labels without a signal are chance."""
    random = np.random.default_rng(3)
    shuffled = replace(data, y=random.permutation(data.y))
    result = train_model(shuffled, load(NoisyPlugin()), quick(n_trials=6))
    assert result.evaluation.estimates["roc_auc"].value < 0.6


def test_there_is_one_search_for_each_fit(data, record):
    result = train_model(data, load(NoisyPlugin()), quick(n_trials=1))
    assert len(record.fits) == result.n_fits * (N_FOLDS + 1)


def test_the_model_is_fitted_with_the_parameters_that_the_result_names(simulated):
    plugin = load_plugin("extra-trees")
    result = train_model(simulated, plugin, quick(params=FOREST, n_trials=4))
    best = max(result.trials, key=lambda trial: trial.roc_auc)
    assert {name: result.params[name] for name in SPACE_OF_FOREST} == best.params
    fitted = result.model.estimator[-1].get_params()
    assert {name: fitted[name] for name in result.params} == dict(result.params)


@pytest.mark.slow
def test_reported_figures_are_the_outer_ones(data):
    options = quick(n_trials=4)
    plugin = load(NoisyPlugin())
    result = train_model(data, plugin, options)
    with single_threaded_fits():
        folds = score_folds(make_design(data, options), TunedLearner(plugin, data, options))
    judged = [[judge_fold(f, data.y, "sigmoid", options.threshold) for f in folds[0]]]
    expected = evaluate_folds(judged, result.model.threshold)
    assert repr(result.evaluation) == repr(expected)  # its text: it may hold NaN
    reported = result.evaluation.estimates["roc_auc"].value
    assert reported not in [trial.roc_auc for trial in result.trials]


@pytest.mark.slow
def test_jobs_and_journal_change_no_result_of_a_training(data, tmp_path):
    def train(**options):
        return train_model(data, load(NoisyPlugin()), quick(n_trials=3, **options))

    plain = train()
    other = train(jobs=2, journal=str(tmp_path / "trials.journal"))
    assert repr(other.trials) == repr(plain.trials)
    assert repr(other.evaluation) == repr(plain.evaluation)
    assert np.array_equal(other.model.probability(data.X), plain.model.probability(data.X))


@pytest.fixture(scope="module")
def tuned(simulated, tmp_path_factory):
    """A store with one tuned run."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('tuned') / 'mlflow.db'}"
    options = quick(params=FOREST, n_trials=12, test_size=0.3)
    plugin, tracking = load_plugin("extra-trees"), TrackingOptions(uri)
    report = run_training(
        Training(simulated, load_schema(), plugin, options), tracking, lambda _step: None
    )
    return uri, report


def nested_runs(uri, parent):
    client = connect(uri)
    experiment = client.get_experiment_by_name("waterflow").experiment_id
    found = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent}'")
    return sorted(found, key=lambda run: int(run.info.run_name.removeprefix("trial ")))


@pytest.mark.slow
def test_each_trial_is_a_nested_run(tuned):
    uri, report = tuned
    trials = report.result.trials
    runs = nested_runs(uri, report.registered.run_id)
    assert [run.info.run_name for run in runs] == [f"trial {n}" for n in range(12)]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run, trial in zip(runs, trials, strict=True):
        assert run.data.params == {name: str(value) for name, value in trial.params.items()}
        pruned = bool(np.isnan(trial.roc_auc))
        assert run.data.tags["waterflow.pruned"] == str(pruned)
        assert run.data.metrics == ({} if pruned else {"inner_roc_auc": trial.roc_auc})


@pytest.mark.slow
def test_the_run_itself_holds_the_outer_figure_and_what_was_found(tuned):
    uri, report = tuned
    run = connect(uri).get_run(report.registered.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["trials"] == "12"
    for name in (*FOREST, *SPACE_OF_FOREST):
        assert run.data.params[f"plugin.{name}"] == str(report.result.params[name])
    assert "inner_roc_auc" not in run.data.metrics
    outer = report.result.evaluation.estimates["roc_auc"].value
    assert run.data.metrics["test_roc_auc"] == outer
    assert outer not in [trial.roc_auc for trial in report.result.trials]


@pytest.mark.slow
def test_a_tuned_run_is_reproduced_bit_for_bit(cli, table, tmp_path):
    options = ("--tracking-uri", f"sqlite:///{tmp_path / 'mlflow.db'}")
    trained = cli(
        *("train", table, "--plugin", "extra-trees", "--param", "n_estimators=10", "--cv", "3x1"),
        *("--tune", "3", "--journal", "trials.journal", "--json", *options),
    )
    assert trained.code == 0, trained.err
    Path("trials.journal").unlink()
    again = cli("reproduce", "1", "--json", *options)
    assert again.code == 0, again.err
    assert json.loads(again.out)["identical"] is True
    assert not Path("trials.journal").exists()


# --- the journal's file --------------------------------------------------------------------------


def tune(cli, table, tmp_path, journal):
    return cli(
        *("train", table, "--plugin", "logreg", "--balance", "none", "--test-size", "0.3"),
        *("--tune", "1", "--journal", journal),
        *("--tracking-uri", f"sqlite:///{tmp_path / 'mlflow.db'}"),
    )


def versions_in(folder):
    path = folder / "mlflow.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT count(*) FROM model_versions").fetchone()[0]


def test_a_journal_in_a_folder_that_is_not_there_is_refused_as_usage(cli, table, tmp_path):
    outcome = tune(cli, table, tmp_path, "nowhere/trials.journal")
    assert (outcome.code, outcome.out) == (2, "")
    assert "nowhere" in outcome.err
    assert versions_in(tmp_path) == 0


def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(cli, table, tmp_path):
    other = Path("other.csv")
    other.write_bytes(table.read_bytes())
    outcome = tune(cli, table, tmp_path, other)
    assert (outcome.code, outcome.out) == (2, "")
    assert "other.csv" in outcome.err
    assert other.read_bytes() == table.read_bytes()
    assert versions_in(tmp_path) == 0


def test_rows_that_cannot_be_split_for_a_search_are_refused(data):
    when = np.arange(len(data.y), dtype=np.float64)
    sorted_by_class = replace(data, y=np.sort(data.y), when=when)
    with pytest.raises(DataRefusedError, match=r"^--tune: \d+ rows of a fold cannot be split"):
        search(sorted_by_class, n_trials=1)


def test_other_groups_take_no_trial_from_the_journal(data, tmp_path):
    journal = str(tmp_path / "trials.journal")
    search(data, journal=journal, n_trials=2)
    grouped = replace(data, groups=np.resize(list("abcdef"), len(data.y)))
    assert repr(search(grouped, journal=journal, n_trials=2)) == repr(search(grouped, n_trials=2))
