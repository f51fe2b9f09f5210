"""Whether measurements tell the labels apart, by quick models and by chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from waterflow_cli.common.errors import DataRefusedError
from waterflow_cli.exploration import signal_check
from waterflow_cli.exploration.signal_check import check_signal

N = 240


def measure(y, *, strength, seed=1):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {"ph": random.normal(size=len(y)) + strength * y, "Turbidity": random.normal(size=len(y))}
    )


@pytest.fixture(scope="module")
def y():
    return np.random.default_rng(0).permutation(np.arange(N) % 2)


@pytest.fixture(scope="module")
def found(y):
    X = measure(y, strength=1.5)
    X.loc[::9, "ph"] = np.nan
    return check_signal(X, y, seed=3, n_permutations=19)


def test_a_linear_signal_is_found_by_all_three(found):
    assert found.linear_signal
    assert found.any_signal
    assert found.quick.low > 0.5
    assert found.strongest[0] == "ph"


def test_the_p_value_counts_the_true_labels_among_the_permutations(found):
    assert found.permutation.p_value == pytest.approx(1 / 20)
    assert len(found.permutation.chance) == 19
    assert list(found.permutation.chance) == sorted(found.permutation.chance)


@pytest.mark.slow
def test_no_signal_is_found_where_there_is_none(y):
    found = check_signal(measure(y, strength=0), y, seed=3, n_permutations=19)
    assert not found.linear_signal
    assert found.permutation.p_value > 0.05
    assert found.quick.low < 0.5 < found.quick.high


def test_a_signal_that_is_no_line_is_missed_by_the_line_alone(y):
    X = measure(y, strength=0, seed=4)
    X["ph"] = np.where(y == 1, X["ph"] * 0.1, X["ph"] * 3)
    found = check_signal(X, y, seed=3, n_permutations=1)
    assert not found.linear_signal
    assert found.quick.low > 0.8


@pytest.mark.slow
def test_the_number_of_jobs_changes_nothing(y):
    X = measure(y, strength=1)
    one, two = (check_signal(X, y, seed=5, n_permutations=5, jobs=jobs) for jobs in (1, 2))
    assert one == two


def test_few_rows_are_drawn_of_many_and_correlations_are_of_all(y, monkeypatch):
    monkeypatch.setattr(signal_check, "SAMPLE_ROWS", 100)
    X = measure(y, strength=1)
    found = check_signal(X, y, seed=3, n_permutations=1)
    assert (found.n_rows, found.n_labelled) == (100, N)
    assert found.point_biserial["ph"] == pytest.approx(np.corrcoef(X["ph"], y)[0, 1])


@pytest.mark.slow
def test_a_measurement_without_two_values_has_no_correlation_and_stands_last(y):
    X = measure(y, strength=1).assign(ph=7.0)
    X.insert(0, "Sulfate", np.nan)
    found = check_signal(X, y, seed=3, n_permutations=1)
    assert next(iter(found.point_biserial)) == "Turbidity"
    assert np.isnan(found.point_biserial["ph"])


def test_too_few_rows_of_a_class_are_refused(y):
    with pytest.raises(DataRefusedError, match="rows of one class"):
        check_signal(measure(y, strength=1).iloc[:8], y[:8], seed=0)


def test_measurements_that_never_vary_are_refused(y):
    with pytest.raises(DataRefusedError, match="no measurement has two different values"):
        check_signal(pd.DataFrame({"ph": np.full(N, 7.0)}), y, seed=0)


def test_a_measurement_that_is_hardly_ever_taken_is_no_obstacle(y):
    X = measure(y, strength=1).assign(Sulfate=np.nan)
    X.loc[:1, "Sulfate"] = [250.0, 3e38]
    found = check_signal(X, y, seed=3, n_permutations=1)
    assert found.n_rows == N
    assert np.isfinite(found.linear.value)
