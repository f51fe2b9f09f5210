"""Log checks of files to MLflow, one run each, so that trends are seen."""

from __future__ import annotations

import re
from pathlib import Path

from waterflow_cli import __version__
from waterflow_cli.common.json import json_text
from waterflow_cli.monitoring.monitor import Monitoring
from waterflow_cli.monitoring.report import summarise
from waterflow_cli.registry.runs import TrackingOptions, tracked_run

EXPERIMENT = "waterflow-monitoring"
# What MLflow takes in the name of a metric.
_REFUSED = re.compile(r"[^\w. /-]", re.ASCII)


def log_check(found: Monitoring, page: str, *, uri: str, file_sha256: str | None = None) -> str:
    """Log what became of a check of a file; return the run's id.

    The sha256 is that of the file's bytes, where it can be read again. Where the store cannot be
    used there is a `ModelError`.
    """
    tags = {
        "mlflow.runName": f"{found.model.label} {Path(found.file.path).name}",
        "waterflow.version": __version__,
        "waterflow.model": found.model.label,
        "waterflow.model_sha256": found.model.digest,
        "waterflow.alarm": str(bool(found.alarms)).lower(),
        "waterflow.file": found.file.path,
        "waterflow.file_sha256": file_sha256 or "",
    }
    files = {"report.html": page, "report.json": json_text(summarise(found))}
    with tracked_run(TrackingOptions(uri, EXPERIMENT)) as run:
        run.log_more(
            tags=tags,
            metrics=run_metrics(found),
            files={name: text.encode("utf-8", "backslashreplace") for name, text in files.items()},
        )
    return str(run.run_id)


def run_metrics(found: Monitoring) -> dict[str, float]:
    """Give the figures of the file as a whole as metrics of a run: ``drift.ph.level``."""
    metrics = {
        "alarm": float(bool(found.alarms)),
        "alarms": float(len(found.alarms)),
        "checks": float(len(found.checks)),
        "rows": float(found.file.counts.n_rows),
        "rows_invalid": float(found.file.counts.n_invalid),
    }
    for check in found.checks:
        if check.group:
            continue
        metrics[f"drift.{check.key}"] = check.effect
        metrics[f"file.{check.key}"] = check.new
        if psi := (check.detail or {}).get("psi"):
            metrics[f"drift.{check.key}.psi"] = psi
    if found.expected is not None and not found.expected.is_void:
        for name, estimate in found.expected.estimates.items():
            metrics[f"expected.{name}"] = estimate.value
    known = {name: value for name, value in metrics.items() if abs(value) < float("inf")}
    return {_REFUSED.sub("_", name): value for name, value in known.items()}
