"""Certify cut-offs: guarantees that hold whatever the distribution of the rows is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.errors import DataRefusedError, UsageError, shorten
from waterflow_cli.common.messages import Message, marked, tr
from waterflow_cli.models.contract import Certifying
from waterflow_cli.models.decision import (
    LIKELY_NOT_POTABLE,
    LIKELY_POTABLE,
    Certified,
    Policy,
)

FORM = "precision=P@C%, npv=P@C% or fpr=F@C%"
# No probability reaches these: that side of the policy never decides.
NEVER_POTABLE, NEVER_NOT_POTABLE = 2.0, -1.0
# The share of the risk that the user allows which is used up.
_RISK_TAKEN = {"split": 1.0, "cross": 0.5}
# The first cut-off tested decides so many rows, or such a share of those of the claimed class: of
# fewer, all would have to be right. Each next one decides a twentieth more.
_FIRST_ROWS, _FIRST_SHARE, _STEP = 15, 0.15, 1.05
_CERTIFIED_BY = (
    marked("{n_decided} of {n_kept} rows kept for this"),
    marked("by cross-validation, tested at half of the risk: {n_decided} of {n_kept} rows"),
)
# By a multiple of that number: the share of the risk that is kept for a start there.
_STARTS = {1: 0.8, 3: 0.2}


@dataclass(frozen=True)
class Guarantee:
    """A guarantee that the user asks for.

    Attributes
    ----------
    kind : str
        ``precision`` of *likely potable*, ``npv`` (the same of *likely not potable*), or ``fpr``,
        the share of unsafe samples that are called likely potable.
    level : float
        At least (fpr: at most) this.
    confidence : float
        With this probability, over the drawing of the rows that certify.
    """

    kind: str
    level: float
    confidence: float

    @property
    def is_upper(self) -> bool:
        """Whether it is about *likely potable*."""
        return self.kind != "npv"

    def __str__(self) -> str:
        return f"{self.kind}={self.level:.12g}@{100 * self.confidence:.12g}%"


class Certificate(NamedTuple):
    """What became of a guarantee.

    Attributes
    ----------
    cut : float or None
        The certified cut-off of the probability; None where there is none.
    n_rows : int
        Rows that certified.
    n_decided : int
        Those beyond the cut-off.
    observed : float
        The precision, npv or false positive rate among the rows that certified.
    method : str
        ``split``: by rows that were neither fitted nor calibrated with; ``cross``: by out-of-fold
        predictions.
    """

    guarantee: Guarantee
    cut: float | None
    n_rows: int
    n_decided: int
    observed: float
    method: Certifying = "split"

    def describe(self) -> Message:
        """Say whether it can be given, and from where on."""
        if self.cut is None:
            return Message(
                "{guarantee}: cannot be given; that side is always send_to_lab",
                guarantee=self.guarantee,
            )
        where = marked("from {cut:.3f}") if self.guarantee.is_upper else marked("up to {cut:.3f}")
        is_cross = self.method == "cross"
        return Message(
            "{guarantee}: certified {where} ({rows}, observed {observed:.3f})",
            guarantee=self.guarantee,
            where=Message(where, cut=self.cut),
            rows=Message(_CERTIFIED_BY[is_cross], n_decided=self.n_decided, n_kept=self.n_rows),
            observed=self.observed,
        )


def parse_guarantee(text: str) -> Guarantee:
    """Read the value of ``--guarantee``.

    >>> parse_guarantee("precision=0.8@90%")
    Guarantee(kind='precision', level=0.8, confidence=0.9)

    Raises
    ------
    UsageError
        If it is not of that form, or a number lies outside its range.
    """
    match = re.fullmatch(r"\s*(precision|npv|fpr)\s*=\s*([\d.]+)\s*@\s*([\d.]+)\s*%\s*", text)
    try:
        kind, level, percent = match.groups() if match else ("", "", "")
        guarantee = Guarantee(kind, float(level), float(percent) / 100)
    except ValueError:
        raise UsageError(
            "--guarantee {text}: it is written {form}.", text=text, form=FORM
        ) from None
    if not (0 < guarantee.level < 1 and 0.5 <= guarantee.confidence < 1):
        raise UsageError(
            "--guarantee {text}: the level lies between 0 and 1, the confidence is "
            "from 50 % to below 100 %.",
            text=text,
        )
    return guarantee


def certify(
    guarantee: Guarantee,
    candidates: tuple[IntArray, FloatArray],
    certifying: tuple[IntArray, FloatArray],
    *,
    threshold: float,
    method: Certifying = "split",
) -> Certificate:
    """Find the cut-off that decides the most samples and passes the tests of a guarantee.

    Cut-offs are tested from the surest outwards, each by the exact binomial (Clopper and Pearson
    1934, "The use of confidence or fiducial limits illustrated in the case of the binomial"), and
    testing stops at the first that fails: a fixed sequence (Angelopoulos, Bates, Candes, Jordan
    and Lei 2021, "Learn then Test: calibrating predictive algorithms to achieve risk control").
    Precision may fail at the start for the rows being few, so a part of the risk is kept for a
    second start further out; what passed before it is carried on (Wiens 2003, "A fixed sequence
    Bonferroni procedure for testing multiple endpoints"). Neither cut-offs nor starts depend on
    the promise: an easier one passes whatever a harder one passes.

    Parameters
    ----------
    candidates, certifying : tuple of ndarrays of shape (n_samples,)
        Labels and probabilities: of rows that say where cut-offs are tried; and of those that
        test them. With ``split`` the latter are rows that the model has not seen in any way, and
        the others are not; with ``cross`` both are out-of-fold predictions.
    threshold : float
        Of the prediction, which a verdict never contradicts: cut-offs beyond it are not tried.
    method : str
        For ``cross`` there is no proof, and it is tested at half of the risk.
    """
    # The lower side is the upper side of the other class.
    labels, probability = _facing(guarantee, *certifying)
    cuts, risks = _sequence(guarantee, *_facing(guarantee, *candidates), n_rows=len(labels))
    limit = threshold if guarantee.is_upper else np.nextafter(1 - threshold, 2.0)
    cuts, risks = cuts[cuts >= limit], risks[cuts >= limit]
    chances = _chances(guarantee, labels, probability, cuts)
    passed = _last_passed(chances, risks * _RISK_TAKEN[method] * (1 - guarantee.confidence))
    if passed is None:
        return Certificate(guarantee, None, len(labels), 0, np.nan, method)
    cut = cuts[passed]
    decided = probability >= cut
    observed = decided[labels == 0] if guarantee.kind == "fpr" else labels[decided]
    shown = cut if guarantee.is_upper else _last_below(cut)
    return Certificate(
        guarantee,
        float(shown),
        len(labels),
        int(decided.sum()),
        float(observed.mean()),
        method,
    )


def _sequence(
    guarantee: Guarantee, labels: IntArray, probability: FloatArray, *, n_rows: int
) -> tuple[FloatArray, FloatArray]:
    """Give cut-offs in the order in which they are tested, and the share of the risk of each."""
    counts, risks = _places(guarantee, n_rows, n_claimed=float(labels.mean()) * n_rows)
    ranks = np.ceil(counts * (len(probability) / n_rows)).astype(np.int64)
    cuts = -np.sort(-probability)[np.minimum(ranks, len(probability)) - 1]
    distinct, place = np.unique(-cuts, return_inverse=True)
    return -distinct, np.asarray(np.bincount(place, weights=risks), dtype=np.float64)


def _places(guarantee: Guarantee, n_rows: int, n_claimed: float) -> tuple[FloatArray, FloatArray]:
    """Say how many of the rows each cut-off is to decide, and its share of the risk."""
    starts = {1.0: 1.0}  # a rate of false positives only rises outwards: nothing is lost before
    if guarantee.kind != "fpr":
        first = max(_FIRST_ROWS, _FIRST_SHARE * n_claimed)
        starts = {np.ceil(first * factor): share for factor, share in _STARTS.items()}
    counts = [min(starts)]
    while counts[-1] < n_rows:
        counts.append(min(n_rows, max(counts[-1] + 1, np.floor(counts[-1] * _STEP))))
    every = np.union1d(counts, list(starts))
    every = every[every <= n_rows]
    return every, np.array([starts.get(count, 0.0) for count in every])


def _chances(
    guarantee: Guarantee, labels: IntArray, probability: FloatArray, cuts: FloatArray
) -> FloatArray:
    """Say for each cut-off how likely rows as good as these are where the promise is false."""
    from scipy.special import bdtr, bdtrc  # scoring does without it

    order = np.argsort(probability)
    first = np.searchsorted(probability[order], cuts)
    n_right = np.append(np.cumsum(labels[order][::-1])[::-1], 0)[first]
    n_decided = len(labels) - first
    if guarantee.kind == "fpr":
        n_unsafe = int((labels == 0).sum())
        return np.asarray(bdtr(n_decided - n_right, n_unsafe, guarantee.level))
    chances = bdtrc(n_right - 1.0, np.maximum(n_decided, 1), guarantee.level)
    return np.where(n_right > 0, chances, 1.0)


def _last_passed(chances: FloatArray, risks: FloatArray) -> int | None:
    """Test in order, each at its own risk and that of those passed just before it."""
    last, carried = None, 0.0
    for place, (chance, risk) in enumerate(zip(chances, risks, strict=True)):
        carried += risk
        if chance <= carried:
            last = place
        else:
            carried = 0.0
    return last


def refuse_uncertified(certificates: Sequence[Certificate]) -> None:
    """Refuse a model one of whose guarantees cannot be given.

    Raises
    ------
    DataRefusedError
        Naming those.
    """
    failed = [str(each.guarantee) for each in certificates if each.cut is None]
    if failed:
        raise DataRefusedError(
            "Cannot be guaranteed on {n_kept} rows: {failed}.",
            tr("No model was registered. Ask for less, or bring more labelled rows."),
            n_kept=certificates[0].n_rows,
            failed=shorten(failed),
        )


def certified_policy(certificates: Sequence[Certificate], default: Policy) -> Policy:
    """Put certified cut-offs in the place of the default ones.

    A side whose guarantee cannot be given never decides; nor does one with several guarantees: the
    stricter of two certified cut-offs is certified for its own level alone.
    """
    policy = default
    for side, never in (("potable_from", NEVER_POTABLE), ("not_potable_to", NEVER_NOT_POTABLE)):
        is_upper = side == "potable_from"
        cuts = [each.cut for each in certificates if each.guarantee.is_upper == is_upper]
        if cuts:
            cut = cuts[0] if len(cuts) == 1 else None
            policy = replace(policy, **{side: never if cut is None else cut})
    return policy


def keep_certified(certificates: Sequence[Certificate], policy: Policy) -> list[Certified]:
    """List the promises that a policy keeps: those whose cut-off it decides by."""
    kept = []
    for each in certificates:
        verdict, cut = LIKELY_NOT_POTABLE, policy.not_potable_to
        if each.guarantee.is_upper:
            verdict, cut = LIKELY_POTABLE, policy.potable_from
        if each.cut == cut:
            kept.append(Certified(str(each.guarantee), verdict, each.n_rows, each.n_decided))
    return kept


def _last_below(cut: float) -> float:
    """Give the highest probability p for which 1 - p still reaches the cut, rounding and all."""
    found = 1 - cut
    while 1 - found < cut:
        found = float(np.nextafter(found, -1.0))
    while 1 - np.nextafter(found, 2.0) >= cut:
        found = float(np.nextafter(found, 2.0))
    return found


def _facing(
    guarantee: Guarantee, y: IntArray, probability: FloatArray
) -> tuple[IntArray, FloatArray]:
    return (y, probability) if guarantee.is_upper else (1 - y, 1 - probability)
