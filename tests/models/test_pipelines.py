from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from imblearn.combine import SMOTEENN
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline as BalancedPipeline
from imblearn.under_sampling import RandomUnderSampler
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.utils.class_weight import compute_sample_weight

from waterflow_cli.models import pipelines
from waterflow_cli.models.contract import BALANCES, CONTRACT, EstimatorPlugin, ModelPlugin
from waterflow_cli.models.pipelines import (
    SAMPLER_STEP,
    BoundedSMOTE,
    SampleWeighted,
    balanced_pipeline,
    make_sampler,
    strip_for_scoring,
)

COLUMNS = ["ph", "Solids"]


@pytest.fixture
def rows():
    """90 rows of class 0 and 30 of class 1; solids are large numbers, and cells are missing."""
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], [90, 30])
    X = pd.DataFrame(
        {"ph": random.normal(7 + y, 1), "Solids": random.normal(20000, 9000, 120)}, columns=COLUMNS
    )
    return X.mask(random.random(X.shape) < 0.1), y


def build(balance, *, scale=False, classifier=None):
    return balanced_pipeline(
        LogisticRegression() if classifier is None else classifier,
        balance=balance,
        random_state=0,
        scale=scale,
    )


@pytest.mark.parametrize(
    ("balance", "kind"),
    [("smote", BoundedSMOTE), ("smoteenn", SMOTEENN), ("under", RandomUnderSampler)],
)
def test_each_way_of_resampling_has_its_sampler_with_the_seed(balance, kind):
    sampler = make_sampler(balance, 7)
    assert type(sampler) is kind
    assert sampler.random_state == 7


@pytest.mark.parametrize("balance", ["weight", "none"])
def test_ways_that_resample_nothing_have_no_sampler(balance):
    assert make_sampler(balance, 0) is None
    assert SAMPLER_STEP not in dict(build(balance).steps)


def test_an_unknown_way_of_balancing_is_refused():
    with pytest.raises(ValueError, match="no way of balancing is called 'over'"):
        make_sampler("over", 0)


@pytest.mark.parametrize(
    ("balance", "scale", "steps"),
    [
        ("smote", False, ["imputer", "scaler", "sampler", "classifier"]),
        ("smoteenn", False, ["imputer", "scaler", "sampler", "classifier"]),
        ("under", False, ["imputer", "sampler", "classifier"]),
        ("under", True, ["imputer", "scaler", "sampler", "classifier"]),
        ("weight", False, ["imputer", "classifier"]),
        ("none", False, ["imputer", "classifier"]),
        ("none", True, ["imputer", "scaler", "classifier"]),
    ],
)
def test_samplers_that_measure_distances_come_after_the_scaler(balance, scale, steps):
    assert [name for name, _ in build(balance, scale=scale).steps] == steps


def test_smote_makes_as_many_potable_rows_as_others_and_only_in_fit(rows):
    X, y = rows
    pipeline = build("smote").fit(X, y)
    counts = np.bincount(pipeline[:-1].fit_resample(X, y)[1])
    assert counts.tolist() == [90, 90]
    assert pipeline.predict_proba(X).shape == (120, 2)


@pytest.mark.parametrize("balance", ["smote", "smoteenn"])
def test_up_to_the_bound_rows_are_made_up_as_smote_makes_them(rows, balance, monkeypatch):
    monkeypatch.setattr(pipelines, "MOST_SMOTE_ROWS", 30)
    X, y = rows[0].fillna(7.0).to_numpy(), rows[1]
    plain = {"smote": SMOTE, "smoteenn": SMOTEENN}[balance](random_state=3)
    for made, expected in zip(
        make_sampler(balance, 3).fit_resample(X, y), plain.fit_resample(X, y), strict=True
    ):
        assert made.tobytes() == expected.tobytes()


def test_beyond_the_bound_rows_are_made_up_between_so_many_and_the_others_stay(rows, monkeypatch):
    monkeypatch.setattr(pipelines, "MOST_SMOTE_ROWS", 6)
    X, y = rows[0].fillna(7.0).to_numpy(), rows[1]
    sampler = make_sampler("smote", 3)
    made, labels = sampler.fit_resample(X, y)
    assert made[:120].tobytes() == X.tobytes()
    assert labels.tolist() == [*y, *[1] * 60]
    # Six rows and five neighbours of each make 30 lines between two rows, 15 of them distinct.
    corners = {
        tuple(sorted(pair))
        for row in made[120:]
        for pair in combinations(range(90, 120), 2)
        if lies_between(row, *X[[*pair]])
    }
    assert len({corner for pair in corners for corner in pair}) == 6
    again = sampler.fit_resample(X, y)
    assert again[0].tobytes() == made.tobytes()
    assert make_sampler("smote", 4).fit_resample(X, y)[0].tobytes() != made.tobytes()


def lies_between(row, one, other):
    """Tell whether a row lies on the line between two others, which no third one crosses here."""
    steps = (row - one) / np.where(other == one, 1.0, other - one)
    return np.ptp(steps) < 1e-9 and 0 <= steps[0] <= 1


def test_bounded_smote_takes_either_class_as_the_rarer_one_and_equal_ones_as_they_are(monkeypatch):
    monkeypatch.setattr(pipelines, "MOST_SMOTE_ROWS", 10)
    X = np.random.default_rng(0).normal(size=(100, 3))
    for n_first in (20, 50, 80):
        y = np.repeat([0, 1], [n_first, 100 - n_first])
        _, labels = BoundedSMOTE(random_state=0).fit_resample(X, y)
        assert np.bincount(labels).tolist() == [max(n_first, 100 - n_first)] * 2


def test_undersampling_keeps_rows_as_they_are(rows):
    X, y = rows
    resampled, labels = build("under")[:-1].fit_resample(X.fillna(0), y)
    assert np.bincount(labels).tolist() == [30, 30]
    assert {tuple(row) for row in resampled} <= {tuple(row) for row in X.fillna(0).to_numpy()}


def test_a_measurement_missing_throughout_does_not_shift_the_others(rows):
    X, y = rows
    pipeline = build("none").fit(X.assign(Solids=np.nan), y)
    assert pipeline["imputer"].transform(X[:1].assign(Solids=np.nan)).shape == (1, 2)
    assert pipeline["classifier"].coef_[0, 1] == 0


def test_weighting_makes_both_classes_count_the_same(rows):
    X, y = rows
    X = X.fillna(7)
    weighted = SampleWeighted(LogisticRegression()).fit(X, y)
    expected = LogisticRegression().fit(X, y, compute_sample_weight("balanced", y))
    assert np.array_equal(weighted.predict_proba(X), expected.predict_proba(X))
    assert np.array_equal(weighted.predict(X), expected.predict(X))
    assert weighted.classes_.tolist() == [0, 1]
    plain = LogisticRegression().fit(X, y)
    assert weighted.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean() + 0.1


@pytest.mark.parametrize("balance", BALANCES)
def test_what_scores_is_the_fitted_pipeline_without_its_balancing(balance, rows):
    X, y = rows
    pipeline = build(balance, classifier=RandomForestClassifier(10, random_state=0)).fit(X, y)
    stripped = strip_for_scoring(pipeline)
    assert type(stripped) is Pipeline
    assert type(stripped[-1]) is RandomForestClassifier
    assert not any(hasattr(step, "fit_resample") for _, step in stripped.steps)
    assert np.array_equal(stripped.predict_proba(X), pipeline.predict_proba(X))


def make_plugin(**changes):
    return EstimatorPlugin(
        **{
            "summary": "A forest",
            "estimator": "sklearn.ensemble:RandomForestClassifier",
            "defaults": {"n_estimators": 7},
            **changes,
        }
    )


def test_an_estimator_plugin_keeps_the_protocol():
    plugin = make_plugin()
    assert isinstance(plugin, ModelPlugin)
    assert plugin.contract == CONTRACT


def test_parameters_are_the_classs_own_with_the_plugins_defaults_and_no_seed():
    params = make_plugin().default_params()
    assert params["n_estimators"] == 7
    assert params["min_samples_leaf"] == RandomForestClassifier().min_samples_leaf
    assert "random_state" not in params


def test_the_users_parameters_win_over_the_defaults():
    pipeline = make_plugin().build_pipeline(
        columns=COLUMNS, balance="under", random_state=5, params={"n_estimators": 3}
    )
    assert isinstance(pipeline, BalancedPipeline)
    assert pipeline["classifier"].n_estimators == 3
    assert pipeline["classifier"].random_state == pipeline["sampler"].random_state == 5


def test_a_classifier_without_a_seed_is_given_none():
    plugin = make_plugin(estimator="sklearn.naive_bayes:GaussianNB", defaults={})
    pipeline = plugin.build_pipeline(columns=COLUMNS, balance="none", random_state=5, params={})
    assert type(pipeline["classifier"]) is GaussianNB


def test_scale_puts_a_scaler_in():
    plugin = make_plugin(scale=True)
    pipeline = plugin.build_pipeline(columns=COLUMNS, balance="none", random_state=0, params={})
    assert "scaler" in pipeline.named_steps
