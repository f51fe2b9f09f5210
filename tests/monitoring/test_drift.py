"""Two-sample tests: their sizes, their effects, and many of them together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterflow_cli.monitoring.drift import (
    adjust,
    classify_samples,
    compare_correlations,
    compare_levels,
    compare_mixes,
    compare_repeats,
    compare_shapes,
    compare_shares,
    compare_spreads,
    known_values,
    stability_index,
    usual_distance,
)


@pytest.fixture
def random():
    return np.random.default_rng(5)


def test_a_shift_shows_in_the_level_with_its_size(random):
    old, new = random.normal(size=2000), random.normal(0.5, size=2000)
    found = compare_levels(old, new)
    assert found.effect == pytest.approx(0.138, abs=0.03)  # of d = 0.5
    assert found.p_value < 1e-10
    assert compare_levels(new, old).effect == pytest.approx(-found.effect)


def test_equal_constants_are_no_evidence():
    same = np.ones(30)
    assert compare_levels(same, same) == (0.0, 1.0)
    assert compare_shapes(same, same) == (0.0, 1.0)


def test_a_wider_spread_shows_in_the_shape_and_not_in_the_level(random):
    old, new = random.normal(size=2000), random.normal(scale=2, size=2000)
    assert compare_levels(old, new).p_value > 1e-3
    assert compare_shapes(old, new).effect > 0.1
    assert compare_shapes(old, new).p_value < 1e-10


def test_a_wider_spread_shows_with_its_size_and_a_shift_does_not(random):
    old, new = random.normal(size=2000), random.normal(scale=1.5, size=1000)
    found = compare_spreads(old, new)
    assert found.effect == pytest.approx(np.arctan(1.5) / np.pi * 2 - 0.5, abs=0.03)
    assert found.p_value < 1e-10
    assert compare_spreads(new, old).effect == pytest.approx(-found.effect)
    assert compare_spreads(old, random.normal(3, size=1000)).p_value > 1e-3
    assert usual_distance(new) / usual_distance(old) == pytest.approx(1.5, abs=0.15)


def skewed_and_tied(random, n_rows):
    """Draw values of which many are equal, the second of them spread by the first."""
    first, second = random.exponential(size=(2, n_rows))
    values = np.column_stack([first, second * (0.3 + first), first + second])
    values[random.random(values.shape) < 0.1] = np.nan
    return np.round(values, 1)


DRAWS = {
    "normal": lambda random, n_rows: random.normal(size=(n_rows, 3)),
    "skewed and tied": skewed_and_tied,
    "of heavy tails": lambda random, n_rows: random.standard_t(2, size=(n_rows, 3)),
}


@pytest.mark.parametrize("source", DRAWS)
@pytest.mark.parametrize("n_new", [50, 300])
def test_the_tests_of_spread_and_of_correlation_keep_their_sizes(random, source, n_new):
    p_values = []
    for _ in range(200):
        old, new = (DRAWS[source](random, n_rows) for n_rows in (600, n_new))
        of_spread = compare_spreads(*(known_values(each[:, 1]) for each in (old, new)))
        p_values.append((of_spread.p_value, compare_correlations(old, new, 20).outcome.p_value))
    # 200 trials of 0.05: more than 20 have a chance of 0.1 %.
    assert (np.sum(np.array(p_values) < 0.05, axis=0) <= 20).all()


def test_a_new_correlation_is_found_and_its_columns_are_named(random):
    old, new = random.normal(size=(2, 1000, 5))
    new[:, 3] = 0.6 * new[:, 1] + 0.8 * new[:, 3]
    found = compare_correlations(old, new, 20)
    assert found.pair == (1, 3)
    assert found.outcome.effect == pytest.approx(np.arctanh(0.58), abs=0.1)
    assert found.outcome.p_value < 1e-10
    assert found.shown == pytest.approx((0, 0.58), abs=0.08)


def test_columns_that_are_equal_constant_or_empty_have_no_correlation_that_changed(random):
    equal = np.repeat(random.normal(size=(100, 1)), 2, axis=1)
    assert compare_correlations(equal, equal[:40] ** 3, 20).outcome == (0.0, 1.0)
    assert compare_correlations(equal, np.ones((40, 2)), 20) is None
    assert compare_correlations(equal, np.full((40, 2), np.nan), 20) is None


def test_the_stability_index_of_small_equal_samples_is_about_zero(random):
    found = [stability_index(random.normal(size=300), random.normal(size=100)) for _ in range(100)]
    assert np.mean(found) < 0.03
    assert stability_index(random.normal(size=300), random.normal(2, size=100)) > 0.25


def test_a_share_is_compared_exactly():
    found = compare_shares((0, 1000), (5, 20))
    assert found.effect == pytest.approx(2 * np.arcsin(0.5))
    assert found.p_value < 1e-6
    assert compare_shares((10, 100), (10, 100)).p_value == 1.0


def test_a_smaller_share_is_no_news_where_only_more_is_asked_for():
    assert compare_shares((300, 1000), (0, 100), "greater").p_value > 0.99
    assert compare_shares((0, 1000), (5, 20), "greater").p_value < 1e-6


def test_a_row_that_comes_too_often_and_many_that_come_twice_are_told_apart():
    stuck = compare_repeats(np.array([30, *[1] * 70]), (0.37, 0.01))
    assert stuck[0].p_value > 0.5
    assert (stuck[1].effect, stuck[1].p_value < 1e-6) == (pytest.approx(0.29), True)
    fivefold = compare_repeats(np.full(60, 5), (0.37, 0.01))
    assert (fivefold[0].effect, fivefold[0].p_value < 1e-6) == (pytest.approx(0.43), True)
    assert fivefold[1].effect < 0.1


def test_rare_kinds_of_a_mix_are_put_with_the_frequent_one():
    assert compare_mixes(np.array([100, 1, 0]), np.array([50, 0, 1])) is None
    found = compare_mixes(np.array([100, 50, 1]), np.array([50, 100, 0]))
    assert found.p_value < 1e-6
    assert found.effect == pytest.approx(1 / 3, abs=0.01)


def test_a_joint_difference_shows_where_no_measurement_differs(random):
    old = random.normal(size=(600, 2))
    first = random.normal(size=300)
    new = np.column_stack([first, first + 0.1 * random.normal(size=300)])
    found = classify_samples(old, new, seed=0)
    assert found.effect > 0.3
    assert found.p_value < 1e-10


@pytest.mark.slow
def test_the_joint_test_keeps_its_size(random):
    p_values = []
    for seed in range(40):
        X = random.normal(size=(300, 3))
        X[random.random(X.shape) < 0.1] = np.nan
        p_values.append(classify_samples(X[:200], X[200:], seed=seed).p_value)
    # 40 trials of 0.1: more than 9 have a chance of 0.5 %.
    assert np.sum(np.array(p_values) < 0.1) <= 9


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjusting_never_lowers_a_p_value_nor_changes_their_order(p_values):
    adjusted = adjust(p_values, [1.0] * len(p_values))
    assert (adjusted >= np.array(p_values) - 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p_values, kind="stable")]) >= 0).all()
    assert adjusted.min() == pytest.approx(min(1, min(p_values) * len(p_values)))


def test_weights_share_out_the_level():
    # Half of all weight is on the first of three tests.
    assert adjust([0.01, 0.5, 0.5], [2.0, 1.0, 1.0])[0] == pytest.approx(0.02)
    assert adjust([0.5, 0.01, 0.5], [2.0, 1.0, 1.0])[1] == pytest.approx(0.04)


def test_values_without_a_number_are_left_out():
    assert known_values(np.array([1.0, np.nan, np.inf])).tolist() == [1.0]
