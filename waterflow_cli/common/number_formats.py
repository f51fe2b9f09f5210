"""Figures with their intervals, and how they, numbers and shares are written."""

from __future__ import annotations

from dataclasses import dataclass

from waterflow_cli.common.messages import Message, tr

CHANCE = 0.5  # the ROC AUC of no skill


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval."""

    value: float
    low: float
    high: float


def format_metric(name: str, estimate: Estimate) -> str:
    """Write a metric with its interval."""
    return format_estimate(estimate, ".0f" if name.endswith("per_1000") else ".3f")


def format_estimate(estimate: Estimate, form: str = ".3f") -> str:
    """Write an estimate with its interval, where it has one."""
    return tr(describe_estimate(estimate, form))


def describe_estimate(estimate: Estimate, form: str = ".3f") -> str:
    """Put an estimate with its interval into a message.

    >>> describe_estimate(Estimate(0.25, 0.125, 0.5), "+.2f")
    '+0.25 (+0.12 to +0.50)'
    """
    value, low, high = estimate.value, estimate.low, estimate.high
    if value != value:
        return Message("undefined")
    if low != low:
        return f"{value:{form}}"
    return Message(
        "{value} ({low} to {high})",
        value=format(value, form),
        low=format(low, form),
        high=format(high, form),
    )


def format_share(value: float) -> str:
    """Write a share; a dash where it is undefined."""
    return "-" if value != value else f"{value:.3f}"


def write_number(value: float) -> str:
    """Write a number to four digits, without an exponent where that is short.

    >>> write_number(20927.83), write_number(0.352), write_number(float("nan"))
    ('20930', '0.352', '-')
    """
    import numpy as np  # commands write figures too, and start without it

    if value != value:
        return "-"
    if value and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.3g}"
    return np.format_float_positional(value, precision=4, fractional=False, trim="-")


def write_count(value: int) -> str:
    """Write a count, in groups of three digits where the language sets them with a comma.

    >>> write_count(20927)
    '20,927'
    """
    return tr("{count:,}", count=value)


def write_share(value: float) -> str:
    """Write a share in per cent; a dash where there is none.

    >>> write_share(0.97261), write_share(0.0001), write_share(float("nan"))
    ('97.3%', '<0.1%', '-')
    """
    if value != value:
        return "-"
    return "<0.1%" if 0 < value < 0.0005 else f"{value:.1%}"


def write_p_value(value: float) -> str:
    """Write a p value to two digits; one that underflowed is no 0.

    >>> write_p_value(0.0413), write_p_value(0.0), write_p_value(float("nan"))
    ('0.041', '<1e-300', '-')
    """
    if value != value:
        return "-"
    return f"{value:.2g}" if value >= 1e-300 else "<1e-300"
