"""Prediction, as both transports use it: limited in number, and counted."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from grpc import StatusCode
from numpy.typing import NDArray

from kmnist.server.errors import StatusError
from kmnist.server.metrics import Metrics
from kmnist.server.model import LoadedSignature
from kmnist.server.versions import Versions

__all__ = ["Service"]

# The outputs of a signature that predicts; others may list the names of all classes.
_PREDICTION: Final = {"probabilities", "class_ids", "class_names"}
_Response = TypeVar("_Response")


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
        self._running: set[Future[Any]] = set()
        # Not the default executor of the event loop, whose end waits for every computation.
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="kmnist-predict")

    @property
    def is_idle(self) -> bool:
        """Whether no request is being processed, not even one that its caller has given up."""
        return not self._running

    async def predict(
        self,
        model: str,
        entrypoint: str,
        compute: Callable[[], _Response],
        seconds: float | None = None,
    ) -> _Response:
        """Call ``compute`` in a thread, and count the request.

        It occupies its place until ``compute`` returns, even if nobody waits for it any more.

        Args:
            model: The model name of the request.
            entrypoint: GRPC or REST.
            compute: Returns the response.
            seconds: The time to wait for the response.

        Raises:
            StatusError: All places are occupied, or the time is over.
        """
        with self._counted(model, entrypoint):
            if len(self._running) >= self._concurrency:
                message = "Server Threadpool Exhausted"
                raise StatusError(StatusCode.RESOURCE_EXHAUSTED, message, http_status=503)
            work = self._threads.submit(compute)
            self._running.add(work)
            work.add_done_callback(self._running.discard)
            try:
                async with asyncio.timeout(seconds):
                    return await asyncio.wrap_future(work)
            except TimeoutError:
                message = f"Timed out after {seconds:g} seconds"
                raise StatusError(StatusCode.DEADLINE_EXCEEDED, message) from None

    def run(
        self, version: int, signature: LoadedSignature, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Compute the outputs of a signature of a version; count the run and the predictions."""
        started = time.perf_counter()
        outputs = signature(inputs)
        self.metrics.run(self.versions.name, time.perf_counter() - started)
        if outputs.keys() >= _PREDICTION and outputs["class_names"].dtype == object:
            self.metrics.predicted(version, outputs["class_names"].ravel().tolist())
        return outputs

    def close(self) -> None:
        """Let the threads end; a computation that is running is not waited for."""
        self._threads.shutdown(wait=False)

    @contextmanager
    def _counted(self, model: str, entrypoint: str) -> Iterator[None]:
        """Count a request, its result and its duration."""
        # Names of other models do not become labels: callers could create any number of them.
        label = model if model == self.versions.name else "(unknown)"
        status = StatusCode.INTERNAL
        started = time.perf_counter()
        try:
            yield
            status = StatusCode.OK
        except StatusError as error:
            status = error.code
            raise
        except asyncio.CancelledError:  # by the caller, or at its deadline
            status = StatusCode.CANCELLED
            raise
        finally:
            self.metrics.request(label, entrypoint, status, time.perf_counter() - started)
