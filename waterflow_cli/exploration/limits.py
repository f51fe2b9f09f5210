"""How the rows of an explored file stand to limits, and what their labels say to that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from waterflow_cli.common.arrays import BoolArray
from waterflow_cli.common.messages import Message
from waterflow_cli.exploration.samples import Samples
from waterflow_cli.exploration.sections import Absent
from waterflow_cli.validation.limit_checks import LimitStatus
from waterflow_cli.validation.limits import Limit

HEALTH = "health"
_OUTSIDE = (LimitStatus.ABOVE, LimitStatus.BELOW)


@dataclass(frozen=True, kw_only=True)
class LimitCount:
    """How the rows with a result stand to one limit.

    Indeterminate is a result of which only a bound is known.
    """

    limit: Limit
    n_measured: int
    n_above: int
    n_below: int
    n_indeterminate: int


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """How far the labels contradict the health-based values of some profiles.

    Outside are rows with a result above (or below) at least one of the values.
    """

    profiles: tuple[str, ...]
    limits: tuple[Limit, ...]
    n_potable: int
    n_potable_outside: int
    n_not_potable: int
    n_not_potable_outside: int

    @property
    def share_potable(self) -> float:
        """Share of the rows labelled potable; NaN without any."""
        return self.n_potable_outside / self.n_potable if self.n_potable else np.nan

    @property
    def share_not_potable(self) -> float:
        """Share of the rows labelled not potable; NaN without any."""
        return self.n_not_potable_outside / self.n_not_potable if self.n_not_potable else np.nan


def count_limits(samples: Samples) -> Iterator[LimitCount]:
    """Count how the rows stand to each limit of a measurement that the file has."""
    for limit, codes in samples.limits:
        if limit.column in samples.X:
            sums = np.bincount(codes, minlength=len(LimitStatus)).tolist()
            yield LimitCount(
                limit=limit,
                n_measured=len(codes) - sums[LimitStatus.NOT_MEASURED],
                n_above=sums[LimitStatus.ABOVE],
                n_below=sums[LimitStatus.BELOW],
                n_indeterminate=sums[LimitStatus.INDETERMINATE],
            )


def find_contradictions(samples: Samples, profiles: Sequence[str]) -> Contradiction | Absent:
    """Count the rows labelled potable whose results lie beyond a profile's health-based value."""
    if samples.label is None:
        return Absent(Message("the file has no label column."))
    if not profiles:
        return Absent(Message("no limits were chosen; choose some with --limits."))
    if not (samples.label == 1).any():
        return Absent(Message("no row is labelled potable."))
    chosen = [
        (limit, codes)
        for limit, codes in samples.limits
        if limit.profile in profiles and limit.purpose == HEALTH and limit.column in samples.X
    ]
    if not chosen:
        return Absent(
            Message(
                "{profiles}: no health-based value for a measurement that the file has.",
                profiles=", ".join(profiles),
            )
        )
    outside: BoolArray = np.any([np.isin(codes, _OUTSIDE) for _, codes in chosen], axis=0)
    potable, not_potable = (samples.label == value for value in (1, 0))
    return Contradiction(
        profiles=tuple(profiles),
        limits=tuple(limit for limit, _ in chosen),
        n_potable=int(potable.sum()),
        n_potable_outside=int((potable & outside).sum()),
        n_not_potable=int(not_potable.sum()),
        n_not_potable_outside=int((not_potable & outside).sum()),
    )
