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


@pytest.mark.parametrize("cells", [1, 300 * 7, 300 * 999])
def test_drawing_resamples_in_chunks_changes_no_result(cells, monkeypatch):
    rows = simulated(3, 300)
    whole = metrics.measure_resamples(*rows, 0.5, 0)
    monkeypatch.setattr(metrics, "_CELLS_AT_ONCE", cells)
    for name, drawn in metrics.measure_resamples(*rows, 0.5, 0).items():
        np.testing.assert_allclose(drawn, whole[name], atol=1e-12)


def test_equal_seeds_give_equal_resamples_and_others_differ():
    drawn = [
        metrics.measure_resamples(*simulated(2, 300), 0.5, seed)["brier"] for seed in (1, 1, 2)
    ]
    assert drawn[0].tolist() == drawn[1].tolist() != drawn[2].tolist()


@pytest.mark.parametrize(("n_rows", "n_resamples"), [(50, 1000), (100, 500), (10_000, 50)])
def test_intervals_of_many_rows_rest_on_fewer_resamples(n_rows, n_resamples, monkeypatch):
    monkeypatch.setattr(metrics, "_MOST_DRAWN", 50_000)
    y, probability = simulated(0, n_rows)
    assert len(metrics.measure_resamples(y, probability, 0.5, 0)["roc_auc"]) == n_resamples


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
