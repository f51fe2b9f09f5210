from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from waterflow_cli.models.metrics import METRICS, estimate_calibration_error, evaluate_predictions
from waterflow_cli.models.thresholds import parse_threshold
from waterflow_cli.training.designs import FoldScores, corrected_interval
from waterflow_cli.training.judging import INTERVAL, evaluate_folds, judge_fold, operating_points
from waterflow_cli.training.judging import (
    TestedFold as Judged,  # pytest takes a name with Test for a test
)

BALANCED = parse_threshold("balanced-accuracy")


def judged(y, probability, threshold=0.5, n_trained=12, scores=None):
    probability = np.array(probability, dtype=float)
    scores = probability if scores is None else np.array(scores, dtype=float)
    return Judged(np.arange(len(y)), np.array(y), scores, probability, threshold, n_trained)


# Four rows each; the second fold's threshold differs, and so does what is called.
FIRST = judged([0, 0, 1, 1], [0.1, 0.6, 0.55, 0.9], 0.5, scores=[0.1, 0.8, 0.7, 0.9])
SECOND = judged([0, 1, 1, 0], [0.2, 0.3, 0.8, 0.4], 0.25, scores=[0.6, 0.6, 0.8, 0.4])


def by_name(*arguments):
    return {point.name: point for point in operating_points(*arguments)}


def test_operating_points_are_those_computed_by_hand():
    unbalanced = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.4, 0.5])
    points = by_name([FIRST, SECOND], unbalanced, (10.0, 1.0))
    tuned = points["tuned threshold"]  # TN FP TP TP, TN TP TP FP: all potable ones are found
    assert tuned.precision_potable == pytest.approx(4 / 6)
    assert tuned.recall_potable == 1
    assert tuned.precision_not_potable == 1
    assert tuned.recall_not_potable == 0.5
    assert tuned.false_potable_per_1000 == pytest.approx(250)
    assert tuned.cost_per_1000 == pytest.approx(2500)
    half = points["0.5 of the probability"]  # one false alarm, one miss
    assert (half.precision_potable, half.recall_potable) == (0.75, 0.75)
    assert half.cost_per_1000 == pytest.approx((10 + 1) * 125)
    raw = points["0.5 of the raw score"]  # two false alarms, no miss
    assert (raw.recall_potable, raw.recall_not_potable) == (1, 0.5)
    plain = points["the same without balancing"]  # one of two is found, no alarm
    assert (plain.precision_potable, plain.recall_potable) == (1, 0.5)
    assert plain.precision_not_potable == pytest.approx(2 / 3)
    assert plain.cost_per_1000 == pytest.approx(250)


def test_rejecting_everything_has_no_precision_and_costs_each_potable_sample():
    reject = by_name([FIRST, SECOND], None, (10.0, 3.0))["reject everything"]
    assert np.isnan(reject.precision_potable)
    assert (reject.recall_potable, reject.precision_not_potable) == (0, 0.5)
    assert (reject.recall_not_potable, reject.false_potable_per_1000) == (1, 0)
    assert reject.cost_per_1000 == pytest.approx(1500)


def test_without_balancing_there_is_nothing_to_compare_it_with():
    assert list(by_name([FIRST, SECOND], None, (10.0, 1.0))) == [
        "tuned threshold",
        "0.5 of the probability",
        "reject everything",
    ]


def test_figures_are_means_of_the_folds_each_at_its_own_threshold():
    found = evaluate_folds([[FIRST, SECOND]], 0.4, seed=0)
    assert found.estimates.keys() == METRICS.keys()
    values = {name: found.estimates[name].value for name in METRICS}
    assert values["recall_potable"] == 1
    assert values["recall_not_potable"] == pytest.approx(0.5)
    assert values["precision_potable"] == pytest.approx(2 / 3)
    assert values["roc_auc"] == pytest.approx(0.75)  # three of four pairs in each
    assert values["false_potable_per_1000"] == pytest.approx(250)
    assert values["brier"] == pytest.approx((0.5825 / 4 + 0.73 / 4) / 2)
    assert (found.threshold, found.n_rows, found.interval) == (0.4, 8, INTERVAL)
    assert found.confusion == (2, 2, 0, 4)


def test_intervals_are_corrected_for_shared_rows_and_stay_where_values_can_be():
    found = evaluate_folds([[FIRST, SECOND]], 0.4, seed=0).estimates
    brier = corrected_interval(np.array([0.5825 / 4, 0.73 / 4]), 4 / 12)
    assert found["brier"].high == pytest.approx(brier.high)
    assert found["brier"].low == max(0.0, brier.low)
    better = judged([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    wide = evaluate_folds([[FIRST, better]], 0.4, seed=0).estimates
    assert (wide["roc_auc"].low, wide["roc_auc"].high) == (0, 1)
    assert wide["false_potable_per_1000"].high == 1000
    assert corrected_interval(np.array([0.75, 1.0]), 4 / 12).high > 1


def test_repeats_count_the_same_rows_again_and_not_more_rows():
    once = evaluate_folds([[FIRST, SECOND]], 0.4, seed=0)
    twice = evaluate_folds([[FIRST, SECOND], [SECOND, FIRST]], 0.4, seed=0)
    assert (twice.n_rows, twice.confusion) == (once.n_rows, once.confusion)


def test_calibration_error_is_that_of_all_rows_of_a_repeat():
    y = np.concatenate([FIRST.y, SECOND.y])
    probability = np.concatenate([FIRST.probability, SECOND.probability])
    found = evaluate_folds([[FIRST, SECOND]], 0.4, seed=5).estimates["calibration_error"]
    assert found == estimate_calibration_error(y, probability, seed=5)


def test_a_single_tested_part_is_measured_by_resampling_its_rows():
    found = evaluate_folds([[SECOND]], 0.4, seed=3)
    expected = evaluate_predictions(SECOND.y, SECOND.probability, 0.25, seed=3)
    assert found == replace(expected, threshold=0.4)
    assert "bootstrap" in found.interval


# --- one fold ------------------------------------------------------------------------------------


def scored_fold(seed=0, n_rows=400, strength=1.5):
    """Give labels and a fold: the last quarter is tested."""
    random = np.random.default_rng(seed)
    y = (random.random(n_rows) < 0.4).astype(np.int64)
    scores = expit(random.normal(strength * (y - 0.5), 1.0))
    tuning, rows = np.split(np.arange(n_rows), [3 * n_rows // 4])
    return y, FoldScores(rows, scores[rows], tuning, scores[tuning], len(tuning))


def test_labels_of_the_tested_rows_change_neither_calibration_nor_threshold():
    y, fold = scored_fold()
    other = y.copy()
    other[fold.rows] = 1 - other[fold.rows]
    first = judge_fold(fold, y, "sigmoid", BALANCED)
    second = judge_fold(fold, other, "sigmoid", BALANCED)
    assert first.threshold == second.threshold
    assert first.probability.tolist() == second.probability.tolist()
    assert second.y.tolist() == (1 - first.y).tolist()


def test_labels_of_the_training_rows_change_both():
    y, fold = scored_fold()
    other = y.copy()
    other[fold.tuning_rows[:60]] = 1
    first = judge_fold(fold, y, "sigmoid", BALANCED)
    second = judge_fold(fold, other, "sigmoid", BALANCED)
    assert first.threshold != second.threshold
    assert first.probability.mean() < second.probability.mean()


def test_a_fold_where_the_precision_cannot_be_kept_calls_nothing():
    y, fold = scored_fold(strength=0.0)
    # Neither the highest scores nor any others hold potable rows alone.
    y_top = y.copy()
    y_top[fold.tuning_rows[np.argsort(-fold.tuning_scores)[:10]]] = [0, 1] * 5
    found = judge_fold(fold, y_top, "none", parse_threshold("precision:0.999"))
    assert not found.called.any()
    assert found.threshold > 1
    evaluation = evaluate_folds([[found, found]], 0.5, seed=0)
    assert np.isnan(evaluation.estimates["precision_potable"].value)
    assert evaluation.estimates["recall_not_potable"].value == 1


def test_a_fold_where_the_precision_can_be_kept_calls_some():
    y, fold = scored_fold(strength=4.0)
    assert judge_fold(fold, y, "sigmoid", parse_threshold("precision:0.9")).called.any()


def test_a_row_at_the_threshold_is_called():
    assert judged([0, 1], [0.4, 0.5]).called.tolist() == [False, True]
