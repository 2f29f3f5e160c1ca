"""Prediction, as both transports use it: limited in number and in bytes, and counted."""

import gc
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import grpc
from numpy.typing import NDArray

from kmnist.server.bodies import ByteBudget
from kmnist.server.errors import StatusError
from kmnist.server.metrics import Metrics
from kmnist.server.model import LoadedSignature
from kmnist.server.versions import Versions

__all__ = ["Service"]

# A request of more bytes is decoded alone: its objects in memory are many times its size. Nothing
# is lost by that, because they are created while Python's global lock is held.
_LARGE: Final = 2**18

# The outputs of a signature that predicts; others may list the names of all classes.
_PREDICTION: Final = {"probabilities", "class_ids", "class_names"}


class Service:
    """A model with its metrics and its limit of concurrent requests.

    Attributes:
        manager: The versions of the model.
        metrics: The counters of the metrics page.
        bodies: The limit of the bytes of all requests together.
    """

    def __init__(
        self, manager: Versions, metrics: Metrics, concurrency: int, body_bytes: int
    ) -> None:
        """Create the service.

        Args:
            manager: The versions of the model.
            metrics: The counters of the metrics page.
            concurrency: The number of requests that are processed at a time. Further ones are
                refused at once: a caller can retry elsewhere, but cannot leave a queue.
            body_bytes: The limit of the bytes of all requests together.
        """
        self.manager = manager
        self.metrics = metrics
        self.bodies = ByteBudget(body_bytes)
        self._concurrency = concurrency
        self._lock = threading.Lock()
        self._in_progress = 0
        self._decoding = threading.Lock()

    @property
    def in_progress(self) -> int:
        """The number of requests that are being processed, abandoned ones included."""
        return self._in_progress

    @contextmanager
    def counted(self, model: str, entrypoint: str) -> Iterator[None]:
        """Count a request, its result and its duration.

        Args:
            model: The model name of the request.
            entrypoint: GRPC or REST.
        """
        # Names of other models do not become labels: callers could create any number of them.
        label = model if model == self.manager.name else "(unknown)"
        status = grpc.StatusCode.INTERNAL
        started = time.perf_counter()
        try:
            yield
            status = grpc.StatusCode.OK
        except StatusError as error:
            status = error.code
            raise
        finally:
            self.metrics.request(label, entrypoint, status, time.perf_counter() - started)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Occupy one of the places of concurrent requests.

        Raises:
            StatusError: All of them are occupied.
        """
        with self._lock:
            if self._in_progress >= self._concurrency:
                raise StatusError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "Server Threadpool Exhausted",
                    http_status=503,
                )
            self._in_progress += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_progress -= 1

    @contextmanager
    def decoding(self, size: int, *, is_compressed: bool = False) -> Iterator[None]:
        """Decode a request of ``size`` bytes in the block, if it is large while no other one is."""
        if size <= _LARGE and not is_compressed:
            yield
            return
        with self._decoding:
            collects = gc.isenabled()
            # The objects of a document are no cycles, but so many that Python would search all
            # objects of TensorFlow for cycles again and again.
            gc.disable()
            try:
                yield
            finally:
                if collects:
                    gc.enable()

    def run(
        self, signature: LoadedSignature, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Compute the outputs of ``signature``; count the run and the predictions."""
        started = time.perf_counter()
        outputs = signature(inputs)
        self.metrics.run(self.manager.name, time.perf_counter() - started)
        if outputs.keys() >= _PREDICTION and outputs["class_names"].dtype == object:
            self.metrics.predicted(outputs["class_names"].ravel().tolist())
        return outputs
