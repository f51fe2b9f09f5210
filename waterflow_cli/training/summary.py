"""Put together what is known about a trained model, and what it remembers of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.common.json import without_nan
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.models.calibration import calibrator_to_json
from waterflow_cli.models.decision import VERDICTS, verdicts_summary
from waterflow_cli.models.metrics import (
    Called,
    Evaluation,
    backtest_expectations,
    measure_once,
)
from waterflow_cli.models.reference import Reference, hash_rows
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.designs import draw_rows
from waterflow_cli.training.trainer import Measured, TrainingResult

MOST_ROWS, MOST_HASHES = 5_000, 200_000


def result_summary(result: TrainingResult) -> dict[str, Any]:
    """Put a result into a JSON object."""
    return {
        "rows_trained": result.n_trained,
        "design": result.design.summary(),
        "fits": result.n_fits,
        "threshold": result.model.threshold,
        "false_potable_rate": result.false_potable_rate,
        "found_potable_rate": result.found_potable_rate,
        "policy": asdict(result.model.policy),
        "verdicts": verdicts_summary(result.verdicts),
        "calibration": calibrator_to_json(result.model.calibrator),
        "evaluation": evaluation_summary(result.evaluation),
        "folds": fold_summary(result.measured),
        "baselines": {
            name: evaluation_summary(measured.evaluation)
            for name, measured in result.baselines.items()
        },
        "operating_points": [asdict(point) for point in result.points],
        "guarantees": [
            {**each._asdict(), "guarantee": str(each.guarantee)} for each in result.certificates
        ],
        "permutation_importance": {
            name: row.to_dict() for name, row in result.importance.iterrows()
        },
    }


def evaluation_summary(evaluation: Evaluation) -> dict[str, Any]:
    """Put an evaluation into a JSON object."""
    counted = ("true_negative", "false_positive", "false_negative", "true_positive")
    return {
        "rows": evaluation.n_rows,
        "threshold": evaluation.threshold,
        "interval": evaluation.interval,
        "estimates": {name: asdict(estimate) for name, estimate in evaluation.estimates.items()},
        "confusion": dict(zip(counted, evaluation.confusion, strict=True)),
    }


def fold_summary(measured: Measured) -> list[dict[str, Any]]:
    """List the tested folds, so that procedures can be compared fold by fold."""
    return [
        {
            "repeat": number,
            "rows": len(fold.rows),
            "rows_trained": fold.n_trained,
            "threshold": fold.threshold if fold.threshold <= 1 else None,
            **without_nan(measure_once(fold.y, fold.probability, fold.threshold)),
        }
        for number, repeat in enumerate(measured.folds)
        for fold in repeat
    ]


def flat_metrics(estimates: Mapping[str, Estimate], prefix: str) -> dict[str, float]:
    """Name each figure and its interval for MLflow, which takes no NaN."""
    ends = {"value": "", "low": "_low", "high": "_high"}
    return {
        f"{prefix}_{name}{ends[part]}": value
        for name, estimate in estimates.items()
        for part, value in asdict(estimate).items()
        if value == value
    }


def build_reference(data: TrainingData, result: TrainingResult, *, seed: int = 0) -> Reference:
    """Put together what a trained model remembers of the rows that `train_model` was given."""
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
        backtest=backtest_expectations(
            [
                [Called(fold.y, fold.probability, fold.called) for fold in repeat]
                for repeat in result.measured.folds
            ]
        ),
    )
    rows = np.sort(first) if kept.copies_count_once else np.arange(len(X))
    drawn = rows[draw_rows(len(rows), MOST_ROWS, seed)]
    return replace(
        kept,
        X=X.iloc[drawn].reset_index(drop=True),
        label=kept.label[drawn],
        probability=probability[drawn],
    )


def _count_missing(values: pd.Series, data: TrainingData) -> int:
    """Count what is missing, but for bounds that `--nondetect missing` made so."""
    count = int(values.isna().sum())
    if data.options.reading.nondetect == "missing":
        # Counted of all rows of the file, they stand for the same share of the fitted ones.
        name = str(values.name)
        n_bounds = data.cells.nondetects[name] + data.cells.above_range[name]
        count -= round(n_bounds * len(values) / data.n_read)
    return max(0, count)


def unseen_probabilities(result: TrainingResult) -> FloatArray:
    """Give what models said of fitted rows unseen, in the first repeat; NaN for untested rows."""
    probability = np.full(len(result.rows), np.nan)
    for fold in result.measured.folds[0]:
        probability[fold.rows] = fold.probability
    return probability
