"""The error for a failure that a server or the network reports, the same over gRPC and REST.

TensorFlow Serving's texts are more specific than its codes: an unknown label and a wrong shape are
both INVALID_ARGUMENT.

Sources: :mod:`kmnist.protocol.codes`, observed answers of the servers, and
https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md.
"""

import re
from typing import Final

from kmnist.errors import (
    AccessDeniedError,
    BadAnswerError,
    ClientError,
    DeadlineExceededError,
    InvalidInputError,
    LabelNotFoundError,
    ModelNotFoundError,
    NotReachableError,
    OverloadedError,
    RequestTooLargeError,
    ServerError,
    SignatureNotFoundError,
    VersionNotFoundError,
)
from kmnist.protocol.codes import CODE_OF_HTTP_STATUS

__all__ = ["brief", "failure", "not_reached", "refused", "tls_failed"]

_TOO_LARGE: Final = re.compile(
    r"larger than max(?:imum input batch size (?P<limit>\d+))?|request entity too large"
    r"|content too large|payload too large",
    re.IGNORECASE,
)
_TLS: Final = re.compile(r"ssl|tls|certificate|handshake|verification", re.IGNORECASE)
# gRPC 1.66 reports an HTTP/1 server's "200 OK" as the last of these.
_NOT_GRPC: Final = re.compile(
    r"parsing HTTP/2|http1\.x server|content-type|last error: OK$", re.IGNORECASE
)
# A server that disconnects during a handshake may be restarting.
_DISCONNECTED: Final = re.compile(r"closed|reset|timed out", re.IGNORECASE)
# gRPC reports lost connections as UNAVAILABLE too, with these texts of its network layer.
_NETWORK: Final = re.compile(
    r"failed to connect|resolv|resolution|socket|connection|broken pipe|goaway|stream removed"
    r"|http2|handshake|keepalive|recvmsg|endpoint|unreachable|shut ?down|cancelling all calls",
    re.IGNORECASE,
)


def brief(text: str, limit: int = 300) -> str:
    """Return a text on one line, truncated to ``limit`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def failure(code: str | int, text: str, host: object = "the server") -> ClientError:
    """Return the error for a failed request.

    Args:
        code: The name of a gRPC code, or an HTTP status.
        text: The text that the server or the network layer sent with it.
        host: What to call the server in the message.
    """
    name = code if isinstance(code, str) else CODE_OF_HTTP_STATUS.get(code, "")
    reason = brief(text) or (f"HTTP status {code}" if isinstance(code, int) else code)
    if code == 413:
        return _too_large(reason, text)
    if code == 502:
        return NotReachableError(f"a proxy could not reach the server: {reason}", detail=text)
    if name in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"):
        return _invalid(reason, text)
    if name == "NOT_FOUND":
        return _not_found(reason, text)
    if name == "UNAVAILABLE" and isinstance(code, str):
        if _NOT_GRPC.search(text):
            return _not_serving(f"{host}: {_last_error(text)}", text)
        if _TLS.search(text) and not _DISCONNECTED.search(text):
            return tls_failed(f"{host}: {_last_error(text)}", text)
        if _NETWORK.search(text):
            return not_reached(f"{host}: {_last_error(text)}", text)
    if name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
        if _TOO_LARGE.search(text):
            return _too_large(reason, text)
        return OverloadedError(f"the server is overloaded: {reason}; try again later", detail=text)
    if name == "DEADLINE_EXCEEDED":
        return DeadlineExceededError(
            f"no answer from {host} in time: {reason}; raise timeout= or send less", detail=text
        )
    if name in ("PERMISSION_DENIED", "UNAUTHENTICATED"):
        return AccessDeniedError(
            f"the server denied access: {reason}; check the credentials in headers= or tls=",
            detail=text,
        )
    if name == "UNIMPLEMENTED" or (name == "UNKNOWN" and _NOT_GRPC.search(text)):
        return _not_serving(reason, text)
    if name:
        return ServerError(f"the server failed ({name}): {reason}", detail=text)
    return BadAnswerError(f"unexpected HTTP status {code}: {reason}", detail=text)


def refused(text: str) -> InvalidInputError:
    """Return the error for an input that the model refused.

    Args:
        text: The message of TensorFlow, from which the message of a check in the graph is taken.
    """
    found = re.search(r"assertion failed: \[(.+?)\](?: \[\[|$)", " ".join(text.split()))
    reason = found[1].replace("\\'", "'") if found else brief(text)
    return InvalidInputError(f"the model refused the input: {reason}", detail=text)


def not_reached(text: str, detail: str = "") -> NotReachableError:
    """Return the error for a connection that failed or was lost.

    Args:
        text: The server and the reason.
        detail: The full text, if ``text`` is a part of it.
    """
    return NotReachableError(
        f"no server could be reached: {brief(text)}; is it running (kmnist serve), or still loading?",
        detail=detail or text,
    )


def tls_failed(text: str, detail: str = "") -> NotReachableError:
    """Return the error for a failed TLS handshake; arguments as in :func:`not_reached`."""
    return NotReachableError(
        f"the TLS handshake failed: {brief(text)}; check the certificates, and that the port uses "
        "TLS",
        detail=detail or text,
        retryable=False,
    )


def _last_error(text: str) -> str:
    """Return the last of gRPC's nested errors, without the address."""
    return re.sub(r"^.*(?:last error: \w+: \S+?:\d+: |to remote host: )", "", text, flags=re.DOTALL)


def _invalid(reason: str, text: str) -> ClientError:
    if "Unrecognized servable version label" in text:
        return LabelNotFoundError(f"no version has this label: {reason}", detail=text)
    if "not found in signature def" in text or text.startswith("Serving signature key"):
        return SignatureNotFoundError(f"the model lacks this signature: {reason}", detail=text)
    if text.startswith("Malformed request"):
        return _not_serving(reason, text)
    if _TOO_LARGE.search(text):
        return _too_large(reason, text)
    return refused(text)


def _not_found(reason: str, text: str) -> ClientError:
    if text.startswith("Could not find version "):
        return VersionNotFoundError(f"the server has no such version: {reason}", detail=text)
    if text.startswith(("Servable not found", "Could not find any version")):
        return ModelNotFoundError(f"the server has no such model: {reason}", detail=text)
    return _not_serving(reason, text)


def _too_large(reason: str, text: str) -> RequestTooLargeError:
    found = _TOO_LARGE.search(text)
    return RequestTooLargeError(
        f"the request is too large for the server: {reason}",
        limit=int(found["limit"]) if found and found["limit"] else None,
        detail=text,
    )


def _not_serving(reason: str, text: str) -> BadAnswerError:
    return BadAnswerError(
        f"the answer is not from TensorFlow Serving: {reason}; check scheme, port and path",
        detail=text,
    )
