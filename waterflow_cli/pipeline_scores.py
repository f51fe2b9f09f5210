"""Ask a fitted pipeline for probabilities, by the cheaper of two ways that give equal bits."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from waterflow_cli.arrays import FloatArray

if TYPE_CHECKING:
    from waterflow_cli.fast_trees import PackedTrees

# Rows times trees after which packing an ensemble and compiling the walk (some 0.3 CPU seconds)
# have cost no more than scikit-learn has so far.
_WORTH_PACKING = 5_000_000


class PipelineScores:
    """P(class 1) of the rows of a frame, by a fitted pipeline.

    The first rows go to scikit-learn. Where more come, and the classifier is an ensemble of trees
    that can be packed, the rest go to `waterflow_cli.fast_trees`. Threads may share one instance.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted; no samplers.
    """

    def __init__(self, pipeline: Any) -> None:
        self._pipeline, self._classifier = pipeline, pipeline[-1]
        self._n_trees = _count_trees(self._classifier)
        self._lock, self._work = Lock(), 0
        self._packed: PackedTrees | None = None

    def __call__(self, X: pd.DataFrame) -> FloatArray:
        """Give the probabilities, shape (n_samples,)."""
        packed = self._pack_when_worth(len(X))
        if packed is None:
            return np.asarray(self._pipeline.predict_proba(X), dtype=np.float64)[:, 1]
        from waterflow_cli.fast_trees import positive_probability

        ready = self._pipeline[:-1].transform(X) if len(self._pipeline) > 1 else X
        return positive_probability(self._classifier, packed, np.asarray(ready, dtype=np.float64))

    def _pack_when_worth(self, n_rows: int) -> PackedTrees | None:
        with self._lock:
            self._work += n_rows * self._n_trees
            if self._packed is None and self._work > _WORTH_PACKING:
                from waterflow_cli.fast_trees import pack_trees

                self._packed = pack_trees(self._classifier)
                if self._packed is None:
                    self._n_trees = self._work = 0  # it cannot be packed: do not ask again
            return self._packed


def _count_trees(classifier: Any) -> int:
    for attribute in ("estimators_", "_predictors"):
        if hasattr(classifier, attribute):
            return len(getattr(classifier, attribute))
    return 0
