"""How a server is reached: its address, TLS settings and request headers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

from kmnist.errors import InputError

__all__ = ["TLS", "Address", "check_headers"]

_DEFAULT_PORTS: Final = {"grpc": 8500, "grpcs": 8500, "http": 80, "https": 443}
_ENCRYPTED: Final = {"grpc": "grpcs", "http": "https"}
_FORM: Final = "grpc[s]://HOST[:PORT] or http[s]://HOST[:PORT][/PATH]"


@dataclass(frozen=True, slots=True)
class TLS:
    """Certificates of a connection over ``grpcs://`` or ``https://``. All files are PEM.

    Attributes:
        ca: Path of the certificates to trust; by default those of the system.
        certificate: Path of the client's certificate chain, for servers that require one.
        key: Path of the private key of ``certificate``.
        server_name: The name in the server's certificate, if it differs from the address.

    Raises:
        InputError: Only one of ``certificate`` and ``key`` is given.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InputError("certificate and key belong together: give both or neither")


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address; ``str()`` returns the URL.

    Attributes:
        scheme: ``grpc``, ``grpcs``, ``http`` or ``https``.
        host: The host and the port, such as ``localhost:8500`` and ``[::1]:8500``.
        path: The prefix of all request paths over HTTP, such as ``/prefix``.
        tls: TLS settings; None for ``grpc`` and ``http``.
    """

    scheme: str
    host: str
    path: str = ""
    tls: TLS | None = field(default=None, repr=False)

    @property
    def is_grpc(self) -> bool:
        """Whether the protocol is gRPC rather than REST."""
        return self.scheme in ("grpc", "grpcs")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}{self.path}"

    @classmethod
    def parse(cls, url: str, tls: TLS | None = None) -> Self:
        """Parse an address.

        ::

            >>> str(Address.parse("grpc://localhost"))
            'grpc://localhost:8500'

        Args:
            url: ``SCHEME://HOST[:PORT][/PATH]``. The scheme is ``grpc``, ``grpcs``, ``http`` or
                ``https``; the default ports are 8500, 8500, 80 and 443. Only HTTP addresses may
                have a path, to which ``/v1/models`` is appended.
            tls: TLS settings for ``grpcs`` and ``https``.

        Raises:
            InputError: The address is malformed, contains credentials, or does not go with ``tls``.
        """
        if "@" in url:  # not repeated in the message: it may be a password
            raise InputError("pass credentials as headers={'authorization': …}, not in the address")
        try:
            parts = urlsplit(url)
            name, port = parts.hostname, parts.port
            name = f"[{name}]" if name and ":" in name else name
        except ValueError:
            name, port = None, None
        path = parts.path.rstrip("/")
        is_malformed = not name or parts.scheme not in _DEFAULT_PORTS or re.search(r"[\s,?#]", url)
        if is_malformed or (path and parts.scheme.startswith("grpc")):
            wrong = (
                "is no address of a server" if "://" in url else "is an address without a scheme"
            )
            raise InputError(f"{url!r} {wrong}; use {_FORM}")
        address = cls(
            parts.scheme,
            f"{name}:{_DEFAULT_PORTS[parts.scheme] if port is None else port}",
            path,
            None if parts.scheme in _ENCRYPTED else tls or TLS(),
        )
        if tls is not None and address.tls is None:
            raise InputError(f"tls= needs an address with {_ENCRYPTED[parts.scheme]}://, not {url}")
        return address


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Check that both gRPC and HTTP can send the headers.

    Returns:
        The headers with names in lower case, as gRPC requires.

    Raises:
        InputError: A name or a value cannot be sent. The message never contains a value.
    """
    for name, value in headers.items():
        if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
            raise InputError(f"{name!r} cannot be the name of a header")
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise InputError(f"the value of header {name!r} is not a string of printable ASCII")
    return {name.lower(): value for name, value in headers.items()}
