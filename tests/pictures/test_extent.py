"""The size of the ink in the images of a data set."""

import numpy as np
import pytest

from kmnist import Dataset
from kmnist.pictures import MNIST_EXTENT, background_tone, ink_extent


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


def test_the_background_is_the_tone_around_most_objects(tiny_dataset: Dataset) -> None:
    digits = tiny_dataset.train.images
    assert background_tone(digits) == 0
    assert background_tone(255 - digits) == 1
    touching = np.where(np.arange(len(digits))[:, None, None] % 5 == 0, 200, digits)
    assert background_tone(touching.astype(np.uint8)) == 0


def test_images_that_fill_their_frame_have_no_background() -> None:
    photographs = np.random.default_rng(0).integers(0, 256, (100, 1, 1)) * np.ones((1, 28, 28))
    assert background_tone(photographs.astype(np.uint8)) is None
