"""Ask a fitted pipeline for probabilities, by the cheaper of two ways that give equal bits."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from waterflow_cli.common.arrays import FloatArray

if TYPE_CHECKING:
    from waterflow_cli.models.fast_trees import PackedTrees

# Rows times trees after which packing an ensemble and compiling the walk (some 0.3 CPU seconds)
# have cost no more than scikit-learn has so far.
_WORTH_PACKING = 5_000_000
# How many rows an estimator without trees is asked for at a time, always.
_FIXED_ROWS = 4096


class PipelineScores:
    """P(class 1) of the rows of a frame, by a fitted pipeline.

    The first rows go to scikit-learn. Where more come or are expected, and the classifier is an
    ensemble of trees that can be packed, the rest go to `waterflow_cli.models.fast_trees`. Threads
    may share one instance.

    A row's probability does not depend on the rows beside it, to the last bit. Trees give that by
    themselves. Linear algebra libraries do not: they add up in another order for another number of
    rows. Estimators that may use them are therefore always asked for the same number at a time,
    filled up with copies of a row.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted; no samplers.
    """

    def __init__(self, pipeline: Any) -> None:
        self._pipeline, self._classifier = pipeline, pipeline[-1]
        self._n_trees = _count_trees(self._classifier)
        self._lock, self._work, self._asked = Lock(), 0, False
        self._packed: PackedTrees | None = None

    def __call__(self, X: pd.DataFrame) -> FloatArray:
        """Give the probabilities, shape (n_samples,)."""
        packed = self._pack_when_worth(len(X))
        if packed is None:
            return self._ask(X) if self._n_trees else self._ask_in_parts(X)
        from waterflow_cli.models.fast_trees import positive_probability

        ready = self._pipeline[:-1].transform(X) if len(self._pipeline) > 1 else X
        return positive_probability(self._classifier, packed, np.asarray(ready, dtype=np.float64))

    def expect(self, n_rows: int) -> None:
        """Be told that about so many rows will come: many are worth packing at once."""
        with self._lock:
            self._work += n_rows * self._n_trees

    def _ask(self, X: pd.DataFrame) -> FloatArray:
        return np.asarray(self._pipeline.predict_proba(X), dtype=np.float64)[:, 1]

    def _ask_in_parts(self, X: pd.DataFrame) -> FloatArray:
        parts = []
        for first in range(0, len(X), _FIXED_ROWS):
            rows = np.minimum(np.arange(first, first + _FIXED_ROWS), len(X) - 1)
            parts.append(self._ask(X.iloc[rows]))
        return np.concatenate(parts)[: len(X)]

    def _pack_when_worth(self, n_rows: int) -> PackedTrees | None:
        """Count the work, and pack the trees once it is enough.

        One thread packs, while the others go on with scikit-learn.
        """
        with self._lock:
            self._work += n_rows * self._n_trees
            is_first = self._work > _WORTH_PACKING and not self._asked
            self._asked |= is_first
        if is_first:
            from waterflow_cli.models.fast_trees import pack_trees

            self._packed = pack_trees(self._classifier)
        return self._packed


def _count_trees(classifier: Any) -> int:
    """Count the trees of an ensemble of trees; 0 for anything else, a blend of models included."""
    members = getattr(classifier, "estimators_", [])
    flat = members.ravel() if isinstance(members, np.ndarray) else members
    if all(hasattr(member, "tree_") for member in flat):
        per_iteration = getattr(classifier, "n_trees_per_iteration_", 0)
        return len(members) or int(per_iteration and getattr(classifier, "n_iter_", 0))
    return 0
