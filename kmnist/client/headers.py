"""Validation of request headers, and their removal from texts that a server sent."""

from collections.abc import Iterable, Mapping
from typing import Final

from kmnist.errors import InvalidInputError

__all__ = ["check_headers", "redact"]

# The transports set these, or they belong to a connection rather than to a request.
_RESERVED: Final = frozenset(
    [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
_REDACTED: Final = "[redacted]"

# Shorter values are no secrets, and would be found in many words.
_SHORTEST_SECRET: Final = 4


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Check that both gRPC and HTTP can send the headers.

    Returns:
        The headers with names in lower case, as gRPC requires.

    Raises:
        InvalidInputError: A name or a value cannot be sent. The message never contains a value.
    """
    if not isinstance(headers, Mapping):
        raise InvalidInputError(
            f"received headers as {type(headers).__name__}; expected a dict of names and values"
        )
    checked = {}
    for name, value in headers.items():
        lower = name.lower() if isinstance(name, str) else ""
        if not lower or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in lower):
            raise InvalidInputError(
                f"received the header name {name!r}; expected letters, digits, '-', '_' and '.'"
            )
        if lower in _RESERVED or lower.startswith("grpc-") or lower.endswith("-bin"):
            raise InvalidInputError(
                f"received the header {name!r}, which is reserved: the transport sets it, or gRPC "
                "and HTTP disagree on it; expected one like 'authorization'"
            )
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise InvalidInputError(
                f"received a value of header {name!r} that cannot be sent; expected a str of "
                "printable ASCII"
            )
        checked[lower] = value
    return checked


def redact(text: str, values: Iterable[str]) -> str:
    """Replace the values of headers in a text, which a server may have echoed.

    Args:
        text: The text, which may quote the server's words escaped or cut off with "…".
        values: The values of the headers.
    """
    for secret in sorted(_secrets(values), key=len, reverse=True):
        text = text.replace(secret, _REDACTED)
        parts = text.split("…")
        text = "…".join([*(_without_start(part, secret) for part in parts[:-1]), parts[-1]])
    return text


def _secrets(values: Iterable[str]) -> set[str]:
    """Return the values and, without an authentication scheme, their words, in every spelling."""
    secrets = set()
    for value in values:
        first, *others = value.split() or [""]
        secrets |= {value, " ".join(value.split()), *others}
        if not first.isalpha():
            secrets.add(first)
    for _ in range(2):  # an error may quote an error that quotes the server
        for secret in tuple(secrets):
            escaped = secret.replace("\\", "\\\\")
            secrets |= {escaped, *(escaped.replace(quote, f"\\{quote}") for quote in "'\"")}
    return {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}


def _without_start(text: str, secret: str) -> str:
    """Replace the start of a secret at the end of a text that was cut off there."""
    for length in range(min(len(secret), len(text)), _SHORTEST_SECRET - 1, -1):
        if text.endswith(secret[:length]):
            return text[:-length] + _REDACTED
    return text
