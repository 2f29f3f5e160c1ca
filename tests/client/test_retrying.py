"""Deadlines and backoff."""

import pytest

from kmnist.client import DeadlineExceededError
from kmnist.client.retrying import Deadline, backoff


def test_backoff_doubles_up_to_a_limit_and_has_jitter() -> None:
    assert all(0.05 <= backoff(0) <= 0.1 for _ in range(100))
    assert all(0.1 <= backoff(1) <= 0.2 for _ in range(100))
    assert all(1 <= backoff(1000) <= 2 for _ in range(100))
    assert len({backoff(3) for _ in range(10)}) > 1


def test_a_deadline_reports_the_seconds_left() -> None:
    assert 0 < Deadline(5).check() <= 5
    assert 0 < Deadline(5).left() <= 5


def test_a_deadline_that_has_passed_is_an_error_with_its_length() -> None:
    passed = Deadline(1e-9)
    assert passed.left() == 0
    with pytest.raises(DeadlineExceededError, match=r"no answer within 1e-09 s; raise timeout="):
        passed.check()
