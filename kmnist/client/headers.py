"""Validation of request headers."""

from collections.abc import Mapping

from kmnist.errors import InvalidInputError

__all__ = ["check_headers"]


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Check that both gRPC and HTTP can send the headers.

    Returns:
        The headers with names in lower case, as gRPC requires.

    Raises:
        InvalidInputError: A name or a value cannot be sent. The message never contains a value.
    """
    checked = {}
    for name, value in headers.items():
        lower = name.lower()
        if not lower or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in lower):
            raise InvalidInputError(
                f"received the header name {name!r}; expected letters, digits, '-', '_' and '.'"
            )
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise InvalidInputError(
                f"received a value of header {name!r} that cannot be sent; expected a str of "
                "printable ASCII"
            )
        checked[lower] = value
    return checked
