"""One self-contained page about a file, or two side by side, before a model is trained on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from waterflow_cli.common.charts import (
    ReferenceLine,
    draw_heat_map,
    draw_histogram,
    draw_patterns,
    draw_signal,
)
from waterflow_cli.common.messages import tr, trn
from waterflow_cli.common.number_formats import (
    format_estimate,
    write_count,
    write_number,
    write_p_value,
    write_share,
)
from waterflow_cli.common.pages import page_environment
from waterflow_cli.exploration.headlines import find_headlines
from waterflow_cli.exploration.missing import Missing
from waterflow_cli.exploration.report import HEALTH, Difference, Exploration, LimitCount
from waterflow_cli.exploration.sections import MODIFIED_Z, Absent, Distribution, ImplausiblePair
from waterflow_cli.exploration.signal_check import QUICK_MODEL, Signal
from waterflow_cli.training.designs import describe_design
from waterflow_cli.validation.limits import Limit, unmeasured

# The one that fills its cell half; fuller ones look alike.
_DARKEST_SHARE = 0.5


def render_exploration(
    explorations: Sequence[Exploration], differences: Sequence[Difference] = ()
) -> str:
    """Write the page, of one file or two side by side, as HTML that loads nothing.

    Whatever comes from the data is escaped.
    """
    environment = page_environment()
    environment.filters.update(
        number=write_number,
        counted=write_count,
        p_value=write_p_value,
        share=write_share,
        design=lambda name: tr(describe_design(name)),
        drawn_correlations=lambda each: draw_heat_map(each.names, each.pearson, each.spearman),
        drawn_pair=_draw_pair,
        drawn_patterns=_draw_patterns,
        drawn_signal=_draw_signal,
        shade=lambda share: f"{min(share / _DARKEST_SHARE, 1) * 0.8:.2f}" if share == share else 0,
    )
    tags = ("A", "B") if len(explorations) > 1 else ("",)
    tagged = list(zip(tags, explorations, strict=True))
    names = list(dict.fromkeys(each.name for found in explorations for each in found.distributions))
    counts = {(tag, each.limit): each for tag, found in tagged for each in found.limits}
    return environment.get_template("exploration.html").render(
        views=[_view(tag, found) for tag, found in tagged],
        paired=len(tagged) > 1,
        differences=differences,
        measurements=names,
        unmeasured=", ".join(map(tr, unmeasured(names))),
        limits=list(dict.fromkeys(limit for _, limit in counts)),
        counts=counts,
        quick_model=tr(QUICK_MODEL),
        modified_z=MODIFIED_Z,
    )


def _view(tag: str, found: Exploration) -> dict[str, Any]:
    """Put together what the template shows of one file."""
    return {
        "tag": tag,
        "found": found,
        "headlines": find_headlines(found),
        "tiles": list(_tiles(found)),
        "panels": {each.name: _panel(each, found) for each in found.distributions},
    }


def _tiles(found: Exploration) -> Iterator[tuple[str, str, str]]:
    """Give the figures at the top: name, figure, and what it means."""
    findings = found.samples.findings
    broken = trn("{n:,} breaks the schema", "{n:,} break the schema", findings.n_invalid)
    measurements = trn("{n} measurement", "{n} measurements", len(found.distributions))
    yield tr("Rows"), write_count(findings.n_rows), broken
    yield tr("Columns"), f"{len(found.samples.header)}", measurements
    if not isinstance(found.missing, Absent):
        complete = write_share(found.missing.n_complete / len(found.samples))
        words = tr("{share} rows complete", share=complete)
        yield tr("Missing"), write_share(found.missing.share), words
    if not isinstance(found.labels, Absent):
        share = write_share(found.labels.share_positive)
        words = trn("{n:,} row", "{n:,} rows", found.labels.n_positive)
        yield tr("Labelled potable"), share, words
    if not isinstance(found.contradictions, Absent):
        names = ", ".join(found.contradictions.profiles)
        share = write_share(found.contradictions.share_potable)
        words = tr("single sample; {names}", names=names)
        yield tr("Potable above a health value"), share, words
    if not isinstance(found.signal, Absent):
        titles = (tr("Linear ROC AUC"), tr("Forest ROC AUC"))
        for title, each in zip(titles, (found.signal.linear, found.signal.quick), strict=True):
            reach = tr("{low:.2f} to {high:.2f}; chance is 0.5", low=each.low, high=each.high)
            yield title, f"{each.value:.2f}", reach


def _panel(each: Distribution, found: Exploration) -> dict[str, Any]:
    """Put together what the small chart of a measurement shows."""
    counts = [count for count in found.limits if count.limit.column == each.name]
    chart = None
    if each.histogram is not None:
        title = tr("Distribution of {name} in {path}", name=each.name, path=found.samples.path)
        chart = draw_histogram(each.histogram, _reference_lines(counts), title=title)
    return {
        "values": each,
        "chart": chart,
        # The longest says most: "mg/L as Cl2" where another profile says "mg/L".
        "unit": max((count.limit.unit for count in counts), key=len, default=""),
    }


def _reference_lines(counts: Iterable[LimitCount]) -> list[ReferenceLine]:
    """Make one line of each value, whoever gave it."""
    by_value: dict[tuple[float, str], list[Limit]] = {}
    for count in counts:
        limit = count.limit
        for value, sign in ((limit.minimum, "≥"), (limit.maximum, "≤")):
            if value is not None:
                by_value.setdefault((value, sign), []).append(limit)
    return [
        ReferenceLine(
            value,
            f"{'·'.join(dict.fromkeys(limit.profile for limit in limits))} "
            f"{sign}\u2009{write_number(value)}",
            any(limit.purpose == HEALTH for limit in limits),
        )
        for (value, sign), limits in sorted(by_value.items(), key=lambda item: item[0])
    ]


def _draw_patterns(missing: Missing, names: Iterable[str]) -> Markup:
    patterns = [(each.names, each.n_rows, each.expected) for each in missing.patterns]
    return draw_patterns(list(names), patterns)


def _draw_pair(pair: ImplausiblePair) -> Markup | None:
    if pair.histogram is None:
        return None
    low, high = (np.log10(bound) if bound > 0 else -np.inf for bound in pair.usual)
    return draw_histogram(
        pair.histogram,
        title=tr("Ratio of {first} to {second}", first=pair.names[0], second=pair.names[1]),
        band=(float(low), float(high)),
        logarithmic=True,
    )


def _draw_signal(signal: Signal) -> Markup:
    linear = tr("logistic regression {estimate}", estimate=format_estimate(signal.linear))
    forest = tr("forest {estimate}", estimate=format_estimate(signal.quick))
    return draw_signal(
        signal.permutation.chance,
        [("linear", linear, signal.linear), ("quick", forest, signal.quick)],
        observed=signal.permutation.auc,
    )
