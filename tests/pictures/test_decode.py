"""Decoding: brightness and opacity, large pictures, and damaged files."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from kmnist.pictures.decode import LONGER_SIDE, decode_picture, resize
from kmnist.pictures.limits import check_pictures
from tests.pictures.hostile import webp_in_a_small_canvas
from tests.pictures.kinds import encode

Decode: TypeAlias = Callable[[bytes], tuple[NDArray[np.float32], NDArray[np.float32]]]


@pytest.fixture(scope="module")
def decode() -> Decode:
    """A function from a picture that passes the limits to its brightness and opacity."""

    @tf.function(input_signature=[tf.TensorSpec([1], tf.string)], autograph=False)
    def graph(pictures: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        jpeg, shapes = check_pictures(pictures)
        return decode_picture(pictures[0], jpeg[0], shapes[0])

    def run(picture: bytes) -> Any:
        return tuple(part.numpy() for part in graph([picture]))

    return run


def test_colours_are_weighed_apart_from_opacity(decode: Decode) -> None:
    pixels = [(255, 0, 0, 255), (0, 255, 0, 51), (0, 0, 255, 153), (9, 9, 9, 0)]
    grey, alpha = decode(encode(np.array([pixels], np.uint8)))
    np.testing.assert_allclose(grey, [(0.299, 0.587, 0.114, 0)], atol=1e-6)
    np.testing.assert_allclose(alpha, [(1, 0.2, 0.6, 0)], atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 3)])
def test_pictures_without_an_alpha_channel_are_opaque(
    shape: tuple[int, ...], decode: Decode
) -> None:
    grey, alpha = decode(encode(np.full(shape, 51, np.uint8)))
    np.testing.assert_allclose(grey, np.full((3, 4), 0.2), atol=1e-6)
    np.testing.assert_array_equal(alpha, np.ones((3, 4)))


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_large_picture_is_reduced(format: str, sheet: NDArray[np.uint8], decode: Decode) -> None:
    large = Image.fromarray(sheet).resize((3000, 2400))
    grey, _ = decode(encode(np.asarray(large), format))
    height = round(LONGER_SIDE * 0.8)
    assert grey.shape == (height, LONGER_SIDE)
    expected = np.asarray(large.resize((LONGER_SIDE, height), Image.Resampling.BOX)) / 255
    assert np.abs(grey - expected).mean() < 0.01


def test_hidden_colours_of_a_large_picture_do_not_show(decode: Decode) -> None:
    pixels = np.zeros((1200, 1200, 4), np.uint8)
    pixels[:, ::2] = (51, 51, 51, 255)
    pixels[:, 1::2] = (255, 255, 255, 0)
    grey, alpha = decode(encode(pixels))
    np.testing.assert_allclose(grey, np.full((LONGER_SIDE, LONGER_SIDE), 0.2), atol=1e-5)
    assert alpha.mean() == pytest.approx(0.5, abs=0.01)


def test_resize_keeps_the_aspect_ratio_and_at_least_one_pixel() -> None:
    assert resize(tf.zeros((30, 60, 2)), 20).shape == (10, 20, 2)
    assert resize(tf.zeros((1, 600, 2)), 20).shape == (1, 20, 2)


GREY = np.zeros((60, 60), np.uint8)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (encode(GREY).replace(b"IDAT", b"IDAt"), "Invalid PNG"),
        (encode(GREY, "JPEG")[:-20], "Invalid JPEG"),
        (encode(GREY, "BMP")[:-20], "Input size should match"),
        (encode(GREY, "WEBP")[:-20], "Failed to decode WebP"),
        (webp_in_a_small_canvas(60, 60), "Failed to decode WebP"),
    ],
)
def test_a_damaged_file_is_rejected(picture: bytes, message: str, decode: Decode) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode(picture)
