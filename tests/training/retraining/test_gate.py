from __future__ import annotations

import numpy as np
import pytest
from paths import ROOT

from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.models import metrics
from waterflow_cli.training.retraining.gate import (
    FIGURES,
    Beginning,
    Calls,
    KnownRows,
    estimate_auc,
    judge_challenger,
    judge_excess,
)
from waterflow_cli.training.retraining.options import RetrainingOptions

RECORDED = Estimate(0.8, 0.76, 0.84)
BEGINNING = Beginning(
    3,
    roc_auc=0.8,
    balanced_accuracy=0.7,
    false_potable_rate=0.2,
    false_likely_potable_rate=0.05,
)


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
    others = {"beginning": BEGINNING, "trained": (0.8, 0.7), **others}
    return judge_challenger(y, champion, challenger, recorded=RECORDED, on_new=on_new, **others)


@pytest.fixture(scope="module")
def study():
    """The simulation behind the tables of docs/retraining.md."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(ROOT / "benchmarks"))
        import bench_gate

        yield bench_gate


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


def test_more_false_potable_samples_than_chance_explains_are_refused(rows):
    """One of two equally good models has the larger count."""
    y, probability = rows
    unsafe = np.flatnonzero((y == 0) & (probability < 0.45))
    for n_more in (4, 5):
        called = probability.copy()
        called[unsafe[:n_more]] = 0.46
        result = judge(y, calls(probability), calls(called))
        assert ("false_potable" in failed(result)) == (n_more == 5)
    assert "and than chance explains (exact McNemar test, p 0.0312)" in " ".join(result.reasons)


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


def test_more_false_likely_potable_than_chance_explains_is_refused(rows):
    y, probability = rows
    unsafe = np.flatnonzero((y == 0) & (probability >= 0.45) & (probability < 0.6))
    for n_false, expected in ((4, []), (5, ["false_likely_potable"])):
        likely = np.zeros(300, dtype=bool)
        likely[unsafe[:n_false]] = True
        challenger = calls(probability)._replace(likely_potable=likely)
        champion = calls(probability)._replace(likely_potable=np.zeros(300, dtype=bool))
        assert failed(judge(y, champion, challenger)) == expected


def test_the_excess_that_is_said_to_be_seen_is_seen_so_often():
    random = np.random.default_rng(1)
    n_rows, found, stated = 166, [], []
    for _ in range(600):
        kind = random.choice(3, n_rows, p=[0.8, 0.145, 0.055])
        p, visible = judge_excess(kind == 2, kind == 1)
        found.append(p <= 0.05)
        stated.append(visible)
    assert np.mean(stated) == pytest.approx(0.09, abs=0.01)
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)


def test_known_rows_tell_what_few_judging_ones_cannot(rows):
    y, probability = rows
    worse = calls(blur(probability, 0.07), threshold=0.5)
    alone = judge(y, calls(probability), worse)
    assert "not_worse" in failed(alone)
    equal = KnownRows(np.tile(y, 5), *(blur(np.tile(probability, 5), 0.05, n) for n in (1, 2)))
    both = judge(y, calls(probability), worse, known=equal)
    assert failed(both) == []
    assert both.n_known == 1500
    assert both.auc_difference.low > alone.auc_difference.low


def test_judging_rows_that_contradict_the_known_ones_have_the_last_word(rows):
    y, probability = rows
    bad = calls(blur(probability, 0.4), threshold=0.6)
    known = KnownRows(np.tile(y, 5), *(blur(np.tile(probability, 5), 0.05, n) for n in (1, 2)))
    result = judge(y, calls(probability), bad, known=known)
    assert result.n_known == 0
    assert "not_worse" in failed(result)


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


@pytest.mark.parametrize("figure", [0, 1])
def test_a_loss_that_crept_in_over_many_retrainings_is_refused(rows, figure):
    y, probability = rows
    for loss, expected in ((0.02, []), (0.04, ["since_beginning"])):
        trained = [0.8, 0.7]
        trained[figure] -= loss
        result = judge(y, calls(probability), calls(probability), trained=trained)
        assert failed(result) == expected
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


@pytest.mark.slow
def test_273_rows_and_the_known_ones_tell_worse_from_better(study):
    world = study.World(0.75, 0.39, 0.5)
    worse, better = (
        np.mean([study.is_as_good(world, seed, difference, alone=False) for seed in range(150)])
        for difference in (-0.03, 0.04)
    )
    assert worse <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 150)
    assert better >= 0.9


@pytest.mark.slow
def test_ten_months_of_equal_learners_change_nothing(study, monkeypatch):
    monkeypatch.setattr(metrics, "N_RESAMPLES", 50)
    world, changes, passed = study.World(0.65, 0.39, 0.5), [], 0
    for seed in range(3):
        life = study.Life(world, seed)
        first = life.champion.truth(world)
        passed += sum(life.retrain().passed for _ in range(10))
        changes.append(np.subtract(life.champion.truth(world), first))
    accuracy, recall, _ = np.mean(changes, axis=0)
    assert passed > 10
    assert accuracy > -0.005
    assert recall > -0.03
