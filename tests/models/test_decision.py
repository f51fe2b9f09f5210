from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline, make_pipeline

from waterflow_cli.models.calibration import Sigmoid
from waterflow_cli.models.decision import (
    LIKELY_NOT_POTABLE,
    LIKELY_POTABLE,
    SEND_TO_LAB,
    VERDICTS,
    Certified,
    DecisionModel,
    Policy,
)
from waterflow_cli.models.estimator_scores import EstimatorScores

UNIT = st.floats(0, 1)


class Echo(ClassifierMixin, BaseEstimator):
    """Gives the first column as the probability."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X):
        potable = X.iloc[:, 0].to_numpy()
        return np.column_stack([1 - potable, potable])


def make_model(threshold=0.5, policy=None, calibrator=None):
    return DecisionModel(
        scores=EstimatorScores(Pipeline([("classifier", Echo().fit(None, None))]), ["ph"]),
        measurements=["ph"],
        calibrator=calibrator or Sigmoid(1.0, 0.0),
        threshold=threshold,
        policy=policy or Policy.default(threshold),
    )


def verdicts(model, probability):
    return [VERDICTS[code] for code in model.verdict(np.atleast_1d(np.asarray(probability)))]


def test_default_policy_asks_for_four_chances_in_five():
    policy = Policy.default(0.4)
    assert policy.potable_from == 0.8
    assert policy.not_potable_to == pytest.approx(0.2)
    assert verdicts(make_model(0.4), [0.1, 0.2, 0.21, 0.4, 0.79, 0.8, 0.9]) == [
        *[LIKELY_NOT_POTABLE] * (1 + (policy.not_potable_to >= 0.2)),
        *[SEND_TO_LAB] * (4 - (policy.not_potable_to >= 0.2)),
        *[LIKELY_POTABLE] * 2,
    ]


@given(threshold=UNIT, probability=UNIT)
def test_a_verdict_never_contradicts_the_prediction(threshold, probability):
    model = make_model(threshold)
    (verdict,) = verdicts(model, probability)
    (prediction,) = model.predict(np.array([probability]))
    assert (verdict, prediction) in {
        (LIKELY_POTABLE, 1),
        (LIKELY_NOT_POTABLE, 0),
        (SEND_TO_LAB, 0),
        (SEND_TO_LAB, 1),
    }


@given(threshold=UNIT, probability=UNIT)
def test_a_verdict_is_right_in_four_of_five_cases_where_probabilities_are(threshold, probability):
    (verdict,) = verdicts(make_model(threshold), probability)
    if verdict == LIKELY_POTABLE:
        assert probability >= 0.8
    if verdict == LIKELY_NOT_POTABLE:
        assert 1 - probability >= 0.8


@given(low=UNIT, high=UNIT, probability=st.lists(UNIT, max_size=20))
def test_a_higher_threshold_never_adds_positives(low, high, probability):
    low, high = sorted((low, high))
    probability = np.array(probability)
    more, fewer = make_model(low).predict(probability), make_model(high).predict(probability)
    assert (fewer <= more).all()


@given(threshold=UNIT, low=UNIT, high=UNIT)
def test_a_higher_probability_never_gives_a_worse_verdict(threshold, low, high):
    low, high = sorted((low, high))
    rank = [LIKELY_NOT_POTABLE, SEND_TO_LAB, LIKELY_POTABLE]
    first, second = verdicts(make_model(threshold), [low, high])
    assert rank.index(first) <= rank.index(second)


def test_a_probability_at_the_threshold_is_predicted_potable():
    assert make_model(0.5).predict(np.array([np.nextafter(0.5, 0), 0.5])).tolist() == [0, 1]


@pytest.mark.parametrize(("threshold", "verdict"), [(0.0, SEND_TO_LAB), (1.0, LIKELY_NOT_POTABLE)])
def test_extreme_thresholds_keep_to_the_policy(threshold, verdict):
    model = make_model(threshold)
    assert verdicts(model, 0.0) == [verdict]
    assert verdicts(model, 1.0) == [LIKELY_POTABLE]


def test_policy_tells_its_bounds():
    text = Policy(0.8, 0.2).describe()
    assert text == "likely_potable from 0.800, likely_not_potable up to 0.200, else send_to_lab"


@pytest.mark.parametrize(
    ("policy", "undecided", "text"),
    [
        (Policy(0.8, 0.2), "probability between 0.2 and 0.8: not decided", "up to 0.200"),
        (Policy(0.8, -1.0), "probability below 0.8: not decided", "likely_not_potable never"),
        (Policy(2.0, 0.2), "probability above 0.2: not decided", "likely_potable never"),
        (Policy(2.0, -1.0), "the model decides nothing", "likely_not_potable never"),
    ],
)
def test_policy_says_what_each_verdict_rests_on(policy, undecided, text):
    lab, bad, good = policy.reasons
    assert lab == undecided
    assert text in policy.describe()
    model = make_model(policy=policy)
    given = verdicts(model, [0.0, 1.0])
    assert (LIKELY_NOT_POTABLE in given) == policy.decides_not_potable
    assert (LIKELY_POTABLE in given) == policy.decides_potable
    if policy.decides_potable:
        assert good == "probability at least 0.8"
    if policy.decides_not_potable:
        assert bad == "probability at most 0.2"


def test_probability_is_the_calibrated_one():
    frame = pd.DataFrame({"ph": [0.2, 0.5, 0.9]})
    calibrator = Sigmoid(0.5, -0.3)
    found = make_model(calibrator=calibrator).probability(frame)
    assert found.tolist() == calibrator.apply(frame["ph"].to_numpy()).tolist()
    assert found[1] == pytest.approx(1 / (1 + np.exp(0.3)))


def test_no_rows_have_no_probability_and_the_estimator_is_not_asked():
    model = DecisionModel(
        scores=EstimatorScores(make_pipeline("passthrough"), ["ph"]),
        measurements=["ph"],
        calibrator=Sigmoid(1.0, 0.0),
        threshold=0.5,
        policy=Policy.default(0.5),
    )
    found = model.probability(pd.DataFrame({"ph": []}, dtype=float))
    assert found.shape == (0,)
    assert model.predict(found).shape == model.verdict(found).shape == (0,)


# --- promises that are void ----------------------------------------------------------------------

PROMISE = Certified("precision=0.8@90%", LIKELY_POTABLE, 1000, 100)


@pytest.mark.parametrize(
    ("n_given", "n_rows", "is_void"),
    [
        (100, 1000, False),
        (140, 1000, False),  # more than chance gives, but not by half
        (160, 1000, True),
        (50, 1000, True),
        (2, 10, False),  # twice as often, by chance
        (10, 10, True),
        (0, 20, False),
        (0, 1000, True),
        (0, 0, False),
    ],
)
def test_a_promise_is_void_where_its_verdict_is_given_much_more_or_less_often(
    n_given, n_rows, is_void
):
    assert PROMISE.is_void(n_given, n_rows) == is_void
    model = replace(make_model(), certified=[PROMISE])
    counts = {LIKELY_POTABLE: n_given, SEND_TO_LAB: n_rows - n_given}
    assert model.void_guarantees(counts) == ["precision=0.8@90%"] * is_void


def test_samples_of_the_same_kind_hardly_ever_make_a_promise_void():
    random = np.random.default_rng(0)
    for share in (0.01, 0.1, 0.5):
        for n_rows in (20, 200, 2000):
            before, now = (random.binomial(n, share, 1000) for n in (500, n_rows))
            void = [
                PROMISE._replace(n_rows=500, n_decided=int(old)).is_void(int(new), n_rows)
                for old, new in zip(before, now, strict=True)
            ]
            assert np.mean(void) <= 0.005
