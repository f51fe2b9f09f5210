"""Choose the probability from which a sample counts as potable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.errors import DataRefusedError, UsageError, did_you_mean
from waterflow_cli.common.messages import marked, tr

_CEILING = "+fpr:"


class Counts(NamedTuple):
    """What each candidate threshold does to the rows that it was tried on."""

    true_positive: FloatArray
    false_positive: FloatArray
    positives: float
    negatives: float


@dataclass(frozen=True)
class ThresholdRule:
    """What a threshold is chosen for, as the user typed it.

    Attributes
    ----------
    text : str
        For the record.
    name : str
        The rule, or ``fixed``.
    arguments : tuple of float
        Its numbers.
    ceiling : float, optional
        Share of the not potable samples that may be called potable at most; where the rule's own
        choice calls more of them so, the threshold is raised. Written ``RULE+fpr:CEILING``.
    """

    text: str
    name: str
    arguments: tuple[float, ...] = ()
    ceiling: float | None = None


def parse_threshold(text: str) -> ThresholdRule:
    """Read the value of ``--threshold``.

    >>> parse_threshold("cost:10:1")
    ThresholdRule(text='cost:10:1', name='cost', arguments=(10.0, 1.0), ceiling=None)

    Raises
    ------
    UsageError
        If it is none of the forms, or a number lies outside its range.
    """
    chosen, has_ceiling, ceiling = text.strip().lower().partition(_CEILING)
    if has_ceiling:
        limit = parse_threshold(f"fpr:{ceiling}").arguments[0]
        return replace(parse_threshold(chosen), text=text.strip(), ceiling=limit)
    name, *parts = text.strip().lower().split(":")
    rule, numbers = (name, parts) if name in _RULES else ("fixed", [name, *parts])
    try:
        arguments = tuple(float(number) for number in numbers)
    except ValueError:
        arguments = ()
        if rule != name:
            known = [form.partition(":")[0] for form in FORMS]
            raise UsageError(
                tr("--threshold {text}: no such rule.", text=text) + did_you_mean(name, known),
                tr("It is one of: {forms}", forms=", ".join(FORMS)),
            ) from None
    _check_arguments(text, rule, arguments)
    return ThresholdRule(text.strip(), rule, arguments)


def tune_threshold(rule: ThresholdRule, y: IntArray, probability: FloatArray) -> float:
    """Choose the threshold in [0, 1] that serves a rule best, of equal ones the highest.

    Parameters
    ----------
    y, probability : ndarray of shape (n_samples,)
        1 = potable, 0 = not potable, and both occur; out-of-fold P(potable).

    Raises
    ------
    DataRefusedError
        If no threshold keeps the asked precision.
    """
    if rule.ceiling is not None:
        chosen = tune_threshold(replace(rule, ceiling=None), y, probability)
        return max(chosen, lowest_within(rule.ceiling, y, probability))
    if rule.name == "fixed":
        return rule.arguments[0]
    candidates, counts = _count_at_each(y, probability)
    utility = _RULES[rule.name][1](counts, rule.arguments)
    if not np.isfinite(utility).any():
        raise DataRefusedError(
            "No threshold reaches {rule} on the training rows.",
            tr("Ask for less, or see what the model can do: --threshold balanced-accuracy"),
            rule=rule.text,
        )
    # Candidates fall, so the first of equal utilities is the highest threshold.
    return float(candidates[int(np.argmax(utility))])


def lowest_within(ceiling: float, y: IntArray, probability: FloatArray) -> float:
    """Find the lowest threshold that keeps a ceiling; the highest there is where none does.

    The ceiling is the share of the not potable rows that may lie at the threshold or above.
    """
    candidates, counts = _count_at_each(y, probability)
    kept = np.flatnonzero(counts.false_positive <= ceiling * counts.negatives)
    return float(candidates[kept[-1] if len(kept) else 0])


def _count_at_each(y: IntArray, probability: FloatArray) -> tuple[FloatArray, Counts]:
    """Count hits and false alarms at each distinct probability, from the highest down.

    The first candidate is the next number above the highest probability: nothing is potable.
    """
    order = np.argsort(-probability, kind="stable")
    ranked, labels = probability[order], y[order]
    last_of_ties = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.append(0.0, np.cumsum(labels)[last_of_ties])
    alarms = np.append(0.0, last_of_ties + 1) - hits
    above = min(1.0, np.nextafter(ranked[0], 2.0))
    candidates = np.append(above, _midpoints(ranked[last_of_ties]))
    # A probability of exactly 1 leaves no room for "nothing".
    kept = slice(int(above == ranked[0]), None)
    positives = float(y.sum())
    return candidates[kept], Counts(hits[kept], alarms[kept], positives, len(y) - positives)


def _midpoints(values: FloatArray) -> FloatArray:
    """Place each cut half way to the next lower value, out of reach of rounding."""
    lower = np.append(values[1:], values[-1])
    middle = (values + lower) / 2
    # Between neighbouring numbers there is no middle: it would be the lower one.
    return np.where(middle > lower, middle, values)


def _balanced_accuracy(counts: Counts, _: tuple[float, ...]) -> FloatArray:
    # True less false positive rate, times both class sizes: whole numbers, so ties are exact.
    return counts.true_positive * counts.negatives - counts.false_positive * counts.positives


def _fbeta(counts: Counts, arguments: tuple[float, ...]) -> FloatArray:
    weight = (arguments[0] if arguments else 1.0) ** 2
    missed = counts.positives - counts.true_positive
    hits = (1 + weight) * counts.true_positive
    return np.asarray(hits / (hits + weight * missed + counts.false_positive))


def _saved_cost(counts: Counts, arguments: tuple[float, ...]) -> FloatArray:
    false_positive_cost, false_negative_cost = arguments
    missed = counts.positives - counts.true_positive
    return -(false_positive_cost * counts.false_positive + false_negative_cost * missed)


def _recall_at_precision(counts: Counts, arguments: tuple[float, ...]) -> FloatArray:
    called = counts.true_positive + counts.false_positive
    precise = counts.true_positive >= arguments[0] * called
    return np.where(precise & (called > 0), counts.true_positive, -np.inf)


def _recall_at_fpr(counts: Counts, arguments: tuple[float, ...]) -> FloatArray:
    allowed = counts.false_positive <= arguments[0] * counts.negatives
    return np.where(allowed, counts.true_positive, -np.inf)


class _Form(NamedTuple):
    """How a rule is written, and how many numbers of which range follow its name."""

    text: str
    n_numbers: int = 0
    low: float = 0.0
    high: float = 1.0


_RULES = {
    "balanced-accuracy": (_Form("balanced-accuracy"), _balanced_accuracy),
    "f1": (_Form("f1"), _fbeta),
    "fbeta": (_Form("fbeta:BETA", 1, 1e-6, 1e6), _fbeta),
    "cost": (_Form("cost:FP:FN", 2, 0.0, 1e12), _saved_cost),
    "precision": (_Form("precision:P", 1), _recall_at_precision),
    "fpr": (_Form("fpr:F", 1), _recall_at_fpr),
}
_FIXED = _Form("NUMBER", 1)
FORMS = (*(form.text for form, _ in _RULES.values()), _FIXED.text)


def _check_arguments(text: str, rule: str, arguments: tuple[float, ...]) -> None:
    form = _RULES[rule][0] if rule in _RULES else _FIXED
    if len(arguments) != form.n_numbers:
        problem = marked("--threshold {text}: it is written {form}.")
    elif rule == "cost" and not any(arguments):
        problem = marked("--threshold {text}: one of the costs must be above 0.")
    elif not all(form.low <= number <= form.high for number in arguments):
        problem = marked("--threshold {text}: {form} takes numbers from {low:g} to {high:g}.")
    else:
        return
    raise UsageError(problem, text=text, form=form.text, low=form.low, high=form.high)
