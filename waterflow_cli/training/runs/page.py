"""One self-contained page about a trained model, for those who use water and not statistics."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple

import numpy as np
import pandas as pd

from waterflow_cli.common.json import path_text
from waterflow_cli.common.messages import tr
from waterflow_cli.common.number_formats import format_metric, format_share
from waterflow_cli.common.pages import page_environment
from waterflow_cli.models.decision import describe_verdicts
from waterflow_cli.models.metrics import METRICS
from waterflow_cli.training.data import TrainingData
from waterflow_cli.training.designs import describe_design
from waterflow_cli.training.judging import OperatingPoint
from waterflow_cli.training.runs.record import Training
from waterflow_cli.training.trainer import TrainingResult
from waterflow_cli.validation.limit_checks import rows_above
from waterflow_cli.validation.limits import Limit, load_limits, unmeasured


def render_page(training: Training, result: TrainingResult, pictures: Mapping[str, bytes]) -> str:
    """Write the page as HTML that loads nothing; whatever comes from the data is escaped."""
    data, options, plugin = training.data, training.options, training.plugin.name
    health = health_limits()
    evaluations, metrics = metric_table(plugin, result)
    template = page_environment().get_template("report.html")
    return template.render(
        plugin=plugin,
        data={"path": path_text(data.path), "sha256": data.sha256},
        leaks=[tr(each.describe()) for each in training.leaks],
        share=lambda value: f"{value:.1%}",
        decided=f"{result.decided_share:.1%}",
        unmeasured=", ".join(map(tr, unmeasured(map(str, data.X)))),
        n_rows=len(data.y),
        counts=_count_rows(data),
        columns=[_describe(data.X[name]) for name in data.X],
        contradicted=float(rows_above(health, data.X)[data.y == 1].mean()),
        limits=list(_compare_limits(data, health)),
        design=describe_design(result.design.name),
        n_trained=result.n_trained,
        interval=tr(result.evaluation.interval),
        evaluations=evaluations,
        metrics=metrics,
        threshold=result.model.threshold,
        rule=options.threshold.text,
        costs=options.costs,
        points=[point_cells(point) for point in result.points],
        policy=result.model.policy.describe(),
        verdicts=[tr(each) for each in describe_verdicts(result.verdicts)],
        certificates=[tr(each.describe()) for each in result.certificates],
        importance=[
            (str(name), *("-" if value != value else f"{value:+.3f}" for value in row))
            for name, row in result.importance.iterrows()
        ],
        pictures={
            name: base64.b64encode(content).decode("ascii") for name, content in pictures.items()
        },
    )


def health_limits() -> list[Limit]:
    """Give the values that labels are held against: the health-based ones of the profile epa."""
    (profile,) = load_limits(["epa"])
    return [limit for limit in profile.limits if limit.purpose == "health"]


def metric_table(plugin: str, result: TrainingResult) -> tuple[list[str], list[list[str]]]:
    """Name the model and the baselines, and give each metric with the figures of all."""
    measured = {tr(name): each.evaluation for name, each in result.baselines.items()}
    evaluations = {plugin: result.evaluation, **measured}
    rows = [
        [tr(title), *(format_metric(name, each.estimates[name]) for each in evaluations.values())]
        for name, title in METRICS.items()
    ]
    return list(evaluations), rows


def point_cells(point: OperatingPoint) -> Sequence[str]:
    """Write what a threshold does as the cells of a table."""
    name, *shares, alarms, cost = astuple(point)
    return (tr(name), *map(format_share, shares), f"{alarms:.0f}", f"{cost:.0f}")


def _count_rows(data: TrainingData) -> list[tuple[str, int]]:
    negatives, positives = data.class_counts
    counts = [(tr("labelled potable"), positives), (tr("labelled not potable"), negatives)]
    if data.n_repeated:
        counts.append((tr("repeat another sample's measurements"), data.n_repeated))
    return counts


def _describe(values: pd.Series) -> tuple[str, float, str, str, str]:
    """Give the name of a measurement, the share missing, its median and its range."""
    known = values.dropna()
    figures = known.quantile([0.5, 0, 1]) if len(known) else [np.nan] * 3
    median, low, high = map(_plain, figures)
    return str(values.name), float(values.isna().mean()), median, low, high


def _compare_limits(
    data: TrainingData, limits: Sequence[Limit]
) -> Iterator[tuple[Limit, float, float]]:
    """Give the share above each limit among the rows labelled potable, and among the others."""
    for limit in limits:
        if limit.column in data.X:
            above = rows_above([limit], data.X)
            yield limit, float(above[data.y == 1].mean()), float(above[data.y == 0].mean())


def _plain(value: float) -> str:
    """Write a number to four digits without an exponent; a dash where there is none.

    >>> _plain(20927.83), _plain(0.352)
    ('20930', '0.352')
    """
    if value != value:
        return "-"
    return np.format_float_positional(value, precision=4, fractional=False, trim="-")
