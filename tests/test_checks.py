"""integer: which values are one, and in range."""

import re
from typing import Any

import numpy as np
import pytest

from kmnist.checks import integer
from kmnist.errors import InputError


@pytest.mark.parametrize("value", [1, 7, np.int64(3), np.uint8(7)])
def test_integers_of_python_and_numpy_are_ints(value: Any) -> None:
    number = integer("epochs", value, 1, 7)
    assert type(number) is int
    assert number == value


@pytest.mark.parametrize(
    "value", [0, 8, -1, 10**20, True, np.True_, 3.0, float("nan"), "3", None, np.array([3])]
)
def test_other_values_are_rejected_with_the_range(value: Any) -> None:
    message = f"epochs must be an integer from 1 to 7, not {value!r}"
    with pytest.raises(InputError, match=re.escape(message)):
        integer("epochs", value, 1, 7)
