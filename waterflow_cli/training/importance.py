"""Which measurements a procedure's discrimination rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.inspection import permutation_importance
from sklearn.metrics import roc_auc_score

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.designs import FoldScores, corrected_interval, draw_rows
from waterflow_cli.training.options import TrainingOptions

N_REPEATS = 3
# Tested rows of a fold that are shuffled; more show no smaller loss.
MOST_ROWS = 10_000
# A forest asked about some hundred rows spends two thirds of the time on getting to its trees.
_ROWS_AT_ONCE = 50_000


def measure_importance(
    folds: Sequence[FoldScores], data: TrainingData, options: TrainingOptions
) -> pd.DataFrame:
    """Measure what shuffling costs on tested rows in ROC AUC (Breiman 2001, "Random forests").

    Returns
    -------
    DataFrame
        An `Estimate` in each row, those of the most important measurements first.
    """
    seed = options.seed
    rows = [fold.rows[draw_rows(len(fold.rows), MOST_ROWS, seed)] for fold in folds]
    losses = Parallel(n_jobs=options.jobs)(
        delayed(roc_auc_losses)(fold.fitted, data.X.iloc[tested], data.y[tested], seed=seed)
        for fold, tested in zip(folds, rows, strict=True)
    )
    shares = [len(tested) / fold.n_trained for fold, tested in zip(folds, rows, strict=True)]
    share = float(np.mean(shares))
    estimates = [asdict(corrected_interval(each, share)) for each in np.transpose(losses)]
    frame = pd.DataFrame(estimates, index=data.X.columns)
    return frame.sort_values("value", ascending=False)


def roc_auc_losses(fitted: Any, X: pd.DataFrame, y: IntArray, *, seed: int) -> FloatArray:
    """Give the mean loss by shuffling each column, shape (n_features,).

    They are those of scikit-learn, which shuffles here too; but a model is asked about many
    shuffles at once.
    """
    waiting: list[pd.DataFrame] = []
    found: list[float] = []

    def ask() -> None:
        scores = _score(fitted, pd.concat(waiting, ignore_index=True))
        found.extend(roc_auc_score(y, each) for each in scores.reshape(len(waiting), -1))
        waiting.clear()

    def wait(_fitted: Any, shuffled: pd.DataFrame, _y: IntArray) -> float:
        waiting.append(shuffled.copy())
        if len(waiting) * len(y) >= _ROWS_AT_ONCE:
            ask()
        return 0.0

    permutation_importance(fitted, X, y, scoring=wait, n_repeats=N_REPEATS, random_state=seed)
    if waiting:
        ask()
    losses = found[0] - np.reshape(found[1:], (-1, N_REPEATS))
    return np.asarray(losses.mean(axis=1))


def _score(fitted: Any, X: pd.DataFrame) -> FloatArray:
    """Give what scikit-learn's own scorer ranks rows by."""
    if hasattr(fitted, "decision_function"):
        return np.asarray(fitted.decision_function(X), dtype=np.float64)
    return np.asarray(fitted.predict_proba(X)[:, 1], dtype=np.float64)
