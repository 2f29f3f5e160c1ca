"""Which web pages may use the REST API.

A browser sends the requests of any page that its user visits to any address that it can reach,
127.0.0.1 included. A foreign page is recognized by the header ``Origin``; one whose host name was
made to resolve to this machine (DNS rebinding) has its own name in the header ``Host``. Clients
other than browsers send no ``Origin`` and the name that they connect to as ``Host``.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Final

import grpc

from kmnist.errors import InputError
from kmnist.server.errors import StatusError, shortened

__all__ = ["Access"]

_ORIGIN: Final = re.compile(r"https?://[^/?#@\s]+")
_HOST: Final = re.compile(r"[^/?#@\s:]+|\[[0-9a-f:.]+\]")
_PORT: Final = re.compile(r":\d*$")


class Access:
    """The origins and hosts that are accepted."""

    def __init__(
        self, host: str, address: str, allow_origins: Iterable[str], allow_hosts: Iterable[str]
    ) -> None:
        """Create the rules.

        Args:
            host: The name or address that the server was told to listen on.
            address: The IP address that it listens on.
            allow_origins: Origins of other pages that are accepted, ``https://example.org:8000``.
            allow_hosts: Further names of this server, without a port. With at least one, or on a
                loopback address, other names are refused.

        Raises:
            InputError: An origin or a host has another form.
        """
        self._origins = {_checked(each, _ORIGIN, "http://HOST:PORT") for each in allow_origins}
        names = {_checked(each, _HOST, "a host without a port") for each in allow_hosts}
        self._any_host = not names and not _is_loopback(address)
        self._hosts = names | {"localhost", _bracketed(host), _bracketed(address)}

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuse a request of another page, or for another host.

        Raises:
            StatusError: PERMISSION_DENIED.
        """
        authority, origin = headers.get("Host"), headers.get("Origin")
        if authority is not None and not self._is_own(authority):
            raise _refused(f"the host {shortened(authority)!r} is not a name of this server")
        if origin is None or self.is_allowed(origin):
            return
        if authority is None or origin.lower().partition("://")[2] != authority.lower():
            raise _refused(f"pages of {shortened(origin)!r} may not use this server")

    def is_allowed(self, origin: str | None) -> bool:
        """Return whether it is the origin of another page that may use the server."""
        return origin is not None and origin.lower() in self._origins

    def _is_own(self, authority: str) -> bool:
        name = _PORT.sub("", authority).lower().removesuffix(".")
        return (
            self._any_host
            or name in self._hosts
            or name.endswith(".localhost")
            or _is_address(name.strip("[]"))
        )


def _checked(value: str, form: re.Pattern[str], expected: str) -> str:
    if not form.fullmatch(value.lower()):
        raise InputError(f"received {value!r} as allowed origin or host; expected {expected}")
    return value.lower()


def _refused(message: str) -> StatusError:
    return StatusError(grpc.StatusCode.PERMISSION_DENIED, message)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    """Return whether it is an IP address, which no DNS server can let point to this machine."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]".lower() if ":" in host else host.lower()
