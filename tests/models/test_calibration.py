from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from waterflow_cli.models.calibration import (
    Sigmoid,
    calibrator_from_json,
    calibrator_to_json,
    fit_calibrator,
)
from waterflow_cli.models.contract import CALIBRATIONS

SCORES = st.floats(0, 1)


@st.composite
def scored_rows(draw, scores=SCORES):
    rows = draw(st.lists(st.tuples(st.integers(0, 1), scores), max_size=40))
    rows += [(0, draw(scores)), (1, draw(scores))]
    return np.array([label for label, _ in rows]), np.array([each for _, each in rows])


def calibrated_scores(n_rows=100_000, seed=0):
    """Draw scores that mean what they say: a row is potable with just its score's probability."""
    random = np.random.default_rng(seed)
    scores = expit(random.normal(-0.4, 1.0, n_rows))
    return (random.random(n_rows) < scores).astype(np.int64), scores


def test_calibrated_scores_are_left_as_they_are():
    calibrator = fit_calibrator(*calibrated_scores())
    assert calibrator.slope == pytest.approx(1, abs=0.03)
    assert calibrator.intercept == pytest.approx(0, abs=0.03)
    grid = np.linspace(0.01, 0.99, 99)
    assert calibrator.apply(grid) == pytest.approx(grid, abs=0.01)


def test_overconfident_scores_are_drawn_back_to_the_truth():
    y, truth = calibrated_scores()
    scores = expit(1.8 * logit(truth) + 1)
    assert fit_calibrator(y, scores).apply(scores) == pytest.approx(truth, abs=0.02)


def test_mean_probability_is_the_base_rate():
    # A balanced sampler shifts the scores upwards; calibration takes the shift back.
    y, truth = calibrated_scores(2000)
    scores = expit(logit(truth) + 1.3)
    assert scores.mean() > y.mean() + 0.2
    assert fit_calibrator(y, scores).apply(scores).mean() == pytest.approx(y.mean(), abs=1e-3)


@given(rows=scored_rows(), others=st.lists(SCORES, min_size=2, max_size=20))
@tried_on(100)
def test_order_of_samples_is_never_reversed_and_probabilities_stay_in_bounds(rows, others):
    calibrator = fit_calibrator(*rows)
    assert calibrator.slope >= 0
    probability = calibrator.apply(np.sort(np.array(others)))
    assert (np.diff(probability) >= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()


@given(rows=scored_rows(st.integers(0, 100).map(lambda percent: percent / 100)))
def test_ranking_is_kept_or_given_up_whole(rows):
    y, scores = rows
    calibrator = fit_calibrator(y, scores)
    found = roc_auc_score(y, calibrator.apply(scores))
    if calibrator.slope == 0:
        assert found == 0.5
    elif calibrator.slope < 2:  # a steeper one may reach 1.0 more than once
        unbounded = replace(calibrator, least=0.0)
        assert roc_auc_score(y, unbounded.apply(scores)) == pytest.approx(roc_auc_score(y, scores))


@pytest.mark.parametrize(
    "scores",
    [
        np.linspace(1, 0, 100),
        np.full(100, 0.3),
        np.zeros(100),
        np.ones(100),
        np.r_[np.ones(60), np.zeros(40)],
    ],
    ids=["falling", "constant", "zero", "one", "wrong way round"],
)
def test_scores_that_rank_no_better_than_chance_give_the_base_rate(scores):
    y = np.r_[np.zeros(60), np.ones(40)].astype(int)
    calibrator = fit_calibrator(y, scores)
    assert calibrator.slope == 0
    assert calibrator.apply(np.array([0.0, 0.3, 1.0])) == pytest.approx(0.4)


@pytest.mark.parametrize("scores", [np.linspace(0, 1, 100), np.repeat([0.0, 1.0], 50)])
def test_scores_that_tell_the_classes_apart_do_so_after_calibration(scores):
    y = np.repeat([0, 1], 50)
    probability = fit_calibrator(y, scores).apply(scores)
    assert np.isfinite(probability).all()
    assert probability[:50].max() < 0.5 < probability[50:].min()


def test_scores_of_exactly_0_and_1_have_finite_probabilities_inside():
    probability = Sigmoid(1.0, 0.0).apply(np.array([0.0, 1.0]))
    assert probability == pytest.approx([1e-4, 1 - 1e-4])


def test_no_row_gives_no_probability():
    assert Sigmoid(1.0, 0.0).apply(np.empty(0)).shape == (0,)


def test_isotonic_calibration_finds_what_no_sigmoid_can():
    y, truth = calibrated_scores(20_000)
    scores = np.where(truth < 0.5, truth / 4, truth)  # a jump in the middle
    risen = fit_calibrator(y, scores, "isotonic").apply(scores)
    line = fit_calibrator(y, scores).apply(scores)
    assert np.abs(risen - truth).mean() < 0.02 < np.abs(line - truth).mean()


@given(rows=scored_rows(), others=st.lists(SCORES, min_size=2, max_size=20))
@tried_on(50)
def test_isotonic_calibration_never_reverses_the_order_of_samples(rows, others):
    probability = fit_calibrator(*rows, "isotonic").apply(np.sort(np.array(others)))
    assert (np.diff(probability) >= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()


def test_without_calibration_scores_stay_as_they_are():
    y, scores = calibrated_scores(100)
    within = (scores > 1 / 102) & (scores < 101 / 102)
    found = fit_calibrator(y, scores, "none").apply(scores)
    assert found[within].tolist() == scores[within].tolist()
    assert within.sum() > 90


@given(rows=scored_rows(), others=st.lists(SCORES, min_size=1, max_size=20))
@pytest.mark.parametrize("method", CALIBRATIONS)
@tried_on(50)
def test_no_probability_is_surer_than_the_next_row_after_all_that_were_seen(method, rows, others):
    n_rows = len(rows[0])
    probability = fit_calibrator(*rows, method).apply(np.array([0.0, 1.0, *others]))
    assert probability.min() >= 1 / (n_rows + 2)
    assert probability.max() <= 1 - 1 / (n_rows + 2)


def test_a_step_on_which_all_rows_agree_is_as_sure_as_their_number_lets_it_be():
    y = np.repeat([0, 0, 1, 1], [7, 3, 2, 4])
    scores = np.repeat([0.1, 0.5, 0.5, 0.9], [7, 3, 2, 4])
    calibrator = fit_calibrator(y, scores, "isotonic")
    found = calibrator.apply(np.array([0.0, 0.1, 0.5, 0.9, 1.0]))
    assert found == pytest.approx([1 / 9, 1 / 9, 2 / 5, 5 / 6, 5 / 6])


def test_a_sure_step_of_few_rows_stays_beside_a_less_sure_one_of_many():
    y = np.r_[0, np.zeros(9), 1, 1].astype(int)
    scores = np.r_[0.1, np.full(10, 0.5), 0.9]
    found = fit_calibrator(y, scores, "isotonic").apply(np.array([0.1, 0.5, 0.9]))
    assert found == pytest.approx([1 / 10, 1 / 10, 2 / 3])


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_a_calibrator_survives_json(method):
    calibrator = fit_calibrator(*calibrated_scores(200), method)
    text = json.dumps(calibrator_to_json(calibrator), allow_nan=False)
    again = calibrator_from_json(json.loads(text))
    assert again == calibrator
    grid = np.linspace(0, 1, 50)
    assert again.apply(grid).tolist() == calibrator.apply(grid).tolist()
