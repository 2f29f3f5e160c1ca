import pytest

from kmnist.client import DeadlineExceededError
from kmnist.client.retrying import Deadline, backoff


def test_backoff_grows_to_a_limit_and_is_random() -> None:
    assert all(0.05 <= backoff(0) <= 0.1 for _ in range(100))
    assert all(1 <= backoff(1000) <= 2 for _ in range(100))
    assert len({backoff(3) for _ in range(10)}) > 1


def test_a_deadline_says_how_long_it_was() -> None:
    assert 0 < Deadline(5).check() <= 5
    with pytest.raises(DeadlineExceededError, match=r"no answer within 1e-09 s; raise timeout="):
        Deadline(1e-9).check()
