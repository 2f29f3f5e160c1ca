"""The limit on the bytes of all requests together."""

from contextlib import suppress

import pytest

from kmnist.server.bodies import ByteBudget
from kmnist.server.errors import StatusError


def test_a_share_grows_until_all_shares_exceed_the_limit() -> None:
    budget = ByteBudget(10)
    with budget.share() as first:
        first.grow(4)
        with budget.share() as second:
            second.grow(6)
            with pytest.raises(StatusError, match="exceed 10 bytes") as caught:
                first.grow(1)
            assert caught.value.http_status == 503
            assert (first.size, second.size) == (4, 6)
        first.grow(6)
    with budget.share() as third:
        third.grow(10)


def test_a_share_is_free_after_an_error() -> None:
    budget = ByteBudget(1)
    for _ in range(2):
        with suppress(ZeroDivisionError), budget.share() as share:
            share.grow(1)
            raise ZeroDivisionError
    with budget.share() as share:
        share.grow(1)
