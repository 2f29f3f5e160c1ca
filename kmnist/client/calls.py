"""What a client does, without doing it: the part that is the same with and without asyncio.

Each call is a generator that yields steps (:class:`Send`, :class:`Sleep`), is given their
results or errors, and returns the answer. :mod:`kmnist.client.client` takes the steps one by
one; :mod:`kmnist.client.asynchronous` awaits them.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmnist.client.balancing import RoundRobin
from kmnist.client.inputs import PicturesLike, as_images, as_pictures, check_shape, first_piece
from kmnist.client.predictions import Predictions, empty, joined, predictions
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
from kmnist.protocol.metadata import Metadata, Signature, TensorSpec, VersionStatus
from kmnist.protocol.model_spec import ModelSpec, Outputs

__all__ = ["Calls", "Send", "Sleep", "Step"]

T = TypeVar("T")

IMAGES: Final = "serving_default"
PIXELS: Final = "pixels"
PICTURES: Final = "pictures"
_POLL_SECONDS: Final = 0.25


class Send(NamedTuple):
    """Call a transport's method and give back what it returns or raises."""

    method: Callable[..., Any]
    args: tuple[Any, ...]


class Sleep(NamedTuple):
    """Wait that many seconds."""

    seconds: float


Step = Send | Sleep
Flow = Generator[Step, Any, T]


class Calls:
    """The calls of one client, to one model, over any of several transports.

    Args:
        address: What to call the server in messages.
        spec: The model, and the version or label of it.
        transports: One for each server; blocking or asyncio ones.
        timeout: Seconds for a whole call.
        retries: Most repetitions of each request.
        batch_size: Most images in one request.
    """

    def __init__(
        self,
        address: str,
        spec: ModelSpec,
        transports: Sequence[Any],
        *,
        timeout: float,
        retries: int,
        batch_size: int,
    ) -> None:
        self.address = address
        self.spec = spec
        self._servers = RoundRobin(transports)
        self._timeout = timeout
        self._retries = retries
        self._batch_size = batch_size
        self._metadata: Metadata | None = None
        # The last images that were found to fit: by which metadata, their shape, the signature.
        self._accepted: tuple[Metadata | None, tuple[int, ...], str] = (None, (), "")

    def __str__(self) -> str:
        version = "" if self.spec.version is None else f", version={self.spec.version}"
        label = "" if self.spec.label is None else f", label={self.spec.label!r}"
        return f"{self.address!r}, model={self.spec.name!r}{version}{label}"

    @property
    def transports(self) -> tuple[Any, ...]:
        return self._servers.members

    def about(self, error: ClientError) -> None:
        """Tell an error what was asked, and where."""
        error.about(
            address=self.address,
            model=self.spec.name,
            version=self.spec.version,
            label=self.spec.label,
        )

    def predict(self, images: ArrayLike, timeout: float | None) -> Flow[Predictions]:
        array = as_images(images)
        if not len(array):
            return empty(self._output_spec(IMAGES))
        deadline = self._deadline(timeout)
        metadata, shape, name = self._accepted
        if metadata is None or metadata is not self._metadata or shape != array.shape[1:]:
            metadata, name = yield from self._checked(array, deadline)
        return (
            yield from self._in_pieces(metadata, name, array, array.nbytes // len(array), deadline)
        )

    def predict_pictures(self, pictures: PicturesLike, timeout: float | None) -> Flow[Predictions]:
        contents = as_pictures(pictures)
        if not len(contents):
            return empty(self._output_spec(PICTURES))
        deadline = self._deadline(timeout)
        metadata = yield from self._known_metadata(deadline)
        self._signature(metadata, PICTURES)
        sizes = np.array([len(content) for content in contents])
        return (yield from self._in_pieces(metadata, PICTURES, contents, sizes, deadline))

    def status(self, timeout: float | None) -> Flow[list[VersionStatus]]:
        deadline = self._deadline(timeout)
        # A label in a status request is ignored by the server, so none is sent.
        found = yield from self._attempts("status", self.spec._replace(label=None), (), deadline)
        return sorted(found, key=lambda status: status.version, reverse=True)

    def metadata(self, timeout: float | None) -> Flow[Metadata]:
        self._metadata = yield from self._attempts(
            "metadata", self.spec, (), self._deadline(timeout)
        )
        return self._metadata

    def is_ready(self, timeout: float | None) -> Flow[bool]:
        try:
            yield from self._ready_once(self._deadline(timeout))
        except ClientError:
            return False
        return True

    def wait_until_ready(self, timeout: float) -> Flow[None]:
        deadline = self._deadline(timeout)
        last: ClientError | None = None
        while True:
            left = deadline.left()
            if not left:
                raise last or deadline.exceeded()
            try:
                return (yield from self._ready_once(deadline))
            except DeadlineExceededError as error:
                raise last or error from None
            except ClientError as error:
                if not error.retryable:
                    raise
                last = error
            yield Sleep(min(_POLL_SECONDS, left))

    # One request, as often as it takes.

    def _attempts(
        self, method: str, spec: ModelSpec, args: tuple[Any, ...], deadline: Deadline
    ) -> Flow[Any]:
        attempt = 0
        while True:
            transport = self._servers.pick()
            try:
                left = deadline.check()
                return (yield Send(getattr(transport, method), (spec, *args, left)))
            except ModelNotFoundError as error:
                if method == "status":
                    raise
                raise (yield from self._explained(error, deadline)) from None
            except ClientError as error:
                unreachable = isinstance(error, NotReachableError)
                another = self._servers.failed(transport) if unreachable else False
                pause = 0.0 if another else backoff(attempt)
                if not error.retryable or attempt >= self._retries or pause >= deadline.left():
                    raise
            attempt += 1
            if pause:
                yield Sleep(pause)

    # Readiness.

    def _ready_once(self, deadline: Deadline) -> Flow[None]:
        """One look at the server; raises what it lacks."""
        left = deadline.check()
        transport = self._servers.pick()
        try:
            found = yield Send(transport.status, (self.spec._replace(label=None), left))
            self._require_available(found)
            if self.spec.label is not None:
                # Only a request that needs the label tells whether it is set.
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
        todo = "export a version that loads" if ended else "wait until it is AVAILABLE"
        raise NotReadyError(
            f"version {status.version} of model {self.spec.name!r} is {status.state}{reason}; {todo}",
            state=status.state,
            detail=status.error_message,
            retryable=not ended,
        )

    def _explained(self, error: ClientError, deadline: Deadline) -> Flow[ClientError]:
        """Predict says the same of a wrong name, a wrong version and one that is not ready."""
        transport = self._servers.pick()
        try:
            found = yield Send(
                transport.status,
                (ModelSpec(self.spec.name), deadline.check()),
            )
            if self.spec.version is not None:
                known = [each for each in found if each.version == self.spec.version]
                if not known:
                    return VersionNotFoundError(
                        f"model {self.spec.name!r} has no version {self.spec.version}; the server "
                        f"knows {', '.join(str(each.version) for each in found) or 'none'}",
                        detail=error.detail,
                    )
                found = known
            self._require_available(found)
        except (ModelNotFoundError, VersionNotFoundError, NotReadyError) as better:
            return better
        except ClientError:
            return error
        return error

    # Prediction.

    def _checked(self, array: NDArray[np.uint8], deadline: Deadline) -> Flow[tuple[Metadata, str]]:
        """The signature to use; images that the model cannot take are refused here."""
        remembered = self._metadata is not None
        metadata = yield from self._known_metadata(deadline)
        try:
            name = self._chosen(metadata, array)
        except ClientError:
            if not remembered:
                raise
            # The model may have changed since: only what it says now counts as a refusal.
            self._metadata = None
            metadata = yield from self._known_metadata(deadline)
            name = self._chosen(metadata, array)
        self._accepted = (metadata, array.shape[1:], name)
        return metadata, name

    def _chosen(self, metadata: Metadata, array: NDArray[np.uint8]) -> str:
        images = self._signature(metadata, IMAGES)
        check_shape(array, _only(images, IMAGES), f"model {self.spec.name!r}")
        pixels = metadata.signatures.get(PIXELS)
        if self._servers.members[0].sends_bytes_best and pixels is not None:
            spec = _only(pixels, PIXELS)
            if (spec.dtype, spec.shape) == ("DT_STRING", (None,)):
                return PIXELS
        return IMAGES

    def _known_metadata(self, deadline: Deadline) -> Flow[Metadata]:
        known = self._metadata
        if known is None:
            known = yield from self._attempts("metadata", self.spec, (), deadline)
            self._metadata = known
        return known

    def _signature(self, metadata: Metadata, name: str) -> Signature:
        try:
            return metadata.signatures[name]
        except KeyError:
            raise SignatureNotFoundError(
                f"model {self.spec.name!r} has no signature {name!r}; it has "
                f"{', '.join(sorted(metadata.signatures)) or 'none'}"
            ) from None

    def _in_pieces(
        self,
        metadata: Metadata,
        name: str,
        values: NDArray[Any],
        sizes: NDArray[np.int64] | int,
        deadline: Deadline,
    ) -> Flow[Predictions]:
        """All values in as few requests as the server's limits allow, answered in order."""
        signature = metadata.signatures[name]
        (input_name,) = signature.inputs
        parts: list[Predictions] = []
        start = 0
        while start < len(values):
            count = first_piece(
                sizes if isinstance(sizes, int) else sizes[start:],
                min(self._batch_size, len(values) - start),
            )
            piece = values[start : start + count]
            tensor = _rows_of_bytes(piece) if name == PIXELS else piece
            try:
                outputs: Outputs = yield from self._attempts(
                    "predict", self.spec, (name, {input_name: tensor}), deadline
                )
            except RequestTooLargeError as error:
                if count == 1:
                    raise
                limit = error.limit or count
                self._batch_size = limit if limit < count else count // 2
                continue
            except (InvalidInputError, SignatureNotFoundError):
                self._metadata = None  # it may have changed: ask again before the next request
                raise
            if outputs.version is not None and outputs.version != metadata.version:
                self._metadata = None
            parts.append(predictions(outputs, count, signature.outputs))
            start += count
        return joined(parts) if len(parts) > 1 else parts[0]

    # Small things.

    def _deadline(self, timeout: float | None) -> Deadline:
        seconds = self._timeout if timeout is None else timeout
        if not seconds > 0:
            raise InvalidInputError(f"received a timeout of {seconds} s; expected more than 0")
        return Deadline(seconds)

    def _output_spec(self, signature: str) -> TensorSpec | None:
        if self._metadata is None or signature not in self._metadata.signatures:
            return None
        return self._metadata.signatures[signature].outputs.get("probabilities")


def _rows_of_bytes(images: NDArray[np.uint8]) -> NDArray[np.object_]:
    """Each image's pixels as bytes, row by row: object (n,)."""
    rows = np.empty(len(images), dtype=object)
    rows[:] = [image.tobytes() for image in images]
    return rows


def _only(signature: Signature, name: str) -> TensorSpec:
    if len(signature.inputs) != 1:
        raise SignatureNotFoundError(
            f"signature {name!r} takes {', '.join(sorted(signature.inputs)) or 'nothing'}; "
            "expected exactly one input"
        )
    return next(iter(signature.inputs.values()))
