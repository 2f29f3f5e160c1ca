"""What both transports do with a request to predict."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from numpy.typing import NDArray

from kmnist.server.manager import Manager
from kmnist.server.monitoring import Metrics
from kmnist.server.servable import Signature
from kmnist.server.serving_error import ServingError

__all__ = ["Service"]


class Service:
    """A model that answers.

    Args:
        manager: Its versions.
        metrics: Counts what is done.
        concurrency: Most requests that are worked on at a time; one more is refused at once, since
            a caller can try again elsewhere but cannot take its place in a queue back.
    """

    def __init__(self, manager: Manager, metrics: Metrics, concurrency: int) -> None:
        self.manager = manager
        self.metrics = metrics
        self._places = threading.BoundedSemaphore(concurrency)

    @contextmanager
    def request(self, model: str, entrypoint: str) -> Iterator[None]:
        """Around the work on one request: takes one of the places and counts how it ended.

        Raises:
            ServingError: there is no place left.
        """
        # A name that nobody serves must not become a label: callers could make any number of them.
        counted = model if model == self.manager.name else "(unknown)"
        status = grpc.StatusCode.INTERNAL
        started = time.perf_counter()
        try:
            with self._place():
                yield
            status = grpc.StatusCode.OK
        except ServingError as error:
            status = error.code
            raise
        finally:
            self.metrics.request(counted, entrypoint, status, time.perf_counter() - started)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise ServingError(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted", http_status=503
            )
        try:
            yield
        finally:
            self._places.release()

    def run(
        self, signature: Signature, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """The outputs of ``signature``."""
        started = time.perf_counter()
        outputs = signature(inputs)
        self.metrics.run(self.manager.name, time.perf_counter() - started)
        return outputs
