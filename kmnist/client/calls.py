"""The calls of a client as generators without I/O, the same for blocking and asyncio clients.

A call yields steps (:class:`Send`, :class:`Sleep`), receives their results or errors, and returns
its answer. :mod:`kmnist.client.client` executes the steps, :mod:`kmnist.client.async_client` awaits
them.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmnist.client.arguments import as_seconds
from kmnist.client.balancing import RoundRobin
from kmnist.client.inputs import PicturesLike, as_images, as_pictures, check_shape, chunk_size
from kmnist.client.predictions import Predictions, concatenate, empty, predictions
from kmnist.client.retrying import Deadline, backoff
from kmnist.errors import (
    ClientError,
    DeadlineExceededError,
    InvalidInputError,
    ModelNotFoundError,
    NotReachableError,
    NotReadyError,
    RequestTooLargeError,
    SignatureNotFoundError,
    VersionNotFoundError,
)
from kmnist.protocol.messages import (
    Metadata,
    ModelSpec,
    Outputs,
    Signature,
    TensorSpec,
    VersionStatus,
)

__all__ = ["Calls", "Flow", "Send", "Sleep", "Step"]

T = TypeVar("T")

_IMAGES: Final = "serving_default"
_PIXELS: Final = "pixels"
_PICTURES: Final = "pictures"
_POLL_SECONDS: Final = 0.25


class Send(NamedTuple):
    """Call a transport's method; the step's result or error is that of the method."""

    method: Callable[..., Any]
    args: tuple[Any, ...]


class Sleep(NamedTuple):
    """Wait for a number of seconds."""

    seconds: float


Step = Send | Sleep
Flow = Generator[Step, Any, T]


class Calls:
    """The calls of one client to one model.

    Args:
        spec: The model, and its version or label.
        transports: One for each server, all blocking or all asyncio.
        timeout: Seconds for a whole call.
        retries: Most repetitions of each request.
        batch_size: Most images in one request.

    Attributes:
        spec: As given.
    """

    def __init__(
        self,
        spec: ModelSpec,
        transports: Sequence[Any],
        *,
        timeout: float,
        retries: int,
        batch_size: int,
    ) -> None:
        self.spec = spec
        self._servers = RoundRobin(transports)
        self._timeout = timeout
        self._retries = retries
        self._batch_size = batch_size
        self._metadata: Metadata | None = None
        # The last images that were checked: the model, their shape, the signature. Checking each
        # call would add 2 % to one with a single image.
        self._accepted: tuple[Metadata | None, tuple[int, ...], str] = (None, (), "")

    @property
    def transports(self) -> tuple[Any, ...]:
        """The transports, as given."""
        return self._servers.members

    def predict(self, images: ArrayLike, timeout: float | None) -> Flow[Predictions]:
        """Classify images; see :meth:`kmnist.client.Client.predict`."""
        array = as_images(images)
        if not len(array):
            return empty(self._probabilities_spec(_IMAGES))
        deadline = self._deadline(timeout)
        metadata, shape, name = self._accepted
        if metadata is None or metadata is not self._metadata or shape != array.shape[1:]:
            metadata, name = yield from self._accept(array, deadline)
        sizes = array.nbytes // len(array)
        return (yield from self._in_chunks(metadata, name, array, sizes, deadline))

    def predict_pictures(self, pictures: PicturesLike, timeout: float | None) -> Flow[Predictions]:
        """Classify picture files; see :meth:`kmnist.client.Client.predict_pictures`."""
        contents = as_pictures(pictures)
        if not len(contents):
            return empty(self._probabilities_spec(_PICTURES))
        deadline = self._deadline(timeout)
        metadata = yield from self._known_metadata(deadline)
        self._signature(metadata, _PICTURES)
        sizes = np.array([len(content) for content in contents])
        return (yield from self._in_chunks(metadata, _PICTURES, contents, sizes, deadline))

    def status(self, timeout: float | None) -> Flow[list[VersionStatus]]:
        """Return the state of every version; see :meth:`kmnist.client.Client.status`."""
        deadline = self._deadline(timeout)
        # Servers ignore the label of a status request.
        found = yield from self._request("status", self.spec._replace(label=None), (), deadline)
        return sorted(found, key=lambda status: status.version, reverse=True)

    def metadata(self, timeout: float | None) -> Flow[Metadata]:
        """Return the signatures of a version; see :meth:`kmnist.client.Client.metadata`."""
        return (yield from self._read_metadata(self._deadline(timeout)))

    def is_ready(self, timeout: float | None) -> Flow[bool]:
        """Return whether the model is AVAILABLE; see :meth:`kmnist.client.Client.is_ready`."""
        try:
            yield from self._require_ready(self._deadline(timeout))
        except ClientError:
            return False
        return True

    def wait_until_ready(self, timeout: float) -> Flow[None]:
        """Wait for the model; see :meth:`kmnist.client.Client.wait_until_ready`."""
        deadline = self._deadline(timeout)
        last: ClientError | None = None
        while True:
            left = deadline.left()
            if not left:
                raise last or deadline.exceeded()
            try:
                return (yield from self._require_ready(deadline))
            except DeadlineExceededError as error:
                raise last or error from None
            except ClientError as error:
                if not error.retryable:
                    raise
                last = error
            yield Sleep(min(_POLL_SECONDS, left))

    def _request(
        self, method: str, spec: ModelSpec, args: tuple[Any, ...], deadline: Deadline
    ) -> Flow[Any]:
        """Send one request, with retries and load balancing."""
        attempt = 0
        while True:
            transport = self._servers.pick()
            try:
                left = deadline.check()
                return (yield Send(getattr(transport, method), (spec, *args, left)))
            except ModelNotFoundError as error:
                if method == "status":
                    raise
                raise (yield from self._explain_not_found(error, deadline)) from None
            except ClientError as error:
                unreachable = isinstance(error, NotReachableError)
                other_left = self._servers.failed(transport) if unreachable else False
                pause = 0.0 if other_left else backoff(attempt)
                if not error.retryable or attempt >= self._retries or pause >= deadline.left():
                    raise
            attempt += 1
            if pause:
                yield Sleep(pause)

    def _explain_not_found(self, error: ClientError, deadline: Deadline) -> Flow[ClientError]:
        """Return a more specific error than "servable not found".

        Predict requests fail alike for an unknown model, an unknown version, and a version that
        is not AVAILABLE; a status request distinguishes them.
        """
        transport = self._servers.pick()
        try:
            found = yield Send(transport.status, (ModelSpec(self.spec.name), deadline.check()))
            if self.spec.version is not None:
                known = [each for each in found if each.version == self.spec.version]
                if not known:
                    return VersionNotFoundError(
                        f"model {self.spec.name!r} has no version {self.spec.version}; the server "
                        f"has {', '.join(str(each.version) for each in found) or 'none'}",
                        detail=error.detail,
                    )
                found = known
            self._require_available(found)
        except (ModelNotFoundError, VersionNotFoundError, NotReadyError) as specific:
            return specific
        except ClientError:
            return error
        return error

    def _require_ready(self, deadline: Deadline) -> Flow[None]:
        """Raise an error unless the version or label is AVAILABLE; without retries."""
        left = deadline.check()
        transport = self._servers.pick()
        try:
            found = yield Send(transport.status, (self.spec._replace(label=None), left))
            self._require_available(found)
            if self.spec.label is not None:
                # Status responses contain no labels, so only a request with it shows that it is set.
                yield Send(transport.metadata, (self.spec, deadline.check()))
        except ClientError as error:
            if isinstance(error, NotReachableError):
                self._servers.failed(transport)
            raise

    def _require_available(self, found: Sequence[VersionStatus]) -> None:
        if any(status.is_available for status in found):
            return
        if not found:
            raise NotReadyError(f"the server has no version of model {self.spec.name!r} yet")
        status = max(found, key=lambda each: each.version)
        ended = all(each.state == "END" for each in found)
        reason = f": {status.error_message}" if status.error_message else ""
        advice = "export a version that loads" if ended else "wait until it is AVAILABLE"
        raise NotReadyError(
            f"version {status.version} of model {self.spec.name!r} is {status.state}{reason}; "
            f"{advice}",
            state=status.state,
            detail=status.error_message,
            retryable=not ended,
        )

    def _known_metadata(self, deadline: Deadline) -> Flow[Metadata]:
        return self._metadata or (yield from self._read_metadata(deadline))

    def _read_metadata(self, deadline: Deadline) -> Flow[Metadata]:
        self._metadata = yield from self._request("metadata", self.spec, (), deadline)
        return self._metadata

    def _accept(self, images: NDArray[np.uint8], deadline: Deadline) -> Flow[tuple[Metadata, str]]:
        """Check the images; return the model's metadata and the signature to use."""
        is_current = self._metadata is None
        metadata = yield from self._known_metadata(deadline)
        try:
            name = self._choose_signature(metadata, images)
        except ClientError:
            if is_current:
                raise
            # The model may have changed: only its current signatures are a reason to refuse.
            metadata = yield from self._read_metadata(deadline)
            name = self._choose_signature(metadata, images)
        self._accepted = (metadata, images.shape[1:], name)
        return metadata, name

    def _choose_signature(self, metadata: Metadata, images: NDArray[np.uint8]) -> str:
        """Check the images; return ``pixels`` if transport and model prefer it."""
        signature = self._signature(metadata, _IMAGES)
        check_shape(images, _only_input(signature, _IMAGES), f"model {self.spec.name!r}")
        pixels = metadata.signatures.get(_PIXELS)
        if pixels is not None and self._servers.members[0].sends_bytes_best:
            spec = _only_input(pixels, _PIXELS)
            if (spec.dtype, spec.shape) == ("DT_STRING", (None,)):
                return _PIXELS
        return _IMAGES

    def _signature(self, metadata: Metadata, name: str) -> Signature:
        try:
            return metadata.signatures[name]
        except KeyError:
            raise SignatureNotFoundError(
                f"model {self.spec.name!r} has no signature {name!r}; it has "
                f"{', '.join(sorted(metadata.signatures)) or 'none'}"
            ) from None

    def _in_chunks(
        self,
        metadata: Metadata,
        name: str,
        values: NDArray[Any],
        sizes: NDArray[np.int64] | int,
        deadline: Deadline,
    ) -> Flow[Predictions]:
        """Send the values, of ``sizes`` bytes each, in as few requests as the limits allow."""
        signature = metadata.signatures[name]
        (input_name,) = signature.inputs
        parts: list[Predictions] = []
        start = 0
        while start < len(values):
            count = chunk_size(
                sizes if isinstance(sizes, int) else sizes[start:],
                min(self._batch_size, len(values) - start),
            )
            chunk = values[start : start + count]
            tensor = _pixels(chunk) if name == _PIXELS else chunk
            try:
                outputs: Outputs = yield from self._request(
                    "predict", self.spec, (name, {input_name: tensor}), deadline
                )
            except RequestTooLargeError as error:
                if count == 1:
                    raise
                limit = error.limit or count
                self._batch_size = limit if limit < count else count // 2
                continue
            except (InvalidInputError, SignatureNotFoundError):
                self._metadata = None  # may be outdated
                raise
            if outputs.version is not None and outputs.version != metadata.version:
                self._metadata = None
            parts.append(predictions(outputs, count, signature.outputs))
            start += count
        return concatenate(parts) if len(parts) > 1 else parts[0]

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else as_seconds(timeout, "timeout"))

    def _probabilities_spec(self, signature: str) -> TensorSpec | None:
        if self._metadata is None or signature not in self._metadata.signatures:
            return None
        return self._metadata.signatures[signature].outputs.get("probabilities")


def _pixels(images: NDArray[np.uint8]) -> NDArray[np.object_]:
    """Return the pixels of each image as bytes, row by row: object (n,)."""
    rows = np.empty(len(images), dtype=object)
    rows[:] = [image.tobytes() for image in images]
    return rows


def _only_input(signature: Signature, name: str) -> TensorSpec:
    if len(signature.inputs) != 1:
        raise SignatureNotFoundError(
            f"signature {name!r} takes {', '.join(sorted(signature.inputs)) or 'no input'}; "
            "expected exactly one input"
        )
    return next(iter(signature.inputs.values()))
