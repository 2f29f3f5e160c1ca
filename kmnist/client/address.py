"""Server addresses, such as ``grpc://a:8500,b:8500`` and ``https://models.example.org/path``."""

from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

from kmnist.client.tls import TLS
from kmnist.errors import InvalidInputError

__all__ = ["Address", "Host"]

_DEFAULT_PORTS: Final = {"grpc": 8500, "grpcs": 8500, "http": 80, "https": 443}
_ENCRYPTED: Final = {"grpc": "grpcs", "http": "https"}
_EXPECTED: Final = "expected an address like grpc://localhost:8500 or http://localhost:8501"


@dataclass(frozen=True, slots=True)
class Host:
    """A host and a port.

    Attributes:
        name: A DNS name or an IP address, IPv6 without brackets.
        port: The port number.
    """

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address; ``str()`` returns the URL.

    Attributes:
        scheme: ``grpc``, ``grpcs``, ``http`` or ``https``.
        hosts: The servers, at least one.
        path: The prefix of all request paths over HTTP, such as ``/prefix``.
        tls: TLS settings; None for ``grpc`` and ``http``.
    """

    scheme: str
    hosts: tuple[Host, ...]
    path: str = ""
    tls: TLS | None = field(default=None, repr=False)

    @property
    def is_grpc(self) -> bool:
        """Whether the protocol is gRPC rather than REST."""
        return self.scheme in ("grpc", "grpcs")

    def __str__(self) -> str:
        return f"{self.scheme}://{','.join(map(str, self.hosts))}{self.path}"

    @classmethod
    def parse(cls, url: str, tls: TLS | None = None) -> Self:
        """Parse an address.

        ::

            >>> str(Address.parse("grpc://a,b:8501"))
            'grpc://a:8500,b:8501'

        Args:
            url: ``SCHEME://HOST[:PORT][,HOST[:PORT]…][/PATH]``. The scheme is ``grpc``,
                ``grpcs``, ``http`` or ``https``; the default ports are 8500, 8500, 80 and 443.
                Only HTTP addresses may have a path, to which ``/v1/models`` is appended.
            tls: TLS settings for ``grpcs`` and ``https``.

        Raises:
            InvalidInputError: The address is malformed, contains credentials, or does not go with
                ``tls``.
        """
        scheme, separator, rest = url.partition("://")
        # No message contains the whole address: it may hold a password.
        if not separator:
            raise InvalidInputError(f"received an address without a scheme; {_EXPECTED}")
        if scheme not in _DEFAULT_PORTS:
            raise InvalidInputError(f"received an address with scheme {scheme!r}; {_EXPECTED}")
        if "@" in rest:
            raise InvalidInputError(
                "received an address with credentials; pass them as headers={'authorization': …}"
            )
        if "?" in rest or "#" in rest:
            raise InvalidInputError(f"received an address with a query or fragment; {_EXPECTED}")
        places, slash, path = rest.partition("/")
        path = (slash + path).rstrip("/")
        if path and scheme in ("grpc", "grpcs"):
            raise InvalidInputError(f"received a gRPC address with the path {path}; {_EXPECTED}")
        if scheme not in _ENCRYPTED:
            tls = tls or TLS()
        elif tls is not None:
            raise InvalidInputError(
                f"received tls= for an unencrypted {scheme}:// address; use {_ENCRYPTED[scheme]}://"
            )
        hosts = tuple(_host(place, _DEFAULT_PORTS[scheme]) for place in places.split(","))
        return cls(scheme, hosts, path, tls)


def _host(place: str, default_port: int) -> Host:
    try:
        parts = urlsplit(f"//{place.strip()}")
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    if not name or any(c.isspace() for c in name):
        raise InvalidInputError(f"received {place!r} as a host; {_EXPECTED}")
    return Host(name, default_port if port is None else port)
