"""Addresses of servers: ``grpc://a:8500,b:8500``, ``https://models.example.org/path``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

from kmnist.errors import InvalidInputError

__all__ = ["TLS", "Address", "Host", "checked_headers"]

_PORTS: Final = {"grpc": 8500, "grpcs": 8500, "http": 80, "https": 443}
_EXAMPLES: Final = "expected one like grpc://localhost:8500 or http://localhost:8501"


@dataclass(frozen=True, slots=True)
class TLS:
    """How to trust the server, and how to prove who the client is. All are paths of PEM files.

    Attributes:
        ca: Certificates to trust; None: those the system trusts.
        certificate: The client's own certificate chain, where the server asks for one.
        key: The private key of ``certificate``.
        server_name: The name to expect in the server's certificate, if not the address's.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidInputError(
                "TLS needs both certificate and key, or neither: received only one"
            )

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """The contents of ca, key and certificate.

        Raises:
            InvalidInputError: A file cannot be read.
        """
        return _contents(self.ca), _contents(self.key), _contents(self.certificate)


@dataclass(frozen=True, slots=True)
class Host:
    """One host and port; the brackets of an IPv6 address are not part of ``name``."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address; ``str()`` gives it back without anything secret."""

    scheme: str
    hosts: tuple[Host, ...]
    path: str = ""
    tls: TLS | None = field(default=None, repr=False)

    @property
    def is_grpc(self) -> bool:
        return self.scheme in ("grpc", "grpcs")

    def __str__(self) -> str:
        return f"{self.scheme}://{','.join(map(str, self.hosts))}{self.path}"

    @classmethod
    def parse(cls, url: str, tls: TLS | None = None) -> Self:
        """Read an address.

        Args:
            url: ``grpc``, ``grpcs``, ``http`` or ``https``, then one host or several separated
                by commas, each with its port (8500, 8500, 80 and 443 if it has none); over
                HTTP a path may follow, which ``/v1/models`` is added to.
            tls: Only with ``grpcs`` and ``https``.

        Raises:
            InvalidInputError: It is none of these.
        """
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in _PORTS:
            # The address itself stays out of the message: it may hold a password.
            raise InvalidInputError(
                f"received an address with scheme {scheme!r}; {_EXAMPLES}"
                if separator
                else f"received an address without a scheme; {_EXAMPLES}"
            )
        places, slash, path = rest.partition("/")
        path = (slash + path).rstrip("/")
        if "@" in rest:
            raise InvalidInputError(
                "received an address that holds credentials; give them as "
                "headers={'authorization': …} instead"
            )
        if "?" in rest or "#" in rest:
            raise InvalidInputError(f"received an address with a query or fragment; {_EXAMPLES}")
        if path and scheme in ("grpc", "grpcs"):
            raise InvalidInputError(f"received a gRPC address with the path {path}; {_EXAMPLES}")
        secure = scheme in ("grpcs", "https")
        if tls is not None and not secure:
            raise InvalidInputError(
                f"received tls= for {scheme}://, which is not encrypted; use "
                f"{'grpcs' if scheme == 'grpc' else 'https'}://"
            )
        hosts = tuple(_host(place, _PORTS[scheme]) for place in places.split(","))
        return cls(scheme, hosts, path, (tls or TLS()) if secure else None)


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Headers as both transports take them: lower-case names, values of printable ASCII.

    Raises:
        InvalidInputError: A name or a value cannot be sent. Values stay out of the message.
    """
    checked = {}
    for name, value in (headers or {}).items():
        lower = name.lower()
        if not lower or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in lower):
            raise InvalidInputError(
                f"received the header name {name!r}; expected letters, digits, '-', '_' and '.'"
            )
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise InvalidInputError(
                f"the value of header {name!r} cannot be sent; expected a str of printable ASCII"
            )
        checked[lower] = value
    return checked


def _host(place: str, default_port: int) -> Host:
    try:
        parts = urlsplit(f"//{place.strip()}")
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    if not name or any(c.isspace() for c in name):
        raise InvalidInputError(f"received {place!r} as a host; {_EXAMPLES}")
    return Host(name, default_port if port is None else port)


def _contents(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidInputError(
            f"cannot read the TLS file {path}: {error.strerror}; expected a PEM file"
        ) from None
