"""Prediction, as both transports use it: limited in number and in bytes, and counted."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, Final

import grpc
from numpy.typing import NDArray

from kmnist.server.errors import StatusError
from kmnist.server.metrics import Metrics
from kmnist.server.model import LoadedSignature
from kmnist.server.versions import Versions

__all__ = ["Service"]

# The objects of a decoded request take many times its bytes, so that few large ones are decoded at a
# time. Nothing is lost by that: Python's global lock is held meanwhile.
_LARGE: Final = 2**18
_DECODED_AT_A_TIME: Final = 2

# The outputs of a signature that predicts; others may list the names of all classes.
_PREDICTION: Final = {"probabilities", "class_ids", "class_names"}


class Service:
    """A model with its metrics and its limit of concurrent requests.

    Attributes:
        versions: The versions of the model.
        metrics: The counters of the metrics page.
    """

    def __init__(self, versions: Versions, metrics: Metrics, concurrency: int) -> None:
        """Create the service.

        Args:
            versions: The versions of the model.
            metrics: The counters of the metrics page.
            concurrency: The number of requests that are processed at a time. Further ones are
                refused at once: a caller can retry elsewhere, but cannot leave a queue.
        """
        self.versions = versions
        self.metrics = metrics
        self._concurrency = concurrency
        self._lock = threading.Lock()
        self._in_progress = 0
        self._decoding = threading.Semaphore(_DECODED_AT_A_TIME)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="kmnist-predict")

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
        label = model if model == self.versions.name else "(unknown)"
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
    def decoding(self, size: int) -> Iterator[None]:
        """Decode a request of ``size`` bytes in the block; a large one waits for its turn."""
        with self._decoding if size > _LARGE else nullcontext():
            yield

    async def predict(
        self, model: str, entrypoint: str, compute: Callable[[], bytes], seconds: float
    ) -> bytes:
        """Call ``compute`` in a thread, in one of the places; count the request.

        The place is occupied until ``compute`` returns, after a timeout too.

        Raises:
            StatusError: All places are occupied, or the timeout is over.
        """
        with self.counted(model, entrypoint), ExitStack() as held:
            held.enter_context(self.slot())
            work = self._threads.submit(compute)
            place = held.pop_all()
            work.add_done_callback(lambda _: place.close())
            try:
                async with asyncio.timeout(seconds):
                    return await asyncio.wrap_future(work)
            except TimeoutError:
                raise StatusError(
                    grpc.StatusCode.DEADLINE_EXCEEDED, f"Timed out after {seconds:g} seconds"
                ) from None

    def run(
        self, signature: LoadedSignature, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Compute the outputs of ``signature``; count the run and the predictions."""
        started = time.perf_counter()
        outputs = signature(inputs)
        self.metrics.run(self.versions.name, time.perf_counter() - started)
        if outputs.keys() >= _PREDICTION and outputs["class_names"].dtype == object:
            self.metrics.predicted(outputs["class_names"].ravel().tolist())
        return outputs
