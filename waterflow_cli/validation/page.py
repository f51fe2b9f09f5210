"""One self-contained page about the rows of some files."""

from __future__ import annotations

from typing import Any

from waterflow_cli.common.messages import tr
from waterflow_cli.common.pages import page_environment
from waterflow_cli.validation.limit_checks import LimitCounts, LimitStatus
from waterflow_cli.validation.report import FINDING_COLUMNS, ValidationReport


def render_findings(report: ValidationReport) -> str:
    """Write the page as HTML that loads nothing; whatever comes from the data is escaped."""
    page = page_environment().get_template("findings.html")
    return page.render(
        report=report,
        columns=[tr(name) for name in FINDING_COLUMNS],
        names=FINDING_COLUMNS,
        limits=None if report.limits is None else _limits_table(report.limits),
    )


def _limits_table(counts: LimitCounts) -> dict[str, Any]:
    names = (tr("limits"), tr("measurement"), tr("value"), tr("class"), tr("basis"), tr("source"))
    rows = [
        (
            *(limit.origin, limit.column, limit.value),
            *(limit.purpose_shown, limit.basis_shown, limit.source),
            *sums,
        )
        for limit, sums in zip(counts.limits, counts.by_limit, strict=True)
    ]
    return {
        "columns": [*names, *(tr(each.words) for each in LimitStatus)],
        "rows": rows,
        "absent": ", ".join([*map(tr, counts.in_no_column), *counts.not_measured]),
    }
