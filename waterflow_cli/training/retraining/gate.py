"""The gate: whether a challenger may take the champion's place, by rows that neither learned from.

Everything here is a function of labels and of what the two models say of the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from waterflow_cli.common.arrays import BoolArray, FloatArray, IntArray
from waterflow_cli.common.messages import Message, marked
from waterflow_cli.common.number_formats import CHANCE, Estimate, describe_estimate
from waterflow_cli.models.decision import LIKELY_POTABLE, VERDICTS, DecisionModel
from waterflow_cli.models.metrics import measure_once, measure_resamples
from waterflow_cli.training.paired_auc import AucDifference, combine, compare_auc
from waterflow_cli.training.retraining.options import USUAL_OPTIONS, RetrainingOptions
from waterflow_cli.training.summary import flat_metrics

# With this confidence the challenger is not worse by more than the margin, and it is refused as
# calling more samples potable, or as worse by its calls, where chance explains that less often.
CONFIDENCE = 0.95
# What is said of a test's power: the excess that it sees this often.
POWER = 0.8
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
    """The version from which the retrainings began, by the rows that its training tested.

    All that follow are held to its rates of false "potable" and false likely_potable, and none
    may fall below its ROC AUC and balanced accuracy by more than the margin.
    """

    version: int
    roc_auc: float
    balanced_accuracy: float
    false_potable_rate: float
    false_likely_potable_rate: float


class KnownRows(NamedTuple):
    """Rows that both models learned from, and what models that had not seen them said of them."""

    y: IntArray
    champion: FloatArray
    challenger: FloatArray
    groups: Any | None = None

    @property
    def can_compare(self) -> bool:
        """Whether both classes occur, more than once."""
        return int(np.bincount(self.y, minlength=2).min()) > 1


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


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """What the gate says.

    Attributes
    ----------
    counts : tuple of int
        Not potable and potable rows that judged.
    n_known : int
        Rows that judged out of fold besides.
    auc_difference : Estimate
        By all of them.
    """

    counts: tuple[int, int]
    n_known: int
    margin: float
    auc_difference: Estimate
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
            "rows_out_of_fold": self.n_known,
            "auc_difference": asdict(self.auc_difference),
            "figures": {name: asdict(each) for name, each in self.figures.items()},
            "conditions": [asdict(condition) for condition in self.conditions],
        }

    def metrics(self) -> dict[str, float]:
        """Name the figures for MLflow, which takes no NaN."""
        flat = {"gate_passed": float(self.passed), "gate_rows": float(sum(self.counts))}
        flat["gate_rows_out_of_fold"] = float(self.n_known)
        flat |= flat_metrics({"auc_difference": self.auc_difference}, "gate")
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
    trained: tuple[float, float],
    known: KnownRows | None = None,
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
        What the challenger is compared with too, so that nothing can fall a little each time.
    trained : tuple of float
        The challenger's ROC AUC and balanced accuracy, as its training measured them.
    known : KnownRows, optional
        More evidence on which of the two ranks better.
    groups : ndarray of shape (n_samples,), optional
        What is resampled as a whole.
    """
    margin = options.margin
    figures, sure_gain = _compare(y, champion, challenger, groups, options.seed)
    skill, accuracy = figures["roc_auc"].challenger, figures["balanced_accuracy"].difference
    judged = compare_auc(y, champion.probability, challenger.probability, groups)
    difference, n_known = weigh_evidence(judged, known)
    conditions = [
        _condition("skill", skill.low > CHANCE, shown=describe_estimate(skill)),
        _condition(
            "not_worse",
            difference.low >= -margin,
            margin=margin,
            shown=describe_estimate(difference, "+.3f"),
            n_judging=len(y),
            n_known=n_known,
        ),
        _condition(
            "balanced_accuracy", not accuracy.high < 0, shown=describe_estimate(accuracy, "+.3f")
        ),
        *_compare_calls(y, champion, challenger),
        _labels_are_credible(recorded, on_new, is_better=sure_gain > 0),
        _not_below_beginning(trained, beginning, margin),
    ]
    counts = (int((y == 0).sum()), int((y == 1).sum()))
    return GateResult(
        counts=counts,
        n_known=n_known,
        margin=margin,
        auc_difference=difference,
        figures=figures,
        conditions=conditions,
    )


def estimate_auc(
    y: IntArray, probability: FloatArray, *, groups: Any | None = None, seed: int = 0
) -> Estimate:
    """Estimate a ROC AUC with its 95 % interval over resampled rows or groups."""
    resampled = measure_resamples(y, probability, CHANCE, seed, groups)["roc_auc"]
    value = measure_once(y, probability, CHANCE)["roc_auc"]
    return _estimate(value, resampled, _INTERVAL)


def judge_excess(before: BoolArray, after: BoolArray) -> tuple[float, float]:
    """Ask whether `after` holds more rows than `before` than chance explains.

    Returns
    -------
    tuple of float
        The one-sided p of McNemar's exact test, and the excess, as a share of the rows, that it
        sees 8 times in 10, where so many rows are in one of the two alone.

    Examples
    --------
    >>> before, after = np.arange(100) < 20, np.arange(100) >= 70
    >>> p, visible = judge_excess(before, after)
    >>> f"{p:.3f} {visible:.2f}"
    '0.101 0.18'
    """
    more, fewer = int((after & ~before).sum()), int((before & ~after).sum())
    p = stats.binom.sf(more - 1, more + fewer, 0.5)
    # Fewer than five rows are never enough, whichever way all of them point.
    n_apart = max(more + fewer, 5)
    needed = stats.binom.isf(1 - CONFIDENCE, n_apart, 0.5) + 1
    share = stats.beta.ppf(POWER, needed, n_apart - needed + 1)
    return float(p), float(n_apart * (2 * share - 1) / len(before))


def weigh_evidence(judged: AucDifference, known: KnownRows | None) -> tuple[Estimate, int]:
    """Put what the judging and the known rows say together; the judging ones have the last word."""
    found, n_known = judged, 0
    if known is not None and known.can_compare:
        both = combine(judged, compare_auc(*known))
        if both is not None:
            found, n_known = both, len(known.y)
    reach = float(stats.norm.ppf(CONFIDENCE)) * found.error
    return Estimate(found.value, found.value - reach, found.value + reach), n_known


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
        marked(
            "Its ROC AUC is not worse by more than {margin:g}: difference {shown} on {n_judging} "
            "new rows, and out of fold on {n_known} that both learned from."
        ),
        marked(
            "Its ROC AUC may be worse by more than {margin:g}: difference {shown} on {n_judging} "
            "new rows, and out of fold on {n_known} that both learned from."
        ),
    ),
    "balanced_accuracy": (
        marked("Its calls are not shown to be worse: difference in balanced accuracy {shown}."),
        marked("Its calls are worse: difference in balanced accuracy {shown}."),
    ),
    "false_potable": (
        marked(
            "Of {n_judging} not potable samples it calls {after} potable, the champion {before}: "
            "no more than chance explains (exact McNemar test, p {p:.2f}; 8 times in 10 it would "
            "see {visible:.1%} more)."
        ),
        marked(
            "Of {n_judging} not potable samples it calls {after} potable, more than the "
            "champion's {before} and than chance explains (exact McNemar test, p {p:.4f})."
        ),
    ),
    "false_likely_potable": (
        marked(
            "False verdicts likely_potable: {after}, the champion's {before}: no more than chance "
            "explains (exact McNemar test, p {p:.2f}; 8 times in 10 it would see {visible:.1%} "
            "more)."
        ),
        marked(
            "False verdicts likely_potable: {after}, more than the champion's {before} and than "
            "chance explains (exact McNemar test, p {p:.4f})."
        ),
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
            "Not below version {version}, from which the retrainings began, by more than "
            "{margin:g}: ROC AUC {auc:.3f} in training, {auc_then:.3f} then; balanced accuracy "
            "{accuracy:.3f}, {accuracy_then:.3f} then."
        ),
        marked(
            "Below version {version}, from which the retrainings began, by more than {margin:g}: "
            "ROC AUC {auc:.3f} in training, {auc_then:.3f} then; balanced accuracy "
            "{accuracy:.3f}, {accuracy_then:.3f} then. Train anew on all data: waterflow train"
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
    unsafe = y == 0
    for name, calls in (("false_potable", "potable"), ("false_likely_potable", "likely_potable")):
        before, after = (getattr(each, calls)[unsafe] for each in (champion, challenger))
        p, visible = judge_excess(before, after)
        counts = {"n_judging": len(before), "before": int(before.sum()), "after": int(after.sum())}
        yield _condition(name, p > 1 - CONFIDENCE, **counts, p=p, visible=visible)


def _not_below_beginning(
    trained: tuple[float, float], beginning: Beginning, margin: float
) -> Condition:
    """Ask that no line of retrainings ends below where it began, however many steps it takes."""
    then = beginning.roc_auc, beginning.balanced_accuracy
    named = dict(zip(("auc", "accuracy"), trained, strict=True))
    named |= dict(zip(("auc_then", "accuracy_then"), then, strict=True))
    kept = all(now >= before - margin for now, before in zip(trained, then, strict=True))
    return _condition("since_beginning", kept, version=beginning.version, margin=margin, **named)


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
