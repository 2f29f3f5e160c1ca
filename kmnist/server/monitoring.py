"""The metrics page: TensorFlow Serving's names, so that the same dashboards read both.

Source of names, labels and buckets: tensorflow_serving/servables/tensorflow/util.cc,
saved_model_warmup_util.cc and tensorflow/cc/saved_model/loader.cc. Times are in microseconds.
"""

from pathlib import Path
from typing import Final

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

__all__ = ["Metrics"]

# Six digits, as upstream writes them: a query for le="32.4" has to find its bucket.
_BUCKETS: Final = tuple(float(f"{10 * 1.8**power:.6g}") for power in range(33))
_COUNTERS: Final = (b"request_count", b"load_attempt_count", b"load_latency")


class Metrics:
    """What one server has done since it started."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            ":tensorflow:serving:request_count",
            "Requests by model and status.",
            ["model_name", "status"],
            registry=self._registry,
        )
        self._request_latency = self._histogram(
            ":tensorflow:serving:request_latency",
            "Microseconds from a request to its answer.",
            ["model_name", "API", "entrypoint"],
        )
        self._runtime_latency = self._histogram(
            ":tensorflow:serving:runtime_latency",
            "Microseconds that TensorFlow ran for a request.",
            ["model_name", "API", "runtime"],
        )
        self._loads = Counter(
            ":tensorflow:cc:saved_model:load_attempt_count",
            "Attempts to load a version, by folder and status.",
            ["model_path", "status"],
            registry=self._registry,
        )
        self._load_latency = Counter(
            ":tensorflow:cc:saved_model:load_latency",
            "Microseconds that it took to load a version and to warm it up.",
            ["model_path"],
            registry=self._registry,
        )

    def request(self, model: str, entrypoint: str, status: grpc.StatusCode, seconds: float) -> None:
        """Counts one predict request that came in through ``entrypoint``, GRPC or REST."""
        self._requests.labels(model, status.name).inc()
        if status is grpc.StatusCode.OK:
            api = "Predict" if entrypoint == "GRPC" else "predict"
            self._request_latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def run(self, model: str, seconds: float) -> None:
        """Counts one run of the model."""
        self._runtime_latency.labels(model, "Predict", "TF1").observe(seconds * 1e6)

    def load(self, folder: Path, error: Exception | None, seconds: float) -> None:
        """Counts one attempt to load a version."""
        self._loads.labels(str(folder), "fail" if error else "success").inc()
        if not error:
            self._load_latency.labels(str(folder)).inc(seconds * 1e6)

    def page(self) -> bytes:
        """The page in Prometheus's text format."""
        page = generate_latest(self._registry)
        for name in _COUNTERS:
            # prometheus_client ends a counter's name in _total, TensorFlow Serving does not.
            page = page.replace(name + b"_total", name)
        lines = page.splitlines(keepends=True)
        return b"".join(line for line in lines if b"_created" not in line)

    def _histogram(self, name: str, documentation: str, labels: list[str]) -> Histogram:
        return Histogram(name, documentation, labels, buckets=_BUCKETS, registry=self._registry)
