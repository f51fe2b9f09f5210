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
    least : float
        No probability lies nearer to 0 or to 1.
    """

    slope: float
    intercept: float
    least: float = 0.0

    def apply(self, scores: FloatArray) -> FloatArray:
        """Map scores to probabilities, shape (n_samples,), both in [0, 1]."""
        odds = logit(np.clip(scores, _CLIP, 1 - _CLIP))
        return np.clip(expit(self.slope * odds + self.intercept), self.least, 1 - self.least)


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
    """The scores as they are, but for those that lie nearer to 0 or 1 than `least`."""

    least: float = 0.0

    def apply(self, scores: FloatArray) -> FloatArray:
        """Keep scores off 0 and 1."""
        return np.clip(scores, self.least, 1 - self.least)


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

    Notes
    -----
    Rows that agree do not show that the next one must: by Laplace's rule of succession, m of them
    make it (m + 1) / (m + 2) likely. No probability is surer than that of the rows which it rests
    on, whichever the method: of a step's own, or of all.
    """
    from sklearn.isotonic import IsotonicRegression  # scoring does without it
    from sklearn.linear_model import LogisticRegression

    least = _least_likely(len(y))
    if method == "none":
        return Identity(least)
    if method == "isotonic":
        line = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, y)
        steps = _less_sure(line.y_thresholds_, line.predict(scores))
        return Steps(line.X_thresholds_.tolist(), steps.tolist())
    odds = logit(np.clip(scores, _CLIP, 1 - _CLIP)).reshape(-1, 1)
    line = LogisticRegression(C=np.inf).fit(odds, y)
    slope, intercept = float(line.coef_[0, 0]), float(line.intercept_[0])
    if slope <= 0 or np.ptp(odds) == 0:
        return Sigmoid(0.0, float(logit(np.mean(y, keepdims=True))[0]), least)
    return Sigmoid(slope, intercept, least)


def _least_likely(n_rows: int) -> float:
    """Say how likely what none of some rows was is of the next one."""
    return 1 / (n_rows + 2)


def _less_sure(steps: FloatArray, fitted: FloatArray) -> FloatArray:
    """Move steps of 0 and of 1 inwards, as far as the rows on them ask and their neighbours let."""
    never, always = (_least_likely(int((fitted == sure).sum())) for sure in (0.0, 1.0))
    inner = steps[(steps > 0) & (steps < 1)]
    low = min([never, *inner])
    high = max([1 - always, *inner])
    return np.clip(steps, low, high)


def calibrator_to_json(calibrator: Calibrator) -> dict[str, Any]:
    """Put a calibrator into a JSON object."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(calibrator, cls))
    return {"kind": kind, **asdict(calibrator)}


def calibrator_from_json(content: dict[str, Any]) -> Calibrator:
    """Make a calibrator from what `calibrator_to_json` gave."""
    arguments = {name: value for name, value in content.items() if name != "kind"}
    return _KINDS[content["kind"]](**arguments)
