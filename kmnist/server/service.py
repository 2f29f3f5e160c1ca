"""Prediction, as both transports use it: limited in number and counted."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from numpy.typing import NDArray

from kmnist.server.manager import Manager
from kmnist.server.monitoring import Metrics
from kmnist.server.servable import SignatureRunner
from kmnist.server.serving_error import ServingError

__all__ = ["Service"]


class Service:
    """A model with its metrics and its limit of concurrent requests.

    Attributes:
        manager: The versions of the model.
        metrics: The counters of the metrics page.
    """

    def __init__(self, manager: Manager, metrics: Metrics, concurrency: int) -> None:
        """Create the service.

        Args:
            manager: The versions of the model.
            metrics: The counters of the metrics page.
            concurrency: The number of requests that are processed at a time. Further ones are
                refused at once: a caller can retry elsewhere, but cannot leave a queue.
        """
        self.manager = manager
        self.metrics = metrics
        self._slots = threading.BoundedSemaphore(concurrency)

    @contextmanager
    def request(self, model: str, entrypoint: str) -> Iterator[None]:
        """Occupy a slot while the block processes a request, and count its result.

        Args:
            model: The model name of the request.
            entrypoint: GRPC or REST.

        Raises:
            ServingError: All slots are occupied.
        """
        # Names of other models do not become labels: callers could create any number of them.
        counted = model if model == self.manager.name else "(unknown)"
        status = grpc.StatusCode.INTERNAL
        started = time.perf_counter()
        try:
            with self._slot():
                yield
            status = grpc.StatusCode.OK
        except ServingError as error:
            status = error.code
            raise
        finally:
            self.metrics.request(counted, entrypoint, status, time.perf_counter() - started)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            raise ServingError(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted", http_status=503
            )
        try:
            yield
        finally:
            self._slots.release()

    def run(
        self, signature: SignatureRunner, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Compute the outputs of ``signature`` and count the run."""
        started = time.perf_counter()
        outputs = signature(inputs)
        self.metrics.run(self.manager.name, time.perf_counter() - started)
        return outputs
