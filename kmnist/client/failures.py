"""One table from what a server or the network said to the error to raise, for both transports.

TensorFlow Serving's texts tell more than its codes: an unknown label and a wrong shape are both
INVALID_ARGUMENT. Sources: tensorflow_serving/util/net_http (code → status), the servers'
observed answers, grpc/doc/http-grpc-status-mapping.md.
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
# The last one is what gRPC 1.66 makes of an HTTP/1 server's "200 OK".
_NOT_THE_PROTOCOL: Final = re.compile(
    r"parsing HTTP/2|http1\.x server|content-type|last error: OK$", re.IGNORECASE
)
# A server that goes away in the middle of a handshake may be back soon.
_HUNG_UP: Final = re.compile(r"closed|reset|timed out", re.IGNORECASE)
# gRPC gives UNAVAILABLE for a lost connection too; these are the texts of its own network layer.
_NETWORK: Final = re.compile(
    r"failed to connect|resolv|resolution|socket|connection|broken pipe|goaway|stream removed"
    r"|http2|handshake|keepalive|recvmsg|endpoint|unreachable|shut ?down|cancelling all calls",
    re.IGNORECASE,
)


def brief(text: str, limit: int = 300) -> str:
    """A server's text on one line, cut at ``limit`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def failure(code: str | int, text: str, host: object = "the server") -> ClientError:
    """The error for a gRPC code name or a REST status, and the text that came with it."""
    name = code if isinstance(code, str) else CODE_OF_HTTP_STATUS.get(code, "")
    said = brief(text) or (f"HTTP status {code}" if isinstance(code, int) else code)
    if code == 413:
        return RequestTooLargeError(f"the request is too large for the server: {said}", detail=text)
    if code == 502:
        return NotReachableError(f"a proxy could not reach the server: {said}", detail=text)
    if name in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"):
        return _refused(text, said)
    if name == "NOT_FOUND":
        return _not_found(text, said)
    if name == "UNAVAILABLE" and isinstance(code, str):
        if _NOT_THE_PROTOCOL.search(text):
            return _not_serving(f"{host}: {_reason(text)}", text)
        if _TLS.search(text) and not _HUNG_UP.search(text):
            return tls_failed(f"{host}: {_reason(text)}", text)
        if _NETWORK.search(text):
            return not_reached(f"{host}: {_reason(text)}", text)
    if name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
        if _TOO_LARGE.search(text):
            return RequestTooLargeError(
                f"the request is too large for the server: {said}", detail=text
            )
        return OverloadedError(f"the server is overloaded: {said}; try again later", detail=text)
    if name == "DEADLINE_EXCEEDED":
        return DeadlineExceededError(
            f"no answer from {host} in time: {said}; raise timeout=, or ask for less", detail=text
        )
    if name in ("PERMISSION_DENIED", "UNAUTHENTICATED"):
        return AccessDeniedError(
            f"the server denied access: {said}; check the credentials in headers= or tls=",
            detail=text,
        )
    if name == "UNIMPLEMENTED":
        return _not_serving(said, text)
    if name == "UNKNOWN" and _NOT_THE_PROTOCOL.search(text):
        return _not_serving(said, text)
    if name:
        return ServerError(f"the server failed ({name}): {said}", detail=text)
    return BadAnswerError(f"unexpected HTTP status {code}: {said}", detail=text)


def refused(text: str) -> InvalidInputError:
    """The error for an input that the model itself refused."""
    return InvalidInputError(f"the model refused the input: {_core(text)}", detail=text)


def not_reached(text: str, detail: str = "") -> NotReachableError:
    """The error for a connection that could not be made, or was lost; ``detail``: all of ``text``."""
    return NotReachableError(
        f"no server could be reached: {brief(text)}; is it running (kmnist serve), or still loading?",
        detail=detail or text,
    )


def tls_failed(text: str, detail: str = "") -> NotReachableError:
    """The error for a connection on which TLS was not agreed."""
    return NotReachableError(
        f"TLS could not be agreed on: {brief(text)}; check the certificates, and whether the port "
        "speaks TLS at all",
        detail=detail or text,
        retryable=False,
    )


def _reason(text: str) -> str:
    """The last link of gRPC's chain of reasons, without the address it names again."""
    return re.sub(r"^.*(?:last error: \w+: \S+?:\d+: |to remote host: )", "", text, flags=re.DOTALL)


def _core(text: str) -> str:
    """What a check in the model's graph says, without TensorFlow's trail to it."""
    found = re.search(r"assertion failed: \[(.+?)\](?: \[\[|$)", " ".join(text.split()))
    return found[1].replace("\\'", "'") if found else brief(text)


def _refused(text: str, said: str) -> ClientError:
    if "Unrecognized servable version label" in text:
        return LabelNotFoundError(f"no version has this label: {said}", detail=text)
    if "not found in signature def" in text or text.startswith("Serving signature key"):
        return SignatureNotFoundError(f"the model lacks this signature: {said}", detail=text)
    if text.startswith("Malformed request"):
        return _not_serving(said, text)
    too_large = _TOO_LARGE.search(text)
    if too_large:
        limit = too_large["limit"]
        return RequestTooLargeError(
            f"the request is too large for the server: {said}",
            limit=int(limit) if limit else None,
            detail=text,
        )
    return refused(text)


def _not_found(text: str, said: str) -> ClientError:
    if text.startswith("Could not find version "):
        return VersionNotFoundError(f"the server has no such version: {said}", detail=text)
    if text.startswith(("Servable not found", "Could not find any version")):
        return ModelNotFoundError(f"the server has no such model: {said}", detail=text)
    return _not_serving(said, text)


def _not_serving(said: str, text: str) -> BadAnswerError:
    return BadAnswerError(
        f"this is not TensorFlow Serving's answer: {said}; check scheme, port and path",
        detail=text,
    )
