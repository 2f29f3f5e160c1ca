"""A fake server for the tests of programs that use the client.

::

    >>> fake = FakeTransport(lambda images: np.eye(10)[[7] * len(images)])
    >>> with Client(transport=fake) as client:
    ...     client.predict(np.zeros((28, 28), np.uint8)).class_ids
    array([7])
    >>> fake.requests[0].inputs["images"].shape
    (1, 28, 28)

It works with :class:`kmnist.client.Client` and :class:`kmnist.client.AsyncClient`, without network
and grpcio.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmnist.errors import ClientError, ClosedError
from kmnist.protocol.messages import (
    Metadata,
    ModelSpec,
    Outputs,
    Signature,
    TensorSpec,
    VersionStatus,
)

__all__ = ["FakeTransport", "Request"]


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A predict request that a FakeTransport received.

    Attributes:
        spec: The model, and its version or label.
        signature: ``serving_default`` or ``pictures``.
        inputs: Arrays by name: ``images`` uint8 (n, h, w), or ``pictures`` object (n,) of bytes.
        timeout: Seconds until the deadline.
    """

    spec: ModelSpec
    signature: str
    inputs: Mapping[str, NDArray[Any]]
    timeout: float


class FakeTransport:
    """A transport that answers predict requests with a function, or raises given errors.

    Args:
        answer: Maps images, uint8 (n, h, w), or pictures, object (n,) of bytes, to probabilities
            (n, classes).
        image_shape: The height and width that the model accepts.
        class_names: The name of each class; by default the digits.
        statuses: The result of ``status()``; by default version 1, AVAILABLE.
        errors: Raised by the first requests of any kind, one each, before any answer.

    Attributes:
        requests: The predict requests in order, including those that failed.
    """

    sends_bytes_best = False

    def __init__(
        self,
        answer: Callable[[NDArray[Any]], ArrayLike],
        *,
        image_shape: tuple[int, int] = (28, 28),
        class_names: Sequence[str] = tuple("0123456789"),
        statuses: Sequence[VersionStatus] = (VersionStatus(1, "AVAILABLE"),),
        errors: Iterable[ClientError] = (),
    ) -> None:
        self.requests: list[Request] = []
        self._answer = answer
        self._image_shape = image_shape
        self._names = np.array(class_names, dtype=object)
        self._statuses = list(statuses)
        self._errors = list(errors)
        self._closed = False
        self._lock = threading.Lock()

    def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float
    ) -> Outputs:
        """Record the request and return the outputs for the probabilities of ``answer``.

        Raises:
            ClientError: The next of ``errors``, or ClosedError.
        """
        self.requests.append(Request(spec, signature, inputs, timeout))
        self._raise_next_error()
        (values,) = inputs.values()
        probabilities = np.asarray(self._answer(values), dtype=np.float32)
        class_ids = probabilities.argmax(axis=-1)
        return Outputs(
            {
                "probabilities": probabilities,
                "class_ids": class_ids,
                "class_names": self._names[class_ids],
            },
            self._version(),
        )

    def metadata(self, _spec: ModelSpec, _timeout: float) -> Metadata:
        """Return the signatures ``serving_default`` and ``pictures`` of the newest version.

        Raises:
            ClientError: The next of ``errors``, or ClosedError.
        """
        self._raise_next_error()
        outputs = {
            "probabilities": TensorSpec("DT_FLOAT", (None, len(self._names))),
            "class_ids": TensorSpec("DT_INT64", (None,)),
            "class_names": TensorSpec("DT_STRING", (None,)),
        }
        images = TensorSpec("DT_UINT8", (None, *self._image_shape))
        pictures = TensorSpec("DT_STRING", (None,))
        return Metadata(
            self._version(),
            {
                "serving_default": Signature({"images": images}, outputs),
                "pictures": Signature({"pictures": pictures}, outputs),
            },
        )

    def status(self, _spec: ModelSpec, _timeout: float) -> Sequence[VersionStatus]:
        """Return ``statuses``.

        Raises:
            ClientError: The next of ``errors``, or ClosedError.
        """
        self._raise_next_error()
        return self._statuses

    def close(self) -> None:
        """Make every later request raise ClosedError."""
        self._closed = True

    def _version(self) -> int:
        return max((status.version for status in self._statuses), default=1)

    def _raise_next_error(self) -> None:
        if self._closed:
            raise ClosedError("the client is closed; create a new one")
        with self._lock:
            error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
