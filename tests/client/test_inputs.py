import numpy as np

from kmnist.client.inputs import MAX_REQUEST_BYTES, first_piece


def test_a_request_holds_at_least_one_value_and_no_more_than_the_limits_allow() -> None:
    assert first_piece(np.ones(5, int), 3) == 3
    for size, fitting in ((1, 5), (MAX_REQUEST_BYTES * 2, 1), (MAX_REQUEST_BYTES // 2, 2)):
        assert first_piece(np.full(5, size), 5) == fitting
        assert first_piece(size, 5) == fitting
