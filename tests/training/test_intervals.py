from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from scipy.stats import norm
from sklearn.metrics import confusion_matrix

from waterflow_cli.models.metrics import METRICS, measure_once
from waterflow_cli.training.intervals import (
    Part,
    design_effect,
    estimate_calibration_error,
    evaluate_predictions,
    rank_effects,
    row_effects,
)


def simulated(seed, n_rows, *, distance=0.8, share=0.4):
    """Draw rows whose ROC AUC is known: normal scores, `distance` apart between the classes."""
    random = np.random.default_rng(seed)
    y = (np.arange(n_rows) < share * n_rows).astype(np.int64)
    return y, norm.cdf(random.normal(size=n_rows) + distance * (y - 0.5))


def calibration_error(y, probability, units=None):
    part = Part(np.arange(len(y)), y, probability, probability >= 0.5)
    return estimate_calibration_error([part], units)


def test_confusion_counts_negatives_then_positives():
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    probability = np.array([0.1, 0.2, 0.3, 0.6, 0.1, 0.2, 0.5, 0.7, 0.8, 0.9])
    evaluation = evaluate_predictions(y, probability, 0.5)
    assert evaluation.confusion == (3, 1, 2, 4)
    assert evaluation.confusion == tuple(confusion_matrix(y, probability >= 0.5).ravel())
    assert (evaluation.threshold, evaluation.n_rows) == (0.5, 10)


def test_a_probability_at_the_threshold_counts_as_potable():
    evaluation = evaluate_predictions(np.array([0, 1]), np.array([0.1, 0.5]), 0.5)
    assert evaluation.confusion == (1, 0, 0, 1)


def test_intervals_are_as_wide_as_95_percent_ask_for():
    # A share of n rows has the standard error of a binomial; 3.92 of them hold 95 %.
    y, probability = simulated(7, 4000)
    estimates = evaluate_predictions(y, probability, 0.5).estimates
    for name, n_rows in (("recall_potable", 1600), ("recall_not_potable", 2400)):
        each = estimates[name]
        error = np.sqrt(each.value * (1 - each.value) / n_rows)
        assert each.high - each.low == pytest.approx(3.92 * error, rel=0.08)


@pytest.mark.slow
def test_intervals_cover_the_truth_about_95_times_in_100():
    distance, n_draws = 0.8, 200
    truth = {
        "roc_auc": norm.cdf(distance / np.sqrt(2)),
        "recall_potable": norm.cdf(distance / 2),
        "recall_not_potable": norm.cdf(distance / 2),
        "balanced_accuracy": norm.cdf(distance / 2),
    }
    covered = dict.fromkeys(truth, 0)
    for seed in range(n_draws):
        y, probability = simulated(seed, 300, distance=distance)
        estimates = evaluate_predictions(y, probability, 0.5).estimates
        for name, value in truth.items():
            covered[name] += estimates[name].low <= value <= estimates[name].high
    for name, count in covered.items():
        # 0.95 of 200 is 190, with a standard deviation of 3.
        assert 178 <= count <= 199, (name, count)


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]))
@tried_on(40)
def test_each_interval_holds_its_figure_and_stays_where_figures_can_be(seed, threshold):
    y, probability = simulated(seed, 40, share=0.1)
    estimates = evaluate_predictions(y, probability, threshold).estimates
    expected = measure_once(y, probability, threshold)
    assert estimates.keys() == METRICS.keys()
    for name, each in estimates.items():
        top = 1000 if name.endswith("per_1000") else 1
        assert np.isnan(each.value) or 0 <= each.low <= each.value <= each.high <= top, name
        if name in expected:
            assert each.value == pytest.approx(expected[name], nan_ok=True)


def test_more_rows_give_narrower_intervals():
    few = evaluate_predictions(*simulated(1, 200), 0.5).estimates
    many = evaluate_predictions(*simulated(1, 3200), 0.5).estimates
    for name in METRICS:
        ratio = (many[name].high - many[name].low) / (few[name].high - few[name].low)
        assert 0.15 < ratio < 0.4, name  # sixteen times the rows: a quarter of the width


def test_each_row_twice_makes_no_interval_narrower_where_copies_are_told():
    y, probability = simulated(2, 200)
    once = evaluate_predictions(y, probability, 0.5).estimates
    units = np.tile(np.arange(200), 2)
    twice = evaluate_predictions(np.tile(y, 2), np.tile(probability, 2), 0.5, units=units).estimates
    blind = evaluate_predictions(np.tile(y, 2), np.tile(probability, 2), 0.5).estimates
    for name in METRICS:
        width, told, untold = (each[name].high - each[name].low for each in (once, twice, blind))
        assert told == pytest.approx(width, rel=0.03), name
        assert untold < 0.9 * width, name


def test_an_interval_counts_in_that_other_samples_hold_another_share_of_potable_rows():
    # The Brier score of a constant is the share of potable rows, moved: all doubt is in the share.
    y = (np.arange(2000) < 100).astype(np.int64)
    found = evaluate_predictions(y, np.full(2000, 0.05), 0.5).estimates["brier"]
    error = 0.9 * np.sqrt(0.05 * 0.95 / 2000)
    assert found.high - found.low == pytest.approx(3.92 * error, rel=0.05)


def test_precision_is_undefined_where_nothing_is_called_potable():
    estimates = evaluate_predictions(*simulated(4, 100), 1.0).estimates
    precision = estimates["precision_potable"]
    assert np.isnan([precision.value, precision.low, precision.high]).all()
    assert (estimates["recall_potable"].value, estimates["recall_not_potable"].value) == (0, 1)
    assert estimates["false_potable_per_1000"].low == 0 < estimates["false_potable_per_1000"].high


def test_three_of_three_are_no_certainty():
    y = np.repeat([1, 0], [3, 40])
    estimates = evaluate_predictions(y, y.astype(float), 0.5).estimates
    for name in ("roc_auc", "pr_auc", "recall_potable", "precision_potable"):
        assert estimates[name].high == estimates[name].value == 1, name
        assert estimates[name].low < 0.8, name
    assert 0 == estimates["brier"].value < estimates["brier"].high


def test_rank_effects_are_those_of_delong():
    y, probability = simulated(5, 60)
    part = Part(np.arange(60), y, probability, probability >= 0.5)
    area, effects = rank_effects([[part]])
    wins = (probability[y == 1][:, np.newaxis] > probability[y == 0]).astype(float)
    assert area == pytest.approx(wins.mean())
    variance = wins.mean(axis=1).var(ddof=1) / 24 + wins.mean(axis=0).var(ddof=1) / 36
    assert effects @ effects == pytest.approx(variance)


def test_effects_of_balanced_accuracy_are_those_of_its_two_recalls():
    y, probability = simulated(6, 80)
    part = Part(np.arange(80), y, probability, probability >= 0.5)
    effects = row_effects([[part]])["balanced_accuracy"]
    recalls = [np.mean(part.called[y == 1]), np.mean(~part.called[y == 0])]
    variance = sum(r * (1 - r) / n for r, n in zip(recalls, (32, 48), strict=True)) / 4
    assert effects @ effects == pytest.approx(variance)
    together = row_effects([[part]], np.arange(80) // 2)["balanced_accuracy"]
    assert len(together) == 40
    assert together.sum() == pytest.approx(effects.sum())


def test_rows_that_are_alike_weigh_less_and_rows_alone_do_not():
    effects, units = np.repeat([1.0, -1.0, 2.0, -2.0], 3), np.repeat(np.arange(4), 3)
    assert design_effect(effects, np.ones(12), units) == pytest.approx(3)
    assert design_effect(effects, np.ones(12), np.arange(12)) == 1
    assert design_effect(np.zeros(12), np.ones(12), units) == 3
    assert design_effect(effects, np.ones(12), None) == 1


def test_calibration_error_is_what_is_left_beside_chance():
    random = np.random.default_rng(0)
    truth = random.uniform(0.2, 0.8, 4000)
    y = (random.random(4000) < truth).astype(np.int64)
    good, bad = calibration_error(y, truth), calibration_error(y, truth + 0.1)
    assert good.low == 0
    assert good.value < 0.01 < good.high < 0.03  # what is seen is some 0.02
    assert bad.low <= 0.1 <= bad.high
    assert bad.value == pytest.approx(0.1, abs=0.015)
    assert good.high < bad.low


def test_a_calibrated_model_is_seldom_said_to_be_off():
    random, said, values = np.random.default_rng(1), 0, []
    for _ in range(200):
        truth = random.beta(1, 8, 500)
        found = calibration_error((random.random(500) < truth).astype(np.int64), truth)
        said += found.low > 0
        values.append(found.value)
    assert said <= 12  # at most 2.5 % are expected
    assert np.median(values) < 0.005


def test_calibration_error_of_copies_rests_on_the_rows_that_differ():
    y, probability = simulated(7, 300)
    units = np.tile(np.arange(300), 2)
    once = calibration_error(y, probability)
    twice = calibration_error(np.tile(y, 2), np.tile(probability, 2), units)
    assert (twice.value, twice.high) == pytest.approx((once.value, once.high), abs=0.003)
