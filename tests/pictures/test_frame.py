"""Placing pictures in an image."""

import numpy as np
import tensorflow as tf

from kmnist import Split
from kmnist.pictures.frame import (
    MNIST_EXTENT,
    is_fitted,
)


def test_images_of_the_data_set_are_fitted_and_others_are_not(digits: Split) -> None:
    def fitted(image: np.ndarray) -> bool:
        grey = tf.constant(image.astype(np.float32) / 255)
        return bool(is_fitted(grey, 28, 28, MNIST_EXTENT))

    assert all(map(fitted, digits.images[:20]))
    digit = digits.images[0]
    others = 255 - digit, np.roll(digit, 3, axis=0), np.pad(digit, 1), np.zeros_like(digit)
    assert not any(map(fitted, others))
