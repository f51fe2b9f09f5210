from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline as BalancedPipeline
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_info

import waterflow_cli.training
from waterflow_cli.calibration import fit_calibrator
from waterflow_cli.contract import BALANCES, GROUP
from waterflow_cli.discovery import InstalledPlugin, LoadedPlugin, load_plugin
from waterflow_cli.errors import DataRefusedError, PluginError, UsageError
from waterflow_cli.metrics import evaluate_predictions
from waterflow_cli.model import Policy
from waterflow_cli.schemas import load_schema
from waterflow_cli.thresholds import parse_threshold, tune_threshold
from waterflow_cli.training import (
    N_FOLDS,
    TrainingOptions,
    fit_decision_model,
    single_threaded_fits,
    train_model,
)
from waterflow_cli.training_data import TrainingData, load_training_data

N_ROWS = 200
MEASUREMENTS = ["row", "ph", "Solids"]
ROW_COLUMN = 0


def load(model, name="recorder"):
    """Present an object of the test as an installed plugin."""
    return LoadedPlugin(InstalledPlugin(name, EntryPoint(name, "tests:plugin", GROUP)), model)


@pytest.fixture
def data():
    """200 rows, each of which holds its own number in the column `row`."""
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], [130, 70])
    random.shuffle(y)
    X = pd.DataFrame(
        {
            "row": np.arange(N_ROWS, dtype=float),
            "ph": random.normal(7 + y, 1),
            "Solids": random.normal(20000, 5000, N_ROWS),
        }
    )
    return TrainingData("samples.csv", X, y, "0" * 64, 0)


@pytest.fixture(scope="module")
def simulated(samples):
    return load_training_data(str(samples), load_schema())


def row_numbers(X):
    """Read which rows of the data these are; rows that a sampler made up are none."""
    numbers = np.asarray(X, dtype=float)[:, ROW_COLUMN]
    return {int(number) for number in numbers if number == round(number)}


# --- nothing leaks -------------------------------------------------------------------------------


@dataclass
class Record:
    """What the steps of a pipeline were given, by the fit in which it happened.

    A copy of a pipeline has new step objects, so the classifier's identity tells the fits apart. A
    sampler's work belongs to the next fit in the same thread.
    """

    sampled: dict[int, set[int]] = field(default_factory=dict)
    fitted: dict[int, set[int]] = field(default_factory=dict)
    predicted: list[tuple[int, set[int]]] = field(default_factory=list)
    waiting: dict[int, set[int]] = field(default_factory=dict)
    strays: list[set[int]] = field(default_factory=list)
    keep: list[object] = field(default_factory=list)

    def note_sampling(self, rows):
        thread = threading.get_ident()
        if thread in self.waiting:
            self.strays.append(self.waiting[thread])
        self.waiting[thread] = rows

    def note_fit(self, classifier, rows):
        self.keep.append(classifier)  # an identity is not used twice while its object lives
        self.fitted[id(classifier)] = rows
        self.sampled[id(classifier)] = self.waiting.pop(threading.get_ident(), set())

    def note_prediction(self, classifier, rows):
        self.predicted.append((id(classifier), rows))


RECORD = Record()


@pytest.fixture
def record(monkeypatch):
    fresh = Record()
    monkeypatch.setitem(globals(), "RECORD", fresh)
    return fresh


class RecordingSmote(SMOTE):
    """SMOTE that notes which rows it was given."""

    def fit_resample(self, X, y, **params):
        RECORD.note_sampling(row_numbers(X))
        return super().fit_resample(X, y, **params)


class RecordingClassifier(ClassifierMixin, BaseEstimator):
    """A logistic regression that notes which rows it was fitted on and which it predicted."""

    def fit(self, X, y):
        RECORD.note_fit(self, row_numbers(X))
        self.model_ = LogisticRegression(max_iter=1000).fit(np.asarray(X)[:, 1:], y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return (self.predict_proba(X)[:, 1] > 0.5).astype(int)

    def predict_proba(self, X):
        RECORD.note_prediction(self, row_numbers(X))
        return self.model_.predict_proba(np.asarray(X)[:, 1:])


class TestPlugin:
    """Has all members of a plugin and builds no pipeline."""

    __test__ = False
    contract = 1
    summary = "A plugin of the tests"
    requires: ClassVar = {}
    trusted_types = ()
    search_space: ClassVar = {}

    def default_params(self):
        return {}


class RecordingPlugin(TestPlugin):
    """Builds a pipeline that notes what each of its steps sees."""

    def __init__(self, *, samples=True):
        self.samples = samples

    def build_pipeline(self, *, columns, balance, random_state, params):
        sampler = [("sampler", RecordingSmote(random_state=random_state))] if self.samples else []
        return BalancedPipeline(
            [("imputer", SimpleImputer()), *sampler, ("classifier", RecordingClassifier())]
        )


def split_of(record):
    """Tell the rows that any fit saw, and the held-out rows, which none saw."""
    seen = set().union(*record.fitted.values())
    return seen, set(range(N_ROWS)) - seen


def check_no_leak(record, *, n_held_out=40):
    """Check that no row was predicted that its own fit, or the sampler before it, had seen."""
    for fit, rows in record.predicted:
        assert not rows & record.sampled[fit], "a sampler saw rows that its fit predicts"
        assert not rows & record.fitted[fit], "a fit saw rows that it predicts"
    assert not record.strays, "a sampler ran outside of a fit"
    assert not record.waiting, "a sampler ran outside of a fit"
    seen, held_out = split_of(record)
    assert len(held_out) == n_held_out, "a fit saw held-out rows"
    assert not held_out & set().union(*record.sampled.values()), "a sampler saw held-out rows"
    assert record.sampled == record.fitted, "a sampler saw other rows than the fit after it"
    out_of_fold = [rows for _, rows in record.predicted if not rows & held_out]
    assert len(record.fitted) == N_FOLDS + 1, "each fold is fitted once, and the whole once"
    assert len(out_of_fold) == N_FOLDS
    assert set().union(*out_of_fold) == seen
    assert sum(map(len, out_of_fold)) == len(seen), "a row was predicted by two folds"


@pytest.mark.parametrize("jobs", [1, 2])
def test_smote_never_sees_a_predicted_row(data, record, jobs):
    train_model(data, load(RecordingPlugin()), TrainingOptions(jobs=jobs))
    check_no_leak(record)
    # The model that scores is fitted on all training rows, and is the one that meets the others.
    seen, held_out = split_of(record)
    assert sorted(map(len, record.fitted.values())) == [128] * N_FOLDS + [160]
    for fit, rows in record.predicted:
        if rows & held_out:
            assert (rows, record.fitted[fit]) == (held_out, seen)


def test_the_check_finds_smote_before_the_split(data, record):
    """The leak behind the published accuracies: balance all rows, then split them."""
    X, y = RecordingSmote(random_state=0).fit_resample(data.X, data.y)
    leaky = replace(data, X=X, y=y)
    train_model(leaky, load(RecordingPlugin(samples=False)), TrainingOptions())
    with pytest.raises(AssertionError, match="a sampler saw rows that its fit predicts"):
        check_no_leak(record)


@pytest.mark.parametrize("twice", [False, True])
def test_the_check_finds_smote_before_the_folds(data, record, monkeypatch, twice):
    """A leak that the hold-out does not show: it spoils the calibration and the threshold."""

    def predict_after_sampling(pipeline, X, y, **options):
        balanced = RecordingSmote(random_state=0).fit_resample(X, y)
        inner = pipeline if twice else BalancedPipeline([pipeline.steps[0], pipeline.steps[-1]])
        return cross_val_predict(inner, *balanced, **options)[: len(y)]

    monkeypatch.setattr(waterflow_cli.training, "cross_val_predict", predict_after_sampling)
    train_model(data, load(RecordingPlugin()), TrainingOptions())
    problem = "outside of a fit" if twice else "a sampler saw rows that its fit predicts"
    with pytest.raises(AssertionError, match=problem):
        check_no_leak(record)


def test_the_check_finds_a_final_fit_on_all_rows(data, record, monkeypatch):
    """The last leak: the model that is measured was fitted on the held-out rows too."""

    def fit_all(pipeline, X, y, options, *, blame):
        return fit_decision_model(pipeline, data.X, data.y, options, blame=blame)

    monkeypatch.setattr(waterflow_cli.training, "fit_decision_model", fit_all)
    monkeypatch.setattr(waterflow_cli.training, "measure_baselines", lambda *_: {})
    train_model(data, load(RecordingPlugin()), TrainingOptions())
    with pytest.raises(AssertionError, match="a sampler saw rows that its fit predicts"):
        check_no_leak(record)


def test_held_out_rows_are_predicted_after_everything_was_decided(data, record, monkeypatch):
    """The calibrator and the threshold see out-of-fold predictions and nothing else."""
    decided = []

    def fit_and_note(y, scores):
        decided.append((len(record.predicted), y, scores))
        return fit_calibrator(y, scores)

    def tune_and_note(rule, y, probability):
        decided.append((len(record.predicted), y, probability))
        return tune_threshold(rule, y, probability)

    monkeypatch.setattr(waterflow_cli.training, "fit_calibrator", fit_and_note)
    monkeypatch.setattr(waterflow_cli.training, "tune_threshold", tune_and_note)
    monkeypatch.setattr(waterflow_cli.training, "measure_baselines", lambda *_: {})
    result = train_model(data, load(RecordingPlugin()), TrainingOptions())
    seen, held_out = split_of(record)
    first_look = [bool(rows & held_out) for _, rows in record.predicted].index(True)
    assert len(decided) == 2
    for moment, y, scores in decided:
        assert moment == first_look == N_FOLDS
        assert y.tolist() == data.y[sorted(seen)].tolist()
        assert len(scores) == len(seen)
    assert result.out_of_fold.probability.tolist() == decided[1][2].tolist()


class Memory(ClassifierMixin, BaseEstimator):
    """Knows by heart the labels of the rows it was fitted on, and nothing of others."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        self.known_ = {
            round(row, 6): label for row, label in zip(np.asarray(X)[:, 0], y, strict=True)
        }
        return self

    def predict(self, X):
        return (self.predict_proba(X)[:, 1] > 0.5).astype(int)

    def predict_proba(self, X):
        rows = np.round(np.asarray(X)[:, 0], 6)
        potable = np.array([0.05 + 0.9 * self.known_.get(row, 0.5) for row in rows])
        return np.column_stack([1 - potable, potable])


class MemoryPlugin(TestPlugin):
    """Makes any leak visible as a perfect score."""

    def build_pipeline(self, *, columns, balance, random_state, params):
        return BalancedPipeline(
            [("sampler", SMOTE(random_state=random_state)), ("classifier", Memory())]
        )


def test_a_model_that_knows_its_rows_by_heart_scores_as_chance(data):
    result = train_model(data, load(MemoryPlugin()), TrainingOptions())
    assert result.evaluation.estimates["roc_auc"].value == 0.5
    assert roc_auc_score(*result.out_of_fold) == 0.5


# --- what comes out ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(simulated):
    return train_model(simulated, load_plugin("hgb"), TrainingOptions())


def test_sizes_add_up(trained, simulated):
    assert trained.n_train == len(trained.out_of_fold.y) == 320
    assert trained.evaluation.n_rows == len(trained.held_out.y) == 80
    assert sum(trained.evaluation.confusion) == 80
    labels = np.concatenate([trained.out_of_fold.y, trained.held_out.y])
    assert np.bincount(labels).tolist() == list(simulated.class_counts)


def test_both_parts_hold_the_classes_in_equal_shares(trained):
    share = trained.out_of_fold.y.mean()
    assert trained.held_out.y.mean() == pytest.approx(share, abs=1 / 80)


@pytest.mark.parametrize("test_size", [0.05, 0.2, 0.5])
def test_asked_share_is_held_out(simulated, test_size):
    options = TrainingOptions(test_size=test_size, balance="none")
    result = train_model(simulated, load_plugin("logreg"), options)
    assert len(result.held_out.y) == round(400 * test_size)


def test_probabilities_are_the_calibrated_ones(simulated):
    # Balancing pushes the raw scores up; what is reported fits the base rate again.
    result = train_model(simulated, load_plugin("logreg"), TrainingOptions(balance="smote"))
    assert result.out_of_fold.probability.mean() == pytest.approx(
        result.out_of_fold.y.mean(), abs=0.005
    )


def test_evaluation_is_that_of_the_held_out_rows_at_the_tuned_threshold(trained):
    threshold = trained.model.threshold
    assert trained.evaluation == evaluate_predictions(*trained.held_out, threshold, seed=0)
    assert threshold == tune_threshold(parse_threshold("balanced-accuracy"), *trained.out_of_fold)
    assert trained.model.policy == Policy.default(threshold)


def test_asked_rule_tunes_the_threshold(simulated):
    options = TrainingOptions(threshold=parse_threshold("fpr:0.05"), balance="none")
    result = train_model(simulated, load_plugin("hgb"), options)
    y, probability = result.out_of_fold
    calls = probability >= result.model.threshold
    assert calls[y == 0].mean() <= 0.05
    assert calls[y == 1].mean() > 0.05


def test_baselines_are_a_constant_and_a_straight_line(trained):
    assert list(trained.baselines) == ["always the base rate", "logistic regression"]
    constant = trained.baselines["always the base rate"].estimates
    assert constant["roc_auc"].value == constant["balanced_accuracy"].value == 0.5
    base_rate = trained.out_of_fold.y.mean()
    assert constant["brier"].value == pytest.approx(base_rate * (1 - base_rate), abs=0.01)
    assert {baseline.n_rows for baseline in trained.baselines.values()} == {80}


def test_baselines_are_the_same_whatever_the_plugin(trained, simulated):
    other = train_model(simulated, load_plugin("logreg"), TrainingOptions(balance="under"))
    assert repr(other.baselines) == repr(trained.baselines)  # some are undefined: NaN


def test_importance_ranks_the_measurement_that_decides_first(data):
    strong = replace(data, X=data.X.assign(ph=data.y + np.linspace(0, 0.1, N_ROWS)))
    plugin = load_plugin("logreg")
    importance = train_model(strong, plugin, TrainingOptions()).importance
    assert set(importance.index) == set(MEASUREMENTS)
    assert importance.index[0] == "ph"
    assert importance.loc["ph", "mean"] > 0.3
    assert importance["mean"].is_monotonic_decreasing
    assert (importance["std"] >= 0).all()


def test_only_a_model_trained_by_epochs_has_a_loss_curve(trained, simulated):
    assert trained.loss_curve == []
    options = TrainingOptions(params={"max_iter": 5, "early_stopping": False}, balance="none")
    with pytest.warns(UserWarning, match="Maximum iterations"):
        result = train_model(simulated, load_plugin("mlp"), options)
    assert len(result.loss_curve) == 5
    assert result.loss_curve[-1] < result.loss_curve[0]


def test_parameters_are_the_defaults_and_what_the_user_chose(simulated):
    options = TrainingOptions(params={"C": 0.01}, balance="none")
    result = train_model(simulated, load_plugin("logreg"), options)
    assert result.params == {**load_plugin("logreg").model.default_params(), "C": 0.01}
    assert result.model.estimator[-1].C == 0.01


@pytest.mark.parametrize("balance", BALANCES)
def test_what_scores_holds_no_sampler(simulated, balance):
    options = TrainingOptions(balance=balance, params={"max_iter": 20})
    estimator = train_model(simulated, load_plugin("hgb"), options).model.estimator
    assert type(estimator) is Pipeline
    assert not any(hasattr(step, "fit_resample") for _, step in estimator.steps)


def test_the_callers_frame_is_not_changed(data):
    before, labels = data.X.copy(), data.y.copy()
    train_model(data, load_plugin("logreg"), TrainingOptions())
    pd.testing.assert_frame_equal(data.X, before)
    assert data.y.tolist() == labels.tolist()


def test_the_steps_are_reported(data):
    said = []
    train_model(data, load_plugin("logreg"), TrainingOptions(), report=said.append)
    assert said == [
        "Fitting logreg on 160 rows, 5 folds and once on all of them",
        "Measuring on 40 held-out rows",
    ]


def test_another_seed_holds_out_other_rows(data, record, monkeypatch):
    monkeypatch.setattr(waterflow_cli.training, "measure_baselines", lambda *_: {})
    held_out = []
    for seed in (0, 0, 1):
        record.fitted.clear()
        train_model(data, load(RecordingPlugin()), TrainingOptions(seed=seed))
        held_out.append(split_of(record)[1])
    assert held_out[0] == held_out[1] != held_out[2]


def test_the_users_choices_reach_the_plugin(data):
    asked = []

    class AskedPlugin(TestPlugin):
        def build_pipeline(self, **choices):
            asked.append(choices)
            return load_plugin("logreg").model.build_pipeline(**choices)

    options = TrainingOptions(params={"C": 0.5}, balance="under", seed=9)
    train_model(data, load(AskedPlugin()), options)
    choices = {"balance": "under", "random_state": 9, "params": {"C": 0.5}}
    assert asked == [{"columns": MEASUREMENTS, **choices}]


def test_the_smallest_table_that_is_accepted_can_be_trained_on(data):
    keep = np.r_[np.flatnonzero(data.y == 0)[:20], np.flatnonzero(data.y == 1)[:20]]
    small = replace(data, X=data.X.iloc[keep].reset_index(drop=True), y=data.y[keep])
    for test_size in (0.05, 0.5):
        result = train_model(small, load_plugin("logreg"), TrainingOptions(test_size=test_size))
        assert np.isfinite(result.held_out.probability).all()


def test_fits_run_with_one_thread_each_and_leave_the_setting_as_it_was():
    before = [pool["num_threads"] for pool in threadpool_info()]
    with single_threaded_fits():
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
    assert [pool["num_threads"] for pool in threadpool_info()] == before


# --- plugins that fail ---------------------------------------------------------------------------


class FailingPlugin(TestPlugin):
    """Hands over whatever classifier or pipeline it is given."""

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def build_pipeline(self, *, columns, balance, random_state, params):
        return self.pipeline


class Wayward(ClassifierMixin, BaseEstimator):
    """Fails as it is told, or gives the probabilities that it is told."""

    def __init__(self, potable=0.5, fails_in="", held_out=None):
        self.potable, self.fails_in, self.held_out = potable, fails_in, held_out

    def fit(self, X, y):
        if self.fails_in == "fit":
            raise ValueError("no convergence")
        self.classes_ = np.array([0, 1])
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)

    def predict_proba(self, X):
        if self.fails_in == "predict":
            raise OSError("disk of the plugin")
        # Only the held-out rows come 40 at a time.
        potable = self.held_out if len(X) == 40 and self.held_out is not None else self.potable
        return np.column_stack([np.full(len(X), 1 - potable), np.full(len(X), potable)])


def wayward(**params):
    return load(FailingPlugin(BalancedPipeline([("classifier", Wayward(**params))])), "wayward")


def test_a_plugin_that_builds_something_else_is_told_what_is_expected(data):
    for wrong in (LogisticRegression(), Pipeline([("classifier", LogisticRegression())]), None):
        problem = rf"The plugin 'recorder' .* built a {type(wrong).__name__}; an imblearn\.pipeline"
        with pytest.raises(PluginError, match=problem):
            train_model(data, load(FailingPlugin(wrong)), TrainingOptions())


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"fails_in": "fit"}, r"failed to train: ValueError: no convergence\."),
        ({"fails_in": "predict"}, r"failed to train: OSError: disk of the plugin\."),
        ({"potable": np.nan}, r"gave no probability for 160 of 160 rows \(NaN\)\."),
        (
            {"potable": 1.25},
            r"gave probabilities from 1\.25 to 1\.25; they must lie between 0 and 1",
        ),
        ({"potable": -0.5}, r"gave probabilities from -0\.5 to -0\.5; they must lie between"),
        ({"held_out": np.nan}, r"failed to predict: ValueError: Input contains NaN\.$"),
    ],
)
def test_a_plugin_that_fails_is_named_with_the_cause(data, params, problem):
    with pytest.raises(PluginError, match=rf"The plugin 'wayward' \(tests:plugin, .*{problem}"):
        train_model(data, wayward(**params), TrainingOptions())


def test_a_constant_model_is_measured_as_chance(data):
    result = train_model(data, wayward(potable=0.3), TrainingOptions())
    assert result.model.calibrator.slope == 0
    assert result.evaluation.estimates["roc_auc"].value == 0.5
    assert result.held_out.probability == pytest.approx(0.35)


def test_a_precision_out_of_reach_is_refused(data):
    options = TrainingOptions(threshold=parse_threshold("precision:0.9"))
    with pytest.raises(DataRefusedError, match=r"No threshold reaches precision:0\.9"):
        train_model(data, wayward(), options)


def test_a_refused_parameter_is_the_users_to_mend(data):
    options = TrainingOptions(params={"C": -1.0})
    with pytest.raises(UsageError, match="--param: The 'C' parameter must be a float"):
        train_model(data, load_plugin("logreg"), options)


def test_fitting_copies_the_pipeline_that_it_is_given(data):
    pipeline = BalancedPipeline([("classifier", LogisticRegression(max_iter=5000))])
    fitted = fit_decision_model(pipeline, data.X[["ph"]], data.y, TrainingOptions())
    assert not hasattr(pipeline["classifier"], "coef_")
    assert fitted.model.measurements == ["ph"]


def test_nothing_is_left_in_the_working_folder(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_model(data, load_plugin("logreg"), TrainingOptions())
    assert list(tmp_path.iterdir()) == []
