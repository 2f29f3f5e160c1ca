"""The size of the ink in the images of a data set."""

import numpy as np
import pytest

from kmnist import Dataset
from kmnist.pictures import MNIST_EXTENT, ink_extent


def test_the_extent_of_mnist_is_measured(tiny_dataset: Dataset) -> None:
    assert ink_extent(tiny_dataset.train.images) == MNIST_EXTENT


def test_the_extent_is_relative_to_the_shorter_side() -> None:
    images = np.zeros((3, 20, 40), np.uint8)
    images[:, 5:15, 10:13] = 255
    assert ink_extent(images) == pytest.approx(10 / 20)
    images[:, 5, 10:26] = 255
    assert ink_extent(images) == pytest.approx(16 / 20)


def test_images_that_are_not_ink_on_black_have_no_extent(tiny_dataset: Dataset) -> None:
    assert ink_extent(255 - tiny_dataset.train.images) is None
