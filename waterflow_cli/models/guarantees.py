"""Certify cut-offs: guarantees that hold whatever the distribution of the rows is."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.errors import DataRefusedError, UsageError, shorten
from waterflow_cli.common.messages import Message, marked, tr
from waterflow_cli.models.decision import Policy

FORM = "precision=P@C%, npv=P@C% or fpr=F@C%"
# No probability reaches these: that side of the policy never decides.
NEVER_POTABLE, NEVER_NOT_POTABLE = 2.0, -1.0
# Shares of the samples that a cut-off would decide. Few are tried: each one tried costs power.
_SHARES = np.array([0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5])


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
        Rows that certified: neither fitted nor calibrated with.
    n_decided : int
        Those beyond the cut-off.
    observed : float
        The precision, npv or false positive rate among the rows that certified.
    """

    guarantee: Guarantee
    cut: float | None
    n_rows: int
    n_decided: int
    observed: float

    def describe(self) -> Message:
        """Say whether it can be given, and from where on."""
        if self.cut is None:
            text = marked("{guarantee}: cannot be given; that side is always send_to_lab")
        elif self.guarantee.is_upper:
            text = marked(
                "{guarantee}: certified from {cut:.3f} ({n_decided} of {n_kept} rows "
                "kept for this, observed {observed:.3f})"
            )
        else:
            text = marked(
                "{guarantee}: certified up to {cut:.3f} ({n_decided} of {n_kept} rows "
                "kept for this, observed {observed:.3f})"
            )
        return Message(text, n_kept=self.n_rows, **self._asdict())


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
    learned: tuple[IntArray, FloatArray],
    certifying: tuple[IntArray, FloatArray],
    *,
    threshold: float,
) -> Certificate:
    """Find, of a few cut-offs, the one that decides the most samples and keeps a guarantee.

    Learn Then Test (Angelopoulos, Bates, Candes, Jordan and Lei 2021, "Learn then Test:
    calibrating predictive algorithms to achieve risk control"), by MAPIE: candidate cut-offs and
    the order in which they are tested come from the out-of-fold predictions of the training rows,
    the tests from the rows that certify. Testing in a fixed order stops at the first cut-off that
    fails, so no correction for their number is needed.

    Parameters
    ----------
    learned, certifying : tuple of ndarrays of shape (n_samples,)
        Labels and probabilities: of training rows, out of fold; and of rows that the model has
        not seen in any way.
    threshold : float
        Of the prediction, which a verdict never contradicts: cut-offs beyond it are not tried.
    """
    from mapie.risk_control import BinaryClassificationController

    # The lower side is the upper side of the other class.
    labels, probability = _facing(guarantee, *certifying)
    learned_labels, learned_probability = _facing(guarantee, *learned)
    cuts = np.unique(np.quantile(learned_probability, 1 - _SHARES))
    limit = threshold if guarantee.is_upper else np.nextafter(1 - threshold, 2.0)
    cuts = cuts[cuts >= limit]
    cut = None
    if len(cuts):
        controller = BinaryClassificationController(
            lambda p: np.column_stack([1 - p, p]),
            risk="fpr" if guarantee.kind == "fpr" else "precision",
            target_level=guarantee.level,
            confidence_level=guarantee.confidence,
            list_predict_params=cuts,
            fwer_method="split_fixed_sequence",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nothing was found is no news to be warned of
            controller.learn_fixed_sequence_order(learned_probability, learned_labels, binary=True)
            controller.calibrate(probability, labels)
        cut = controller.best_predict_param
    if cut is None:
        return Certificate(guarantee, None, len(labels), 0, np.nan)
    decided = probability >= cut
    if guarantee.kind == "fpr":
        observed = float(decided[labels == 0].mean())
    else:
        observed = float(labels[decided].mean())
    shown = cut if guarantee.is_upper else _last_below(cut)
    return Certificate(guarantee, float(shown), len(labels), int(decided.sum()), observed)


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
