"""Rows that are copies of one another: which are found, and where they go."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterflow_cli.training.copies import find_copies, relative_sources
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.designs import cross_validation, hold_out
from waterflow_cli.training.options import TrainingOptions
from waterflow_cli.training.trainer import make_design

RANDOM = np.random.default_rng(0)
VALUES = pd.DataFrame(RANDOM.standard_normal((400, 6))).mask(RANDOM.random((400, 6)) < 0.05)


def together(*parts: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True)


def test_a_row_that_stands_twice_is_a_copy_of_the_first():
    found = find_copies(together(VALUES, VALUES.iloc[[7, 7, 3]]))
    assert (found.n_exact, found.n_near) == (3, 0)
    assert found.sources[-3:].tolist() == [7, 7, 3]
    assert found.sources[:400].tolist() == list(range(400))


@pytest.mark.parametrize("n_copies", [1, 5])
def test_rows_with_a_little_noise_are_near_copies(n_copies):
    noisy = [VALUES * (1 + 1e-4 * RANDOM.standard_normal(VALUES.shape)) for _ in range(n_copies)]
    found = find_copies(together(VALUES, *noisy))
    assert found.n_near == n_copies * len(VALUES)
    assert np.array_equal(found.sources, np.tile(np.arange(400), n_copies + 1))


@pytest.mark.parametrize("levels", [2, 10, 30])
def test_equal_rows_of_coarse_measurements_are_no_copies(levels):
    coarse = RANDOM.integers(0, levels, (3000, 5)).astype(float)
    assert not find_copies(pd.DataFrame(coarse)).any


def test_rows_on_a_curve_are_no_near_copies():
    x = RANDOM.standard_normal((2000, 1))
    assert not find_copies(pd.DataFrame(np.hstack([x, x**2, x**3, np.exp(x), -x]))).any


@pytest.mark.parametrize("n_rows", [0, 1, 2, 50])
def test_rows_that_hold_nothing_or_nothing_that_differs_are_no_copies(n_rows):
    for value in (np.nan, 1.0):
        assert not find_copies(pd.DataFrame(np.full((n_rows, 3), value))).any


def test_missing_cells_tell_rows_apart():
    half = VALUES.assign(**{"0": np.nan})
    assert find_copies(together(VALUES, half)).n_near == 0


@given(st.lists(st.integers(0, 30), min_size=60, max_size=120), st.integers(0, 100))
def test_no_copy_is_tested_with_its_like(labels, seed):
    sources = relative_sources(np.array([*range(31), *labels]))
    y = np.arange(len(sources)) % 2
    for design in (
        cross_validation(y, n_folds=3, n_repeats=2, seed=seed, sources=sources),
        hold_out(y, test_size=0.3, seed=seed, sources=sources),
    ):
        assert design.name.endswith("-copies")
        for block in design.repeats:
            assert np.array_equal(block, block[sources])


def test_folds_keep_copies_together_unless_leaks_are_ignored():
    y = np.arange(420) % 2
    data = TrainingData(
        path="x.csv", X=together(VALUES, VALUES.iloc[:20]), y=y, sha256="", n_dropped=0
    )
    kept = make_design(data, TrainingOptions())
    assert kept.name == "cv-5x2-copies"
    assert all(np.array_equal(block[400:], block[:20]) for block in kept.repeats)
    assert make_design(data, TrainingOptions(on_leak="ignore")).name == "cv-5x2"
    assert make_design(data.take(np.arange(400)), TrainingOptions()).name == "cv-5x2"
