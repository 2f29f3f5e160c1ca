"""Defaults and choices that both the library and the help of its commands use.

Separate from the functions they belong to, because printing help must not import TensorFlow.
"""

from typing import Final

__all__ = [
    "BATCH_SIZE",
    "DEVICES",
    "EPOCHS",
    "FORMATS",
    "INITS",
    "LEARNING_RATE",
    "MAX_SEED",
    "MAX_VALIDATION_SIZE",
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

# The formats that can be added to a version.
FORMATS: Final = ("tflite",)

DEVICES: Final = ("auto", "cpu", "gpu")
