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
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_info

from waterflow_cli.common.errors import DataRefusedError, PluginError, UsageError
from waterflow_cli.models.contract import BALANCES, GROUP
from waterflow_cli.models.decision import Policy
from waterflow_cli.models.discovery import LoadedPlugin, load_plugin
from waterflow_cli.models.guarantees import parse_guarantee
from waterflow_cli.models.thresholds import parse_threshold, tune_threshold
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training import importance
from waterflow_cli.training.data import TrainingData, load_training_data
from waterflow_cli.training.designs import all_scores, describe_design, score_folds
from waterflow_cli.training.judging import evaluate_folds, join_folds, judge_fold
from waterflow_cli.training.learners import PipelineLearner, make_learner, single_threaded_fits
from waterflow_cli.training.options import DEFAULT_CV, CrossValidation, TrainingOptions, parse_cv
from waterflow_cli.training.trainer import (
    CERTIFYING_SHARE,
    explain_design,
    make_design,
    split_for_certifying,
    train_model,
)

N_ROWS = 200
# Six fits for the folds, three without balancing, and the final one.
CV = CrossValidation(3, 1)
N_FITS = 10
QUICK = TrainingOptions(quick=True)
PRECISION = parse_guarantee("precision=0.8@90%")
MEASUREMENTS = ["row", "ph", "Solids"]
ROW_COLUMN = 0


def quick(**options):
    return TrainingOptions(**{"cv": CV, **options})


def load(model, name="recorder"):
    """Present an object of the test as an installed plugin."""
    return LoadedPlugin(EntryPoint(name, "tests:plugin", GROUP), model)


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
    return TrainingData(path="samples.csv", X=X, y=y, sha256="0" * 64, n_dropped=0)


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


def check_no_leak(record, n_fits=N_FITS):
    """Check that no row was predicted that its own fit, or the sampler before it, had seen."""
    for fit, rows in record.predicted:
        assert not rows & record.sampled[fit], "a sampler saw rows that its fit predicts"
        assert not rows & record.fitted[fit], "a fit saw rows that it predicts"
    assert not record.strays, "a sampler ran outside of a fit"
    assert not record.waiting, "a sampler ran outside of a fit"
    assert record.sampled == record.fitted, "a sampler saw other rows than the fit after it"
    assert len(record.fitted) == n_fits


@pytest.mark.parametrize("jobs", [1, 2])
def test_smote_never_sees_a_predicted_row(data, record, jobs):
    result = train_model(data, load(RecordingPlugin()), quick(jobs=jobs))
    check_no_leak(record)
    assert result.n_fits == N_FITS
    # Two thirds are fitted on to test the last one, a third to tune; the model learns from all.
    sizes = sorted(map(len, record.fitted.values()))
    assert sizes == [66, 67, 67, 133, 133, 133, 133, 134, 134, 200]


def test_a_hold_out_is_never_fitted_on_before_it_was_measured(data, record):
    result = train_model(data, load(RecordingPlugin()), quick(test_size=0.2))
    check_no_leak(record, n_fits=8)
    ((fold,),) = result.measured.folds
    held_out = set(fold.rows.tolist())
    assert len(held_out) == 40
    assert [bool(rows & held_out) for rows in record.fitted.values()] == [False] * 7 + [True]


def test_the_check_finds_smote_before_the_split(data, record):
    """The leak behind the published accuracies: balance all rows, then split them."""
    X, y = RecordingSmote(random_state=0).fit_resample(data.X, data.y)
    leaky = replace(data, X=X, y=y)
    train_model(leaky, load(RecordingPlugin(samples=False)), quick())
    with pytest.raises(AssertionError, match="a sampler saw rows that its fit predicts"):
        check_no_leak(record)


@pytest.mark.parametrize("twice", [False, True])
def test_the_check_finds_smote_before_the_folds(data, record, monkeypatch, twice):
    def fit_after_sampling(learner, rows):
        X, y = RecordingSmote(random_state=0).fit_resample(learner.X, learner.y)
        steps = learner.pipeline.steps
        inner = BalancedPipeline(steps if twice else [steps[0], steps[-1]])
        keep = np.r_[rows, len(learner.y) : len(y)]
        return clone(inner).fit(X.iloc[keep], y.iloc[keep] if hasattr(y, "iloc") else y[keep])

    monkeypatch.setattr(PipelineLearner, "fit", fit_after_sampling)
    train_model(data, load(RecordingPlugin()), quick())
    problem = "outside of a fit" if twice else "a sampler saw rows that its fit predicts"
    with pytest.raises(AssertionError, match=problem):
        check_no_leak(record)


def test_the_check_finds_a_fit_on_all_rows(data, record, monkeypatch):
    """The last leak: what is measured was fitted on the tested rows too."""
    fit = PipelineLearner.fit
    monkeypatch.setattr(PipelineLearner, "fit", lambda learner, _: fit(learner, np.arange(N_ROWS)))
    train_model(data, load(RecordingPlugin()), quick())
    with pytest.raises(AssertionError, match="a sampler saw rows that its fit predicts"):
        check_no_leak(record)


def test_rows_that_certify_are_seen_by_no_fit_and_predicted_by_the_model_alone(data, record):
    result = train_model(data, load(RecordingPlugin()), quick(guarantees=(PRECISION,)))
    check_no_leak(record)
    seen = set().union(*record.fitted.values())
    certifying = set(range(N_ROWS)) - seen
    assert len(certifying) == result.certificates[0].n_rows == N_ROWS * CERTIFYING_SHARE
    assert result.n_trained == result.evaluation.n_rows == len(seen)
    ((fit, rows),) = [each for each in record.predicted if each[1] & certifying]
    assert rows == certifying
    assert record.fitted[fit] == seen


def test_the_model_is_calibrated_and_tuned_on_out_of_fold_scores_alone(data):
    options = quick(threshold=parse_threshold("f1"))
    result = train_model(data, load_plugin("logreg"), options)
    learner = make_learner(load_plugin("logreg"), data, options)
    with single_threaded_fits():
        rows, scores = all_scores(score_folds(make_design(data, options), learner))
    assert sorted(rows) == list(range(N_ROWS))
    probability = result.model.calibrator.apply(scores)
    assert probability.mean() == pytest.approx(data.y.mean(), abs=1e-3)
    assert result.model.threshold == tune_threshold(options.threshold, data.y[rows], probability)
    assert result.model.policy == Policy.default(result.model.threshold)


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
    result = train_model(data, load(MemoryPlugin()), quick())
    assert result.evaluation.estimates["roc_auc"].value == 0.5
    assert result.evaluation.estimates["balanced_accuracy"].value == 0.5
    fitted = result.model.estimator
    assert fitted.predict(data.X).tolist() == data.y.tolist()  # the model itself does know them


# --- what comes out ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(simulated):
    return train_model(simulated, load_plugin("hgb"), quick(params={"max_iter": 30}))


def test_sizes_add_up(trained, simulated):
    assert trained.n_trained == trained.evaluation.n_rows == 400
    assert sum(trained.evaluation.confusion) == 400
    assert np.bincount(trained.tested[0]).tolist() == list(simulated.class_counts)


@pytest.mark.slow
def test_repeats_test_all_rows_again(simulated):
    result = train_model(simulated, load_plugin("logreg"), quick(cv=CrossValidation(3, 2)))
    assert len(result.tested[0]) == 800
    assert result.evaluation.n_rows == 400
    assert sum(result.evaluation.confusion) == pytest.approx(400)


@pytest.mark.parametrize("test_size", [0.05, 0.2, 0.5])
def test_asked_share_is_held_out(simulated, test_size):
    result = train_model(simulated, load_plugin("logreg"), quick(test_size=test_size))
    assert result.evaluation.n_rows == round(400 * test_size)
    assert result.n_trained == 400
    assert "Wilson" in result.evaluation.interval


def test_a_quick_answer_takes_two_fits_and_leaves_out_what_takes_more(data, record):
    result = train_model(data, load(RecordingPlugin()), QUICK)
    assert result.n_fits == len(record.fitted) == 2
    assert result.n_trained == N_ROWS
    assert result.evaluation.n_rows == N_ROWS / 5
    assert "Wilson" in result.evaluation.interval
    assert len(result.importance) == 0
    assert "the same without balancing" not in [point.name for point in result.points]
    check_no_leak(record, n_fits=2)


def test_probabilities_are_the_calibrated_ones(simulated):
    # Balancing pushes the raw scores up; what is reported fits the base rate again.
    y, probability = train_model(simulated, load_plugin("logreg"), quick()).tested
    assert probability.mean() == pytest.approx(y.mean(), abs=0.01)


@pytest.mark.parametrize("calibration", ["sigmoid", "isotonic", "none"])
def test_evaluation_is_that_of_folds_judged_without_their_labels(data, calibration):
    options = quick(calibration=calibration)
    result = train_model(data, load_plugin("logreg"), options)
    learner = make_learner(load_plugin("logreg"), data, options)
    with single_threaded_fits():
        folds = score_folds(make_design(data, options), learner)
    judged = [[judge_fold(fold, data.y, calibration, options.threshold) for fold in folds[0]]]
    assert result.evaluation == evaluate_folds(judged, result.model.threshold)


def test_asked_rule_tunes_the_thresholds(simulated):
    rule = parse_threshold("fpr:0.05")
    result = train_model(simulated, load_plugin("logreg"), quick(threshold=rule, balance="none"))
    assert result.evaluation.estimates["recall_not_potable"].value > 0.85
    assert result.points[0].name == "tuned threshold"
    assert result.points[0].recall_not_potable > 0.85


def test_balancing_is_compared_with_none(data):
    def names(balance):
        points = train_model(data, load_plugin("logreg"), quick(balance=balance)).points
        return {point.name for point in points}

    assert names("under") - names("none") == {"the same without balancing", "0.5 of the raw score"}


def test_costs_of_the_rule_are_those_of_the_points(data):
    options = quick(threshold=parse_threshold("cost:7:2"), balance="none")
    assert options.costs == (7, 2)
    reject = train_model(data, load_plugin("logreg"), options).points[-1]
    assert reject.cost_per_1000 == pytest.approx(2 * 1000 * data.y.mean())
    assert quick().costs == (10, 1)


def test_baselines_are_a_constant_and_a_straight_line(trained, simulated):
    assert list(trained.baselines) == ["always the base rate", "logistic regression"]
    constant = trained.baselines["always the base rate"].evaluation.estimates
    assert constant["roc_auc"].value == constant["balanced_accuracy"].value == 0.5
    base_rate = simulated.y.mean()
    assert constant["brier"].value == pytest.approx(base_rate * (1 - base_rate), abs=0.01)
    assert {each.evaluation.n_rows for each in trained.baselines.values()} == {400}


def test_baselines_are_the_same_whatever_the_plugin(trained, simulated):
    other = train_model(simulated, load_plugin("logreg"), quick(balance="under"))
    for name, baseline in trained.baselines.items():  # some figures are undefined: NaN
        assert repr(other.baselines[name].evaluation) == repr(baseline.evaluation)


def test_importance_ranks_the_measurement_that_decides_first(data):
    strong = replace(data, X=data.X.assign(ph=data.y + np.linspace(0, 0.1, N_ROWS)))
    plugin = load_plugin("logreg")
    importance = train_model(strong, plugin, quick()).importance
    assert set(importance.index) == set(MEASUREMENTS)
    assert importance.index[0] == "ph"
    assert importance.loc["ph", "value"] > 0.3
    assert importance["value"].is_monotonic_decreasing
    assert (importance["low"] <= importance["value"]).all()
    assert (importance["value"] <= importance["high"]).all()


def test_only_a_model_trained_by_epochs_has_a_loss_curve(trained, simulated):
    assert trained.loss_curve == []
    options = quick(params={"max_iter": 5, "early_stopping": False}, balance="none")
    with pytest.warns(UserWarning, match="Maximum iterations"):
        result = train_model(simulated, load_plugin("mlp"), options)
    assert len(result.loss_curve) == 5
    assert result.loss_curve[-1] < result.loss_curve[0]


def test_parameters_are_the_defaults_and_what_the_user_chose(simulated):
    options = quick(params={"C": 0.01}, balance="none")
    result = train_model(simulated, load_plugin("logreg"), options)
    assert result.params == {**load_plugin("logreg").model.default_params(), "C": 0.01}
    assert result.model.estimator[-1].C == 0.01


@pytest.mark.slow
@pytest.mark.parametrize("balance", BALANCES)
def test_what_scores_holds_no_sampler(simulated, balance):
    options = quick(balance=balance, params={"max_iter": 20})
    estimator = train_model(simulated, load_plugin("hgb"), options).model.estimator
    assert type(estimator) is Pipeline
    assert not any(hasattr(step, "fit_resample") for _, step in estimator.steps)


def test_the_callers_frame_is_not_changed(data):
    before, labels = data.X.copy(), data.y.copy()
    train_model(data, load_plugin("logreg"), quick())
    pd.testing.assert_frame_equal(data.X, before)
    assert data.y.tolist() == labels.tolist()


def test_the_steps_are_reported(data):
    said = []
    options = quick(guarantees=(PRECISION,))
    train_model(data, load_plugin("logreg"), options, report=said.append)
    assert said == [
        "Measuring logreg by 3-fold cross-validation, once; 10 fits of up to 140 rows",
        "Certifying on 60 rows that took no part",
        "Measuring baselines, and which measurements matter",
    ]


def test_the_users_choices_reach_the_plugin(data):
    asked = []

    class AskedPlugin(TestPlugin):
        def build_pipeline(self, **choices):
            asked.append(choices)
            return load_plugin("logreg").model.build_pipeline(**choices)

    options = quick(params={"C": 0.5}, balance="under", seed=9)
    train_model(data, load(AskedPlugin()), options)
    choices = {"columns": MEASUREMENTS, "random_state": 9, "params": {"C": 0.5}}
    assert asked == [{**choices, "balance": "under"}, {**choices, "balance": "none"}]


@pytest.mark.slow
def test_the_smallest_table_that_is_accepted_can_be_trained_on(data):
    keep = np.r_[np.flatnonzero(data.y == 0)[:20], np.flatnonzero(data.y == 1)[:20]]
    small = replace(data, X=data.X.iloc[keep].reset_index(drop=True), y=data.y[keep])
    designs = [{"cv": CV}, {"cv": DEFAULT_CV}, {"test_size": 0.05}, {"test_size": 0.5}]
    for design in designs:
        result = train_model(small, load_plugin("logreg"), TrainingOptions(**design))
        assert np.isfinite(result.tested[1]).all()


def test_fits_run_with_one_thread_each_and_leave_the_setting_as_it_was():
    before = [pool["num_threads"] for pool in threadpool_info()]
    with single_threaded_fits():
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
    assert [pool["num_threads"] for pool in threadpool_info()] == before


# --- how rows are split --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cv"), [("5x2", DEFAULT_CV), (" 3X1 ", CV), ("20x100", CrossValidation(20, 100))]
)
def test_cv_is_read_and_written_again(text, cv):
    assert parse_cv(text) == parse_cv(str(cv)) == cv


@pytest.mark.parametrize("text", ["", "5", "x", "5x", "5x2x1", "-5x2", "5.0x2", "axb"])
def test_another_form_of_cv_is_refused(text):
    with pytest.raises(UsageError, match="it is written FOLDSxREPEATS, such as 5x2"):
        parse_cv(text)


@pytest.mark.parametrize("text", ["2x1", "21x1", "5x0", "5x101"])
def test_too_few_or_many_folds_are_refused(text):
    with pytest.raises(UsageError, match="3 to 20 folds, 1 to 100 repeats"):
        parse_cv(text)


@pytest.mark.parametrize(
    ("n_rows", "cv"), [(19_999, "5x2"), (20_000, "5x1"), (199_999, "5x1"), (200_000, "3x1")]
)
def test_many_rows_are_measured_by_fewer_fits_and_it_is_said(n_rows, cv):
    y = np.resize([0, 1], n_rows)
    X = pd.DataFrame({"ph": np.zeros(n_rows)})
    many = TrainingData(path="many.csv", X=X, y=y, sha256="0" * 64, n_dropped=0)
    dated = replace(many, when=np.arange(n_rows, dtype=float))
    design, in_time = make_design(many, TrainingOptions()), make_design(dated, TrainingOptions())
    assert (design.name, in_time.name) == (f"cv-{cv}", f"time-{cv[0]}")
    explained = explain_design(design, many, TrainingOptions())
    assert (explained is None) == (cv == "5x2")
    assert cv == "5x2" or f"--cv {cv}" in str(explained)
    assert (explain_design(in_time, dated, TrainingOptions()) is None) == (cv != "3x1")
    for chosen in ({"cv": DEFAULT_CV}, {"test_size": 0.2}, {"quick": True}):
        asked = TrainingOptions(**chosen)
        assert explain_design(make_design(many, asked), many, asked) is None
    assert make_design(many, TrainingOptions(cv=DEFAULT_CV)).name == "cv-5x2"


def test_importance_is_measured_on_so_many_rows_at_most(data, monkeypatch):
    whole = train_model(data, load_plugin("logreg"), quick()).importance
    monkeypatch.setattr(importance, "MOST_ROWS", 40)
    part = train_model(data, load_plugin("logreg"), quick()).importance
    assert part.loc["ph", "value"] != whole.loc["ph", "value"]
    assert part.index[0] == whole.index[0] == "ph"


def test_groups_and_times_of_the_data_choose_the_split(data):
    sites = replace(data, groups=np.resize(["a", "b", "c", "d", "e"], N_ROWS))
    dated = replace(data, when=np.arange(N_ROWS, dtype=float))
    chosen = {
        "cv-3x1": (make_design(data, quick()), "3-fold cross-validation, once"),
        "cv-3x1-grouped": (
            make_design(sites, quick()),
            "3-fold cross-validation, once, groups kept together",
        ),
        "time-3": (
            make_design(dated, quick()),
            "3 spans of time, each tested with what is older",
        ),
        "holdout-0.2": (make_design(data, quick(test_size=0.2)), "one hold-out of 20%"),
        "quick-cv-5x1": (make_design(data, QUICK), "one quick hold-out of a fifth"),
        "quick-cv-5x1-grouped": (
            make_design(sites, QUICK),
            "one quick hold-out of a fifth, groups kept together",
        ),
        "quick-time-3": (make_design(dated, QUICK), "one quick hold-out of the newest fifth"),
    }
    for name, (design, words) in chosen.items():
        assert (design.name, describe_design(name)) == (name, words)


def test_a_site_that_can_be_recognised_helps_no_one(data):
    """All rows of a site share a label: known sites score perfectly, new ones by chance."""
    site = np.repeat(np.arange(40), 5)
    y = np.random.default_rng(0).permutation(np.repeat([0, 1], 20))[site]
    X = data.X.assign(ph=site.astype(float), Solids=0.0, row=0.0)
    known = replace(data, X=X, y=y)
    new = replace(known, groups=site.astype(str))
    plugin = load_plugin("rf")
    auc = [
        train_model(each, plugin, quick(params={"n_estimators": 10}, balance="none"))
        .evaluation.estimates["roc_auc"]
        .value
        for each in (known, new)
    ]
    assert auc[0] > 0.95
    assert auc[1] < 0.75


def test_a_model_is_measured_on_what_is_newer(data, record):
    when = np.random.default_rng(5).permutation(N_ROWS).astype(float)
    result = train_model(replace(data, when=when), load(RecordingPlugin()), quick(balance="none"))
    for fit, rows in record.predicted:
        assert when[list(record.fitted[fit])].max() < when[list(rows)].min()
    assert result.evaluation.n_rows == 120  # the two oldest of five spans are only learned from
    assert result.n_trained == N_ROWS


def test_rows_are_kept_apart_only_to_certify(data):
    used, certifying = split_for_certifying(data, quick())
    assert (len(used), len(certifying)) == (N_ROWS, 0)
    used, certifying = split_for_certifying(data, quick(guarantees=(PRECISION,)))
    assert sorted([*used, *certifying]) == list(range(N_ROWS))
    _, others = split_for_certifying(data, quick(guarantees=(PRECISION,), seed=1))
    assert set(others) != set(certifying)


def test_out_of_fold_predictions_certify_without_setting_rows_apart(plain):
    options = quick(guarantees=(PRECISION,), certify="cross")
    result = train_model(plain, load_plugin("logreg"), options)
    (found,) = result.certificates
    assert (found.n_rows, result.n_trained, found.method) == (600, 600, "cross")
    y, probability = join_folds(result.measured.folds[0])
    decided = probability >= found.cut
    assert (found.n_decided, found.observed) == (decided.sum(), y[decided].mean())


@pytest.mark.parametrize("certify", ["split", "cross"])
def test_rows_that_repeat_others_certify_once_and_it_is_said(data, certify):
    said = []
    twice = data.take(np.r_[np.arange(N_ROWS), np.arange(50)])
    options = quick(guarantees=(PRECISION,), certify=certify)
    result = train_model(twice, load_plugin("logreg"), options, report=said.append)
    n_certifying = result.certificates[0].n_rows
    assert n_certifying == (N_ROWS if certify == "cross" else N_ROWS * CERTIFYING_SHARE)
    assert len(np.unique(twice.X["row"].iloc[result.rows])) == result.n_trained
    assert any("50 rows repeat the measurements of another, and were left out" in s for s in said)


@pytest.mark.parametrize("column", ["groups", "when"])
def test_no_guarantee_for_rows_that_are_not_exchangeable(data, column):
    tied = replace(data, **{column: np.arange(N_ROWS, dtype=float)})
    with pytest.raises(UsageError, match="--guarantee goes with neither --group nor --time"):
        train_model(tied, load_plugin("logreg"), quick(guarantees=(PRECISION,)))


@pytest.fixture
def plain(data):
    """Rows whose pH tells the label in most cases."""
    random = np.random.default_rng(1)
    y = (random.random(600) < 0.4).astype(np.int64)
    X = pd.DataFrame(random.normal(size=(600, 3)), columns=MEASUREMENTS)
    return replace(data, X=X.assign(ph=random.normal(7 + 3 * y)), y=y)


def test_what_can_be_certified_becomes_the_policy(plain):
    guarantees = tuple(map(parse_guarantee, ("precision=0.85@90%", "npv=0.85@90%")))
    result = train_model(plain, load_plugin("logreg"), quick(guarantees=guarantees))
    upper, lower = result.certificates
    assert (upper.n_rows, result.n_trained) == (180, 420)
    assert result.model.policy == Policy(upper.cut, lower.cut)
    assert lower.cut < result.model.threshold <= upper.cut
    assert upper.observed > 0.85
    assert lower.observed > 0.85


def test_a_guarantee_that_fails_closes_its_side_or_refuses_the_model(plain):
    shuffled = replace(plain, y=np.random.default_rng(0).permutation(plain.y))
    options = quick(guarantees=(PRECISION,))
    model = train_model(shuffled, load_plugin("logreg"), options).model
    assert not model.policy.decides_potable
    assert (model.verdict(np.array([0.99, 1.0])) == 0).all()
    with pytest.raises(DataRefusedError, match=r"guaranteed on 180 rows: precision=0\.8@90%"):
        train_model(shuffled, load_plugin("logreg"), replace(options, require_guarantee=True))


# --- plugins that fail ---------------------------------------------------------------------------


class FailingPlugin(TestPlugin):
    """Hands over whatever classifier or pipeline it is given."""

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def build_pipeline(self, *, columns, balance, random_state, params):
        return self.pipeline


class Wayward(ClassifierMixin, BaseEstimator):
    """Fails as it is told, or gives the probabilities that it is told."""

    def __init__(self, potable=0.5, fails_in=""):
        self.potable, self.fails_in = potable, fails_in

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
        return np.tile([1 - self.potable, self.potable], (len(X), 1))


def wayward(**params):
    return load(FailingPlugin(BalancedPipeline([("classifier", Wayward(**params))])), "wayward")


def test_a_plugin_that_builds_something_else_is_told_what_is_expected(data):
    for wrong in (LogisticRegression(), Pipeline([("classifier", LogisticRegression())]), None):
        problem = rf"The plugin 'recorder' .* built a {type(wrong).__name__}; an imblearn\.pipeline"
        with pytest.raises(PluginError, match=problem):
            train_model(data, load(FailingPlugin(wrong)), quick())


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"fails_in": "fit"}, r"failed to train: ValueError: no convergence\."),
        ({"fails_in": "predict"}, r"failed to train: OSError: disk of the plugin\."),
        ({"potable": np.nan}, r"gave no probability for 67 of 67 rows \(NaN\)\."),
        (
            {"potable": 1.25},
            r"gave probabilities from 1\.25 to 1\.25; they must lie between 0 and 1",
        ),
        ({"potable": -0.5}, r"gave probabilities from -0\.5 to -0\.5; they must lie between"),
    ],
)
def test_a_plugin_that_fails_is_named_with_the_cause(data, params, problem):
    with pytest.raises(PluginError, match=rf"The plugin 'wayward' \(tests:plugin, .*{problem}"):
        train_model(data, wayward(**params), quick())


def test_a_constant_model_is_measured_as_chance(data):
    result = train_model(data, wayward(potable=0.3), quick())
    assert result.model.calibrator.slope == 0
    assert result.evaluation.estimates["roc_auc"].value == 0.5
    assert result.tested[1] == pytest.approx(0.35, abs=0.01)
    assert result.model.probability(data.X) == pytest.approx(0.35)


def test_a_precision_out_of_reach_is_refused(data):
    options = quick(threshold=parse_threshold("precision:0.9"))
    with pytest.raises(DataRefusedError, match=r"No threshold reaches precision:0\.9"):
        train_model(data, wayward(), options)


def test_a_refused_parameter_is_the_users_to_mend(data):
    options = quick(params={"C": -1.0})
    with pytest.raises(UsageError, match="--param: The 'C' parameter must be a float"):
        train_model(data, load_plugin("logreg"), options)


def test_fitting_copies_the_pipeline_that_it_is_given(data):
    pipeline = BalancedPipeline([("classifier", LogisticRegression(max_iter=5000))])
    learner = PipelineLearner(pipeline, data.X[["ph"]], data.y)
    fitted = learner.fit(np.arange(100))
    assert not hasattr(pipeline["classifier"], "coef_")
    assert learner.score(fitted, np.arange(100, 120)).shape == (20,)


def test_nothing_is_left_in_the_working_folder(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_model(data, load_plugin("logreg"), quick())
    assert list(tmp_path.iterdir()) == []
