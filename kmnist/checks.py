"""Checks of arguments, and the defaults that the library and the help of its commands share.

Without TensorFlow, because printing help must not import it.
"""

from numbers import Integral
from typing import Final

from kmnist.errors import InputError

__all__ = [
    "BATCH_SIZE",
    "DEVICES",
    "EPOCHS",
    "INITS",
    "LEARNING_RATE",
    "MAX_SEED",
    "MAX_VALIDATION_SIZE",
    "integer",
    "one_line",
]

# The settings of the tutorial; it validates on the first 5,000 of MNIST's 60,000 training images.
# Smaller data sets hold out a tenth.
MAX_VALIDATION_SIZE: Final = 5_000
EPOCHS: Final = 15
BATCH_SIZE: Final = 100
LEARNING_RATE: Final = 0.1

# The initial weights: Keras's default, or normal(0, 1) as in the tutorial.
INITS: Final = ("glorot_uniform", "random_normal")

# The seed of the weights is an int32, and the bias has the one after it.
MAX_SEED: Final = 2**31 - 2

DEVICES: Final = ("auto", "cpu", "gpu")


def integer(name: str, value: object, minimum: int, maximum: int | None = None) -> int:
    """Return an argument as an int.

    Args:
        name: The name of the argument, for the message.
        value: The argument; a NumPy integer is one, a bool is not.
        minimum: The smallest value allowed.
        maximum: The largest value allowed; None for no limit.

    Raises:
        InputError: ``value`` is not an integer, or out of range.
    """
    if not isinstance(value, bool) and isinstance(value, Integral):
        number = int(value)
        if minimum <= number and (maximum is None or number <= maximum):
            return number
    limits = f"of at least {minimum:,}" if maximum is None else f"from {minimum:,} to {maximum:,}"
    raise InputError(f"{name} must be an integer {limits}, not {value!r}")


def one_line(error: object) -> str:
    """Return the text of an error, or the name of its class if it has none, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
