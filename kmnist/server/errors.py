"""The error of the server: a gRPC status code, its HTTP status and a message.

Both transports report a :class:`StatusError`, so the same failure looks the same over gRPC and
REST. Codes and the first words of the messages are those of TensorFlow Serving, because its
clients match on them (tensorflow_serving/model_servers/http_server.cc).
"""

from typing import Any, Final

import grpc

from kmnist.errors import KmnistError
from kmnist.protocol.codes import HTTP_STATUS_OF_CODE

__all__ = ["StatusError", "from_tensorflow", "invalid", "shortened"]

# gRPC sends a message as a header, of which a client accepts 8 KiB; a byte may become three.
_MAX_MESSAGE_BYTES: Final = 2048
_MAX_NAME: Final = 100
_CODE_OF_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}


class StatusError(KmnistError):
    """A request that failed, or a version that cannot be loaded.

    Attributes:
        code: The gRPC status code.
        message: The message for the caller.
        http_status: The HTTP status.
    """

    def __init__(
        self, code: grpc.StatusCode, message: str, *, http_status: int | None = None
    ) -> None:
        """Create the error.

        Args:
            code: The gRPC status code.
            message: The message for the caller; the end of a long one is cut off.
            http_status: The HTTP status if it differs from the usual one of ``code``.
        """
        encoded = message.encode(errors="replace")
        if len(encoded) > _MAX_MESSAGE_BYTES:
            message = encoded[:_MAX_MESSAGE_BYTES].decode(errors="ignore") + "..."
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status or HTTP_STATUS_OF_CODE[code.name]


def invalid(message: str) -> StatusError:
    """Return the error for a request that cannot be used: INVALID_ARGUMENT, HTTP 400."""
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message)


def from_tensorflow(error: Any) -> StatusError:
    """Convert a ``tf.errors.OpError``; TensorFlow's error codes are those of gRPC."""
    code = _CODE_OF_NUMBER.get(error.error_code, grpc.StatusCode.UNKNOWN)
    return StatusError(code, error.message)


def shortened(name: str) -> str:
    """Return a name of a caller for a message: printable, and cut off if it is long."""
    shown = name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}..."
    return "".join(character if character.isprintable() else " " for character in shown)
