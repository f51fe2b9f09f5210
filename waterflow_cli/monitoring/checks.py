"""What each check of `monitor` is, from which size of effect on it matters, and its result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from waterflow_cli.common.messages import Message, marked

if TYPE_CHECKING:
    from waterflow_cli.monitoring.drift import Outcome

# Of the chance of any false alarm in a whole report.
DEFAULT_ALPHA = 0.02
# Fewer say nothing: of a group, and of a measurement's values.
LEAST_ROWS = 20


@dataclass(frozen=True)
class Kind:
    """A kind of check.

    Attributes
    ----------
    effect : str
        Name of the size of the effect.
    least : float
        The effect from which on a difference matters, however sure it is.
    weight : float
        In the adjustment for many tests. Levels have four times the weight of others: a shift
        of one measurement is what goes wrong most often, and shows least in a small file.
    """

    title: str
    effect: str
    least: float
    weight: float = 1.0


# Cohen (1988, "Statistical power analysis for the behavioral sciences") calls d = h = 0.2 small. A
# normal distribution that is shifted by d = 0.2 has P(new > old) - 0.5 = 0.056. Hosmer, Lemeshow
# and Sturdivant (2013, "Applied logistic regression") call a ROC AUC below 0.7 poor. For the others
# see docs/monitoring.md.
KINDS: Mapping[str, Kind] = {
    "invalid": Kind(marked("rows that break the schema"), "h", 0.2),
    "repeated": Kind(marked("rows that repeat another"), "share beyond chance", 0.1),
    "stuck": Kind(marked("most frequent row"), "share beyond chance", 0.1),
    "missing": Kind(marked("missing values"), "h", 0.2),
    "censored": Kind(marked("non-detects"), "h", 0.2),
    "unit": Kind(marked("unit"), "log10 of the factor", 1.0),
    "level": Kind(marked("level"), "P(new > old) - 0.5", 0.056, weight=4.0),
    "spread": Kind(marked("spread"), "P(farther) - 0.5", 0.056),
    "shape": Kind(marked("distribution"), "KS", 0.1),
    "joint": Kind(marked("all measurements together"), "AUC - 0.5", 0.2),
    "correlation": Kind(marked("correlation"), "Cohen's q", 0.3),
    "score": Kind(marked("probability"), "mean shift", 0.05),
    "verdicts": Kind(marked("mix of verdicts"), "share", 0.15),
    "labels": Kind(marked("share labelled potable"), "h", 0.2),
    "precision": Kind(marked("precision on potable"), "h", 0.2),
    "recall": Kind(marked("recall on potable"), "h", 0.2),
    "false_potable": Kind(marked("not potable, called potable"), "h", 0.2),
    "auc": Kind(marked("ROC AUC"), "loss", 0.05),
    "brier": Kind(marked("Brier score"), "rise", 0.02),
    "calibration": Kind(marked("observed less predicted share"), "gap", 0.05),
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was compared.

    Attributes
    ----------
    kind : str
        See `KINDS`.
    name : str
        The measurement; empty where it is about the rows.
    old, new : float
        The figures that people are shown: shares, medians, metrics.
    effect, p_value : float
        See `KINDS` and `waterflow_cli.monitoring.drift`; the p value is NaN for a check that is no
        test.
    n_old, n_new : int
        Values that were compared.
    group : str
        Empty for the whole file.
    adjusted : float
        The p value, adjusted for all tests of the report.
    alarm : bool
        Whether the difference is sure enough and large enough.
    """

    kind: str
    name: str
    old: float
    new: float
    effect: float
    p_value: float
    n_old: int
    n_new: int
    group: str = ""
    adjusted: float = float("nan")
    alarm: bool = False
    detail: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        kind: str,
        outcome: Outcome,
        shown: tuple[float, float],
        counts: tuple[int, int],
        name: str = "",
        detail: Mapping[str, Any] | None = None,
    ) -> Check:
        """Put the outcome of a test beside what people are shown of it."""
        measured = {**outcome._asdict(), "n_old": counts[0], "n_new": counts[1]}
        return cls(kind=kind, name=name, old=shown[0], new=shown[1], detail=detail, **measured)

    @property
    def is_test(self) -> bool:
        """Whether it has a p value."""
        return self.p_value == self.p_value

    @property
    def is_large(self) -> bool:
        """Whether the effect is one that matters."""
        return abs(self.effect) >= KINDS[self.kind].least

    @property
    def key(self) -> str:
        """Name it for scripts and metrics: ``ph.level``, ``score``."""
        return f"{self.name}.{self.kind}" if self.name else self.kind


@dataclass(frozen=True)
class Unchecked:
    """What was not checked, and why."""

    kind: str
    name: str
    reason: Message
    group: str = ""


def decide(checks: Sequence[Check], alpha: float) -> Iterator[Check]:
    """Adjust the p values of all tests together, and say which checks alarm.

    `alpha` bounds the chance that anything alarms where nothing changed.
    """
    from waterflow_cli.monitoring.drift import adjust  # the level's default is wanted without SciPy

    tests = [check for check in checks if check.is_test]
    weights = [KINDS[check.kind].weight for check in tests]
    found = iter(adjust([check.p_value for check in tests], weights))
    for check in checks:
        adjusted = float(next(found)) if check.is_test else check.adjusted
        is_sure = adjusted <= alpha or not check.is_test
        yield replace(check, adjusted=adjusted, alarm=is_sure and check.is_large)
