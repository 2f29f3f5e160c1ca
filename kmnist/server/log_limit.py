"""A limit on the number of log lines of a kind."""

import logging
import threading
import time
from dataclasses import dataclass
from typing import Final

__all__ = ["LogLimit"]

_LINES: Final = 20
_SECONDS: Final = 10.0


@dataclass
class _Kind:
    """The lines of one kind in the current period."""

    since: float
    passed: int = 0
    counted: int = 0


class LogLimit(logging.Filter):
    """A filter for a handler that counts repeated lines instead of passing them on.

    Lines are of one kind if the same statement of the program logs them, whatever their values:
    otherwise a caller could make each line different. Of each kind, 20 lines pass in ten seconds;
    the next line that passes afterwards says how many were left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line passes; append the number of those left out before it."""
        now = time.monotonic()
        key = (record.pathname, record.lineno, record.name)
        with self._lock:
            kind = self._kinds.setdefault(key, _Kind(now))
            if kind.passed >= _LINES and now - kind.since < _SECONDS:
                kind.counted += 1
                return False
            if now - kind.since >= _SECONDS:
                kind.since, kind.passed = now, 0
            kind.passed += 1
            if kind.counted:
                record.msg = f"{record.getMessage()} ({kind.counted:,} similar lines left out)"
                record.args = None
                kind.counted = 0
        return True
