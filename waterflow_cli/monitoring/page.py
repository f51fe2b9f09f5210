"""One self-contained page about a check of a file against a model's training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from waterflow_cli.common.arrays import FloatArray
from waterflow_cli.common.charts import Histogram, draw_histogram
from waterflow_cli.common.messages import tr
from waterflow_cli.common.number_formats import (
    format_estimate,
    write_count,
    write_number,
    write_share,
)
from waterflow_cli.common.pages import page_environment
from waterflow_cli.monitoring.drift import known_values
from waterflow_cli.monitoring.expected import describe_expected, expected_rows
from waterflow_cli.monitoring.monitor import Monitoring
from waterflow_cli.monitoring.report import (
    check_rows,
    describe_unchecked,
    group_rows,
    group_shown,
    headline,
    notes,
    record_rows,
    sentences,
)

_N_BARS = 30
# Of both samples together; the outermost bars hold what lies beyond.
_SHOWN_QUANTILES = (0.005, 0.995)


def render_monitoring(found: Monitoring) -> str:
    """Write the page as HTML that loads nothing; whatever comes from the data is escaped."""
    environment = page_environment()
    environment.filters.update(number=write_number, counted=write_count, share=write_share)
    columns, rows = check_rows(found.checks)
    group_columns, groups = group_rows(found)
    record_columns, records = record_rows(found)
    expected_columns, expected = expected_rows(found.expected)
    return environment.get_template("monitoring.html").render(
        found=found,
        headline=headline(found),
        sentences=sentences(found),
        notes=list(notes(found)),
        columns=_plain_names(columns),
        rows=rows,
        group_columns=_plain_names(group_columns),
        groups=groups,
        unchecked=[
            tr("{group}: {text}", group=group_shown(each.group), text=describe_unchecked(each))
            for each in found.unchecked
            if each.group
        ],
        record_columns=_plain_names(record_columns),
        records=records,
        expected_columns=_plain_names(expected_columns),
        expected=expected,
        expected_texts=describe_expected(found.expected),
        bins=[] if found.whole.record is None else found.whole.record.bins,
        estimate=format_estimate,
        panels=[_panel(name, found) for name in found.whole.rows.measurements],
        scores=_draw(tr("probability"), found.reference.probability, found.whole.probability),
    )


def _plain_names(columns: Sequence[str]) -> list[str]:
    """Drop the signs that align columns in a terminal."""
    return [name.removeprefix(">") for name in columns]


def _panel(name: str, found: Monitoring) -> dict[str, Any]:
    """Put together what is shown of a measurement."""
    checks = [check for check in found.checks if check.name == name and not check.group]
    old, new = found.reference.X[name].to_numpy(), found.whole.rows.X[name].to_numpy()
    missing = next((check for check in checks if check.kind == "missing"), None)
    shape = next((check for check in checks if check.kind == "shape"), None)
    return {
        "name": name,
        "unit": found.model.schema.units.get(name, ""),
        "chart": _draw(name, old, new),
        "is_alarmed": any(check.alarm for check in checks),
        "medians": [
            float(np.median(known)) if len(known) else np.nan
            for known in map(known_values, (old, new))
        ],
        "missing": None if missing is None else [missing.old, missing.new],
        "psi": ((shape and shape.detail) or {}).get("psi", np.nan),
    }


def _draw(name: str, old: FloatArray, new: FloatArray) -> Markup | None:
    """Draw the shapes of old and new values over each other; None where one has no values."""
    old, new = known_values(old), known_values(new)
    if not len(old) or not len(new):
        return None
    bounds = [np.quantile(each, _SHOWN_QUANTILES) for each in (old, new)]
    low, high = np.min(bounds), np.max(bounds)
    if low == high:
        return None
    edges = np.linspace(low, high, _N_BARS + 1)
    first, second = (
        tuple(np.histogram(np.clip(each, low, high), edges)[0].tolist()) for each in (old, new)
    )
    histogram = Histogram(tuple(edges.tolist()), first, (first, second))
    return draw_histogram(histogram, title=tr("{name}, in training and in the file", name=name))
