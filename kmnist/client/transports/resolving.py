"""A host name that stands for many servers, each asked in turn over REST.

gRPC does this by itself; HTTP libraries stay with the first server that accepts.
"""

import itertools
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from kmnist.client.address import Host

__all__ = ["Resolver", "many"]

_TTL_SECONDS: Final = 30.0


def many(infos: list[tuple[int, str]]) -> list[str]:
    """The addresses to take turns with, of (family, address) pairs; [] where there is one server.

    One IPv4 and one IPv6 address are two ways to one server, as with localhost: the HTTP library
    finds out which of them works.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        found = sorted({ip for kind, ip in infos if kind == family})
        if len(found) > 1:
            return found
    return []


class Resolver:
    """The servers behind a name, looked up again every 30 seconds and after a failure."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._turns: itertools.cycle[str] | None = None
        self._looked_up = float("-inf")
        self._lock = threading.Lock()

    def pick(self) -> str | None:
        """The address of the next server; None where the name itself will do.

        Raises:
            NotReachableError: The name is unknown.
        """
        if self.is_stale():
            self.learn(
                socket.getaddrinfo(self._host.name, self._host.port, type=socket.SOCK_STREAM)
            )
        return self.next()

    def is_stale(self) -> bool:
        return time.monotonic() - self._looked_up > _TTL_SECONDS

    def learn(self, infos: Sequence[tuple[Any, ...]]) -> None:
        """Take over an answer of getaddrinfo."""
        found = many([(info[0], str(info[4][0])) for info in infos])
        with self._lock:
            self._turns = itertools.cycle(found) if found else None
            self._looked_up = time.monotonic()

    def next(self) -> str | None:
        with self._lock:
            return next(self._turns) if self._turns is not None else None

    def forget(self) -> None:
        """Look the name up again before the next request."""
        self._looked_up = float("-inf")
