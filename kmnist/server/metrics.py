"""The metrics page, with TensorFlow Serving's names, so that its dashboards work for both.

Source of names, labels and buckets: tensorflow_serving/servables/tensorflow/util.cc,
saved_model_warmup_util.cc and tensorflow/cc/saved_model/loader.cc. Times are in microseconds. One
metric is this project's own: kmnist_predictions, the number of images by version and predicted class.
"""

import re
from collections import Counter as Counts
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

__all__ = ["METRICS_PATH", "Metrics"]

_SERVING: Final = ":tensorflow:serving:"
_LOADER: Final = ":tensorflow:cc:saved_model:"
METRICS_PATH: Final = "/monitoring/prometheus/metrics"

# Six digits, as TensorFlow Serving writes them, so that a query for le="32.4" matches.
_BUCKETS: Final = tuple(float(f"{10 * 1.8**power:.6g}") for power in range(33))
_TOTAL_OF_TENSORFLOW: Final = re.compile(rb"(:tensorflow:\S+?)_total\b")


class Metrics:
    """The metrics of one server since its start."""

    def __init__(self) -> None:
        """Create the metrics in their own registry, so that several servers fit in a process."""
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        histogram = partial(Histogram, buckets=_BUCKETS, registry=self._registry)
        self._requests = counter(
            f"{_SERVING}request_count", "Requests by model and status.", ["model_name", "status"]
        )
        self._request_latency = histogram(
            f"{_SERVING}request_latency",
            "Microseconds from a request to its response.",
            ["model_name", "API", "entrypoint"],
        )
        self._runtime_latency = histogram(
            f"{_SERVING}runtime_latency",
            "Microseconds that TensorFlow ran for a request.",
            ["model_name", "API", "runtime"],
        )
        self._predictions = counter(
            "kmnist_predictions", "Predictions by version and class.", ["version", "class_name"]
        )
        self._loads = counter(
            f"{_LOADER}load_attempt_count",
            "Attempts to load a version, by folder and status.",
            ["model_path", "status"],
        )
        self._load_latency = counter(
            f"{_LOADER}load_latency", "Microseconds per load.", ["model_path"]
        )

    def request(self, model: str, entrypoint: str, status: grpc.StatusCode, seconds: float) -> None:
        """Count a predict request.

        Args:
            model: The value of the label ``model_name``.
            entrypoint: GRPC or REST.
            status: The result.
            seconds: The duration.
        """
        self._requests.labels(model, status.name).inc()
        if status is grpc.StatusCode.OK:
            api = "Predict" if entrypoint == "GRPC" else "predict"
            self._request_latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def run(self, model: str, seconds: float) -> None:
        """Count a run of the model and its duration in seconds."""
        self._runtime_latency.labels(model, "Predict", "TF1").observe(seconds * 1e6)

    def predicted(self, version: int, class_names: Iterable[bytes]) -> None:
        """Count predictions of a version by the names of their classes, in UTF-8."""
        for name, count in Counts(class_names).items():
            self._predictions.labels(version, name.decode("utf-8", "replace")).inc(count)

    def load(self, folder: Path, error: Exception | None, seconds: float) -> None:
        """Count an attempt to load a version and its duration in seconds.

        The label is not the whole path, which names users and disks, but ``/models/kmnist/1``: the
        last three names, as in a container.
        """
        path = "/" + "/".join(name for name in folder.parts[-3:] if name != folder.anchor)
        self._loads.labels(path, "fail" if error else "success").inc()
        if not error:
            self._load_latency.labels(path).inc(seconds * 1e6)

    def page(self) -> bytes:
        """Return the page in Prometheus's text format."""
        page = generate_latest(self._registry)
        # prometheus_client appends _total to the name of a counter, TensorFlow Serving does not.
        page = _TOTAL_OF_TENSORFLOW.sub(rb"\1", page)
        lines = page.splitlines(keepends=True)
        return b"".join(line for line in lines if b"_created" not in line)
