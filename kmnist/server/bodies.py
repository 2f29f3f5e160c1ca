"""A limit on the bytes of all requests that are in memory together."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from kmnist.server.errors import StatusError

__all__ = ["ByteBudget", "Share"]


class ByteBudget:
    """The bytes that the bodies of all requests may occupy.

    Attributes:
        limit: The largest number of bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._taken = 0

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Yield the share of one request, whose bytes are free again after the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.take(-share.size)

    def take(self, size: int) -> None:
        """Add ``size`` to the bytes that are occupied.

        Raises:
            StatusError: The limit would be exceeded; nothing was added.
        """
        with self._lock:
            if size > 0 and self._taken + size > self.limit:
                raise StatusError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"the requests in progress exceed {self.limit:,} bytes; try again later",
                    http_status=503,
                )
            self._taken += size


class Share:
    """The bytes that one request occupies.

    Attributes:
        size: Their number.
    """

    def __init__(self, budget: ByteBudget) -> None:
        self.size = 0
        self._budget = budget

    def grow(self, size: int) -> None:
        """Occupy ``size`` further bytes.

        Raises:
            StatusError: The limit of the budget would be exceeded.
        """
        self._budget.take(size)
        self.size += size
