from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from waterflow_cli.training.paired_auc import AucDifference, combine, compare_auc


def draw(seed, n_rows=200, decimals=8):
    random = np.random.default_rng(seed)
    y = np.append([0, 0, 1, 1], (random.random(n_rows - 4) < 0.4).astype(np.int64))
    seen = random.normal(size=n_rows)
    return y, *(np.round(0.7 * y + seen + random.normal(size=n_rows), decimals) for _ in "12")


@given(seed=st.integers(0, 10_000), decimals=st.integers(0, 3))
def test_the_difference_is_that_of_the_two_areas_also_with_ties(seed, decimals):
    y, first, second = draw(seed, 40, decimals)
    found = compare_auc(y, first, second)
    assert found.value == pytest.approx(roc_auc_score(y, second) - roc_auc_score(y, first))
    assert compare_auc(y, second, first) == pytest.approx((-found.value, found.error))


def test_a_model_does_not_differ_from_itself_whatever_its_scale():
    y, first, _ = draw(1)
    assert compare_auc(y, first, np.exp(first)) == AucDifference(0.0, 0.0)


def test_the_error_is_the_spread_over_data_sets():
    found = np.array([compare_auc(*draw(seed)) for seed in range(600)])
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.1)


def test_copies_within_groups_bring_no_certainty():
    y, first, second = draw(3)
    groups = np.arange(len(y))
    assert compare_auc(y, first, second, groups) == compare_auc(y, first, second)
    copied = (np.repeat(each, 5) for each in (y, first, second, groups))
    assert compare_auc(*copied) == pytest.approx(compare_auc(y, first, second))


def test_the_surer_one_counts_for_more():
    value, error = combine(AucDifference(0.03, 0.03), AucDifference(0.0, 0.01))
    assert value == pytest.approx(0.003)
    assert error == pytest.approx(1 / np.hypot(1 / 0.03, 1 / 0.01))
    same = AucDifference(0.0, 0.0)
    assert combine(same, same) == same


def test_differences_that_contradict_each_other_are_not_mixed():
    assert combine(AucDifference(-0.1, 0.03), AucDifference(0.0, 0.01)) is None
