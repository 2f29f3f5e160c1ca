"""The one error of the server, and how each gRPC code is said over HTTP.

Whatever goes wrong is a :class:`ServingError` with a gRPC code; each transport says it in its own
words, so the same failure cannot come out differently. The codes and the first words of the
messages are TensorFlow Serving's, which its clients match on
(tensorflow_serving/model_servers/http_server.cc).
"""

from typing import Any, Final

import grpc

from kmnist.protocol.codes import HTTP_STATUS_OF_CODE

__all__ = ["ServingError", "from_tensorflow", "invalid", "one_line"]

_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}


class ServingError(Exception):
    """A request, or the load of a version, that failed.

    Args:
        code: The gRPC code.
        message: What the caller is told.
        http_status: The HTTP status where it is not the one that goes with ``code``.
    """

    def __init__(
        self, code: grpc.StatusCode, message: str, *, http_status: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status or HTTP_STATUS_OF_CODE[code.name]


def invalid(message: str) -> ServingError:
    """INVALID_ARGUMENT, HTTP 400: what the caller sent cannot be used."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def from_tensorflow(error: Any) -> ServingError:
    """A ``tf.errors.OpError`` as a :class:`ServingError`; TensorFlow's codes are gRPC's."""
    code = _BY_NUMBER.get(error.error_code, grpc.StatusCode.UNKNOWN)
    return ServingError(code, error.message)


def one_line(text: str) -> str:
    """``text`` for the log: a caller must not be able to write lines or colours into it."""
    return "".join(character if character.isprintable() else " " for character in text)
