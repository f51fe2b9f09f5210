"""Turn a classifier's scores into probabilities that mean what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.models.contract import Calibration
from waterflow_cli.models.portable.logistic import expit, logit

# Scores of exactly 0 or 1 (a forest whose trees agree) have no finite log-odds.
_CLIP = 1e-4


@dataclass(frozen=True)
class Sigmoid:
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
        return expit(self.slope * odds + self.intercept)


@dataclass(frozen=True)
class Steps:
    """Straight lines between points, flat outside of them; both coordinates never fall."""

    scores: Sequence[float]
    probabilities: Sequence[float]

    def apply(self, scores: FloatArray) -> FloatArray:
        """Map scores to probabilities, shape (n_samples,), both in [0, 1]."""
        return np.interp(scores, self.scores, self.probabilities)


@dataclass(frozen=True)
class Identity:
    """The scores as they are."""

    def apply(self, scores: FloatArray) -> FloatArray:
        """Return the scores."""
        return scores


Calibrator = Sigmoid | Steps | Identity
_KINDS: dict[str, type[Calibrator]] = {"sigmoid": Sigmoid, "isotonic": Steps, "none": Identity}


def fit_calibrator(y: IntArray, scores: FloatArray, method: Calibration = "sigmoid") -> Calibrator:
    """Fit a calibration to scores of rows that the classifier was not fitted on.

    Parameters
    ----------
    y, scores : ndarray of shape (n_samples,)
        1 = potable, 0 = not potable, and both occur; out-of-fold scores in [0, 1].
    method : str
        ``sigmoid``: Platt's (Platt 1999, "Probabilistic outputs for support vector machines") on
        log-odds, which is beta calibration with equal shape parameters (Kull, Silva Filho and
        Flach 2017, "Beta calibration"): unlike a sigmoid on the probability itself it contains
        the identity, and leaves a calibrated classifier as it is. Where the scores rank the rows
        no better than the opposite order would, its slope is 0: each sample gets the share of
        class 1. ``isotonic``: the best rising steps (Zadrozny and Elkan 2002, "Transforming
        classifier scores into accurate multiclass probability estimates"). ``none``: the scores.
    """
    from sklearn.isotonic import IsotonicRegression  # scoring does without it
    from sklearn.linear_model import LogisticRegression

    if method == "none":
        return Identity()
    if method == "isotonic":
        line = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, y)
        return Steps(line.X_thresholds_.tolist(), line.y_thresholds_.tolist())
    odds = logit(np.clip(scores, _CLIP, 1 - _CLIP)).reshape(-1, 1)
    line = LogisticRegression(C=np.inf).fit(odds, y)
    slope, intercept = float(line.coef_[0, 0]), float(line.intercept_[0])
    if slope <= 0 or np.ptp(odds) == 0:
        return Sigmoid(0.0, float(logit(np.mean(y, keepdims=True))[0]))
    return Sigmoid(slope, intercept)


def calibrator_to_json(calibrator: Calibrator) -> dict[str, Any]:
    """Put a calibrator into a JSON object."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(calibrator, cls))
    return {"kind": kind, **asdict(calibrator)}


def calibrator_from_json(content: dict[str, Any]) -> Calibrator:
    """Make a calibrator from what `calibrator_to_json` gave."""
    arguments = {name: value for name, value in content.items() if name != "kind"}
    return _KINDS[content["kind"]](**arguments)
