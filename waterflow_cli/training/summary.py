"""Put what is known about a trained model into JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from waterflow_cli.common.json import without_nan
from waterflow_cli.models.calibration import calibrator_to_json
from waterflow_cli.models.decision import verdicts_summary
from waterflow_cli.models.metrics import Evaluation, measure_once
from waterflow_cli.training.trainer import Measured, TrainingResult


def result_summary(result: TrainingResult) -> dict[str, Any]:
    """Put a result into a JSON object."""
    return {
        "rows_trained": result.n_trained,
        "design": result.design.summary(),
        "fits": result.n_fits,
        "threshold": result.model.threshold,
        "false_potable_rate": result.false_potable_rate,
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
    negatives, alarms, misses, hits = evaluation.confusion
    return {
        "rows": evaluation.n_rows,
        "threshold": evaluation.threshold,
        "interval": evaluation.interval,
        "estimates": {name: asdict(estimate) for name, estimate in evaluation.estimates.items()},
        "confusion": {
            "true_negative": negatives,
            "false_positive": alarms,
            "false_negative": misses,
            "true_positive": hits,
        },
    }


def fold_summary(measured: Measured) -> list[dict[str, Any]]:
    """List the tested folds, so that procedures can be compared fold by fold."""
    return [
        {
            "repeat": number,
            "rows": len(fold.rows),
            "rows_trained": fold.n_trained,
            **without_nan(measure_once(fold.y, fold.probability, fold.threshold)),
        }
        for number, repeat in enumerate(measured.folds)
        for fold in repeat
    ]


def flat_metrics(evaluation: Evaluation, prefix: str) -> dict[str, float]:
    """Name each figure and its interval for MLflow, which takes no NaN."""
    flat = {}
    for name, estimate in evaluation.estimates.items():
        flat[f"{prefix}_{name}"] = estimate.value
        flat[f"{prefix}_{name}_low"] = estimate.low
        flat[f"{prefix}_{name}_high"] = estimate.high
    return {name: value for name, value in flat.items() if value == value}
