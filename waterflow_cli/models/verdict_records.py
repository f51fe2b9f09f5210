"""Count how often verdicts were right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from waterflow_cli.common.arrays import FloatArray, IntArray
from waterflow_cli.common.messages import Message, marked
from waterflow_cli.common.number_formats import Estimate, describe_estimate
from waterflow_cli.models.decision import (
    LIKELY_NOT_POTABLE,
    LIKELY_POTABLE,
    VERDICTS,
    DecisionModel,
)
from waterflow_cli.models.metrics import LEVEL

# The class that each verdict claims, and what the share of the right ones among them is called.
CLAIMS = {LIKELY_POTABLE: (1, marked("precision")), LIKELY_NOT_POTABLE: (0, marked("npv"))}


@dataclass(frozen=True)
class VerdictRecord:
    """How often a verdict was right.

    Attributes
    ----------
    n_given : int
        Rows with this verdict.
    n_right : int
        Those of which the laboratory says the same.
    share : Estimate
        The one over the other; NaN where the verdict was never given.
    """

    n_given: int
    n_right: int
    share: Estimate


def record_verdicts(
    decision: DecisionModel, y: IntArray, probability: FloatArray
) -> dict[str, VerdictRecord]:
    """Count how often each verdict on some rows was right; ``send_to_lab`` claims nothing."""
    given = decision.verdict(probability)
    return {
        verdict: record_verdict(y[given == VERDICTS.index(verdict)] == claimed)
        for verdict, (claimed, _) in CLAIMS.items()
    }


def record_verdict(right: Sequence[bool] | np.ndarray) -> VerdictRecord:
    """Count how often a verdict was right, with an exact 95 % interval.

    The interval is that of Clopper and Pearson (1934, "The use of confidence or fiducial limits
    illustrated in the case of the binomial").
    """
    n_given, n_right = len(right), int(np.sum(right))
    if not n_given:
        return VerdictRecord(0, 0, Estimate(np.nan, np.nan, np.nan))
    low, high = binomtest(n_right, n_given).proportion_ci(LEVEL, method="exact")
    return VerdictRecord(n_given, n_right, Estimate(n_right / n_given, float(low), float(high)))


def describe_verdicts(records: Mapping[str, VerdictRecord]) -> list[Message]:
    """Say in a line for each verdict how often it was right."""
    return [
        Message(
            "{verdict}: {n_right} of {n_given} right, {claim} {share}.",
            verdict=verdict,
            n_right=record.n_right,
            n_given=record.n_given,
            claim=Message(CLAIMS[verdict][1]),
            share=describe_estimate(record.share),
        )
        if record.n_given
        else Message("{verdict}: never given.", verdict=verdict)
        for verdict, record in records.items()
    ]


def verdicts_summary(records: Mapping[str, VerdictRecord]) -> dict[str, Any]:
    """Put records into a JSON object."""
    return {
        verdict: {
            "rows": record.n_given,
            "right": record.n_right,
            CLAIMS[verdict][1]: asdict(record.share),
        }
        for verdict, record in records.items()
    }
