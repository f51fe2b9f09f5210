"""The look at a file before one models: what is in it, what is odd, and whether labels follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from waterflow_cli.common.arrays import BoolArray
from waterflow_cli.common.errors import DataRefusedError
from waterflow_cli.common.messages import Message
from waterflow_cli.exploration.missing import Missing, describe_missing
from waterflow_cli.exploration.samples import Samples
from waterflow_cli.exploration.sections import (
    Absent,
    Correlations,
    Distribution,
    Duplicates,
    ImplausiblePair,
    LabelBalance,
    Outliers,
    balance_labels,
    correlate,
    describe_values,
    find_duplicates,
    find_implausible_pairs,
    find_outliers,
    shown_ranges,
)
from waterflow_cli.exploration.signal_check import Signal, check_signal
from waterflow_cli.training.copies import find_copies
from waterflow_cli.training.leaks import Leak, find_leaks
from waterflow_cli.validation.limit_checks import LimitStatus
from waterflow_cli.validation.limits import Limit


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """What is known of one file; its limits are of all profiles that are drawn in."""

    samples: Samples
    distributions: Sequence[Distribution]
    missing: Missing | Absent
    correlations: Correlations | Absent
    duplicates: Duplicates | Absent
    outliers: Sequence[Outliers]
    pairs: Sequence[ImplausiblePair] | Absent
    labels: LabelBalance | Absent
    limits: Sequence[LimitCount]
    contradictions: Contradiction | Absent
    signal: Signal | Absent
    leaks: Sequence[Leak]

    @property
    def n_censored(self) -> int:
        """Cells of which only a bound is known."""
        return sum(each.n_below + each.n_above for each in self.distributions)

    @property
    def other_columns(self) -> list[str]:
        """Columns of the file that the schema does not know."""
        known = set(self.samples.columns.values())
        return [name for name in self.samples.header if name not in known]

    def summary(self) -> dict[str, Any]:
        """Put everything into JSON; a section that is not there says why."""
        samples, findings = self.samples, self.samples.findings
        names = [each.name for each in fields(self) if each.name != "samples"]
        return {
            "path": samples.path,
            "reading": samples.reading,
            "header": samples.header,
            "columns": samples.columns,
            "n_rows": findings.n_rows,
            "n_kept": len(samples),
            "findings": {
                "rows": findings.n_invalid,
                "rows_left_out": findings.n_left_out,
                "first": [finding.content() for finding in findings.findings],
                "by_rule": [
                    {"column": column, "rule": rule, "count": count}
                    for (column, rule), count in findings.by_rule.items()
                ],
            },
            **{name: _plain(getattr(self, name)) for name in names},
            "cells": _plain(findings.cells),
            "alarms": samples.alarms,
        }


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How a measurement differs between two files.

    Attributes
    ----------
    statistic, p_value : float
        Of the two-sample Kolmogorov-Smirnov test; NaN where a file holds no value. The statistic is
        the largest distance between the two cumulative distributions, 0 to 1.
    missing, medians : tuple of float
        Share missing and median in each file.
    """

    name: str
    statistic: float
    p_value: float
    missing: tuple[float, float]
    medians: tuple[float, float]

    @property
    def missing_change(self) -> float:
        """Share missing in the second file less that in the first."""
        return self.missing[1] - self.missing[0]


def explore(
    several: Sequence[Samples],
    *,
    profiles: Sequence[str],
    seed: int,
    jobs: int = 1,
    report: Callable[[int], None] = lambda _done: None,
) -> list[Exploration]:
    """Look at files; bars that show the same measurement cover the same range in all.

    Parameters
    ----------
    profiles : sequence of str
        Whose health-based values the labels are held against.
    seed : int
        Of the rows drawn for what is not computed on all, and of the models.
    """
    ranges = shown_ranges(several)
    look = partial(check_signal, seed=seed, jobs=jobs, report=report)
    return [
        Exploration(
            samples=samples,
            distributions=list(describe_values(samples, ranges)),
            missing=describe_missing(samples),
            correlations=correlate(samples, seed),
            duplicates=find_duplicates(samples),
            outliers=find_outliers(samples),
            pairs=find_implausible_pairs(samples),
            labels=balance_labels(samples),
            limits=list(count_limits(samples)),
            contradictions=find_contradictions(samples, profiles),
            signal=_look_for_signal(samples, look),
            leaks=look_for_leaks(samples, seed),
        )
        for samples in several
    ]


def compare_files(first: Samples, second: Samples) -> list[Difference]:
    """Hold the measurements that two files share against each other."""
    shared = [name for name in first.X if name in second.X]
    return [_compare_measurement(name, first, second) for name in shared]


def _compare_measurement(name: str, first: Samples, second: Samples) -> Difference:
    values = [samples.X[name][np.isfinite(samples.X[name])] for samples in (first, second)]
    statistic = p_value = np.nan
    if all(map(len, values)):
        test = stats.ks_2samp(*values)
        statistic, p_value = float(test.statistic), float(test.pvalue)
    medians = [float(np.median(known)) if len(known) else np.nan for known in values]
    missing = [
        float(samples.missing[name].mean()) if len(samples) else np.nan
        for samples in (first, second)
    ]
    return Difference(
        name=name,
        statistic=statistic,
        p_value=p_value,
        missing=(missing[0], missing[1]),
        medians=(medians[0], medians[1]),
    )


def _look_for_signal(samples: Samples, look: Callable[..., Signal]) -> Signal | Absent:
    if samples.label is None:
        return Absent(Message("the file has no label column."))
    if not samples.X:
        return Absent(Message("the file has no measurement."))
    rows = np.flatnonzero(np.isfinite(samples.label))
    y = samples.label[rows].astype(np.int64)
    if len(np.unique(y)) < 2:
        return Absent(Message("the labels hold fewer than two classes."))
    X = pd.DataFrame({name: values[rows] for name, values in samples.X.items()})
    try:
        return look(X, y)
    except DataRefusedError as exc:
        return Absent(exc.said)


def look_for_leaks(samples: Samples, seed: int) -> tuple[Leak, ...]:
    """Look for what was done to the labelled rows before; nothing is found without a label."""
    if samples.label is None or not samples.X:
        return ()
    rows = np.flatnonzero(np.isfinite(samples.label))
    X = pd.DataFrame({name: values[rows] for name, values in samples.X.items()})
    return find_leaks(X, samples.label[rows].astype(np.int64), find_copies(X, seed), seed)


def _plain(value: Any) -> Any:
    """Turn dataclasses and tuples into what JSON has."""
    if isinstance(value, Absent):
        return {"absent": value.reason}
    if isinstance(value, (Leak, Limit)):
        return value.content()
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(inner) for inner in value]
    return value


def summarise_files(
    explorations: Sequence[Exploration], differences: Sequence[Difference]
) -> dict[str, Any]:
    """Put one file, or two with their differences, into JSON."""
    return {
        "files": [exploration.summary() for exploration in explorations],
        "differences": _plain(list(differences)),
    }


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
                limit=limit.in_unit_of_column,
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
