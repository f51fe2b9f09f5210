"""Put together what a trained model remembers of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.models.decision import VERDICTS
from waterflow_cli.models.reference import Reference, hash_rows
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.trainer import TrainingResult

MOST_ROWS, MOST_HASHES = 5_000, 200_000


def build_reference(data: TrainingData, result: TrainingResult, *, seed: int = 0) -> Reference:
    """Put together what a trained model remembers of its rows.

    Parameters
    ----------
    data : TrainingData
        What `train_model` was given.
    result : TrainingResult
        What it returned.
    seed : int
        Of the rows drawn.
    """
    part = data.take(result.rows)
    X = part.X[list(result.model.measurements)]
    probability = unseen_probabilities(result)
    hashes = hash_rows(X)
    distinct, first = np.unique(hashes, return_index=True)
    tested = probability[~np.isnan(probability)]
    verdicts = np.bincount(result.model.verdict(tested), minlength=len(VERDICTS))
    kept = Reference(
        n_rows=len(X),
        n_invalid=data.n_invalid,
        n_read=data.n_read,
        nondetect=data.options.reading.nondetect,
        missing={str(name): _count_missing(X[name], data) for name in X},
        below={str(name): data.cells.nondetects[str(name)] for name in X},
        above={str(name): data.cells.above_range[str(name)] for name in X},
        classes=part.class_counts,
        verdicts=tuple(map(int, verdicts)),
        n_repeated=len(X) - len(distinct),
        X=X,
        label=part.y.astype(np.float64),
        probability=probability,
        hashes=distinct[:MOST_HASHES],
        hash_cut=int(distinct[MOST_HASHES]) if len(distinct) > MOST_HASHES else None,
    )
    rows = np.sort(first) if kept.copies_count_once else np.arange(len(X))
    return _thinned(kept, _draw(rows, seed))


def _count_missing(values: pd.Series, data: TrainingData) -> int:
    """Count what is missing, but for bounds that `--nondetect missing` made so.

    Bounds are counted of all rows of the file, and stand for the same share of the fitted ones.
    """
    count = int(values.isna().sum())
    if data.options.reading.nondetect == "missing":
        name = str(values.name)
        n_bounds = data.cells.nondetects[name] + data.cells.above_range[name]
        count -= round(n_bounds * len(values) / data.n_read)
    return max(0, count)


def unseen_probabilities(result: TrainingResult) -> FloatArray:
    """Give what models said of each fitted row that had not seen it, in the first repeat.

    NaN for rows that were not tested: those of a hold-out's other part, and the oldest in time.
    """
    probability = np.full(len(result.rows), np.nan)
    for fold in result.measured.folds[0]:
        probability[fold.rows] = fold.probability
    return probability


def _draw(rows: IntArray, seed: int) -> IntArray:
    if len(rows) <= MOST_ROWS:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))


def _thinned(reference: Reference, rows: IntArray) -> Reference:
    content: dict[str, Any] = {
        "X": reference.X.iloc[rows].reset_index(drop=True),
        "label": reference.label[rows],
        "probability": reference.probability[rows],
    }
    return Reference(**{**vars(reference), **content})
