"""What a client does, as generators without I/O, the same for the blocking and the asyncio client.

A call yields steps, which are requests and pauses, receives their results or errors, and returns
its answer. :mod:`kmnist.client.client` executes the steps, :mod:`kmnist.client.async_client` awaits
them. A transport sends one request; retries, validation and splitting happen here.
"""

import contextlib
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmnist import errors
from kmnist.checks import integer
from kmnist.client.address import TLS, Address, check_headers
from kmnist.client.answers import Predictions, check_outputs, concatenate, read_predictions
from kmnist.client.inputs import (
    InputsLike,
    PicturesLike,
    as_bytes,
    as_images,
    as_inputs,
    as_pictures,
    check_images,
    fitting,
)
from kmnist.protocol.messages import (
    Metadata,
    ModelSpec,
    Outputs,
    Request,
    Signature,
    VersionStatus,
)

__all__ = ["BaseClient", "Flow", "Send", "Transport"]

T = TypeVar("T")

_IMAGES: Final = "serving_default"
_PIXELS: Final = "pixels"
_PICTURES: Final = "pictures"

# Sockets accept no more than 2**31 ms, and gRPC takes an infinite timeout for none left.
_LONGEST_REQUEST_SECONDS: Final = 20 * 24 * 3600.0


class Transport(Protocol):
    """The interface of a blocking transport, which users can implement for ``transport=``.

    A transport sends one request to one server, and raises the errors of :mod:`kmnist.errors`. That
    of an :class:`kmnist.client.AsyncClient` may return awaitables.

    Attributes:
        sends_bytes_best: Whether images should be sent as raw bytes, through the signature
            ``pixels``, if the model has it.
    """

    sends_bytes_best: bool

    def predict(self, request: Request, timeout: float, /) -> Outputs:
        """Send a predict request.

        Args:
            request: The model, the signature and the inputs.
            timeout: Seconds until the deadline.

        Raises:
            ClientError: The request failed.
        """

    def metadata(self, spec: ModelSpec, timeout: float, /) -> Metadata:
        """Return the signatures of a version; timeout and errors as in ``predict``."""

    def status(self, spec: ModelSpec, timeout: float, /) -> Sequence[VersionStatus]:
        """Return the states of all versions, or of ``spec.version``; errors as in ``predict``."""

    def close(self) -> None:
        """Close all connections. Requests in progress raise ClosedError or finish normally."""


class Send(NamedTuple):
    """Call a method of the transport; the step's result or error is that of the method."""

    method: str
    args: tuple[Any, ...]


# A step is a request, or seconds to wait.
Flow = Generator[Send | float, Any, T]


class _Deadline:
    """A point in time that all requests and retries of one call share."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left, at least 0."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> float:
        """Return the seconds left for a request, at most 20 days.

        Raises:
            DeadlineExceededError: The deadline has passed.
        """
        left = self.left()
        if not left:
            raise errors.DeadlineExceededError(
                f"no answer within {self._seconds:g} s: allow more time or send fewer images at once"
            )
        return min(left, _LONGEST_REQUEST_SECONDS)


class BaseClient(ABC):
    """Base class of :class:`kmnist.client.Client` and :class:`kmnist.client.AsyncClient`."""

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
        """Check the arguments. Connections are opened by the first request.

        Args:
            url: The server: ``grpc://``, ``grpcs://``, ``http://`` or ``https://`` and
                ``HOST:PORT``. Over gRPC, requests are spread over all addresses of a DNS name.
            model: The name under which the server serves the model.
            version: The version number; by default the latest version.
            label: The version label, instead of ``version``.
            timeout: Seconds that a call may take, including its retries; ``math.inf`` for no
                limit.
            retries: How many times a request is repeated after a failure that may be temporary,
                with growing random pauses: 3 retries cover about half a second, 100 the restart
                of a server, within ``timeout``.
            batch_size: Most images in one request; a call with more sends several, one after the
                other. The client adapts to a server with a lower limit.
            headers: Headers of every request, such as ``{"authorization": "Bearer …"}``. They
                are not part of errors or of the repr.
            tls: TLS settings for ``grpcs://`` and ``https://``.
            transport: Used instead of connections to ``url``, as in tests:
                :class:`kmnist.client.testing.FakeTransport`.

        Raises:
            InputError: An argument is invalid.
        """
        if version is not None and label is not None:
            raise errors.InputError("give a version or a label, not both")
        if version is not None:
            version = integer("version", version, 0, 2**63 - 1)  # an int64 in messages
        self._spec = ModelSpec(model, version, label)
        self._timeout = _seconds(timeout)
        self._retries = integer("retries", retries, 0)
        self._batch_size = integer("batch_size", batch_size, 1)
        self._address = Address.parse(url, tls)
        sent = check_headers(headers or {})
        self._transport = self._open(self._address, sent) if transport is None else transport
        self._metadata: Metadata | None = None

    @property
    def address(self) -> str:
        """The server's address."""
        return str(self._address)

    @property
    def model(self) -> str:
        """The name of the model."""
        return self._spec.name

    def __repr__(self) -> str:
        _, version, label = self._spec
        chosen = "" if version is None else f", version={version}"
        chosen += "" if label is None else f", label={label!r}"
        return f"{type(self).__name__}({self.address!r}, model={self.model!r}{chosen})"

    @abstractmethod
    def _open(self, address: Address, headers: Mapping[str, str]) -> Any:
        """Return a transport for an address, not yet connected."""

    def _about(self, error: errors.ClientError) -> None:
        """Record in an error what was requested and from which server."""
        error.address = self.address
        error.model, error.version, error.label = self._spec

    def _call(
        self,
        inputs: InputsLike,
        signature: str,
        outputs: Sequence[str] | None,
        timeout: float | None,
    ) -> Flow[dict[str, NDArray[Any]]]:
        deadline = self._deadline(timeout)
        request = yield from self._choose(
            lambda metadata: self._prepared(metadata, signature, inputs, outputs), deadline
        )
        return (yield from self._ask(request, deadline))

    def _predict(self, images: ArrayLike, timeout: float | None) -> Flow[Predictions]:
        array, deadline = as_images(images), self._deadline(timeout)
        name, signature = yield from self._choose(
            lambda metadata: self._for_images(metadata, array), deadline
        )
        return (yield from self._in_chunks(name, signature, array, deadline))

    def _predict_pictures(self, pictures: PicturesLike, timeout: float | None) -> Flow[Predictions]:
        contents, deadline = as_pictures(pictures), self._deadline(timeout)
        name, signature = yield from self._choose(
            lambda metadata: (_PICTURES, self._with_one_input(metadata, _PICTURES)), deadline
        )
        return (yield from self._in_chunks(name, signature, contents, deadline))

    def _read_status(self, timeout: float | None) -> Flow[list[VersionStatus]]:
        # Servers ignore the label of a status request.
        request = ("status", self._spec._replace(label=None))
        found = yield from self._request(*request, deadline=self._deadline(timeout))
        return sorted(found, key=lambda status: status.version, reverse=True)

    def _read_metadata(self, deadline: _Deadline) -> Flow[Metadata]:
        self._metadata = yield from self._request("metadata", self._spec, deadline=deadline)
        return self._metadata

    def _is_ready(self, timeout: float | None) -> Flow[bool]:
        try:
            yield from self._require_ready(self._deadline(timeout))
        except errors.ClientError:
            return False
        return True

    def _wait_until_ready(self, timeout: float) -> Flow[None]:
        deadline = self._deadline(timeout)
        last: errors.ClientError | None = None
        while True:
            try:
                return (yield from self._require_ready(deadline))
            except errors.DeadlineExceededError as error:
                raise last or error from None
            except errors.ClientError as error:
                if not error.retryable:
                    raise
                last = error
            yield min(0.25, deadline.left())

    def _request(self, method: str, *args: Any, deadline: _Deadline) -> Flow[Any]:
        """Send one request, with retries."""
        attempt = 0
        while True:
            try:
                return (yield Send(method, (*args, deadline.check())))
            except errors.ModelNotFoundError as error:
                if method == "status":
                    raise
                raise (yield from self._explain_not_found(error, deadline)) from None
            except errors.ClientError as error:
                pause = _backoff(attempt)
                if not error.retryable or attempt >= self._retries or pause >= deadline.left():
                    raise
            attempt += 1
            yield pause

    def _explain_not_found(
        self, error: errors.ClientError, deadline: _Deadline
    ) -> Flow[errors.ClientError]:
        """Return a more specific error than "servable not found".

        Predict requests fail alike for an unknown model, an unknown version, and a version that
        is not AVAILABLE; a status request distinguishes them.
        """
        try:
            yield from self._require_ready(deadline)
        except (
            errors.ModelNotFoundError,
            errors.VersionNotFoundError,
            errors.NotReadyError,
        ) as specific:
            return specific
        except errors.ClientError:
            pass  # the status is an explanation, not the question
        return error

    def _require_ready(self, deadline: _Deadline) -> Flow[None]:
        """Raise an error unless the version or label is AVAILABLE; without retries."""
        request = (self._spec._replace(label=None), deadline.check())
        self._require_available((yield Send("status", request)))
        if self._spec.label is not None:
            # Status responses contain no labels, so only a request with it shows that it is set.
            yield Send("metadata", (self._spec, deadline.check()))

    def _require_available(self, found: Sequence[VersionStatus]) -> None:
        if any(status.is_available for status in found):
            return
        if not found:
            raise errors.NotReadyError(f"the server has no version of model {self.model!r} yet")
        status = max(found, key=lambda each: each.version)
        ended = all(each.state == "END" for each in found)
        reason = f": {status.error_message}" if status.error_message else ""
        advice = "export a version that loads" if ended else "wait until it is AVAILABLE"
        raise errors.NotReadyError(
            f"version {status.version} of model {self.model!r} is {status.state}{reason}; {advice}",
            state=status.state,
            detail=status.error_message,
            retryable=not ended,
        )

    def _choose(self, choose: Callable[[Metadata], T], deadline: _Deadline) -> Flow[T]:
        """Return a choice among the signatures; read the current ones before the choice fails."""
        if self._metadata is not None:
            with contextlib.suppress(errors.ClientError):
                return choose(self._metadata)
        return choose((yield from self._read_metadata(deadline)))

    def _prepared(
        self, metadata: Metadata, name: str, inputs: InputsLike, outputs: Sequence[str] | None
    ) -> Request:
        """Check a call against the signature that it names."""
        signature = metadata.signatures.get(name)
        if signature is None:
            known = ", ".join(sorted(metadata.signatures)) or "none"
            raise errors.SignatureNotFoundError(
                f"model {self.model!r} has no signature {name!r}; it has {known}"
            )
        wanted = () if outputs is None else tuple(dict.fromkeys(outputs))
        if outputs is not None and (isinstance(outputs, str) or not wanted):
            raise errors.InvalidInputError(
                f"outputs must be a sequence of at least one name, not {outputs!r}"
            )
        if unknown := [each for each in wanted if each not in signature.outputs]:
            raise errors.InvalidInputError(
                f"signature {name!r} has no output {unknown[0]!r}; it has "
                f"{', '.join(sorted(signature.outputs))}"
            )
        arrays = as_inputs(inputs, signature.inputs)
        return Request(self._spec, name, signature, arrays, wanted)

    def _for_images(self, metadata: Metadata, images: NDArray[np.uint8]) -> tuple[str, Signature]:
        """Check the images; choose ``pixels`` if transport and model prefer it."""
        signature = self._with_one_input(metadata, _IMAGES)
        (spec,) = signature.inputs.values()
        if len(images):
            check_images(images, spec, self.model)
        pixels = metadata.signatures.get(_PIXELS) if self._transport.sends_bytes_best else None
        if pixels is None or [*map(str, pixels.inputs.values())] != ["string (n,)"]:
            return _IMAGES, signature
        return _PIXELS, pixels

    def _with_one_input(self, metadata: Metadata, name: str) -> Signature:
        signature = metadata.signatures.get(name)
        if signature is None or len(signature.inputs) != 1:
            known = [
                f"{key}({', '.join(each.inputs)})" for key, each in metadata.signatures.items()
            ]
            raise errors.SignatureNotFoundError(
                f"model {self.model!r} has no signature {name!r} with one input; it has "
                f"{', '.join(sorted(known)) or 'none'}"
            )
        return signature

    def _in_chunks(
        self, name: str, signature: Signature, values: NDArray[Any], deadline: _Deadline
    ) -> Flow[Predictions]:
        """Send the values in as few requests as the limits allow."""
        (input_name,) = signature.inputs
        parts: list[Predictions] = []
        start = 0
        while start < len(values):
            chunk = values[start : start + self._batch_size]
            chunk = chunk[: fitting(chunk)]
            inputs = {input_name: as_bytes(chunk) if name == _PIXELS else chunk}
            request = Request(self._spec, name, signature, inputs)
            try:
                outputs = yield from self._ask(request, deadline)
            except errors.RequestTooLargeError as error:
                if len(chunk) == 1:
                    raise
                limit = error.limit or len(chunk)
                self._batch_size = limit if limit < len(chunk) else len(chunk) // 2
                continue
            parts.append(read_predictions(outputs, len(chunk), signature.outputs))
            start += len(chunk)
        return concatenate(parts, signature.outputs)

    def _ask(self, request: Request, deadline: _Deadline) -> Flow[dict[str, NDArray[Any]]]:
        """Return the outputs; forget the signatures if they turn out to be outdated."""
        known = self._metadata
        try:
            outputs: Outputs = yield from self._request("predict", request, deadline=deadline)
        except (errors.InvalidInputError, errors.SignatureNotFoundError) as error:
            if not isinstance(error, errors.RequestTooLargeError):
                self._metadata = None
            raise
        if known is not None and outputs.version not in (None, known.version):
            self._metadata = None
        return check_outputs(outputs, request.outputs)

    def _deadline(self, timeout: float | None) -> _Deadline:
        return _Deadline(self._timeout if timeout is None else _seconds(timeout))


def _backoff(attempt: int) -> float:
    """Return the seconds to wait after a failed attempt: exponential backoff with jitter.

    Half of the interval is random, so that clients that failed together do not retry together.
    """
    interval = min(2.0, 0.1 * 2.0 ** min(attempt, 10))
    return interval * random.uniform(0.5, 1)  # noqa: S311 - jitter is not a secret


def _seconds(timeout: float) -> float:
    """Return a time limit as a float.

    Raises:
        InputError: It is not above 0.
    """
    if not timeout > 0:  # nor is NaN
        raise errors.InputError(f"timeout must be a number of seconds above 0, not {timeout!r}")
    return float(timeout)
