"""Listening sockets, and clear errors for addresses that cannot be used."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from kmnist.errors import InputError, KmnistError

__all__ = ["authority", "bind", "listening_on"]


def authority(host: str, port: int) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket that does not listen yet; port 0 stands for any free port.

    Raises:
        InputError: ``host`` is not an address of this machine.
        KmnistError: The port is in use, or its use is not permitted.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise InputError(f"host {host!r} is not an address of this machine: {error}") from None
    with listening_on(host, port), ExitStack() as cleanup:
        bound = cleanup.enter_context(socket.socket(family, kind, protocol))
        # Without it, a restart fails for minutes, until the old connections have timed out.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        cleanup.pop_all()
    return bound


@contextmanager
def listening_on(host: str, port: int) -> Iterator[str]:
    """Convert the OSError of an address that cannot be listened on.

    Yields:
        The address as ``host:port``.

    Raises:
        KmnistError: The block raised an OSError.
    """
    address = authority(host, port)
    try:
        yield address
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        advice = "stop the program that uses it, or choose another port"
        if error.errno in (errno.EADDRNOTAVAIL, errno.EACCES):
            advice = "choose another address or port"
        raise KmnistError(f"cannot listen on {address}: {reason}; {advice}") from None
