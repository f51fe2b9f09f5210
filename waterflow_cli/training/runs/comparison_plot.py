"""The picture of a comparison."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from waterflow_cli.common.messages import tr
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.training.comparison import BEST, Leaderboard
from waterflow_cli.training.runs.plots import BLUE, GREY, ORANGE

_INCHES_PER_CANDIDATE = 0.42


def draw_leaderboard(board: Leaderboard) -> bytes:
    """Draw each candidate's ROC AUC and its difference to the best, as a PNG."""
    names = [each.name for each in board.candidates]
    size = (10, 1.7 + _INCHES_PER_CANDIDATE * len(names))
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
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
    content = BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


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
