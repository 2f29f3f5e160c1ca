"""Decoding: colours and opacity, large pictures, and damaged files."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from kmnist.pictures.decode import LONGER_SIDE, decode_picture, grey_of, resize
from kmnist.pictures.limits import check_pictures
from tests.pictures.hostile import webp_in_a_small_canvas
from tests.pictures.kinds import encode

Decode: TypeAlias = Callable[[bytes], tuple[NDArray[np.float32], NDArray[np.float32]]]


@pytest.fixture(scope="module")
def decode() -> Decode:
    """A function from a picture that passes the limits to its colours and opacity."""

    @tf.function(input_signature=[tf.TensorSpec([1], tf.string)], autograph=False)
    def graph(pictures: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        jpeg, shapes = check_pictures(pictures)
        return decode_picture(pictures[0], jpeg[0], shapes[0])

    def run(picture: bytes) -> Any:
        return tuple(part.numpy() for part in graph([picture]))

    return run


def test_colours_and_opacity_are_separated(decode: Decode) -> None:
    pixels = np.array([[(255, 0, 51, 255), (0, 255, 0, 51), (9, 9, 9, 0)]], np.uint8)
    colours, alpha = decode(encode(pixels))
    np.testing.assert_allclose(colours[0, :2], [(1, 0, 0.2), (0, 1, 0)], atol=1e-6)
    np.testing.assert_allclose(alpha, [(1, 0.2, 0)], atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 3)])
def test_pictures_without_an_alpha_channel_are_opaque(
    shape: tuple[int, ...], decode: Decode
) -> None:
    colours, alpha = decode(encode(np.full(shape, 51, np.uint8)))
    np.testing.assert_allclose(colours, np.full((3, 4, 3), 0.2), atol=1e-6)
    np.testing.assert_array_equal(alpha, np.ones((3, 4)))


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_large_picture_is_reduced(format: str, sheet: NDArray[np.uint8], decode: Decode) -> None:
    large = Image.fromarray(sheet).resize((3000, 2400))
    colours, _ = decode(encode(np.asarray(large), format))
    height = round(LONGER_SIDE * 0.8)
    assert colours.shape == (height, LONGER_SIDE, 3)
    expected = np.asarray(large.resize((LONGER_SIDE, height), Image.Resampling.BOX)) / 255
    assert np.abs(colours[..., 0] - expected).mean() < 0.01


def test_grey_weighs_the_colours() -> None:
    colours = tf.constant([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]])
    np.testing.assert_allclose(grey_of(colours), [[0.299, 0.587, 0.114, 1]], rtol=1e-6)


def test_resize_keeps_the_aspect_ratio_and_at_least_one_pixel() -> None:
    assert resize(tf.zeros((30, 60, 2)), 20).shape == (10, 20, 2)
    assert resize(tf.zeros((1, 600, 2)), 20).shape == (1, 20, 2)


GREY = np.zeros((60, 60), np.uint8)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (encode(GREY)[:-20], "Invalid PNG"),
        (encode(GREY, "JPEG")[:-20], "Invalid JPEG"),
        (encode(GREY, "BMP")[:-20], "Input size should match"),
        (encode(GREY, "WEBP")[:-20], "Failed to decode WebP"),
        (webp_in_a_small_canvas(60, 60), "Failed to decode WebP"),
    ],
)
def test_a_damaged_file_is_rejected(picture: bytes, message: str, decode: Decode) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode(picture)
