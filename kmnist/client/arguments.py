"""Validation of the numbers that a caller passes."""

import math
import operator
from numbers import Real
from typing import Final

from kmnist.errors import InvalidInputError

__all__ = ["MAX_VERSION", "as_count", "as_seconds"]

# A version is an int64 in TensorFlow Serving's messages.
MAX_VERSION: Final = 2**63 - 1


def as_seconds(value: object, name: str) -> float:
    """Return a time limit as a float.

    Args:
        value: The argument, possibly infinite.
        name: Its name.

    Raises:
        InvalidInputError: It is not a number greater than 0.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not value > 0:  # type: ignore[operator]
        raise InvalidInputError(
            f"received {name}={_shown(value)}; expected more than 0 seconds, or math.inf"
        )
    try:
        return float(value)
    except OverflowError:  # an int beyond the largest float
        return math.inf


def as_count(value: object, name: str, lowest: int, highest: int | None = None) -> int:
    """Return a whole number as an int.

    Args:
        value: The argument.
        name: Its name.
        lowest: The smallest allowed value.
        highest: The largest allowed value.

    Raises:
        InvalidInputError: It is not an integer, or out of range.
    """
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        count = None
    if count is None or isinstance(value, bool) or count < lowest or count > (highest or count):
        limit = f"from {lowest} up" if highest is None else f"from {lowest} to {highest}"
        raise InvalidInputError(f"received {name}={_shown(value)}; expected a whole number {limit}")
    return count


def _shown(value: object) -> str:
    """Return a short representation: that of a very large int is an error in Python."""
    try:
        text = str(value) if isinstance(value, Real) else repr(value)
    except ValueError:
        return "an enormous number"
    return text if len(text) <= 40 else text[:39] + "…"
