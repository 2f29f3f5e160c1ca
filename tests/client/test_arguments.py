"""Numbers that a caller passes."""

import math
from fractions import Fraction

import numpy as np
import pytest

from kmnist.client import InvalidInputError
from kmnist.client.arguments import as_count, as_seconds


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.int8(3), Fraction(1, 2), math.inf])
def test_every_positive_real_number_is_a_time_limit(value: float) -> None:
    assert as_seconds(value, "timeout") == float(value)


def test_a_time_limit_beyond_the_largest_float_is_infinite() -> None:
    assert as_seconds(10**400, "timeout") == math.inf


@pytest.mark.parametrize(
    "value", [0, -1, -math.inf, math.nan, True, "5", None, 5j, [5], -(10**400)]
)
def test_other_time_limits_are_an_error(value: object) -> None:
    with pytest.raises(InvalidInputError, match=r"expected more than 0 seconds, or math\.inf"):
        as_seconds(value, "timeout")


def test_every_integer_in_range_is_a_count() -> None:
    for value in (3, np.uint8(3), np.int64(3)):
        count = as_count(value, "retries", 3, 3)
        assert (count, type(count)) == (3, int)


@pytest.mark.parametrize("value", [2, 6, 3.0, True, "3", None, math.nan, 10**400])
def test_other_counts_are_an_error(value: object) -> None:
    with pytest.raises(InvalidInputError, match="expected a whole number from 3 to 5"):
        as_count(value, "retries", 3, 5)


def test_a_number_too_long_to_print_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="version=an enormous number; expected a whole"):
        as_count(10**5000, "version", 0, 9)
