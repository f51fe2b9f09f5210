"""What stands out in an exploration, in sentences: for the terminal and for the page's top."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from waterflow_cli.common.errors import shorten
from waterflow_cli.common.messages import say, tr, trn
from waterflow_cli.common.number_formats import (
    CHANCE,
    format_estimate,
    format_share,
    write_count,
    write_number,
    write_p_value,
    write_share,
)
from waterflow_cli.exploration.missing import Missing
from waterflow_cli.exploration.report import Difference, Exploration
from waterflow_cli.exploration.sections import Absent
from waterflow_cli.exploration.signal_check import Signal

# From here on a share is worth a warning; below, it is said and no more.
_NOTABLE = 0.05


class Headline(NamedTuple):
    """One thing that stands out; notable is what to look into before a model is trained."""

    notable: bool
    title: str
    text: str


def find_headlines(exploration: Exploration) -> list[Headline]:
    """Say what stands out; what should be looked into comes first."""
    found = [
        *(Headline(True, tr("Unit"), say(text)) for text in exploration.samples.alarms),
        *_on_leaks(exploration),
        *_on_signal(exploration.signal),
        *_on_contradictions(exploration),
        *_on_pairs(exploration),
        *_on_findings(exploration),
        *_on_missing(exploration),
        *_on_constants(exploration),
        *_on_rows(exploration),
    ]
    return sorted(found, key=lambda each: not each.notable)


def _on_leaks(exploration: Exploration) -> Iterator[Headline]:
    for leak in exploration.leaks:
        if leak.code != "copies":  # said among the duplicates
            text = tr(leak.describe())
            yield Headline(True, tr("Leak"), f"{text[:1].upper()}{text[1:]}.")


def _on_signal(signal: Signal | Absent) -> Iterator[Headline]:
    if isinstance(signal, Absent):
        reason = tr(signal.reason)
        yield Headline(True, tr("Signal was not looked for"), reason[:1].upper() + reason[1:])
        return
    name, value = signal.strongest
    no_line = not signal.linear_signal
    yield Headline(
        no_line,
        tr("Near-zero linear signal") if no_line else tr("Linear signal"),
        tr(
            "A logistic regression's ROC AUC is {estimate}; {chance} is chance. "
            "Largest point-biserial correlation with the label: {name}, {value:+.3f}.",
            estimate=format_estimate(signal.linear),
            chance=CHANCE,
            name=name,
            value=value,
        ),
    )
    test = signal.permutation
    yield Headline(
        not signal.any_signal,
        tr("Signal beyond chance") if signal.any_signal else tr("No signal beyond chance"),
        tr(
            "A quick forest's ROC AUC is {estimate}. Permutation test: p = {p_value:.2g} "
            "({n_permutations} permutations, the best of which reached {best:.3f} out of bag, "
            "the true labels {truth:.3f}).",
            estimate=format_estimate(signal.quick),
            p_value=test.p_value,
            n_permutations=len(test.chance),
            best=test.chance[-1],
            truth=test.auc,
        ),
    )


def _on_contradictions(exploration: Exploration) -> Iterator[Headline]:
    found = exploration.contradictions
    if isinstance(found, Absent):
        return
    yield Headline(
        found.share_potable >= _NOTABLE,
        tr("Labels and limits"),
        tr(
            "{share_potable} of the rows labelled potable are above a health-based value (single "
            "sample), as are {share_not_potable} of the others ({profiles}: {values}).",
            share_potable=write_share(found.share_potable),
            share_not_potable=write_share(found.share_not_potable),
            profiles=", ".join(found.profiles),
            values=shorten([f"{limit.column} {limit.value}" for limit in found.limits]),
        ),
    )


def _on_pairs(exploration: Exploration) -> Iterator[Headline]:
    pairs = [] if isinstance(exploration.pairs, Absent) else exploration.pairs
    for pair in pairs:
        if pair.n_outside:
            first, second = pair.names
            yield Headline(
                pair.share_outside >= _NOTABLE,
                tr("{first} against {second}", first=first, second=second),
                tr(
                    "{share} of the rows do not fit: the median ratio is {median}; usual is {low} "
                    "to {high}.",
                    share=write_share(pair.share_outside),
                    median=write_number(pair.median),
                    low=write_number(pair.usual[0]),
                    high=write_number(pair.usual[1]),
                ),
            )


def _on_findings(exploration: Exploration) -> Iterator[Headline]:
    findings = exploration.samples.findings
    if findings.n_invalid:
        yield Headline(
            True,
            tr("Rows that break the schema"),
            trn(
                "{n:,} of {n_rows:,}. Its faulty cells are left out of all statistics; rows left "
                "out as a whole: {n_left_out:,}.",
                "{n:,} of {n_rows:,}. Their faulty cells are left out of all statistics, "
                "{n_left_out:,} of these rows as a whole.",
                findings.n_invalid,
                n_rows=findings.n_rows,
                n_left_out=findings.n_left_out,
            ),
        )


def _on_missing(exploration: Exploration) -> Iterator[Headline]:
    missing = exploration.missing
    if not isinstance(missing, Missing):
        return
    most = max(exploration.distributions, key=lambda each: each.missing_share)
    if missing.share:
        yield Headline(
            missing.share >= _NOTABLE,
            tr("Missing values"),
            tr(
                "{share} of the cells; {complete}. Most often missing: {name}, {most}.",
                share=write_share(missing.share),
                complete=trn(
                    "{n_complete:,} of {n:,} row is complete",
                    "{n_complete:,} of {n:,} rows are complete",
                    len(exploration.samples),
                    n_complete=missing.n_complete,
                ),
                name=most.name,
                most=write_share(most.missing_share),
            ),
        )
    if exploration.n_censored:
        yield Headline(
            False,
            tr("Non-detects"),
            trn(
                "{n:,} cell gives a bound and no value; it counts as --nondetect says.",
                "{n:,} cells give a bound and no value; they count as --nondetect says.",
                exploration.n_censored,
            ),
        )


def _on_constants(exploration: Exploration) -> Iterator[Headline]:
    constant = [each.name for each in exploration.distributions if each.is_constant]
    if constant and len(exploration.samples) > 1:
        text = tr("No two values differ: {names}.", names=shorten(constant))
        yield Headline(True, tr("Measurements that tell nothing"), text)


def _on_rows(exploration: Exploration) -> Iterator[Headline]:
    duplicates, n_rows = exploration.duplicates, len(exploration.samples)
    if not isinstance(duplicates, Absent) and duplicates.n_repeats:
        yield Headline(
            duplicates.n_contradictory > 0 or duplicates.n_repeats >= _NOTABLE * n_rows,
            tr("Duplicates"),
            tr(
                "{repeats}; {groups}.",
                repeats=trn(
                    "{n:,} row repeats the measurements of an earlier one",
                    "{n:,} rows repeat the measurements of an earlier one",
                    duplicates.n_repeats,
                ),
                groups=trn(
                    "{n_contradictory:,} of {n:,} group bears both labels",
                    "{n_contradictory:,} of these {n:,} groups bear both labels",
                    duplicates.n_groups,
                    n_contradictory=duplicates.n_contradictory,
                ),
            ),
        )
    outliers = [each for each in exploration.outliers if each.n_outliers]
    if outliers:
        most = max(outliers, key=lambda each: each.share)
        yield Headline(
            most.share >= _NOTABLE,
            tr("Outliers"),
            trn(
                "{n:,} value with a modified z-score above 3.5, in {name} ({share}).",
                "{n:,} values with a modified z-score above 3.5, most in {name} ({share}).",
                sum(each.n_outliers for each in outliers),
                name=most.name,
                share=write_share(most.share),
            ),
        )


def overview_rows(exploration: Exploration) -> tuple[tuple[str, ...], list[list[str]]]:
    """Give a table of the measurements: its columns and its rows."""
    numbers = (tr("values"), tr("missing"), tr("median"), tr("5 %"), tr("95 %"), tr("outliers"))
    columns = (tr("measurement"), *(f">{name}" for name in numbers))
    outliers = {each.name: each for each in exploration.outliers}
    rows = []
    for each in exploration.distributions:
        middle = [each.quantiles[place] for place in (3, 1, 5)] if each.quantiles else [np.nan] * 3
        known = (each.name, write_count(each.n_known), write_share(each.missing_share))
        outside = write_share(outliers[each.name].share)
        rows.append([*known, *map(write_number, middle), outside])
    return columns, rows


def difference_rows(differences: Sequence[Difference]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Give a table of what differs between two files: its columns and its rows."""
    numbers = (
        *(tr("KS statistic"), "p", tr("median"), tr("median of the other")),
        tr("change in missing"),
    )
    columns = (tr("measurement"), *(f">{name}" for name in numbers))
    rows = []
    for each in differences:
        change = tr("{change:+.1f} points", change=100 * each.missing_change)
        tested = (format_share(each.statistic), write_p_value(each.p_value))
        rows.append([each.name, *tested, *map(write_number, each.medians), change])
    return columns, rows
