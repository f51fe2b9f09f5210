"""Turn a classifier's scores into probabilities that mean what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from waterflow_cli.arrays import FloatArray, IntArray

# Scores of exactly 0 or 1 (a forest whose trees agree) have no finite log-odds.
_CLIP = 1e-4


@dataclass(frozen=True)
class Calibrator:
    """A straight line on the log-odds of a score.

    Attributes
    ----------
    slope : float
        At least 0: calibration never turns the order of the samples round.
    intercept : float
    """

    slope: float
    intercept: float

    def apply(self, scores: FloatArray) -> FloatArray:
        """Map scores to probabilities, shape (n_samples,), both in [0, 1]."""
        odds = logit(np.clip(scores, _CLIP, 1 - _CLIP))
        return np.asarray(expit(self.slope * odds + self.intercept), dtype=np.float64)


def fit_calibrator(y: IntArray, scores: FloatArray) -> Calibrator:
    """Fit a sigmoid to scores of rows that the classifier was not fitted on.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 = potable, 0 = not potable. Both occur.
    scores : ndarray of shape (n_samples,)
        Out-of-fold scores in [0, 1].

    Returns
    -------
    Calibrator
        With slope 0, so that each sample gets the share of class 1, where the scores rank the
        rows no better than the opposite order would.

    Notes
    -----
    Platt's sigmoid (Platt 1999, "Probabilistic outputs for support vector machines") on
    log-odds, which is beta calibration with equal shape parameters (Kull, Silva Filho and Flach
    2017, "Beta calibration"): unlike a sigmoid on the probability itself it contains the
    identity, and leaves a calibrated classifier as it is.
    """
    odds = logit(np.clip(scores, _CLIP, 1 - _CLIP)).reshape(-1, 1)
    line = LogisticRegression(C=np.inf).fit(odds, y)
    slope, intercept = float(line.coef_[0, 0]), float(line.intercept_[0])
    if slope <= 0 or np.ptp(odds) == 0:
        return Calibrator(0.0, float(logit(np.mean(y))))
    return Calibrator(slope, intercept)
