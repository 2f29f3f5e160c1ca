"""Which of several servers gets the next request."""

import threading
import time
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

__all__ = ["RoundRobin"]

T = TypeVar("T")

# A server that could not be reached is left alone this long while others can be.
_REST_SECONDS: Final = 1.0


class RoundRobin(Generic[T]):
    """Each in turn, without those that lately failed as long as others are left."""

    def __init__(self, members: Sequence[T]) -> None:
        self.members = tuple(members)
        self._rests_until = [0.0] * len(self.members)
        self._next = 0
        self._lock = threading.Lock()

    def pick(self) -> T:
        """The next in turn; the next of all where every one failed lately."""
        if len(self.members) == 1:
            return self.members[0]
        now = time.monotonic()
        with self._lock:
            order = [(self._next + step) % len(self.members) for step in range(len(self.members))]
            chosen = next((i for i in order if self._rests_until[i] <= now), order[0])
            self._next = (chosen + 1) % len(self.members)
        return self.members[chosen]

    def failed(self, member: T) -> bool:
        """Leave this one alone for a while; tells whether another is left to ask at once."""
        now = time.monotonic()
        with self._lock:
            self._rests_until[self.members.index(member)] = now + _REST_SECONDS
            return any(until <= now for until in self._rests_until)
