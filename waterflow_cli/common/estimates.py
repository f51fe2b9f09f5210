"""A figure with its interval."""

from __future__ import annotations

from dataclasses import dataclass

CHANCE = 0.5  # the ROC AUC of no skill


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval."""

    value: float
    low: float
    high: float
