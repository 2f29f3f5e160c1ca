"""Fixtures of the picture tests: digits, a drawing of one, and the reading graph."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from kmnist import Dataset, Split
from kmnist.pictures.decode import read_pictures
from kmnist.pictures.limits import MAX_PICTURES
from tests.pictures.kinds import sheet_of

Read: TypeAlias = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="session")
def read() -> Read:
    """A function from encoded pictures to images, uint8 (n, 28, 28), by one graph."""
    graph = tf.function(read_pictures, input_signature=[tf.TensorSpec([None], tf.string)])

    def run(*pictures: bytes) -> Any:
        starts = range(0, max(1, len(pictures)), MAX_PICTURES)
        pieces = [pictures[start : start + MAX_PICTURES] for start in starts]
        return np.concatenate([graph(tf.constant(list(each), tf.string)) for each in pieces])

    return run


@pytest.fixture(scope="session")
def digits(tiny_dataset: Dataset) -> Split:
    """The first 60 test digits."""
    return tiny_dataset.test[:60]


@pytest.fixture(scope="session")
def sheet(digits: Split) -> NDArray[np.uint8]:
    """A black digit on a white sheet, uint8 (h, w)."""
    ink = sheet_of(digits.images[0], np.random.default_rng(0))
    return np.asarray((255 * (1 - ink)).round(), np.uint8)
