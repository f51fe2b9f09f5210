"""Pictures of what a model does to labelled rows, of its training and of comparisons, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_curve

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.messages import tr
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.models.metrics import METRICS, Evaluation, measure_once
from waterflow_cli.training.comparison import BEST, Leaderboard

if TYPE_CHECKING:
    import pandas as pd

    from waterflow_cli.training.trainer import TrainingResult

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"
_INCHES_PER_CANDIDATE = 0.42
_THRESHOLD_METRICS = (
    "balanced_accuracy",
    "precision_potable",
    "recall_potable",
    "recall_not_potable",
)


@dataclass(frozen=True)
class JudgedRows:
    """What most pictures show: labels, P(potable), and what the titles call the rows."""

    y: IntArray
    probability: FloatArray
    evaluation: Evaluation
    name: str


def draw_result(result: TrainingResult) -> dict[str, bytes]:
    """Draw every picture that a training result allows; see `draw_plots`."""
    rows = JudgedRows(*result.tested, result.evaluation, tr("tested rows"))
    return draw_plots(rows, importance=result.importance, losses=result.loss_curve)


def draw_plots(
    rows: JudgedRows, *, importance: pd.DataFrame | None = None, losses: Sequence[float] = ()
) -> dict[str, bytes]:
    """Draw PNG files, by name, of some rows, and of a training (see `TrainingResult`) if any."""
    drawings = {
        "roc": partial(_draw_roc, rows),
        "precision_recall": partial(_draw_precision_recall, rows),
        "confusion_matrix": partial(_draw_confusion, rows),
        "reliability": partial(_draw_reliability, rows),
    }
    if importance is not None and len(importance):
        drawings["permutation_importance"] = partial(_draw_importance, importance)
    drawings["metrics_by_threshold"] = partial(_draw_thresholds, rows)
    if losses:
        drawings["loss_curve"] = partial(_draw_loss, losses)
    pictures = {}
    for name, draw in drawings.items():
        figure = _figure(6, 4.5)
        axes = figure.add_subplot()
        draw(axes)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
        pictures[name] = _to_png(figure)
    return pictures


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def _to_png(figure: Figure) -> bytes:
    content = BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _draw_roc(rows: JudgedRows, axes: Any) -> None:
    false_positive, true_positive, _ = roc_curve(rows.y, rows.probability)
    estimate = rows.evaluation.estimates["roc_auc"]
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label=tr("chance"))
    axes.plot(
        false_positive,
        true_positive,
        color=BLUE,
        label=tr(
            "AUC {value:.3f} ({low:.3f} to {high:.3f})",
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
        ),
    )
    negatives, alarms, misses, hits = rows.evaluation.confusion
    axes.plot(
        alarms / (alarms + negatives),
        hits / (hits + misses),
        "o",
        color=ORANGE,
        label=tr("threshold {threshold:.3f}", threshold=rows.evaluation.threshold),
    )
    axes.set_title(tr("ROC curve, {rows}", rows=rows.name))
    axes.set_xlabel(tr("false positive rate (called potable, is not)"))
    axes.set_ylabel(tr("true positive rate"))


def _draw_precision_recall(rows: JudgedRows, axes: Any) -> None:
    precision, recall, _ = precision_recall_curve(rows.y, rows.probability)
    estimate = rows.evaluation.estimates["pr_auc"]
    axes.axhline(rows.y.mean(), color=GREY, linestyle="--", label=tr("base rate"))
    axes.step(
        recall,
        precision,
        where="post",
        color=BLUE,
        label=tr("average precision {value:.3f}", value=estimate.value),
    )
    axes.set_ylim(0, 1.02)
    axes.set_title(tr("Precision and recall, {rows}", rows=rows.name))
    axes.set_xlabel(tr("recall on potable"))
    axes.set_ylabel(tr("precision on potable"))


def _draw_confusion(rows: JudgedRows, axes: Any) -> None:
    counts, threshold = np.reshape(rows.evaluation.confusion, (2, 2)), rows.evaluation.threshold
    axes.imshow(counts, cmap="Blues", vmin=0)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if count > counts.max() / 2 else "black"
        style = {"ha": "center", "va": "center", "fontsize": 16, "color": color}
        axes.text(column, row, f"{count:.0f}", **style)
    names = [tr("not potable"), tr("potable")]
    axes.set_xticks([0, 1], names)
    axes.set_yticks([0, 1], names)
    axes.set_title(tr("At threshold {threshold:.3f}, {rows}", threshold=threshold, rows=rows.name))
    axes.set_xlabel(tr("predicted"))
    axes.set_ylabel(tr("in the laboratory"))


def _draw_reliability(rows: JudgedRows, axes: Any) -> None:
    observed, predicted = calibration_curve(rows.y, rows.probability, n_bins=8, strategy="quantile")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label=tr("perfect"))
    axes.plot(predicted, observed, "o-", color=BLUE, label=tr("eight equal groups"))
    axes.set_title(tr("Reliability, {rows}", rows=rows.name))
    axes.set_xlabel(tr("predicted probability"))
    axes.set_ylabel(tr("share potable"))


def _draw_importance(importance: pd.DataFrame, axes: Any) -> None:
    frame = importance.iloc[::-1]
    reach = np.abs(frame[["low", "high"]].to_numpy() - frame[["value"]].to_numpy())
    axes.barh(frame.index, frame["value"], xerr=reach.T, color=BLUE)
    axes.axvline(0, color=GREY)
    axes.set_title(tr("Loss of ROC AUC when a measurement is shuffled"))
    axes.set_xlabel(tr("loss of ROC AUC (mean and 95 % interval)"))


def _draw_thresholds(rows: JudgedRows, axes: Any) -> None:
    thresholds = np.linspace(0, 1, 101)
    measured = [measure_once(rows.y, rows.probability, each) for each in thresholds]
    for name in _THRESHOLD_METRICS:
        axes.plot(thresholds, [each[name] for each in measured], label=tr(METRICS[name]))
    axes.axvline(rows.evaluation.threshold, color=ORANGE, linestyle="--", label=tr("chosen"))
    axes.set_title(tr("What the threshold does, {rows}", rows=rows.name))
    axes.set_xlabel(tr("threshold"))


def _draw_loss(losses: Sequence[float], axes: Any) -> None:
    epochs = range(1, len(losses) + 1)
    axes.plot(epochs, losses, color=BLUE, label=tr("training loss"))
    axes.set_title(tr("Loss by epoch"))
    axes.set_xlabel(tr("epoch"))
    axes.set_ylabel(tr("loss"))


def draw_leaderboard(board: Leaderboard) -> bytes:
    """Draw each candidate's ROC AUC and its difference to the best, as a PNG."""
    names = [each.name for each in board.candidates]
    figure = _figure(10, 1.7 + _INCHES_PER_CANDIDATE * len(names))
    figure.suptitle(tr(board.title), fontsize=11)
    values, differences = figure.subplots(1, 2, sharey=True)
    _draw_candidates(board, values, differences)
    values.set_yticks(range(len(names)), names)
    values.set_ylim(len(names) - 0.4, -0.6)
    values.set_xlabel("ROC AUC")
    differences.axvline(0, color=BLUE, linewidth=1)
    differences.set_xlabel(tr("ROC AUC less that of {name}", name=names[0]))
    for axes in (values, differences):
        axes.grid(axis="x", alpha=0.3)
        axes.tick_params(axis="y", length=0)
    return _to_png(figure)


def _draw_candidates(board: Leaderboard, values: Any, differences: Any) -> None:
    beside = differences.get_yaxis_transform()  # x in shares of the width, y in candidates
    for place, each in enumerate(board.candidates):
        verdict = board.verdict(each)
        color = {BEST: BLUE, "worse": ORANGE}.get(verdict, GREY)
        _draw_estimate(values, place, each.estimates["roc_auc"], color)
        if verdict != BEST:
            _draw_estimate(differences, place, board.behind(each), color)
        differences.text(1.02, place, tr(verdict), color=color, va="center", transform=beside)


def _draw_estimate(axes: Any, place: int, estimate: Estimate, color: str) -> None:
    axes.plot([estimate.low, estimate.high], [place, place], color=color, linewidth=2)
    axes.plot(estimate.value, place, "o", color=color)
