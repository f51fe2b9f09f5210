"""The gate: whether a challenger may take the champion's place, by rows that neither learned from.

Everything here is a function of labels and of what the two models say of the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.common.messages import Message, marked
from waterflow_cli.common.number_formats import CHANCE, Estimate, describe_estimate
from waterflow_cli.models.decision import LIKELY_POTABLE, VERDICTS, DecisionModel
from waterflow_cli.models.metrics import measure_once, measure_resamples
from waterflow_cli.training.retraining.options import USUAL_OPTIONS, RetrainingOptions
from waterflow_cli.training.summary import flat_metrics

# With this confidence the challenger is not worse by more than the margin.
CONFIDENCE = 0.95
# By how many standard errors of the comparison on the gate's rows the challenger's rate of false
# "potable" is kept below the champion's on its training rows.
ALLOWANCE = 1.3
_INTERVAL = (0.025, 0.975)
# Labels that the champion cannot make sense of are believed only where the gain is beyond doubt.
_SURELY = 0.005

FIGURES: Mapping[str, str] = {
    "roc_auc": marked("ROC AUC"),
    "balanced_accuracy": marked("Balanced accuracy"),
    "false_potable_rate": marked("Not potable, but called potable"),
    "false_likely_potable_rate": marked("Not potable, but likely_potable"),
}


class Calls(NamedTuple):
    """What a model says of some rows: each array of shape (n_samples,).

    It calls a sample potable from the threshold on, and gives some the verdict likely_potable.
    """

    probability: FloatArray
    threshold: float
    likely_potable: BoolArray

    @classmethod
    def of(cls, decision: DecisionModel, probability: FloatArray) -> Calls:
        """Let a model decide on probabilities of its own."""
        verdicts = decision.verdict(probability)
        return cls(probability, decision.threshold, verdicts == VERDICTS.index(LIKELY_POTABLE))

    @property
    def potable(self) -> BoolArray:
        """Which rows are called potable."""
        return np.asarray(self.probability >= self.threshold)


class Beginning(NamedTuple):
    """The version from which the retrainings began, by the rows that its training tested."""

    version: int
    balanced_accuracy: float
    false_potable_rate: float


@dataclass(frozen=True)
class Figure:
    """A figure of both models on the same rows, and the challenger's less the champion's."""

    champion: Estimate
    challenger: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Condition:
    """One thing that the gate asks for, and what it found, in words."""

    name: str
    passed: bool
    text: Message


@dataclass(frozen=True)
class GateResult:
    """What the gate says.

    Attributes
    ----------
    counts : tuple of int
        Not potable and potable rows that judged.
    """

    counts: tuple[int, int]
    margin: float
    figures: dict[str, Figure]
    conditions: list[Condition]

    @property
    def passed(self) -> bool:
        """Whether every condition holds."""
        return all(condition.passed for condition in self.conditions)

    @property
    def reasons(self) -> list[Message]:
        """What does not hold."""
        return [condition.text for condition in self.conditions if not condition.passed]

    def summary(self) -> dict[str, Any]:
        """Put it into a JSON object."""
        return {
            "passed": self.passed,
            "margin": self.margin,
            "rows_not_potable": self.counts[0],
            "rows_potable": self.counts[1],
            "figures": {name: asdict(each) for name, each in self.figures.items()},
            "conditions": [asdict(condition) for condition in self.conditions],
        }

    def metrics(self) -> dict[str, float]:
        """Name the figures for MLflow, which takes no NaN."""
        flat = {"gate_passed": float(self.passed), "gate_rows": float(sum(self.counts))}
        for name, figure in self.figures.items():
            flat[f"gate_{name}"] = figure.challenger.value
            flat[f"gate_champion_{name}"] = figure.champion.value
            flat |= flat_metrics({name: figure.difference}, "gate_difference")
        return {name: value for name, value in flat.items() if value == value}


def judge_challenger(
    y: IntArray,
    champion: Calls,
    challenger: Calls,
    *,
    recorded: Estimate,
    on_new: Estimate,
    beginning: Beginning,
    balanced_accuracy: float,
    groups: Any | None = None,
    options: RetrainingOptions = USUAL_OPTIONS,
) -> GateResult:
    """Judge two models by rows that neither learned from.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        1 = potable, 0 = not potable. Both occur.
    recorded, on_new : Estimate
        The champion's ROC AUC as its training measured it, and on all new rows.
    beginning : Beginning
        What balanced accuracy is compared with too, so that it cannot fall a little each time.
    balanced_accuracy : float
        The challenger's, as its training measured it.
    groups : ndarray of shape (n_samples,), optional
        What is resampled as a whole.
    """
    margin = options.margin
    figures, sure_gain = _compare(y, champion, challenger, groups, options.seed)
    auc, accuracy = figures["roc_auc"], figures["balanced_accuracy"].difference
    conditions = [
        _condition("skill", auc.challenger.low > CHANCE, shown=describe_estimate(auc.challenger)),
        _condition(
            "not_worse",
            auc.difference.low >= -margin,
            margin=margin,
            shown=describe_estimate(auc.difference, "+.3f"),
        ),
        _condition(
            "balanced_accuracy",
            accuracy.value >= -margin,
            margin=margin,
            shown=describe_estimate(accuracy, "+.3f"),
        ),
        *_compare_calls(y, champion, challenger),
        _labels_are_credible(recorded, on_new, is_better=sure_gain > 0),
        _condition(
            "since_beginning",
            balanced_accuracy - beginning.balanced_accuracy >= -margin,
            version=beginning.version,
            margin=margin,
            now=balanced_accuracy,
            then=beginning.balanced_accuracy,
        ),
    ]
    counts = (int((y == 0).sum()), int((y == 1).sum()))
    return GateResult(counts, margin, figures, conditions)


def estimate_auc(
    y: IntArray, probability: FloatArray, *, groups: Any | None = None, seed: int = 0
) -> Estimate:
    """Estimate a ROC AUC with its 95 % interval over resampled rows or groups."""
    resampled = measure_resamples(y, probability, CHANCE, seed, groups)["roc_auc"]
    value = measure_once(y, probability, CHANCE)["roc_auc"]
    return _estimate(value, resampled, _INTERVAL)


def false_potable_ceiling(rate: float, n_known: int, n_judging: int) -> float:
    """Choose the share of not potable training rows that a challenger may call potable.

    It lies below the champion's `rate` on `n_known` such rows, so that chance seldom makes an
    equally good model fail the gate, with its `n_judging` of them. The share that it may call
    likely_potable is chosen in the same way.

    Notes
    -----
    Both models are asked about the same rows, and mostly agree. With a correlation of one half
    the variance of the difference of their rates is that of one rate.
    """
    spread = np.sqrt(rate * (1 - rate) * (1 / n_judging + 1 / n_known))
    return max(0.0, float(np.floor((rate - ALLOWANCE * spread) * 1e4) / 1e4))


def _compare(
    y: IntArray, champion: Calls, challenger: Calls, groups: Any | None, seed: int
) -> tuple[dict[str, Figure], float]:
    """Measure both models, and by how much the challenger's ROC AUC is larger for sure."""
    (before, now), (drawn_before, drawn_now) = (
        [_measure(measure, y, calls) for calls in (champion, challenger)]
        for measure in (measure_once, partial(measure_resamples, seed=seed, groups=groups))
    )
    gains = {name: drawn_now[name] - drawn_before[name] for name in FIGURES}
    figures = {
        name: Figure(
            _estimate(before[name], drawn_before[name], _INTERVAL),
            _estimate(now[name], drawn_now[name], _INTERVAL),
            _estimate(now[name] - before[name], gains[name], (1 - CONFIDENCE, CONFIDENCE)),
        )
        for name in FIGURES
    }
    return figures, float(np.nanquantile(gains["roc_auc"], _SURELY))


def _measure(measure: Callable[..., dict[str, Any]], y: IntArray, calls: Calls) -> dict[str, Any]:
    """Give the figures of a model; the two rates are about the not potable rows alone."""
    found = measure(y, calls.probability, calls.threshold)
    likely = measure(y, calls.likely_potable.astype(np.float64), CHANCE)
    found["false_potable_rate"] = 1 - found["recall_not_potable"]
    found["false_likely_potable_rate"] = 1 - likely["recall_not_potable"]
    return found


# By condition: what is said where it holds, and where not.
_FOUND: Mapping[str, tuple[str, str]] = {
    "skill": (
        marked("It tells potable from not potable: ROC AUC {shown}."),
        marked("It is not shown to be better than chance: ROC AUC {shown}."),
    ),
    "not_worse": (
        marked("Its ROC AUC is not worse by more than {margin:g}: difference {shown}."),
        marked("Its ROC AUC may be worse by more than {margin:g}: difference {shown}."),
    ),
    "balanced_accuracy": (
        marked(
            "Its calls are as good, or worse by no more than {margin:g} in balanced accuracy: "
            "difference {shown}."
        ),
        marked(
            "Its calls are worse by more than {margin:g} in balanced accuracy: difference {shown}."
        ),
    ),
    "false_potable": (
        marked(
            "Of {n_judging} not potable samples it calls {after} potable, the champion {before}."
        ),
        marked(
            "Of {n_judging} not potable samples it calls {after} potable, more than the "
            "champion's {before}."
        ),
    ),
    "false_likely_potable": (
        marked("False verdicts likely_potable: {after}, the champion's {before}."),
        marked("False verdicts likely_potable: {after}, more than the champion's {before}."),
    ),
    "labels_credible": (
        marked(
            "The new labels go with what was learned: the champion's ROC AUC is {on_new} on "
            "the new samples, and was {recorded} when it was trained."
        ),
        marked(
            "The new labels do not go with what the champion learned: its ROC AUC is {on_new} on "
            "the new samples, and was {recorded} when it was trained. The water has changed, or "
            "the labels are wrong; check them."
        ),
    ),
    "since_beginning": (
        marked(
            "Compared with version {version}, from which the retrainings began, its balanced "
            "accuracy is not worse by more than {margin:g}: {now:.3f} in training, {then:.3f} then."
        ),
        marked(
            "Compared with version {version}, from which the retrainings began, its balanced "
            "accuracy is worse by more than {margin:g}: {now:.3f} in training, {then:.3f} then. "
            "Train anew on all data: waterflow train"
        ),
    ),
}
_CHANGED = marked(
    "The champion's ROC AUC is {on_new} on the new samples, and was {recorded} when it "
    "was trained; but the challenger is shown to be better: the water has changed."
)


def _condition(name: str, passed: bool, **values: object) -> Condition:
    return Condition(name, passed, Message(_FOUND[name][not passed], **values))


def _compare_calls(y: IntArray, champion: Calls, challenger: Calls) -> Iterator[Condition]:
    """Ask that no more of the not potable samples are called potable, or get that verdict."""
    for name, calls in (("false_potable", "potable"), ("false_likely_potable", "likely_potable")):
        before, after = (
            int((getattr(each, calls) & (y == 0)).sum()) for each in (champion, challenger)
        )
        rows = {"n_judging": int((y == 0).sum()), "before": before, "after": after}
        yield _condition(name, after <= before, **rows)


def _labels_are_credible(recorded: Estimate, on_new: Estimate, *, is_better: bool) -> Condition:
    """Ask whether the champion fares on the new rows as it did when it was trained.

    The two estimates come from different rows; the upper end of the interval of their difference
    is that of Zou and Donner (2008, "Construction of confidence limits about effect measures").
    """
    reach = np.hypot(on_new.high - on_new.value, recorded.value - recorded.low)
    is_lower = bool(on_new.value + np.nan_to_num(reach, nan=np.inf) < recorded.value)
    is_odd = is_lower or on_new.low <= CHANCE < recorded.low
    values = {"on_new": describe_estimate(on_new), "recorded": describe_estimate(recorded)}
    if is_odd and is_better:
        return Condition("labels_credible", True, Message(_CHANGED, **values))
    return _condition("labels_credible", not is_odd, **values)


def _estimate(value: float, resampled: FloatArray, tails: tuple[float, float]) -> Estimate:
    low, high = np.nanquantile(resampled, tails)
    return Estimate(float(value), float(low), float(high))
