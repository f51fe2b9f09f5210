"""What a server counts, for Prometheus."""

from __future__ import annotations

from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from waterflow_cli.serving.judging import Answer
from waterflow_cli.serving.served_model import ModelWatch

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# A second line for each count, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ServerMetrics:
    """Counts requests, samples and verdicts, and tells which model answers."""

    def __init__(self, watch: ModelWatch) -> None:
        self._watch = watch
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        counter = partial(Counter, registry=self._registry)
        gauge = partial(Gauge, registry=self._registry)
        self._requests = counter("waterflow_requests", "Requests answered.", ["path", "status"])
        self._seconds = Histogram(
            "waterflow_request_seconds",
            "Time from a request to its answer.",
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._samples = counter("waterflow_samples", "Samples judged.", ["status"])
        self._verdicts = counter("waterflow_verdicts", "Verdicts given.", ["verdict"])
        self.in_progress = gauge(
            "waterflow_scoring_requests", "Requests that are scored, or wait for it."
        )
        self._model = Info("waterflow_model", "The model that answers.", registry=self._registry)
        self._loaded = gauge("waterflow_model_loaded_timestamp_seconds", "When it was loaded.")
        self._failing = gauge(
            "waterflow_model_reload_failing",
            "1 while the model that the store names now cannot be loaded.",
        )

    def note_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.observe(seconds)

    def note_answer(self, answer: Answer) -> None:
        """Count the samples of an answer."""
        self._samples.labels("scored").inc(answer.n_rows - answer.n_invalid)
        self._samples.labels("invalid").inc(answer.n_invalid)
        for verdict, count in answer.verdicts.items():
            self._verdicts.labels(verdict).inc(count)

    def text(self) -> bytes:
        """Write all of it as Prometheus reads it."""
        served = self._watch.current
        self._model.info({"model": served.label, "sha256": served.model.digest})
        self._loaded.set(served.loaded.timestamp())
        self._failing.set(self._watch.is_failing)
        return generate_latest(self._registry)
