"""A fake server for the tests of programs that use the client.

::

    >>> fake = FakeTransport(lambda images: np.eye(10)[[7] * len(images)])
    >>> with Client(transport=fake) as client:
    ...     client.predict(np.zeros((28, 28), np.uint8)).class_ids
    array([7])
    >>> fake.requests[0].inputs["images"].shape
    (1, 28, 28)

For another model, pass its signatures::

    >>> halves = Signature({"x": TensorSpec("DT_FLOAT", (None,))}, {"y": TensorSpec("DT_FLOAT", (None,))})
    >>> fake = FakeTransport(
    ...     lambda inputs: {"y": inputs["x"] / 2 + 2}, signatures={"serving_default": halves}
    ... )
    >>> Client(transport=fake).call([1.0, 2.0, 5.0])
    {'y': array([2.5, 3. , 4.5], dtype=float32)}

It works with :class:`kmnist.client.Client` and :class:`kmnist.client.AsyncClient`, without network
and grpcio.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kmnist.client.answers import OUTPUTS
from kmnist.client.failures import closed
from kmnist.client.inputs import as_inputs
from kmnist.errors import ClientError
from kmnist.protocol.messages import (
    Metadata,
    ModelSpec,
    Outputs,
    Request,
    Signature,
    TensorSpec,
    VersionStatus,
)

__all__ = ["FakeTransport"]


class FakeTransport:
    """A transport that answers predict requests with a function, or raises given errors.

    Args:
        answer: Maps images, uint8 (n, h, w), or pictures, object (n,) of bytes, to probabilities
            (n, classes); with ``signatures``, inputs to outputs, arrays by name.
        image_shape: The height and width that the model accepts.
        class_names: The name of each class; by default the digits.
        signatures: The signatures of a model of another kind, by name.
        statuses: The result of ``status()``; by default version 1, AVAILABLE.
        errors: Raised by the first requests of any kind, one each, before any answer.

    Attributes:
        requests: The predict requests in order, including those that failed:
            :class:`kmnist.protocol.messages.Request`.
        timeouts: For each of these, the seconds until its deadline.
    """

    sends_bytes_best = False

    def __init__(
        self,
        answer: Callable[[Any], Any],
        *,
        image_shape: tuple[int, int] = (28, 28),
        class_names: Sequence[str] = tuple("0123456789"),
        signatures: Mapping[str, Signature] | None = None,
        statuses: Sequence[VersionStatus] = (VersionStatus(1, "AVAILABLE"),),
        errors: Iterable[ClientError] = (),
    ) -> None:
        self.requests: list[Request] = []
        self.timeouts: list[float] = []
        self._answer = answer
        self._names = np.array([name.encode() for name in class_names], dtype=object)
        self._signatures = signatures
        self._image_shape = image_shape
        self._statuses = list(statuses)
        self._errors = list(errors)
        self._closed = False
        self._lock = threading.Lock()

    def predict(self, request: Request, timeout: float) -> Outputs:
        """Record the request and return the outputs that ``answer`` gives or implies.

        Raises:
            ClientError: The next of ``errors``, or ClosedError.
        """
        self.requests.append(request)
        self.timeouts.append(timeout)
        self._raise_next_error()
        if self._signatures is not None:
            outputs = self._answer(request.inputs)
            return Outputs(as_inputs(outputs, request.signature.outputs), self._version())
        (values,) = request.inputs.values()
        probabilities = np.asarray(self._answer(values), dtype=np.float32)
        class_ids = probabilities.argmax(axis=-1)
        answers = (probabilities, class_ids, self._names[class_ids])
        return Outputs(dict(zip(OUTPUTS, answers, strict=True)), self._version())

    def metadata(self, _spec: ModelSpec, _timeout: float) -> Metadata:
        """Return the signatures of the newest version, ``serving_default`` and ``pictures`` by default.

        Raises:
            ClientError: The next of ``errors``, or ClosedError.
        """
        self._raise_next_error()
        if self._signatures is not None:
            return Metadata(self._version(), self._signatures)
        outputs = {
            "probabilities": TensorSpec("DT_FLOAT", (None, len(self._names))),
            "class_ids": TensorSpec("DT_INT64", (None,)),
            "class_names": TensorSpec("DT_STRING", (None,)),
        }
        inputs = {
            "serving_default": {"images": TensorSpec("DT_UINT8", (None, *self._image_shape))},
            "pictures": {"pictures": TensorSpec("DT_STRING", (None,))},
        }
        signatures = {name: Signature(specs, outputs) for name, specs in inputs.items()}
        return Metadata(self._version(), signatures)

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
            raise closed()
        with self._lock:
            if self._errors:
                raise self._errors.pop(0)
