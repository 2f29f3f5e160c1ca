"""The deadline of a call, and the pauses between its retries."""

import random
import time
from typing import Final

from kmnist.errors import DeadlineExceededError

__all__ = ["Deadline", "backoff"]

_FIRST_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 2.0


class Deadline:
    """A point in time that all requests and retries of one call share.

    Args:
        seconds: Time from now until the deadline.

    Attributes:
        seconds: As given.
    """

    __slots__ = ("_end", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left, at least 0."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> float:
        """Return the seconds left.

        Raises:
            DeadlineExceededError: The deadline has passed.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.exceeded()
        return left

    def exceeded(self) -> DeadlineExceededError:
        """Return the error to raise after the deadline."""
        return DeadlineExceededError(
            f"no answer within {self.seconds:g} s; raise timeout= or send fewer images at once"
        )


def backoff(attempt: int) -> float:
    """Return the seconds to wait after a failed attempt: exponential backoff with jitter.

    Half of the interval is random, so that clients that failed together do not retry together.

    Args:
        attempt: The number of failed attempts before this one, from 0.
    """
    interval = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(attempt, 10))
    return interval * random.uniform(0.5, 1)  # noqa: S311 - jitter is not a secret
