"""How figures and their intervals are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterflow_cli.common.messages import tr

if TYPE_CHECKING:
    from waterflow_cli.models.metrics import Estimate


def format_metric(name: str, estimate: Estimate) -> str:
    """Write a metric with its interval."""
    return format_estimate(estimate, ".0f" if name.endswith("per_1000") else ".3f")


def format_estimate(estimate: Estimate, form: str = ".3f") -> str:
    """Write an estimate with its interval, where it has one.

    >>> from waterflow_cli.models.metrics import Estimate
    >>> format_estimate(Estimate(0.25, 0.125, 0.5), "+.2f")
    '+0.25 (+0.12 to +0.50)'
    """
    value, low, high = estimate.value, estimate.low, estimate.high
    if value != value:
        return tr("undefined")
    if low != low:
        return f"{value:{form}}"
    return tr(
        "{value} ({low} to {high})",
        value=format(value, form),
        low=format(low, form),
        high=format(high, form),
    )


def format_share(value: float) -> str:
    """Write a share; a dash where it is undefined."""
    return "-" if value != value else f"{value:.3f}"
