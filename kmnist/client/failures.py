"""The error for a failure that a server or the network reports, the same over gRPC and REST.

TensorFlow Serving's texts are more specific than its codes: an unknown label and a wrong shape are
both INVALID_ARGUMENT.

Sources: :mod:`kmnist.protocol.codes`, observed answers of the servers, and
https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md.
"""

import re
from typing import Final, NamedTuple

from kmnist import errors
from kmnist.checks import one_line
from kmnist.protocol.codes import CODE_OF_HTTP_STATUS

__all__ = ["brief", "closed", "failure", "not_reached"]

_INVALID: Final = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE")
_BUSY: Final = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
_DENIED: Final = ("PERMISSION_DENIED", "UNAUTHENTICATED")
_FAILED: Final = ("INTERNAL", "UNKNOWN", "DATA_LOSS", "ABORTED", "ALREADY_EXISTS")

# gRPC 1.66 reports an HTTP/1 server's "200 OK" as the last of these.
_NOT_GRPC: Final = r"parsing HTTP/2|http1\.x server|content-type|last error: OK$"
# A server that disconnects during a handshake may be restarting.
_HANDSHAKE: Final = r"^(?!.*(closed|reset|timed out)).*(ssl|tls|certificate|handshake|verification)"
# gRPC reports lost connections as UNAVAILABLE too, with these texts of its network layer.
_NETWORK: Final = (
    r"failed to connect|resolv|resolution|socket|connection|broken pipe|goaway|stream removed"
    r"|http2|handshake|keepalive|recvmsg|endpoint|unreachable|shut ?down|cancelling all calls"
)
# A stream that a server, or a proxy in front of it, reset as it stopped.
_RESET: Final = r"RST_STREAM|^stream removed$"
_LABEL: Final = "Unrecognized servable version label"
_SIGNATURE: Final = "not found in signature def|^Serving signature key"
_VERSION: Final = "^Could not find version "
_MODEL: Final = "^Servable not found|^Could not find any version"
_TOO_LARGE: Final = (
    r"larger than max(?:imum input batch size (?P<limit>\d+))?|(entity|content|payload) too large"
)

_NOT_REACHED_MESSAGE: Final = "no connection to {host}: {text}; is the server running, or loading?"
_TLS_MESSAGE: Final = "the TLS handshake with {host} failed: {text}; check the certificates, and that the port has TLS"
_NOT_SERVING_MESSAGE: Final = (
    "the answer from {host} is not TensorFlow Serving's: {text}; check scheme, port and path"
)
_TOO_LARGE_MESSAGE: Final = "the request is too large for the server: {text}"
_LATE_MESSAGE: Final = "no answer from {host} in time: {text}; allow more time or send less"
_DENIED_MESSAGE: Final = "access denied: {text}; check the credentials in headers and tls"


class _Case(NamedTuple):
    """A failure, and the error for it.

    Attributes:
        codes: Names of gRPC codes.
        pattern: What the text contains.
        error: The class of the error.
        message: Its message.
        retryable: Whether the same request may succeed later, if that differs from the class.
    """

    codes: tuple[str, ...]
    pattern: str
    error: type[errors.ClientError]
    message: str
    retryable: bool | None = None


# Of each table, the first case that fits counts.
_OF_GRPC: Final[tuple[_Case, ...]] = (
    _Case(("UNAVAILABLE", "UNKNOWN"), _NOT_GRPC, errors.BadAnswerError, _NOT_SERVING_MESSAGE),
    _Case(("UNAVAILABLE",), _HANDSHAKE, errors.NotReachableError, _TLS_MESSAGE, retryable=False),
    _Case(("UNAVAILABLE",), _NETWORK, errors.NotReachableError, _NOT_REACHED_MESSAGE),
    _Case(("INTERNAL", "UNKNOWN"), _RESET, errors.NotReachableError, _NOT_REACHED_MESSAGE),
)
_OF_PROXIES: Final[tuple[_Case, ...]] = (
    _Case(("413",), "", errors.RequestTooLargeError, _TOO_LARGE_MESSAGE),
    _Case(("502",), "", errors.NotReachableError, "a proxy cannot reach the server: {text}"),
)
_OF_SERVERS: Final[tuple[_Case, ...]] = (
    _Case(_INVALID, _LABEL, errors.LabelNotFoundError, "no version has this label: {text}"),
    _Case(_INVALID, _SIGNATURE, errors.SignatureNotFoundError, "no such signature: {text}"),
    _Case(_INVALID, "^Malformed request", errors.BadAnswerError, _NOT_SERVING_MESSAGE),
    _Case((*_INVALID, *_BUSY), _TOO_LARGE, errors.RequestTooLargeError, _TOO_LARGE_MESSAGE),
    _Case(_INVALID, "", errors.InvalidInputError, "the model refused the input: {text}"),
    _Case(("NOT_FOUND",), _VERSION, errors.VersionNotFoundError, "no such version: {text}"),
    _Case(("NOT_FOUND",), _MODEL, errors.ModelNotFoundError, "no such model: {text}"),
    _Case(("NOT_FOUND", "UNIMPLEMENTED"), "", errors.BadAnswerError, _NOT_SERVING_MESSAGE),
    _Case(_BUSY, "", errors.OverloadedError, "the server is overloaded: {text}"),
    _Case(("DEADLINE_EXCEEDED",), "", errors.DeadlineExceededError, _LATE_MESSAGE),
    _Case(_DENIED, "", errors.AccessDeniedError, _DENIED_MESSAGE),
    # A server cancels requests as it stops: once restarted, it answers them.
    _Case(
        ("CANCELLED",), "", errors.ServerError, "the server cancelled it: {text}", retryable=True
    ),
    _Case(_FAILED, "", errors.ServerError, "the server failed: {text}"),
)


def brief(text: str) -> str:
    """Return a text on one line of at most 300 characters."""
    line = one_line(text)
    return line if len(line) <= 300 else f"{line[:299]}…"


def failure(code: str | int, text: str, host: str = "the server") -> errors.ClientError:
    """Return the error for a failed request.

    Args:
        code: The name of a gRPC code, or an HTTP status.
        text: The text that the server or the network layer sent with it.
        host: What to call the server in the message.
    """
    if isinstance(code, str):
        codes, cases, reason = {code}, _OF_GRPC + _OF_SERVERS, _reason(text) or code
    else:
        codes, cases = {str(code), CODE_OF_HTTP_STATUS.get(code, "")}, _OF_PROXIES + _OF_SERVERS
        reason = _reason(text) or f"HTTP status {code}"
    for case in cases:
        found = re.search(case.pattern, text, re.IGNORECASE | re.DOTALL)
        if found and codes.intersection(case.codes):
            message = case.message.format(text=reason, host=host)
            error = case.error(message, detail=text, retryable=case.retryable)
            limit = found.groupdict().get("limit")
            if isinstance(error, errors.RequestTooLargeError) and limit:
                error.limit = int(limit)
            return error
    message = _NOT_SERVING_MESSAGE.format(host=host, text=f"HTTP status {code}, {reason}")
    return errors.BadAnswerError(message, detail=text)


def not_reached(host: str, reason: str, *, by_tls: bool = False) -> errors.NotReachableError:
    """Return the error for a connection that failed or was lost, or for a failed TLS handshake."""
    message = _TLS_MESSAGE if by_tls else _NOT_REACHED_MESSAGE
    message = message.format(host=host, text=brief(reason))
    return errors.NotReachableError(message, detail=reason, retryable=not by_tls)


def closed() -> errors.ClosedError:
    """Return the error for a call that a closed client cannot answer."""
    return errors.ClosedError("the client is closed: create a new one")


def _reason(text: str) -> str:
    """Return the part of a text that a user understands, on one line."""
    # Of TensorFlow's text, the message of a check in the graph.
    found = re.search(r"assertion failed: \[(.+?)\](?: \[\[|$)", one_line(text))
    if found:
        return found[1].replace("\\'", "'")
    # The last of gRPC's nested errors, without the address.
    last = re.sub(r"^.*(?:last error: \w+: \S+?:\d+: |to remote host: )", "", text, flags=re.DOTALL)
    return brief(last) if last.strip() else ""
