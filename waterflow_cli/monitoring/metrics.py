"""What a check of a file says to Prometheus: a file for the textfile collector."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from waterflow_cli.monitoring.monitor import Monitoring

_PREFIX = "waterflow_monitor"
_OF_CHECK = ("model", "check", "measurement", "group")


def render_metrics(found: Monitoring, *, now: float | None = None) -> bytes:
    """Write the gauges in Prometheus' text format, at a time in seconds since 1970."""
    registry = CollectorRegistry()

    def gauge(name: str, text: str, value: float) -> None:
        each = Gauge(f"{_PREFIX}_{name}", text, ("model",), registry=registry)
        each.labels(found.model).set(value)

    gauge("alarm", "1 where a check alarms, else 0.", float(bool(found.alarms)))
    gauge("alarms", "Checks that alarm.", len(found.alarms))
    gauge("checks", "Checks that were made.", len(found.checks))
    gauge("rows", "Rows of the file.", found.file.counts.n_rows)
    gauge("rows_invalid", "Rows that break the schema.", found.file.counts.n_invalid)
    gauge(
        "timestamp_seconds",
        "When the file was checked, in seconds since 1970.",
        time.time() if now is None else now,
    )
    for name, attribute, text in (
        ("alarm", "alarm", "1 where this check alarms, else 0."),
        ("effect", "effect", "How large the difference is; its kind depends on the check."),
        ("p_value", "adjusted", "Adjusted for all checks of the report; NaN where it is no test."),
        ("training", "old", "The figure in training: a share, median or metric."),
        ("file", "new", "The figure in the file: a share, median or metric."),
    ):
        of_checks = Gauge(f"{_PREFIX}_check_{name}", text, _OF_CHECK, registry=registry)
        for check in found.checks:
            labels = (found.model, check.kind, check.name, check.group)
            of_checks.labels(*labels).set(float(getattr(check, attribute)))
    return generate_latest(registry)
