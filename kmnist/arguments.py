"""Checks of arguments that several functions share."""

from numbers import Integral

from kmnist.errors import InputError

__all__ = ["integer"]


def integer(name: str, value: object, minimum: int, maximum: int) -> int:
    """Return an argument as an int.

    Args:
        name: The name of the argument, for the message.
        value: The argument; a NumPy integer is one, a bool is not.
        minimum: The smallest value allowed.
        maximum: The largest value allowed.

    Raises:
        InputError: ``value`` is not an integer, or out of range.
    """
    if not isinstance(value, bool) and isinstance(value, Integral):
        number = int(value)
        if minimum <= number <= maximum:
            return number
    raise InputError(f"received {name} {value!r}; expected an integer from {minimum} to {maximum}")
