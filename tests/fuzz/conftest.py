"""Profiles of Hypothesis, and a ceiling of memory and time.

pytest tests/fuzz                                   ten seconds
pytest tests/fuzz --hypothesis-profile=long         an hour
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import pytest
from hypothesis import HealthCheck, settings

Ceiling: TypeAlias = Callable[[], AbstractContextManager[None]]

# A request of a few kilobytes; what the pictures of one may take is in SECURITY.md.
_MEGABYTES: Final = 400.0
_SECONDS: Final = 20.0

_PEAK: Final = Path("/proc/self/clear_refs")

settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile(
    "long", settings.get_profile("default"), derandomize=False, max_examples=100_000
)
settings.load_profile("default")


@pytest.fixture
def ceiling() -> Ceiling:
    """A context whose body may take 400 MB and 20 seconds."""
    if not _PEAK.exists():
        pytest.skip("needs Linux to measure memory")

    @contextmanager
    def check() -> Iterator[None]:
        _PEAK.write_text("5")  # resets it
        before, started = _memory("VmRSS"), time.monotonic()
        yield
        assert _memory("VmHWM") - before < _MEGABYTES
        assert time.monotonic() - started < _SECONDS

    return check


def _memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(name))
