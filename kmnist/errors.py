"""The exceptions of the library, the client and the commands, in one tree.

::

    KmnistError                      exit code 1
    ├── InputError                   an argument or a file cannot be used; ValueError, exit code 2
    │   └── ColourError              images have colours where greyscale is needed
    ├── MissingError                 a required file, version or device is missing;
    │                                FileNotFoundError, exit code 2
    ├── ExportError                  an exported model differs from the trained one
    ├── PlotError                    the plots of a version could not be drawn
    └── ClientError                  a request got no usable answer
        ├── NotReachableError        connection refused, unknown host, connection reset, TLS failure
        ├── NotReadyError            no version of the model is AVAILABLE
        ├── ModelNotFoundError       the server does not know the model
        ├── VersionNotFoundError     … or the version
        ├── LabelNotFoundError       … or the label
        ├── SignatureNotFoundError   … or the signature
        ├── InvalidInputError        the input was rejected; also an InputError, exit code 2
        │   └── RequestTooLargeError the request exceeds a limit of the server
        ├── DeadlineExceededError    no answer within the timeout; also a TimeoutError
        ├── OverloadedError          the server rejects requests because of its load
        ├── AccessDeniedError        credentials are missing, wrong or insufficient
        ├── ServerError              the server failed to process the request
        ├── BadAnswerError           the answer is not one of TensorFlow Serving
        └── ClosedError              the client is closed

A message is one line that says what is wrong and what to do. Client errors are the same over gRPC
and REST, keep the server's text in ``detail``, and can be pickled.
"""

from typing import Any, ClassVar

__all__ = [
    "AccessDeniedError",
    "BadAnswerError",
    "ClientError",
    "ClosedError",
    "ColourError",
    "DeadlineExceededError",
    "ExportError",
    "InputError",
    "InvalidInputError",
    "KmnistError",
    "LabelNotFoundError",
    "MissingError",
    "ModelNotFoundError",
    "NotReachableError",
    "NotReadyError",
    "OverloadedError",
    "PlotError",
    "RequestTooLargeError",
    "ServerError",
    "SignatureNotFoundError",
    "VersionNotFoundError",
]


class KmnistError(Exception):
    """Base class of all errors of this package.

    Attributes:
        exit_code: The exit code of a command that ends with this error.
    """

    exit_code: ClassVar[int] = 1


class InputError(KmnistError, ValueError):
    """An argument or a file cannot be used: wrong format, shape, dtype or value."""

    exit_code: ClassVar[int] = 2


class ColourError(InputError):
    """Images have colours where greyscale is needed."""


class MissingError(KmnistError, FileNotFoundError):
    """A required file, folder, version or device does not exist."""

    exit_code: ClassVar[int] = 2


class ExportError(KmnistError):
    """An exported model does not reproduce the trained one; nothing was published."""


class PlotError(KmnistError):
    """The plots of a version could not be drawn."""


class ClientError(KmnistError):
    """A request got no usable answer.

    Attributes:
        detail: The full text of the server or the network; "" if there is none.
        retryable: Whether the same request may succeed later.
        address: The server's address, without credentials.
        model: The name of the requested model.
        version: The requested version, if any.
        label: The requested label, if any.
    """

    retryable: bool = False
    address: str | None = None
    model: str | None = None
    version: int | None = None
    label: str | None = None

    def __init__(self, message: str, *, detail: str = "", retryable: bool | None = None) -> None:
        super().__init__(message)
        self.detail = detail
        if retryable is not None:
            self.retryable = retryable

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), self.args, self.__dict__)


class NotReachableError(ClientError):
    """No connection: refused, unknown host, reset, or TLS failure."""

    retryable = True


class NotReadyError(ClientError):
    """The server is up, but the requested version is not AVAILABLE.

    Attributes:
        state: The state reported by the server, such as ``LOADING`` or ``END``.
    """

    retryable = True

    def __init__(self, message: str, *, state: str = "", **options: Any) -> None:
        super().__init__(message, **options)
        self.state = state


class ModelNotFoundError(ClientError):
    """The server has no model of that name."""


class VersionNotFoundError(ClientError):
    """The server has the model, but not the requested version."""


class LabelNotFoundError(ClientError):
    """The server has the model, but no version with the requested label."""


class SignatureNotFoundError(ClientError):
    """The model has no signature of that name, or none that accepts the input."""


class InvalidInputError(ClientError, InputError):
    """The input was rejected: wrong dtype, shape or range, or not a picture."""


class RequestTooLargeError(InvalidInputError):
    """The request exceeds the server's limit of images or bytes.

    Attributes:
        limit: The largest number of images per request; None if the server did not report it.
    """

    def __init__(self, message: str, *, limit: int | None = None, **options: Any) -> None:
        super().__init__(message, **options)
        self.limit = limit


class DeadlineExceededError(ClientError, TimeoutError):
    """No answer within the timeout, retries included."""


class OverloadedError(ClientError):
    """The server rejects requests: its queue or thread pool is full, or a quota is exhausted."""

    retryable = True


class AccessDeniedError(ClientError):
    """Credentials are missing, wrong or insufficient."""


class ServerError(ClientError):
    """The server failed to process the request."""


class BadAnswerError(ClientError):
    """The answer is not one of TensorFlow Serving, is truncated, or contradicts the model."""


class ClosedError(ClientError):
    """The client was closed before or during the call."""
