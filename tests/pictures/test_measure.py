"""The extent of the ink and the background of a data set."""

import numpy as np

from kmnist import Dataset
from kmnist.pictures.frame import MNIST_EXTENT
from kmnist.pictures.measure import background_tone, ink_extent


def test_the_extent_and_background_of_mnist_are_measured(tiny_dataset: Dataset) -> None:
    digits = tiny_dataset.train.images
    assert ink_extent(digits) == MNIST_EXTENT
    assert ink_extent(255 - digits) is None
    assert (background_tone(digits), background_tone(255 - digits)) == (0, 1)


def test_images_that_fill_their_frame_have_no_background() -> None:
    photographs = np.random.default_rng(0).integers(0, 256, (100, 1, 1)) * np.ones((1, 28, 28))
    assert background_tone(photographs.astype(np.uint8)) is None
