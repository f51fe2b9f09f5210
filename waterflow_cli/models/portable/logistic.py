"""The logistic function and its inverse, with the bits of the C library.

NumPy's own exponential is faster, and its last bit differs from machine to machine. These give what
SciPy's ``expit`` and ``logit`` give, and what LightGBM and XGBoost compute.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from waterflow_cli.common.arrays import FloatArray

SingleArray = npt.NDArray[np.float32]

# The exponential of more than this overflows.
_MOST = 709.782712893384
# Where a logarithm of the odds would lose digits, its series around one half is asked.
_MIDDLE = (0.3, 0.65)
# XGBoost's bounds of its sigmoid.
_MOST_SINGLE, _LEAST_SINGLE = np.float32(88.7), np.float32(1e-16)


def expit(values: FloatArray) -> FloatArray:
    """Give 1 / (1 + exp(-x)) of each value; shape (n,)."""
    exponential = _each(math.exp, np.minimum(-values, _MOST))
    exponential[-values > _MOST] = np.inf
    return np.asarray(1.0 / (1.0 + exponential))


def logit(shares: FloatArray) -> FloatArray:
    """Give log(p / (1 - p)) of each share, which lies in (0, 1); shape (n,)."""
    away = 2.0 * (shares - 0.5)
    near = _each(math.log1p, away) - _each(math.log1p, -away)
    odds = _each(math.log, shares / (1.0 - shares))
    return np.where((shares >= _MIDDLE[0]) & (shares <= _MIDDLE[1]), near, odds)


def expit_single(values: SingleArray) -> SingleArray:
    """Give XGBoost's logistic function in single precision; shape (n,)."""
    bounded = np.minimum(-values, _MOST_SINGLE)
    exponential = np.fromiter(map(_expf, bounded.tolist()), np.float32, len(values))
    return np.float32(1) / (exponential + np.float32(1) + _LEAST_SINGLE)


def _each(function: Callable[[float], float], values: FloatArray) -> FloatArray:
    return np.fromiter(map(function, values.tolist()), np.float64, len(values))


def log_single(value: np.float32) -> float:
    """Give the natural logarithm in single precision."""
    return float(np.float32(_logf(float(value))))


def _single(name: str, otherwise: Callable[[float], float]) -> Callable[[float], float]:
    """Find a function of the C library in single precision; elsewhere, Python's is rounded."""
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, TypeError, AttributeError):
        return otherwise
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
    return function  # type: ignore[no-any-return]


_expf, _logf = _single("expf", math.exp), _single("logf", math.log)
