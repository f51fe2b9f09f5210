"""The logistic function has the bits of the C library, which SciPy and the boosters have too."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.models.portable.logistic import expit, expit_single, log_single, logit

VALUES = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    5e-324,
    36.7,
    -36.7,
    709.0,
    709.1,
    -709.1,
    -709.7827128,
    -709.79,
    -745.2,
    1e308,
    -1e308,
]


@tried_on(200)
@given(st.lists(st.floats(-800, 800), min_size=1, max_size=50))
def test_expit_has_the_bits_of_scipy(values: list[float]) -> None:
    assert np.array_equal(expit(np.array(values)), scipy.special.expit(values))


@pytest.mark.parametrize("value", [*VALUES, math.inf, -math.inf, math.nan])
def test_expit_of_extremes_is_that_of_scipy(value: float) -> None:
    found = expit(np.array([value]))
    assert np.allclose(found, scipy.special.expit([value]), rtol=1e-15, atol=0, equal_nan=True)


@tried_on(200)
@given(st.lists(st.floats(1e-4, 1 - 1e-4), min_size=1, max_size=50))
def test_logit_has_the_bits_of_scipy(shares: list[float]) -> None:
    assert np.array_equal(logit(np.array(shares)), scipy.special.logit(shares))


def test_logit_turns_expit_round() -> None:
    values = np.linspace(-9, 9, 181)
    assert logit(expit(values)) == pytest.approx(values, abs=1e-11)


def test_single_precision_is_as_near_as_it_can_be() -> None:
    values = np.linspace(-80, 80, 1601, dtype=np.float32)
    assert expit_single(values) == pytest.approx(scipy.special.expit(values), rel=3e-7)
    ends = expit_single(np.array([-np.inf, np.inf, -3e38, 3e38], dtype=np.float32))
    assert ((ends >= 0) & (ends <= 1)).all()
    assert log_single(np.float32(3)) == float(np.float32(math.log(3)))


def test_no_values_have_no_results() -> None:
    assert len(expit(np.empty(0))) == len(logit(np.empty(0))) == 0
    assert len(expit_single(np.empty(0, dtype=np.float32))) == 0
