"""The libraries that decide results, by the names of their distributions."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

# What reads, scores by a portable form and writes, and so decides its last digit. numba only
# makes it faster: a compiled walk gives NumPy's bits, whatever its version.
PORTABLE = ("numpy", "pyarrow")
# What computes a score of an estimator that has no such form.
SCORING = (*PORTABLE, "pandas", "scikit-learn", "scipy", "numba")
# What computes a model's bits besides, or draws the random numbers that they depend on.
TRAINING = (*SCORING, "imbalanced-learn", "joblib", "optuna")


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """Give the versions of those that are installed."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
