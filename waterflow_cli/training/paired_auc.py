"""By how much the ROC AUC of two models differs, on rows that both judged unseen."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from waterflow_cli.common.arrays import FloatArray, IntArray

# Standard errors that 95 % of all differences lie within.
_FAR = 1.96


class AucDifference(NamedTuple):
    """The second model's ROC AUC less the first's, and its standard error."""

    value: float
    error: float


def compare_auc(
    y: IntArray, first: FloatArray, second: FloatArray, groups: Any | None = None
) -> AucDifference:
    """Compare two models row by row.

    Parameters
    ----------
    y, first, second : ndarray of shape (n_samples,)
        Labels, of which both occur, and what each model says; only the order of it counts.
    groups : ndarray of shape (n_samples,), optional
        Rows that are not independent of each other, such as those of a site.

    Notes
    -----
    The error is that of DeLong, DeLong and Clarke-Pearson (1988, "Comparing the areas under two or
    more correlated receiver operating characteristic curves"), summed by group as Obuchowski (1997,
    "Nonparametric analysis of clustered ROC curve data") does; each row is a group by default.
    """
    gain = _placements(y, second) - _placements(y, first)
    pull: FloatArray = np.empty(len(y))
    for label in (0, 1):
        rows = y == label
        pull[rows] = (gain[rows] - gain[rows].mean()) / rows.sum()
    units = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    pulls = np.bincount(units, weights=pull)
    error = np.sqrt((pulls**2).sum() * len(pulls) / (len(pulls) - 1))
    return AucDifference(float(gain[y == 1].mean()), float(error))


def combine(one: AucDifference, other: AucDifference) -> AucDifference | None:
    """Weigh two independent differences by their precision; None where they contradict each other.

    They do where they lie further apart than 19 in 20 pairs of one truth.
    """
    total = one.error**2 + other.error**2
    if abs(one.value - other.value) > _FAR * np.sqrt(total):
        return None
    share = other.error**2 / total if total else 0.5
    value = share * one.value + (1 - share) * other.value
    return AucDifference(value, float(np.sqrt(share)) * one.error)


def _placements(y: IntArray, score: FloatArray) -> FloatArray:
    """Give the share of the other class that a row stands on the right side of; ties count half."""
    above: FloatArray = rankdata(score)
    found: FloatArray = np.empty(len(y))
    for label in (0, 1):
        rows = y == label
        below: FloatArray = (above[rows] - rankdata(score[rows])) / (len(y) - rows.sum())
        found[rows] = below if label else 1 - below
    return found
