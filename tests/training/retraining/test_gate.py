from __future__ import annotations

import numpy as np
import pytest

from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.training.retraining.gate import (
    FIGURES,
    Beginning,
    Calls,
    estimate_auc,
    false_potable_ceiling,
    judge_challenger,
)
from waterflow_cli.training.retraining.options import RetrainingOptions

RECORDED = Estimate(0.8, 0.76, 0.84)
BEGINNING = Beginning(3, balanced_accuracy=0.7, false_potable_rate=0.2)


@pytest.fixture(scope="module")
def rows():
    """Labels of 300 samples, and probabilities that tell them apart fairly well."""
    random = np.random.default_rng(1)
    y = (random.random(300) < 0.4).astype(np.int64)
    return y, np.clip(0.4 + 0.2 * (y - 0.4) + random.normal(0, 0.15, 300), 0.01, 0.99)


def calls(probability, threshold=0.45, likely_from=0.8):
    return Calls(probability, threshold, probability >= likely_from)


def judge(y, champion, challenger, **others):
    on_new = others.pop("on_new", estimate_auc(y, champion.probability))
    others = {"beginning": BEGINNING, "balanced_accuracy": 0.7, **others}
    return judge_challenger(y, champion, challenger, recorded=RECORDED, on_new=on_new, **others)


def failed(result):
    return [condition.name for condition in result.conditions if not condition.passed]


def blur(probability, size, seed=0):
    noise = np.random.default_rng(seed).normal(0, size, len(probability))
    return np.clip(probability + noise, 0.01, 0.99)


def test_a_challenger_that_says_the_same_passes(rows):
    y, probability = rows
    result = judge(y, calls(probability), calls(probability))
    assert result.passed
    assert result.reasons == []
    assert result.figures["roc_auc"].difference == Estimate(0.0, 0.0, 0.0)
    assert result.counts == ((y == 0).sum(), (y == 1).sum())


def test_one_more_false_potable_sample_is_one_too_many(rows):
    y, probability = rows
    called = probability.copy()
    called[np.flatnonzero((y == 0) & (probability < 0.45))[0]] = 0.46
    result = judge(y, calls(probability), calls(called))
    assert failed(result) == ["false_potable"]
    assert "more than the champion's" in result.reasons[0]


def test_one_fewer_is_fine_though_a_potable_sample_is_missed(rows):
    y, probability = rows
    assert judge(y, calls(probability), calls(probability, 0.5)).passed


def test_a_threshold_cannot_be_raised_without_end(rows):
    y, probability = rows
    assert failed(judge(y, calls(probability), calls(probability, 0.99))) == ["balanced_accuracy"]


def test_a_worse_ranking_fails_by_the_margin_that_is_stated(rows):
    y, probability = rows
    worse = calls(blur(probability, 0.12), threshold=0.6)
    strict = judge(y, calls(probability), worse, options=RetrainingOptions(margin=0.02))
    assert "not_worse" in failed(strict)
    assert "worse by more than 0.02" in " ".join(strict.reasons)
    assert "not_worse" not in failed(
        judge(y, calls(probability), worse, options=RetrainingOptions(margin=0.2))
    )


def test_a_challenger_without_skill_fails(rows):
    y, probability = rows
    result = judge(y, calls(probability), calls(np.random.default_rng(4).random(300), 0.9))
    assert {"skill", "not_worse"} <= set(failed(result))


def test_one_more_false_likely_potable_is_one_too_many(rows):
    y, probability = rows
    unsafe = np.flatnonzero((y == 0) & (probability >= 0.45) & (probability < 0.6))
    for n_false, expected in ((0, []), (1, ["false_likely_potable"])):
        likely = np.zeros(300, dtype=bool)
        likely[unsafe[:n_false]] = True
        challenger = calls(probability)._replace(likely_potable=likely)
        champion = calls(probability)._replace(likely_potable=np.zeros(300, dtype=bool))
        assert failed(judge(y, champion, challenger)) == expected


@pytest.mark.parametrize("on_new", [Estimate(0.55, 0.49, 0.61), Estimate(0.62, 0.57, 0.67)])
def test_labels_that_the_champion_makes_no_sense_of_are_refused(rows, on_new):
    """Whether they look like chance, or are credibly worse than what the champion showed."""
    y, probability = rows
    result = judge(y, calls(probability), calls(probability), on_new=on_new)
    assert failed(result) == ["labels_credible"]
    assert "the labels are wrong; check them" in result.reasons[0]


def test_such_labels_are_believed_where_the_challenger_is_beyond_doubt_better(rows):
    y, probability = rows
    champion, challenger = calls(1 - probability, 0.3), calls(probability, 0.5)
    result = judge(y, champion, challenger)
    assert result.passed
    said = {condition.name: condition.text for condition in result.conditions}
    assert "the water has changed" in said["labels_credible"]


def test_a_loss_that_crept_in_over_many_retrainings_is_refused(rows):
    y, probability = rows
    assert judge(y, calls(probability), calls(probability), balanced_accuracy=0.63).passed
    result = judge(y, calls(probability), calls(probability), balanced_accuracy=0.61)
    assert failed(result) == ["since_beginning"]
    assert "version 3, from which the retrainings began" in result.reasons[0]
    assert "waterflow train" in result.reasons[0]


def test_groups_are_resampled_as_a_whole(rows):
    y, probability = rows
    sure = judge(y, calls(probability), calls(blur(probability, 0.05), 0.6))
    groups = np.repeat(np.arange(10), 30)
    grouped = judge(y, calls(probability), calls(blur(probability, 0.05), 0.6), groups=groups)
    before, after = (each.figures["roc_auc"] for each in (sure, grouped))
    assert before.difference.value == after.difference.value
    assert before.difference.low != after.difference.low


def test_copies_of_a_group_bring_no_certainty():
    """Ten sites with ten equal samples each are ten samples."""
    random = np.random.default_rng(2)
    y = np.tile([0, 1], 10)
    probability = np.clip(0.3 + 0.2 * y + random.normal(0, 0.2, 20), 0, 1)
    single = estimate_auc(y, probability, groups=np.arange(20))
    y, probability, groups = (np.repeat(each, 10) for each in (y, probability, np.arange(20)))
    many = estimate_auc(y, probability, groups=groups)
    assert many == single
    assert estimate_auc(y, probability).low > many.low


def test_equal_seeds_give_equal_results(rows):
    y, probability = rows
    first, second = (judge(y, calls(probability), calls(blur(probability, 0.1))) for _ in "12")
    assert first == second


def test_the_summary_and_the_metrics_name_every_figure(rows):
    y, probability = rows
    result = judge(y, calls(probability), calls(probability))
    assert set(result.summary()["figures"]) == set(FIGURES)
    metrics = result.metrics()
    assert metrics["gate_passed"] == 1
    assert metrics["gate_rows"] == 300
    assert {f"gate_{name}" for name in FIGURES} <= set(metrics)


def test_the_ceiling_lies_below_the_champions_rate_and_nears_it_with_more_rows():
    ceilings = [false_potable_ceiling(0.3, 10 * n, n) for n in (50, 200, 5000)]
    assert ceilings == sorted(ceilings)
    assert ceilings[-1] < 0.3
    assert false_potable_ceiling(0.01, 100, 20) == 0
