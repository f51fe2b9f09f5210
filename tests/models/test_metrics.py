from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from laws import tried_on
from scipy.stats import norm
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    precision_score,
    recall_score,
    roc_auc_score,
)

from waterflow_cli.models import metrics
from waterflow_cli.models.metrics import (
    EXPECTED,
    METRICS,
    Called,
    backtest_expectations,
    estimate_calibration_error,
    evaluate_predictions,
    expect_performance,
    measure_once,
    observed_performance,
)

PROBABILITY = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(0, 1))


@st.composite
def predictions(draw):
    """Draw labels of both classes with probabilities; many of them are tied."""
    rows = draw(st.lists(st.tuples(st.integers(0, 1), PROBABILITY), max_size=40))
    rows += [(0, draw(PROBABILITY)), (1, draw(PROBABILITY))]
    return np.array([label for label, _ in rows]), np.array([each for _, each in rows])


def simulated(seed, n_rows, *, distance=0.8, share=0.4):
    """Draw rows whose ROC AUC is known: normal scores, `distance` apart between the classes."""
    random = np.random.default_rng(seed)
    y = (np.arange(n_rows) < share * n_rows).astype(np.int64)
    return y, norm.cdf(random.normal(size=n_rows) + distance * (y - 0.5))


def reference(y, probability, threshold):
    """Measure with scikit-learn alone."""
    calls = (probability >= threshold).astype(int)
    alarms = confusion_matrix(y, calls, labels=[0, 1])[0, 1]
    return {
        "roc_auc": roc_auc_score(y, probability),
        "pr_auc": average_precision_score(y, probability),
        "balanced_accuracy": balanced_accuracy_score(y, calls),
        "precision_potable": precision_score(y, calls, zero_division=np.nan),
        "recall_potable": recall_score(y, calls),
        "recall_not_potable": recall_score(y, calls, pos_label=0),
        "false_potable_per_1000": 1000 * alarms / len(y),
        "brier": brier_score_loss(y, probability),
    }


@given(rows=predictions(), threshold=PROBABILITY)
@example(rows=(np.array([0, 1]), np.array([0.5, 0.5])), threshold=0.5)
@example(rows=(np.array([0, 1]), np.array([0.5, 0.5])), threshold=0.6)
@tried_on(100)
def test_each_metric_equals_scikit_learns_with_ties_too(rows, threshold):
    y, probability = rows
    expected = reference(y, probability, threshold)
    found = measure_once(y, probability, threshold)
    assert found.keys() == expected.keys() == METRICS.keys() - {"calibration_error"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


@given(rows=predictions(), threshold=PROBABILITY)
@tried_on(20)
def test_resampled_rows_are_measured_as_repeated_rows(rows, threshold):
    # The resamples are drawn as weights: a row of weight 3 counts as three equal rows.
    y, probability = rows
    weights = np.random.default_rng(0).integers(0, 4, size=(3, len(y))).astype(float)
    weights[:, [-1, -2]] = 1  # both classes stay
    found = metrics._measure(y, probability, threshold, weights)
    for index, row in enumerate(weights):
        repeat = row.astype(int)
        expected = reference(np.repeat(y, repeat), np.repeat(probability, repeat), threshold)
        for name, value in expected.items():
            assert found[name][index] == pytest.approx(value, abs=1e-12, nan_ok=True), name


@given(rows=predictions(), seed=st.integers(0, 1000))
@tried_on(20)
def test_order_of_the_rows_does_not_change_an_estimate(rows, seed):
    y, probability = rows
    order = np.random.default_rng(seed).permutation(len(y))
    there = measure_once(y, probability, 0.5)
    back = measure_once(y[order], probability[order], 0.5)
    for name in there:
        assert there[name] == pytest.approx(back[name], abs=1e-12, nan_ok=True)


def test_confusion_counts_negatives_then_positives():
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    probability = np.array([0.1, 0.2, 0.3, 0.6, 0.1, 0.2, 0.5, 0.7, 0.8, 0.9])
    evaluation = evaluate_predictions(y, probability, 0.5, seed=0)
    assert evaluation.confusion == (3, 1, 2, 4)
    assert evaluation.confusion == tuple(confusion_matrix(y, probability >= 0.5).ravel())
    assert (evaluation.threshold, evaluation.n_rows) == (0.5, 10)


def test_a_probability_at_the_threshold_counts_as_potable():
    evaluation = evaluate_predictions(np.array([0, 1]), np.array([0.1, 0.5]), 0.5, seed=0)
    assert evaluation.confusion == (1, 0, 0, 1)


def test_interval_lies_around_the_estimate_and_has_width():
    evaluation = evaluate_predictions(*simulated(1, 500), 0.5, seed=0)
    for name, estimate in evaluation.estimates.items():
        assert estimate.low < estimate.value < estimate.high, name
        # Percentile intervals of means and ranks are near symmetric at this size.
        width = estimate.high - estimate.low
        assert abs((estimate.low + estimate.high) / 2 - estimate.value) < 0.15 * width, name


@pytest.mark.slow
def test_more_rows_give_narrower_intervals():
    few = evaluate_predictions(*simulated(1, 200), 0.5, seed=0).estimates
    many = evaluate_predictions(*simulated(1, 3200), 0.5, seed=0).estimates
    for name in METRICS:
        ratio = (many[name].high - many[name].low) / (few[name].high - few[name].low)
        assert 0.15 < ratio < 0.4, name  # sixteen times the rows: a quarter of the width


def test_intervals_are_as_wide_as_95_percent_ask_for():
    # A share of n rows has the standard error of a binomial; 3.92 of them hold 95 %.
    y, probability = simulated(7, 4000)
    estimates = evaluate_predictions(y, probability, 0.5, seed=0).estimates
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
        estimates = evaluate_predictions(y, probability, 0.5, seed=seed).estimates
        for name, value in truth.items():
            covered[name] += estimates[name].low <= value <= estimates[name].high
    for name, count in covered.items():
        # 0.95 of 200 is 190, with a standard deviation of 3.
        assert 178 <= count <= 199, (name, count)


def test_equal_seeds_give_equal_intervals_and_others_differ():
    rows = simulated(2, 300)
    assert evaluate_predictions(*rows, 0.5, seed=1) == evaluate_predictions(*rows, 0.5, seed=1)
    other = evaluate_predictions(*rows, 0.5, seed=2)
    assert evaluate_predictions(*rows, 0.5, seed=1).estimates != other.estimates


@pytest.mark.parametrize("cells", [1, 300 * 7, 300 * 999])
def test_drawing_resamples_in_chunks_changes_no_result(cells, monkeypatch):
    rows = simulated(3, 300)
    whole = evaluate_predictions(*rows, 0.5, seed=0).estimates
    monkeypatch.setattr(metrics, "_CELLS_AT_ONCE", cells)
    for name, estimate in evaluate_predictions(*rows, 0.5, seed=0).estimates.items():
        assert estimate.low == pytest.approx(whole[name].low, abs=1e-12), name
        assert estimate.high == pytest.approx(whole[name].high, abs=1e-12), name


def test_precision_is_undefined_where_nothing_is_called_potable():
    estimates = evaluate_predictions(*simulated(4, 100), 1.0, seed=0).estimates
    precision = estimates["precision_potable"]
    assert np.isnan([precision.value, precision.low, precision.high]).all()
    assert (estimates["recall_potable"].value, estimates["recall_not_potable"].value) == (0, 1)
    assert estimates["false_potable_per_1000"].high == 0


def test_interval_rests_on_the_resamples_in_which_precision_is_defined():
    # One row is called potable; a third of the resamples miss it.
    y = np.array([1] * 10 + [0] * 10)
    probability = np.array([0.9] + [0.1] * 19)
    precision = evaluate_predictions(y, probability, 0.5, seed=0).estimates["precision_potable"]
    assert (precision.value, precision.low, precision.high) == (1, 1, 1)


def test_perfect_predictions_leave_no_doubt():
    y = np.array([0, 1] * 20)
    estimates = evaluate_predictions(y, y.astype(float), 0.5, seed=0).estimates
    for name in ("roc_auc", "pr_auc", "balanced_accuracy", "precision_potable"):
        assert (estimates[name].low, estimates[name].value, estimates[name].high) == (1, 1, 1)
    assert estimates["brier"].high == 0


def test_calibration_error_is_the_mean_gap_of_ten_groups():
    # Ten groups of ten rows: predicted 0.05, 0.15, ... and observed 0.1 more than that each.
    probability = np.repeat(np.arange(10) / 10 + 0.05, 10)
    y = np.concatenate([np.arange(10) < round(10 * (p + 0.05)) for p in probability[::10]])
    found = estimate_calibration_error(y.astype(np.int64), probability, seed=0)
    assert found.value == pytest.approx(0.05)
    assert 0 <= found.low <= found.value <= found.high


def test_calibration_error_tells_a_calibrated_model_from_one_that_is_not():
    random = np.random.default_rng(0)
    truth = random.uniform(0.1, 0.9, 4000)
    y = (random.random(4000) < truth).astype(np.int64)
    good = estimate_calibration_error(y, truth, seed=0)
    bad = estimate_calibration_error(y, np.clip(truth + 0.1, 0, 1), seed=0)
    assert good.low < 0.005
    assert bad.low <= 0.1 <= bad.high
    assert good.high < bad.low


@pytest.mark.parametrize(("n_rows", "n_resamples"), [(50, 1000), (100, 500), (10_000, 50)])
def test_intervals_of_many_rows_rest_on_fewer_resamples(n_rows, n_resamples, monkeypatch):
    monkeypatch.setattr(metrics, "_MOST_DRAWN", 50_000)
    y, probability = simulated(0, n_rows)
    assert len(metrics.measure_resamples(y, probability, 0.5, 0)["roc_auc"]) == n_resamples


def test_calibration_error_of_few_rows_is_that_of_200_resamples_and_of_many_about_the_same(
    monkeypatch,
):
    y, probability = simulated(0, 2000)
    usual = estimate_calibration_error(y, probability, seed=0)
    monkeypatch.setattr(metrics, "_MOST_BINNED", 200 * 2000)
    assert estimate_calibration_error(y, probability, seed=0) == usual
    monkeypatch.setattr(metrics, "_MOST_BINNED", 1)
    fewer = estimate_calibration_error(y, probability, seed=0)
    assert fewer.value == usual.value
    assert fewer != usual
    assert fewer.low == pytest.approx(usual.low, abs=0.01)
    assert fewer.high == pytest.approx(usual.high, abs=0.01)


# --- without labels ------------------------------------------------------------------------------


def called_rows(seed, n_rows, *, base=0.4, power=1):
    """Draw rows whose odds are told to the given power: 1 is calibrated, 2 too sure."""
    random = np.random.default_rng(seed)
    chance = np.clip(random.beta(3 * base, 3 * (1 - base), n_rows), 1e-6, 1 - 1e-6)
    odds = (chance / (1 - chance)) ** power
    probability = odds / (1 + odds)
    y = (random.random(n_rows) < chance).astype(np.int64)
    return Called(y, probability, probability >= base)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("base", [0.05, 0.4, 0.9])
@pytest.mark.parametrize("n_rows", [50, 1000])
def test_what_labels_show_lies_within_what_probabilities_let_expect(base, power, n_rows):
    held = {name: [] for name in EXPECTED}
    for seed in range(150):
        known = called_rows([seed, 0], 500, base=base, power=power)
        new = called_rows([seed, 1], n_rows, base=base, power=power)
        expected = expect_performance(new.probability, new.called, known, seed=seed)
        for name, truth in observed_performance(new).items():
            if truth == truth:
                held[name].append(expected[name].low <= truth <= expected[name].high)
    # Of 150 at 0.95, fewer than 132 have a chance of 0.1 %.
    assert all(np.mean(each) >= 0.88 for each in held.values())


def test_the_figures_of_labels_are_those_of_scikit_learn():
    y, _, called = rows = called_rows(3, 300)
    assert observed_performance(rows) == pytest.approx(
        {
            "accuracy": (y == called).mean(),
            "balanced_accuracy": balanced_accuracy_score(y, called),
            "precision_potable": precision_score(y, called),
        }
    )


def test_without_rows_called_potable_no_precision_is_expected():
    known, new = called_rows(0, 200), called_rows(1, 100)
    none = np.zeros(100, dtype=bool)
    expected = expect_performance(new.probability, none, known, seed=0)
    assert np.isnan(expected["precision_potable"].value)
    assert expected["balanced_accuracy"].value == pytest.approx(0.5)
    unused = known._replace(called=np.zeros(200, dtype=bool))
    assert 0 < expect_performance(*new[1:], unused, seed=0)["precision_potable"].value < 1


def test_a_backtest_says_how_far_each_fold_was_off():
    repeats = [[called_rows([repeat, fold], 400) for fold in range(5)] for repeat in range(2)]
    test = backtest_expectations(repeats)
    assert (test.n_folds, test.n_rows) == (10, 400)
    assert all(0 < test.off[name] < 0.04 and test.within[name] >= 8 for name in EXPECTED)
    assert all(test.most_off[name] > test.off[name] for name in EXPECTED)
    assert backtest_expectations([repeats[0][:1]]) is None
