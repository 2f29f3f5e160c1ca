"""Load balancing over several servers."""

import threading
import time
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

__all__ = ["RoundRobin"]

T = TypeVar("T")

# A server that cannot be reached is skipped this long, as long as others can be.
_SKIP_SECONDS: Final = 1.0


class RoundRobin(Generic[T]):
    """Pick members in turn, skipping those that failed recently. Thread-safe.

    Args:
        members: At least one member.

    Attributes:
        members: All members.
    """

    def __init__(self, members: Sequence[T]) -> None:
        self.members = tuple(members)
        self._skipped_until = [0.0] * len(self.members)
        self._next = 0
        self._lock = threading.Lock()

    def pick(self) -> T:
        """Return the next member; none is skipped if all have failed recently."""
        if len(self.members) == 1:
            return self.members[0]
        now = time.monotonic()
        with self._lock:
            order = [(self._next + step) % len(self.members) for step in range(len(self.members))]
            chosen = next((i for i in order if self._skipped_until[i] <= now), order[0])
            self._next = (chosen + 1) % len(self.members)
        return self.members[chosen]

    def failed(self, member: T) -> bool:
        """Skip a member for a while; return whether another one can be tried at once."""
        now = time.monotonic()
        with self._lock:
            self._skipped_until[self.members.index(member)] = now + _SKIP_SECONDS
            return any(until <= now for until in self._skipped_until)
