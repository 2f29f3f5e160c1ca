"""Which web pages may use the REST API: those of this server.

A browser sends the requests of any page that its user visits to any address that it can reach,
127.0.0.1 included. A foreign page is recognized by the header ``Origin``; one whose host name was
made to resolve to this machine (DNS rebinding) has its own name in the header ``Host``. Clients
other than browsers send no ``Origin``, and the name that they connect to as ``Host``.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

import grpc

from kmnist.server.errors import StatusError, shortened

__all__ = ["Access"]


class Access:
    """The hosts that a request may name."""

    def __init__(self, host: str, address: str) -> None:
        """Create the rules.

        Args:
            host: The name or address that the server was told to listen on.
            address: The IP address that it listens on. Only on a loopback address are the names of
                the server known, and others refused.
        """
        self._hosts = {"localhost", host.lower()}
        self._any_host = not ipaddress.ip_address(address).is_loopback

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuse a request of another page, or for another host.

        Raises:
            StatusError: PERMISSION_DENIED.
        """
        authority, origin = headers.get("Host", "localhost"), headers.get("Origin")
        if not self._is_own(authority):
            raise _refused(f"the host {shortened(authority)!r} is not a name of this server")
        if origin is not None and origin.lower().partition("://")[2] != authority.lower():
            raise _refused(f"pages of {shortened(origin)!r} may not use this server")

    def _is_own(self, authority: str) -> bool:
        try:
            name = (urlsplit(f"//{authority}").hostname or "").removesuffix(".")
            is_known = self._any_host or name in self._hosts or name.endswith(".localhost")
            # No DNS server can let an IP address point to this machine.
            return is_known or bool(ipaddress.ip_address(name))
        except ValueError:
            return False


def _refused(message: str) -> StatusError:
    return StatusError(grpc.StatusCode.PERMISSION_DENIED, message)
