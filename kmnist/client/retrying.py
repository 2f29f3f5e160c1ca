"""One deadline for a whole call, and how long to wait before the next attempt."""

import random
import time
from typing import Final

from kmnist.errors import DeadlineExceededError

__all__ = ["Deadline", "backoff"]

_FIRST_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 2.0


class Deadline:
    """A point in time that all attempts and pieces of one call share."""

    __slots__ = ("_end", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, never less than 0."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> float:
        """Seconds left.

        Raises:
            DeadlineExceededError: None are.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.exceeded()
        return left

    def exceeded(self) -> DeadlineExceededError:
        return DeadlineExceededError(
            f"no answer within {self.seconds:g} s; raise timeout= or ask for fewer images at once"
        )


def backoff(attempt: int) -> float:
    """Seconds to wait after failed attempt number ``attempt`` (0, 1, …).

    Half of the doubling interval is random, so that clients which failed together do not come
    back together.
    """
    interval = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(attempt, 10))
    return interval * random.uniform(0.5, 1)  # noqa: S311 - jitter is no secret
