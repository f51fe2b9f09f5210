"""The decision model: an estimator, its calibration, its threshold and its policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.messages import Message
from waterflow_cli.models.calibration import Calibrator
from waterflow_cli.models.pipeline_scores import PipelineScores

LIKELY_POTABLE = "likely_potable"
LIKELY_NOT_POTABLE = "likely_not_potable"
SEND_TO_LAB = "send_to_lab"
VERDICTS = (SEND_TO_LAB, LIKELY_NOT_POTABLE, LIKELY_POTABLE)
# A verdict is given where the calibrated probability of its being right is at least this.
DEFAULT_CONFIDENCE = 0.8


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
    def reasons(self) -> tuple[Message, Message, Message]:
        """What each verdict rests on, in the order of `VERDICTS`."""
        low, high = f"{self.not_potable_to:.3g}", f"{self.potable_from:.3g}"
        if self.decides_potable and self.decides_not_potable:
            undecided = Message(
                "probability between {low} and {high}: not decided", low=low, high=high
            )
        elif self.decides_potable:
            undecided = Message("probability below {high}: not decided", high=high)
        elif self.decides_not_potable:
            undecided = Message("probability above {low}: not decided", low=low)
        else:
            undecided = Message("the model decides nothing")
        return (
            undecided,
            Message("probability at most {low}", low=low),
            Message("probability at least {high}", high=high),
        )

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
        upper = (
            Message("from {potable_from:.3f}", potable_from=self.potable_from)
            if self.decides_potable
            else Message("never")
        )
        lower = (
            Message("up to {not_potable_to:.3f}", not_potable_to=self.not_potable_to)
            if self.decides_not_potable
            else Message("never")
        )
        return Message(
            "likely_potable {upper}, likely_not_potable {lower}, else send_to_lab",
            upper=upper,
            lower=lower,
        )


@dataclass(frozen=True, kw_only=True)
class DecisionModel:
    """A fitted model that gives probabilities, predictions and verdicts.

    Attributes
    ----------
    estimator : sklearn.pipeline.Pipeline
        Fitted; takes a frame of the measurements with NaN where one is missing.
    measurements : sequence of str
        Its columns, in order.
    threshold : float
        A sample is predicted potable from this probability on.
    typical : sequence of float
        The median of each measurement in the training rows, 0 for one that none of them has.
    """

    estimator: Any
    measurements: Sequence[str]
    calibrator: Calibrator
    threshold: float
    policy: Policy
    typical: Sequence[float] = ()

    def probability(self, X: pd.DataFrame) -> FloatArray:
        """Calibrated P(potable) of each row, shape (n_samples,)."""
        if not len(X):
            return np.empty(0)
        return self.calibrator.apply(self._scores(X))

    def expect(self, n_rows: int) -> None:
        """Be told that about so many rows will come."""
        self._scores.expect(n_rows)

    @cached_property
    def _scores(self) -> PipelineScores:
        return PipelineScores(self.estimator)

    def predict(self, probability: FloatArray) -> IntArray:
        """1 or 0 by the tuned threshold."""
        return (probability >= self.threshold).astype(np.int64)

    def verdict(self, probability: FloatArray) -> IntArray:
        """Positions in `VERDICTS`."""
        codes = np.zeros(len(probability), dtype=np.int64)
        codes[probability <= self.policy.not_potable_to] = VERDICTS.index(LIKELY_NOT_POTABLE)
        codes[probability >= self.policy.potable_from] = VERDICTS.index(LIKELY_POTABLE)
        return codes
