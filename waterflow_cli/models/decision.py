"""The decision model: scores, their calibration, a threshold and a policy.

And it is counted how often verdicts were right.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.messages import Message, marked
from waterflow_cli.common.number_formats import Estimate, describe_estimate
from waterflow_cli.models.calibration import Calibrator
from waterflow_cli.models.metrics import LEVEL

if TYPE_CHECKING:
    import pandas as pd

LIKELY_POTABLE = "likely_potable"
LIKELY_NOT_POTABLE = "likely_not_potable"
SEND_TO_LAB = "send_to_lab"
VERDICTS = (SEND_TO_LAB, LIKELY_NOT_POTABLE, LIKELY_POTABLE)
# A verdict is given where the calibrated probability of its being right is at least this.
DEFAULT_CONFIDENCE = 0.8
# A verdict given so many times as often shows other samples, if by so many standard errors too.
_MUCH, _SURELY = 1.5, 3.3
# The class that each verdict claims, and what the share of the right ones among them is called.
CLAIMS = {LIKELY_POTABLE: (1, marked("precision")), LIKELY_NOT_POTABLE: (0, marked("npv"))}


@dataclass(frozen=True)
class Policy:
    """From which probabilities a verdict is given; between them the laboratory decides.

    Attributes
    ----------
    potable_from : float
        ``likely_potable`` from this probability on; above 1: never.
    not_potable_to : float
        ``likely_not_potable`` up to this probability; below 0: never.
    """

    potable_from: float
    not_potable_to: float

    @classmethod
    def default(cls, threshold: float) -> Policy:
        """Ask for four chances in five, and never contradict the prediction."""
        below = float(np.nextafter(threshold, -1.0))
        return cls(max(DEFAULT_CONFIDENCE, threshold), min(1 - DEFAULT_CONFIDENCE, below))

    @property
    def reasons(self) -> tuple[Message, ...]:
        """What each verdict rests on, in the order of `VERDICTS`."""
        low, high = f"{self.not_potable_to:.3g}", f"{self.potable_from:.3g}"
        if self.decides_potable and self.decides_not_potable:
            undecided = marked("probability between {low} and {high}: not decided")
        elif self.decides_potable:
            undecided = marked("probability below {high}: not decided")
        elif self.decides_not_potable:
            undecided = marked("probability above {low}: not decided")
        else:
            undecided = marked("the model decides nothing")
        decided = marked("probability at most {low}"), marked("probability at least {high}")
        return tuple(Message(text, low=low, high=high) for text in (undecided, *decided))

    @property
    def decides_potable(self) -> bool:
        """Whether some sample can be likely_potable."""
        return self.potable_from <= 1

    @property
    def decides_not_potable(self) -> bool:
        """Whether some sample can be likely_not_potable."""
        return self.not_potable_to >= 0

    def describe(self) -> Message:
        """Say from which probabilities which verdict is given."""
        upper = lower = Message("never")
        if self.decides_potable:
            upper = Message("from {potable_from:.3f}", potable_from=self.potable_from)
        if self.decides_not_potable:
            lower = Message("up to {not_potable_to:.3f}", not_potable_to=self.not_potable_to)
        return Message(
            "likely_potable {upper}, likely_not_potable {lower}, else send_to_lab",
            upper=upper,
            lower=lower,
        )


class Certified(NamedTuple):
    """A promise about a verdict, and how often that was given among the rows that certified it.

    Attributes
    ----------
    guarantee : str
        As the user asked for it.
    verdict : str
        Which it is about.
    """

    guarantee: str
    verdict: str
    n_rows: int
    n_decided: int

    def is_void(self, n_given: int, n_rows: int) -> bool:
        """Say whether the verdict is given to other samples so often that they are of another kind.

        That is more, or less, than half again as often, and so much that chance hardly explains
        it: by two shares' common standard error, with a correction for continuity.
        """
        if not n_rows:
            return False
        before, now = self.n_decided / self.n_rows, n_given / n_rows
        if before <= now * _MUCH and now <= before * _MUCH:
            return False
        both = (self.n_decided + n_given) / (self.n_rows + n_rows)
        each = 1 / self.n_rows + 1 / n_rows
        return abs(now - before) - each / 2 > _SURELY * math.sqrt(both * (1 - both) * each)


class Scores(Protocol):
    """What gives P(class 1) before calibration: a portable form, or the estimator itself.

    A row's probability does not depend on the rows beside it, to the last bit, and threads may
    share one instance.
    """

    def __call__(self, X: FloatArray) -> FloatArray:
        """Give the probabilities, shape (n_samples,), of at least one row of measurements."""
        ...

    def expect(self, n_rows: int) -> None:
        """Be told that about so many rows will come."""
        ...


@dataclass(frozen=True, kw_only=True)
class DecisionModel:
    """A fitted model that gives probabilities, predictions and verdicts.

    Attributes
    ----------
    scores : Scores
        Take the measurements, with NaN where one is missing.
    measurements : sequence of str
        Their columns, in order.
    threshold : float
        A sample is predicted potable from this probability on.
    typical : sequence of float
        The median of each measurement in the training rows, 0 for one that none of them has.
    importance : sequence of float
        What shuffling each measurement cost on tested rows, in ROC AUC; empty where that is not
        known.
    certified : sequence of Certified
        The promises that the policy keeps.
    estimator : sklearn.pipeline.Pipeline, optional
        As it was fitted; a stored model that needs none to score has none.
    """

    scores: Scores
    measurements: Sequence[str]
    calibrator: Calibrator
    threshold: float
    policy: Policy
    typical: Sequence[float] = ()
    importance: Sequence[float] = ()
    certified: Sequence[Certified] = ()
    estimator: Any = None

    def probability(self, X: FloatArray | pd.DataFrame) -> FloatArray:
        """Calibrated P(potable) of each row, shape (n_samples,).

        X has shape (n_samples, n_measurements); a frame has the measurements by their names.
        """
        if not len(X):
            return np.empty(0)
        rows = X if isinstance(X, np.ndarray) else X[list(self.measurements)]
        return self.calibrator.apply(self.scores(np.asarray(rows, dtype=np.float64)))

    def share_without(self, names: Collection[str]) -> float:
        """Say what share of what the training learned from some measurements hold, 0 to 1.

        It is their share in the sum of the importances, none of which counts below 0. Where no
        importance is known or above 0, each measurement counts for the same.
        """
        weights = np.maximum(self.importance, 0.0)
        if not weights.sum():
            weights = np.ones(len(self.measurements))
        lacking = [name in names for name in self.measurements]
        return float(weights[lacking].sum() / weights.sum())

    def void_guarantees(self, verdicts: Mapping[str, int]) -> list[str]:
        """List the promises that do not hold for samples to which verdicts were given so often."""
        n_rows = sum(verdicts.values())
        return [
            each.guarantee
            for each in self.certified
            if each.is_void(verdicts.get(each.verdict, 0), n_rows)
        ]

    def predict(self, probability: FloatArray) -> IntArray:
        """1 or 0 by the tuned threshold."""
        return (probability >= self.threshold).astype(np.int64)

    def verdict(self, probability: FloatArray) -> IntArray:
        """Positions in `VERDICTS`."""
        codes = np.zeros(len(probability), dtype=np.int64)
        codes[probability <= self.policy.not_potable_to] = VERDICTS.index(LIKELY_NOT_POTABLE)
        codes[probability >= self.policy.potable_from] = VERDICTS.index(LIKELY_POTABLE)
        return codes


@dataclass(frozen=True)
class VerdictRecord:
    """How often a verdict was right.

    Attributes
    ----------
    n_given : int
        Rows with this verdict.
    n_right : int
        Those of which the laboratory says the same.
    share : Estimate
        The one over the other; NaN where the verdict was never given.
    """

    n_given: int
    n_right: int
    share: Estimate


def record_verdicts(
    decision: DecisionModel, y: IntArray, probability: FloatArray
) -> dict[str, VerdictRecord]:
    """Count how often each verdict on some rows was right; ``send_to_lab`` claims nothing."""
    given = decision.verdict(probability)
    return {
        verdict: record_verdict(y[given == VERDICTS.index(verdict)] == claimed)
        for verdict, (claimed, _) in CLAIMS.items()
    }


def record_verdict(right: Sequence[bool] | np.ndarray) -> VerdictRecord:
    """Count how often a verdict was right, with an exact 95 % interval."""
    n_given, n_right = len(right), int(np.sum(right))
    return VerdictRecord(n_given, n_right, exact_share(n_right, n_given))


def exact_share(n_with: int, n_rows: int) -> Estimate:
    """Give a share with its exact 95 % interval; NaN without rows.

    The interval is that of Clopper and Pearson (1934, "The use of confidence or fiducial limits
    illustrated in the case of the binomial").
    """
    from scipy.stats import binomtest  # scoring does without it

    if not n_rows:
        return Estimate(np.nan, np.nan, np.nan)
    low, high = binomtest(n_with, n_rows).proportion_ci(LEVEL, method="exact")
    return Estimate(n_with / n_rows, float(low), float(high))


def describe_verdicts(records: Mapping[str, VerdictRecord]) -> list[Message]:
    """Say in a line for each verdict how often it was right."""
    return [
        Message(
            "{verdict}: {n_right} of {n_given} right, {claim} {share}.",
            verdict=verdict,
            n_right=record.n_right,
            n_given=record.n_given,
            claim=Message(CLAIMS[verdict][1]),
            share=describe_estimate(record.share),
        )
        if record.n_given
        else Message("{verdict}: never given.", verdict=verdict)
        for verdict, record in records.items()
    ]


def verdicts_summary(records: Mapping[str, VerdictRecord]) -> dict[str, Any]:
    """Put records into a JSON object."""
    return {
        verdict: {
            "rows": record.n_given,
            "right": record.n_right,
            CLAIMS[verdict][1]: asdict(record.share),
        }
        for verdict, record in records.items()
    }
