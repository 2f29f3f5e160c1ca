"""Placing pictures in an image."""

import numpy as np
import pytest
import tensorflow as tf

from kmnist import Split
from kmnist.pictures.frame import (
    MNIST_EXTENT,
    centre_by_mass,
    fit,
    is_fitted,
)


def test_a_picture_is_scaled_to_fit_and_centred() -> None:
    picture = np.full((10, 20), 200 / 255, np.float32)
    image = fit(tf.constant(picture), 28, 28).numpy().astype(int)
    assert image.shape == (28, 28)
    assert np.abs(image[8:20] - 200).max() <= 1
    assert image[:6].max() == image[22:].max() == 0


@pytest.mark.parametrize(("height", "width"), [(28, 28), (40, 24)])
def test_ink_is_scaled_to_its_extent_and_centred_by_mass(height: int, width: int) -> None:
    ink = np.zeros((200, 300), np.float32)
    ink[20:120, 230:240] = 1  # an L: more ink below and to the left
    ink[110:120, 230:290] = 1
    image = centre_by_mass(tf.constant(ink), height, width, 0.5).numpy().astype(float)
    rows, columns = np.nonzero(image > 127)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(min(height, width) / 2, abs=1)
    for axis, side in ((1, height), (0, width)):
        assert abs(np.average(range(side), weights=image.sum(axis)) - side / 2) <= 0.6


def test_images_of_the_data_set_are_fitted_and_others_are_not(digits: Split) -> None:
    def fitted(image: np.ndarray) -> bool:
        grey = tf.constant(image.astype(np.float32) / 255)
        return bool(is_fitted(grey, 28, 28, MNIST_EXTENT))

    assert all(map(fitted, digits.images[:20]))
    digit = digits.images[0]
    others = 255 - digit, np.roll(digit, 3, axis=0), np.pad(digit, 1), np.zeros_like(digit)
    assert not any(map(fitted, others))
