"""The limit on the number of log lines of a kind."""

import logging
import time
from collections.abc import Iterator

import pytest

from kmnist.server.log_limit import LogLimit


@pytest.fixture
def lines() -> list[str]:
    """The lines that have passed the filter."""
    return []


@pytest.fixture
def log(lines: list[str]) -> Iterator[logging.Logger]:
    """A logger whose handler has the filter."""

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Keep()
    handler.addFilter(LogLimit())
    log = logging.getLogger("test_log_limit")
    log.addHandler(handler)
    yield log
    log.removeHandler(handler)


def test_repeated_lines_are_counted(
    log: logging.Logger, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds, count in ((100.0, 1000), (111.0, 1), (122.0, 1)):
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: seconds)
        for number in range(count):
            log.warning("request %d%% of %s", number, "me")
    assert lines == [
        *(f"request {number}% of me" for number in range(20)),
        "request 0% of me (980 similar lines left out)",
        "request 0% of me",
    ]


def test_lines_of_another_kind_pass(log: logging.Logger, lines: list[str]) -> None:
    for _ in range(100):
        log.warning("flood")
    log.warning("once")
    assert lines == ["flood"] * 20 + ["once"]
