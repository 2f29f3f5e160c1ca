"""Everything that can go wrong between a caller and an answer, the same over REST and gRPC.

::

    ClientError                      exit code 1; retryable: whether trying again can help
    ├── NotReachableError            nothing usable at the address: refused, no such host, reset, TLS
    ├── NotReadyError                the server answers, but has no version AVAILABLE (state: why)
    ├── ModelNotFoundError           the server knows no model of that name
    ├── VersionNotFoundError         … it knows the model, but not that version
    ├── LabelNotFoundError           … nor that label
    ├── SignatureNotFoundError       … nor a signature that takes this input
    ├── InvalidInputError            what was asked cannot be answered (also a ValueError, exit code 2)
    │   └── RequestTooLargeError     … because it is larger than the server allows
    ├── DeadlineExceededError        no answer within the timeout (also a TimeoutError)
    ├── OverloadedError              the server has too much to do just now
    ├── AccessDeniedError            credentials are missing, wrong, or not enough
    ├── ServerError                  the server failed at it
    ├── BadAnswerError               an answer that is not TensorFlow Serving's: HTML, truncated, NaN
    └── ClosedError                  the client was closed

Every error says what to do in its message, keeps the server's own words in ``detail``, and can
be pickled. None contains a header or a key.
"""

from typing import Any, ClassVar, Self

__all__ = [
    "AccessDeniedError",
    "BadAnswerError",
    "ClientError",
    "ClosedError",
    "DeadlineExceededError",
    "InvalidInputError",
    "LabelNotFoundError",
    "ModelNotFoundError",
    "NotReachableError",
    "NotReadyError",
    "OverloadedError",
    "RequestTooLargeError",
    "ServerError",
    "SignatureNotFoundError",
    "VersionNotFoundError",
]


class ClientError(Exception):
    """A request that got no usable answer.

    Attributes:
        detail: The server's text, or the network's, in full; "" where there is none.
        retryable: Whether the same request can succeed a little later, as it stands.
        address: Where the request went, without credentials.
        model, version, label: What was asked for; None where nothing was.
    """

    exit_code: ClassVar[int] = 1
    retryable: bool = False

    def __init__(self, message: str, *, detail: str = "", retryable: bool | None = None) -> None:
        super().__init__(message)
        self.detail = detail
        if retryable is not None:
            self.retryable = retryable
        self.address: str | None = None
        self.model: str | None = None
        self.version: int | None = None
        self.label: str | None = None

    def about(
        self, *, address: str, model: str, version: int | None = None, label: str | None = None
    ) -> Self:
        """The same error, which now tells what was asked and where."""
        self.address, self.model, self.version, self.label = address, model, version, label
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), self.args, self.__dict__)


class NotReachableError(ClientError):
    """Nothing usable at the address: refused, no such host, connection lost, TLS not agreed."""

    retryable = True


class NotReadyError(ClientError):
    """The server answers, but the version asked for is not AVAILABLE.

    Attributes:
        state: The state the server gave, ``LOADING`` or ``END`` say.
    """

    retryable = True

    def __init__(
        self, message: str, *, state: str = "", detail: str = "", retryable: bool | None = None
    ) -> None:
        super().__init__(message, detail=detail, retryable=retryable)
        self.state = state


class ModelNotFoundError(ClientError):
    """The server knows no model of that name."""


class VersionNotFoundError(ClientError):
    """The server knows the model, but not that version of it."""


class LabelNotFoundError(ClientError):
    """The server knows the model, but no version with that label."""


class SignatureNotFoundError(ClientError):
    """The model has no signature of that name, or none that takes this input."""


class InvalidInputError(ClientError, ValueError):
    """What was asked cannot be answered: wrong dtype, shape, range, or not a picture."""

    exit_code = 2


class RequestTooLargeError(InvalidInputError):
    """The server takes fewer images, or fewer bytes, in one request.

    Attributes:
        limit: How many images it takes at once; None where it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        limit: int | None = None,
        detail: str = "",
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message, detail=detail, retryable=retryable)
        self.limit = limit


class DeadlineExceededError(ClientError, TimeoutError):
    """No answer within the timeout, retries included."""


class OverloadedError(ClientError):
    """The server has too much to do: its queue or its threads are full, or a quota is spent."""

    retryable = True


class AccessDeniedError(ClientError):
    """Credentials are missing, wrong, or not enough."""


class ServerError(ClientError):
    """The server failed while it worked on the request."""


class BadAnswerError(ClientError):
    """An answer came that is not TensorFlow Serving's, is cut off, or contradicts the model."""


class ClosedError(ClientError):
    """The client was closed, before this call or in the middle of it."""
