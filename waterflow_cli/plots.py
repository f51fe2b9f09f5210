"""Pictures of a training result, as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_curve

from waterflow_cli.metrics import METRICS, measure_at_thresholds
from waterflow_cli.training import TrainingResult

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#777777"
_THRESHOLD_METRICS = (
    "balanced_accuracy",
    "precision_potable",
    "recall_potable",
    "recall_not_potable",
)


def save_plots(result: TrainingResult, folder: Path) -> list[Path]:
    """Draw every picture that a result allows into a folder.

    Returns
    -------
    list of Path
        The files written.
    """
    drawings = {
        "roc": _draw_roc,
        "precision_recall": _draw_precision_recall,
        "confusion_matrix": _draw_confusion,
        "reliability": _draw_reliability,
        "permutation_importance": _draw_importance,
        "metrics_by_threshold": _draw_thresholds,
    }
    if result.loss_curve:
        drawings["loss_curve"] = _draw_loss
    paths = []
    for name, draw in drawings.items():
        figure = Figure(figsize=(6, 4.5), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.add_subplot(), result)
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1])
    return paths


def _draw_roc(axes: Any, result: TrainingResult) -> None:
    false_positive, true_positive, _ = roc_curve(*result.tested)
    estimate = result.evaluation.estimates["roc_auc"]
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", label="chance")
    axes.plot(
        false_positive,
        true_positive,
        color=_BLUE,
        label=f"AUC {estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})",
    )
    negatives, alarms, misses, hits = result.evaluation.confusion
    axes.plot(
        alarms / (alarms + negatives),
        hits / (hits + misses),
        "o",
        color=_ORANGE,
        label=f"threshold {result.evaluation.threshold:.3f}",
    )
    _label(
        axes,
        "ROC curve, tested rows",
        "false positive rate (called potable, is not)",
        "true positive rate",
    )


def _draw_precision_recall(axes: Any, result: TrainingResult) -> None:
    precision, recall, _ = precision_recall_curve(*result.tested)
    estimate = result.evaluation.estimates["pr_auc"]
    axes.axhline(result.tested[0].mean(), color=_GREY, linestyle="--", label="base rate")
    axes.step(
        recall,
        precision,
        where="post",
        color=_BLUE,
        label=f"average precision {estimate.value:.3f}",
    )
    axes.set_ylim(0, 1.02)
    _label(axes, "Precision and recall, tested rows", "recall on potable", "precision on potable")


def _draw_confusion(axes: Any, result: TrainingResult) -> None:
    counts = np.reshape(result.evaluation.confusion, (2, 2))
    axes.imshow(counts, cmap="Blues", vmin=0)
    for (row, column), count in np.ndenumerate(counts):
        dark = count > counts.max() / 2
        axes.text(
            column,
            row,
            f"{count:.0f}",
            ha="center",
            va="center",
            fontsize=16,
            color="white" if dark else "black",
        )
    names = ["not potable", "potable"]
    axes.set_xticks([0, 1], names)
    axes.set_yticks([0, 1], names)
    axes.set_title(f"At threshold {result.evaluation.threshold:.3f}, tested rows")
    axes.set_xlabel("predicted")
    axes.set_ylabel("in the laboratory")


def _draw_reliability(axes: Any, result: TrainingResult) -> None:
    observed, predicted = calibration_curve(*result.tested, n_bins=8, strategy="quantile")
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", label="perfect")
    axes.plot(predicted, observed, "o-", color=_BLUE, label="eight equal groups")
    _label(axes, "Reliability, tested rows", "predicted probability", "share potable")


def _draw_importance(axes: Any, result: TrainingResult) -> None:
    frame = result.importance.iloc[::-1]
    reach = np.abs(frame[["low", "high"]].to_numpy() - frame[["value"]].to_numpy())
    axes.barh(frame.index, frame["value"], xerr=reach.T, color=_BLUE)
    axes.axvline(0, color=_GREY)
    axes.set_title("Loss of ROC AUC when a measurement is shuffled")
    axes.set_xlabel("loss of ROC AUC (mean and 95 % interval)")


def _draw_thresholds(axes: Any, result: TrainingResult) -> None:
    thresholds = np.linspace(0, 1, 101)
    curves = measure_at_thresholds(*result.tested, thresholds)
    for name in _THRESHOLD_METRICS:
        axes.plot(thresholds, curves[name], label=METRICS[name])
    axes.axvline(result.model.threshold, color=_ORANGE, linestyle="--", label="chosen")
    _label(axes, "What the threshold does, tested rows", "threshold", "")


def _draw_loss(axes: Any, result: TrainingResult) -> None:
    epochs = range(1, len(result.loss_curve) + 1)
    axes.plot(epochs, result.loss_curve, color=_BLUE, label="training loss")
    _label(axes, "Loss by epoch", "epoch", "loss")


def _label(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(fontsize=8)
