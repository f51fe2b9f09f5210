from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from waterflow_cli.models.metrics import METRICS
from waterflow_cli.models.thresholds import parse_threshold
from waterflow_cli.training.designs import FoldScores
from waterflow_cli.training.intervals import evaluate_predictions
from waterflow_cli.training.judging import (
    INTERVAL,
    evaluate_folds,
    fold_effects,
    judge_fold,
    operating_points,
)
from waterflow_cli.training.judging import (
    TestedFold as Judged,  # pytest takes a name with Test for a test
)

BALANCED = parse_threshold("balanced-accuracy")


def judged(y, probability, threshold=0.5, n_trained=12, scores=None, first=0):
    probability = np.array(probability, dtype=float)
    scores = probability if scores is None else np.array(scores, dtype=float)
    rows = first + np.arange(len(y))
    return Judged(rows, np.array(y), scores, probability, threshold, n_trained)


# Four rows each; the second fold's threshold differs, and so does what is called.
FIRST = judged([0, 0, 1, 1], [0.1, 0.6, 0.55, 0.9], 0.5, scores=[0.1, 0.8, 0.7, 0.9])
SECOND = judged([0, 1, 1, 0], [0.2, 0.3, 0.8, 0.4], 0.25, scores=[0.6, 0.6, 0.8, 0.4], first=4)


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


def test_figures_are_of_all_rows_each_fold_at_its_own_threshold():
    found = evaluate_folds([[FIRST, SECOND]], 0.4)
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


def test_shared_training_rows_widen_the_intervals_by_what_is_tested_over_trained():
    y, fold = scored_fold()
    found = judge_fold(fold, y, "sigmoid", parse_threshold("0.5"))
    alone = evaluate_predictions(found.y, found.probability, 0.5).estimates["brier"]
    shared = evaluate_folds([[found._replace(n_trained=len(found.y))]], 0.5).estimates["brier"]
    assert shared.value == alone.value
    assert shared.high - shared.low == pytest.approx(
        np.sqrt(2) * (alone.high - alone.low), rel=0.03
    )


def test_what_another_threshold_would_do_widens_shares_but_not_balanced_accuracy():
    y, fold = scored_fold()
    found = judge_fold(fold, y, "sigmoid", BALANCED)
    settled, unsettled = (
        evaluate_folds([[each]], 0.5).estimates for each in (found._replace(others=()), found)
    )
    for name in METRICS:
        one, other = settled[name], unsettled[name]
        assert one.value == other.value
        wider = other.high - other.low > 1.05 * (one.high - one.low)
        assert wider == (name.startswith(("recall", "precision", "false"))), name


def test_repeats_count_the_same_rows_again_and_not_more_rows():
    once = evaluate_folds([[FIRST, SECOND]], 0.4)
    twice = evaluate_folds([[FIRST, SECOND], [SECOND, FIRST]], 0.4)
    assert (twice.n_rows, twice.confusion) == (once.n_rows, once.confusion)
    for name, each in once.estimates.items():
        assert astuple(twice.estimates[name]) == pytest.approx(astuple(each)), name


def test_effects_say_what_folds_show_of_each_row_once():
    once, twice = (fold_effects(each) for each in ([[FIRST, SECOND]], [[FIRST, SECOND]] * 2))
    for name, effects in once.items():
        assert effects.tolist() == twice[name].tolist()
        assert len(effects) == 8
    assert fold_effects([[FIRST, SECOND]], np.arange(8) // 4)["roc_auc"].shape == (2,)


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


def test_other_thresholds_are_those_of_rows_drawn_anew_and_of_copies_together():
    y, fold = scored_fold()
    found = judge_fold(fold, y, "sigmoid", BALANCED)
    assert found.others == judge_fold(fold, y, "sigmoid", BALANCED).others
    assert min(found.others) < found.threshold < max(found.others)
    assert judge_fold(fold, y, "sigmoid", parse_threshold("0.3")).others == ()
    # A single unit is drawn whole each time, and tells nothing of other rows.
    whole = judge_fold(fold, y, "sigmoid", BALANCED, np.zeros(len(y), dtype=np.int64))
    assert set(whole.others) == {whole.threshold}


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
    evaluation = evaluate_folds([[found]], 0.5)
    assert np.isnan(evaluation.estimates["precision_potable"].value)
    assert evaluation.estimates["recall_not_potable"].value == 1


def test_a_fold_where_the_precision_can_be_kept_calls_some():
    y, fold = scored_fold(strength=4.0)
    assert judge_fold(fold, y, "sigmoid", parse_threshold("precision:0.9")).called.any()


def test_a_row_at_the_threshold_is_called():
    assert judged([0, 1], [0.4, 0.5]).called.tolist() == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_intervals_hold_what_the_procedure_reaches_on_average(share):
    """The benchmark's study in small: scores are drawn, so that each figure's truth is known."""
    found = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        y = (random.random(500) < share).astype(np.int64)
        scores = random.normal(y - 0.5)
        tuning, rows = np.split(np.arange(500), [400])
        fold = FoldScores(rows, expit(scores[rows]), tuning, expit(scores[tuning]), 400)
        judged = judge_fold(fold, y, "none", BALANCED)
        cut = np.log(judged.threshold / (1 - judged.threshold))
        truth = {
            "recall_potable": norm.sf(cut - 0.5),
            "recall_not_potable": norm.cdf(cut + 0.5),
            "roc_auc": norm.cdf(np.sqrt(0.5)),
        }
        found.append((evaluate_folds([[judged]], 0.5).estimates, truth))
    for name in found[0][1]:
        expected = np.mean([truth[name] for _, truth in found])
        held = [each[name].low <= expected <= each[name].high for each, _ in found]
        assert np.mean(held) >= 0.9, name  # 0.95 less two standard errors
