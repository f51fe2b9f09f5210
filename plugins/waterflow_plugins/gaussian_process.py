"""Gaussian process with one length for each measurement."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

FloatArray = NDArray[np.float64]

# Lengths are learned from this many rows, as each step costs the cube of their number.
LENGTH_ROWS = 900
_STEPS = 40
# Logarithms: of a length, in standard deviations; of the signal's variance; of the noise's.
_LENGTH_BOUNDS, _SIGNAL_BOUNDS, _NOISE_BOUNDS = (-1.5, 4.0), (-5.0, 3.0), (-4.0, 2.0)
_START = (2.0, 0.5, 0.7)


class LengthScaler(StandardScaler):  # type: ignore[misc]
    """Divide each measurement by the length over which the label changes with it.

    The lengths are those of a Gaussian process with the labels' most probable kernel, so a
    measurement that tells nothing is divided by a large one, and hardly counts in any distance
    afterwards (automatic relevance determination: Rasmussen and Williams 2006, "Gaussian Processes
    for Machine Learning", section 5.1).

    Parameters
    ----------
    random_state : int, optional
        Draws `LENGTH_ROWS` rows, where there are more.
    """

    copy, with_mean, with_std = True, False, True

    def __init__(self, random_state: int | None = None) -> None:
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> LengthScaler:
        """Learn the lengths from standardised rows without gaps, and labels 0 and 1."""
        X, y = np.asarray(X, dtype=np.float64), np.asarray(y)
        drawn = check_random_state(self.random_state).permutation(len(X))[:LENGTH_ROWS]
        self.n_features_in_ = X.shape[1]
        self.scale_ = learn_lengths(X[drawn], 2.0 * y[drawn] - 1.0)
        return self


def learn_lengths(X: FloatArray, targets: FloatArray) -> FloatArray:
    """Find the lengths of the squared exponential kernel under which the targets are likeliest.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Standardised.
    targets : ndarray of shape (n_samples,)

    Returns
    -------
    ndarray of shape (n_features,)
    """
    from scipy.optimize import minimize

    n = X.shape[1]
    start = np.log([_START[0]] * n + [*_START[1:]])
    bounds = [_LENGTH_BOUNDS] * n + [_SIGNAL_BOUNDS, _NOISE_BOUNDS]
    found = minimize(
        _unlikelihood,
        start,
        (X, targets - targets.mean()),
        method="L-BFGS-B",
        jac=True,
        bounds=bounds,
        options={"maxiter": _STEPS},
    )
    return np.asarray(np.exp(found.x[:n]))


def _unlikelihood(logs: FloatArray, X: FloatArray, targets: FloatArray) -> tuple[float, FloatArray]:
    """Give the negative log marginal likelihood, but for a constant, and its gradient.

    Rasmussen and Williams 2006, equations 5.8 and 5.9. The gradient by a length needs the sum of
    weight x (difference of two rows)²; multiplied out, it is two products of matrices, and no
    array of rows x rows x measurements has to be kept.
    """
    from scipy.linalg import cho_solve, cholesky
    from scipy.spatial.distance import cdist

    signal, noise = np.exp(logs[-2:])
    scaled = X / np.exp(logs[:-2])
    kernel = signal * np.exp(-0.5 * cdist(scaled, scaled, "sqeuclidean"))
    factor = cholesky(kernel + noise * np.eye(len(X)), lower=True)
    explained = cho_solve((factor, True), targets)
    weights = cho_solve((factor, True), np.eye(len(X))) - np.outer(explained, explained)
    weighted = weights * kernel
    by_lengths = weighted.sum(axis=1) @ scaled**2 - ((weighted @ scaled) * scaled).sum(axis=0)
    gradient = [*by_lengths, 0.5 * weighted.sum(), 0.5 * noise * np.trace(weights)]
    value = 0.5 * targets @ explained + np.log(np.diag(factor)).sum()
    return float(value), np.array(gradient)


class GaussianProcess(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The mean of a Gaussian process of the labels -1 and 1, where all lengths are 1.

    It is least-squares classification (Rasmussen and Williams 2006, section 6.5): near 0 the mean
    is 2 P(potable) - 1, and 1 / (1 + exp(-2 mean)) is the probability with this slope which never
    leaves 0 to 1.

    Parameters
    ----------
    noise : float
        Variance of the labels' noise, as a multiple of the signal's.
    max_rows : int
        Rows that are kept; of more, so many are drawn. Fitting costs the cube of their number.
    random_state : int, optional
        Draws the rows.
    """

    def __init__(
        self, noise: float = 1.5, max_rows: int = 5000, random_state: int | None = None
    ) -> None:
        self.noise = noise
        self.max_rows = max_rows
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> GaussianProcess:
        """Fit to rows without gaps; a row of weight w counts as w rows of the same values."""
        from scipy.linalg import solve

        X, y = np.asarray(X, dtype=np.float64), np.asarray(y)
        weights = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
        drawn = check_random_state(self.random_state).permutation(len(X))[: self.max_rows]
        targets = 2.0 * y[drawn] - 1.0
        self.classes_, self.n_features_in_ = np.array([0, 1]), X.shape[1]
        self.vectors_ = X[drawn]
        self.centre_ = float(np.average(targets, weights=weights[drawn]))
        covariance = _kernel(self.vectors_, self.vectors_)
        covariance[np.diag_indices(len(drawn))] += self.noise / weights[drawn]
        self.weights_ = solve(covariance, targets - self.centre_, assume_a="pos")
        return self

    def predict_proba(self, X: Any) -> FloatArray:
        """Give the probabilities of 0 and 1, shape (n_samples, 2)."""
        from scipy.special import expit

        X = np.asarray(X, dtype=np.float64)
        mean = self.centre_ + _kernel(X, self.vectors_) @ self.weights_
        return np.column_stack([expit(-2.0 * mean), expit(2.0 * mean)])

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Predict the class that is more probable."""
        return (self.predict_proba(X)[:, 1] > 0.5).astype(np.int64)


def _kernel(one: FloatArray, other: FloatArray) -> FloatArray:
    from scipy.spatial.distance import cdist

    return np.asarray(np.exp(-0.5 * cdist(one, other, "sqeuclidean")))
