"""How a model fares on labelled rows of a file, beside how it fared in training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.common.messages import Message, counted
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.models.decision import (
    DecisionModel,
    VerdictRecord,
    exact_share,
    record_verdicts,
    verdicts_summary,
)
from waterflow_cli.models.metrics import LEVEL
from waterflow_cli.monitoring.checks import Check, Unchecked
from waterflow_cli.monitoring.drift import Outcome, compare_shares

LEAST_PER_CLASS = 10
_N_BINS = 5
# Of the normal distribution, for an interval of `LEVEL`.
_DEVIATIONS = float(stats.norm.isf((1 - LEVEL) / 2))


@dataclass(frozen=True)
class Bin:
    """Rows of about equal probability: its mean, and the share of them that is labelled potable."""

    n_rows: int
    predicted: float
    observed: Estimate


@dataclass(frozen=True, kw_only=True)
class Record:
    """How probabilities fared on rows that have a label.

    Attributes
    ----------
    n_rows, n_potable : int
        Labelled rows, and those labelled potable.
    counts : dict of str to (int, int)
        By metric: rows that have the property, and rows that could have it.
    means : dict of str to (float, float)
        By metric: the figure and its standard error.
    """

    n_rows: int
    n_potable: int
    counts: dict[str, tuple[int, int]]
    means: dict[str, tuple[float, float]]
    verdicts: dict[str, VerdictRecord]
    bins: list[Bin]

    def estimate(self, metric: str) -> Estimate:
        """Give a metric with its 95 % interval."""
        if metric in self.counts:
            return exact_share(*self.counts[metric])
        value, error = self.means[metric]
        return Estimate(value, value - _DEVIATIONS * error, value + _DEVIATIONS * error)

    def summary(self) -> dict[str, Any]:
        """Put it into a JSON object."""
        return {
            "rows": self.n_rows,
            "rows_potable": self.n_potable,
            "metrics": {name: asdict(self.estimate(name)) for name in (*self.counts, *self.means)},
            "verdicts": verdicts_summary(self.verdicts),
            "calibration": [asdict(each) for each in self.bins],
        }


def record(decision: DecisionModel, label: FloatArray, probability: FloatArray) -> Record:
    """Count and measure how probabilities fared.

    Parameters
    ----------
    label : ndarray of shape (n_rows,)
        1 = potable, 0 = not potable.
    probability : ndarray of shape (n_rows,)
        From a model that saw none of these rows.
    """
    y = label.astype(np.int64)
    called = decision.predict(probability) == 1
    potable = y == 1
    counts = {
        "precision": (int((called & potable).sum()), int(called.sum())),
        "recall": (int((called & potable).sum()), int(potable.sum())),
        "false_potable": (int((called & ~potable).sum()), int((~potable).sum())),
    }
    means = {
        "auc": _area(probability[potable], probability[~potable]),
        "brier": _mean((probability - y) ** 2),
        "calibration": _mean(y - probability),
    }
    verdicts = record_verdicts(decision, y, probability)
    return Record(
        n_rows=len(y),
        n_potable=int(y.sum()),
        counts=counts,
        means=means,
        verdicts=verdicts,
        bins=_bins(y, probability),
    )


def compare_records(old: Record, new: Record) -> Iterator[Check | Unchecked]:
    """Test whether a model fares worse than in training; of calibration, whether it differs."""
    fewest = min(new.n_potable, new.n_rows - new.n_potable)
    if fewest < LEAST_PER_CLASS or not old.n_rows:
        reason = counted(
            "{n} labelled row of a class that is new to the model; at least {least}.",
            "{n} labelled rows of a class that are new to the model; at least {least}.",
            fewest,
            least=LEAST_PER_CLASS,
        )
        yield Unchecked("precision", "", reason)
        return
    for metric, (n_had, n_rows) in new.counts.items():
        before = old.counts[metric]
        if not n_rows or not before[1]:
            yield Unchecked(metric, "", Message("no row to count."))
            continue
        is_worse_by = "greater" if metric == "false_potable" else "less"
        outcome = compare_shares(before, (n_had, n_rows), is_worse_by)
        if is_worse_by == "less":  # worse is the positive effect
            outcome = outcome._replace(effect=-outcome.effect)
        shown = before[0] / before[1], n_had / n_rows
        yield Check.of(metric, outcome, shown, (before[1], n_rows))
    for metric, (value, error) in new.means.items():
        value_before, error_before = old.means[metric]
        change = value_before - value if metric == "auc" else value - value_before
        spread = float(np.hypot(error, error_before))
        score = change / spread if spread else 0.0
        sides = 2 * stats.norm.sf(abs(score)) if metric == "calibration" else stats.norm.sf(score)
        outcome = Outcome(change, float(sides))
        yield Check.of(metric, outcome, (value_before, value), (old.n_rows, new.n_rows))


def _mean(values: FloatArray) -> tuple[float, float]:
    if len(values) < 2:
        return np.nan, np.nan
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _area(positive: FloatArray, negative: FloatArray) -> tuple[float, float]:
    """Give the ROC AUC and its standard error (DeLong, DeLong and Clarke-Pearson 1988)."""
    if min(len(positive), len(negative)) < 2:
        return np.nan, np.nan
    of_positive = _placements(positive, negative)
    of_negative = 1 - _placements(negative, positive)
    variance = of_positive.var(ddof=1) / len(positive) + of_negative.var(ddof=1) / len(negative)
    return float(of_positive.mean()), float(np.sqrt(variance))


def _placements(values: FloatArray, others: FloatArray) -> FloatArray:
    """Give the share of the others that lie below each value; ties count half."""
    ranked = np.sort(others)
    below, up_to = (np.searchsorted(ranked, values, side=side) for side in ("left", "right"))
    return np.asarray((below + up_to) / (2 * len(others)))


def _bins(y: np.ndarray, probability: FloatArray) -> list[Bin]:
    parts = np.array_split(np.argsort(probability, kind="stable"), _N_BINS)
    return [
        Bin(len(rows), float(probability[rows].mean()), exact_share(int(y[rows].sum()), len(rows)))
        for rows in parts
        if len(rows)
    ]
