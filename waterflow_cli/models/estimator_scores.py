"""Ask a fitted pipeline for P(class 1): by its portable form, or where it has none itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.models.decision import Scores
from waterflow_cli.models.portable.conversion import MakeForm, portable_form

# How many rows an estimator without trees is asked for at a time, always.
_FIXED_ROWS = 4096


def scores_of(
    pipeline: Any, measurements: Sequence[str], *, make: MakeForm | None = None
) -> Scores:
    """Give what a pipeline is scored by: its portable form, or `EstimatorScores`.

    Parameters
    ----------
    make : callable, optional
        A plugin's own way to make the form of a pipeline.
    """
    asked = EstimatorScores(pipeline, measurements)
    return portable_form(pipeline, asked, make=make) or asked


class EstimatorScores:
    """P(class 1) by a fitted pipeline itself.

    A row's probability does not depend on the rows beside it. Trees give that by themselves. Linear
    algebra libraries do not: they add up in another order for another number of rows. Estimators
    that may use them are therefore always asked for the same number at a time, filled up with
    copies of a row.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted; no samplers.
    measurements : sequence of str
        Names of its columns.
    """

    def __init__(self, pipeline: Any, measurements: Sequence[str]) -> None:
        self._pipeline, self._measurements = pipeline, list(measurements)
        members = getattr(pipeline[-1], "estimators_", [])
        if isinstance(members, np.ndarray):  # of gradient boosting; a list may hold forests
            members = members.ravel()
        self._is_trees = bool(len(members)) and all(hasattr(each, "tree_") for each in members)

    def __call__(self, X: FloatArray) -> FloatArray:
        """Give the probabilities, shape (n_samples,)."""
        if self._is_trees:
            return self._ask(X)
        parts = []
        for first in range(0, len(X), _FIXED_ROWS):
            rows = np.minimum(np.arange(first, first + _FIXED_ROWS), len(X) - 1)
            parts.append(self._ask(X[rows]))
        return np.concatenate(parts)[: len(X)]

    def expect(self, n_rows: int) -> None:
        """Nothing is prepared for many rows."""

    def _ask(self, X: FloatArray) -> FloatArray:
        frame = pd.DataFrame(X, columns=self._measurements)
        return np.asarray(self._pipeline.predict_proba(frame), dtype=np.float64)[:, 1]
