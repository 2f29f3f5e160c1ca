"""The client for threads and scripts."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from numpy.typing import ArrayLike

from kmnist.client.address import TLS
from kmnist.client.arguments import make_calls
from kmnist.client.calls import Flow, Send
from kmnist.client.inputs import PicturesLike
from kmnist.client.predictions import Predictions
from kmnist.client.transports import Transport, open_transports
from kmnist.errors import ClientError
from kmnist.protocol.metadata import Metadata, VersionStatus

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """Asks a TensorFlow Serving server for predictions, over gRPC or REST.

    Any number of threads may share one client. It connects when it is first used, keeps its
    connections, and finds a server again that was restarted. Every call raises the errors of
    :mod:`kmnist.errors`, whichever the transport.

    ::

        with Client("grpc://localhost:8500") as client:
            predictions = client.predict(images)

    Args:
        url: ``grpc://``, ``grpcs://``, ``http://`` or ``https://``, a host and a port; several,
            separated by commas, or a DNS name with many addresses, take turns.
        model: The name the server serves the model under.
        version: The version to ask, or
        label: the label of the version to ask; neither: the latest.
        timeout: Seconds that one call may take, with all its retries and pieces.
        retries: How often a request is repeated after a failure that repeating can help
            against, with growing, random pauses. 3 bridge half a second; 100 a restart, within
            the timeout.
        batch_size: Most images in one request; a call with more sends several, one by one. A
            server with a lower limit is noticed and obeyed.
        headers: Sent with every request, as ``{"authorization": "Bearer …"}``. Never shown.
        tls: How to trust the server of a ``grpcs://`` or ``https://`` address.
        transport: Used instead of ``url``: see :class:`kmnist.client.testing.FakeTransport`.

    Raises:
        InvalidInputError: An argument cannot be used.
    """

    def __init__(
        self,
        url: str = "grpc://localhost:8500",
        *,
        model: str = "kmnist",
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        batch_size: int = 1000,
        headers: Mapping[str, str] | None = None,
        tls: TLS | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._calls = make_calls(
            url,
            open_transports,
            model=model,
            version=version,
            label=label,
            timeout=timeout,
            retries=retries,
            batch_size=batch_size,
            headers=headers,
            tls=tls,
            transport=transport,
        )

    @property
    def address(self) -> str:
        """Where it asks, without anything secret."""
        return self._calls.address

    @property
    def model(self) -> str:
        """The name of the model it asks for."""
        return self._calls.spec.name

    def predict(self, images: ArrayLike, *, timeout: float | None = None) -> Predictions:
        """Classify images.

        They are checked against what the server says its model takes before any is sent. An
        empty array is answered without asking.

        Args:
            images: Whole numbers 0 to 255 of shape (n, h, w) or (h, w), array or lists. Floats
                are refused: the model scales by itself, and to scale twice gives wrong answers.
            timeout: Seconds for this call, instead of the client's.

        Raises:
            InvalidInputError: Wrong dtype, range or shape.
            ClientError: Any other of its tree.
        """
        return self._run(self._calls.predict(images, timeout))

    def predict_pictures(
        self, pictures: PicturesLike, *, timeout: float | None = None
    ) -> Predictions:
        """Classify pictures of any colour: PNG, JPEG, BMP or WebP of up to 50 million pixels.

        Args:
            pictures: The path of a file or the bytes of one, or several of these.
            timeout: Seconds for this call, instead of the client's.

        Raises:
            InvalidInputError: A file cannot be read, or is no picture.
            ClientError: Any other of its tree.
        """
        return self._run(self._calls.predict_pictures(pictures, timeout))

    def status(self, *, timeout: float | None = None) -> list[VersionStatus]:
        """The state of every version, or of the one asked for; the newest first."""
        return self._run(self._calls.status(timeout))

    def metadata(self, *, timeout: float | None = None) -> Metadata:
        """The signatures of the version that answers, read anew."""
        return self._run(self._calls.metadata(timeout))

    def is_ready(self, *, timeout: float | None = None) -> bool:
        """Whether the version asked for would answer now; False for every failure."""
        return self._run(self._calls.is_ready(timeout))

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Return as soon as the version asked for is AVAILABLE.

        Raises:
            NotReachableError: Nothing listened until the timeout: it is down, or still loading
                its first models. At once if TLS cannot be agreed on.
            NotReadyError: Still loading at the timeout; at once if loading has ended (``state``
                tells them apart).
            ModelNotFoundError, VersionNotFoundError, LabelNotFoundError: At once.
        """
        return self._run(self._calls.wait_until_ready(timeout))

    def close(self) -> None:
        """Close all connections. Later calls raise ClosedError."""
        for transport in self._calls.transports:
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._calls})"

    def _run(self, flow: Flow[T]) -> T:
        """Take the steps of a call, one by one."""
        try:
            step = next(flow)
            while True:
                try:
                    result: Any = None
                    if isinstance(step, Send):
                        result = step.method(*step.args)
                    else:
                        time.sleep(step.seconds)
                except ClientError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as stop:
            answer: T = stop.value
            return answer
        except ClientError as error:
            self._calls.about(error)
            raise
