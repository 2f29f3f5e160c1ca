"""The EXIF orientation of JPEG files."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kmnist.pictures.orientation import orientation, upright
from tests.pictures.kinds import encode

# How the pixels of an upright picture are stored in each orientation.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

PIXELS = np.arange(6 * 4, dtype=np.uint8).reshape(6, 4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_is_read_in_both_byte_orders(value: int, order: str) -> None:
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F] = "maker"
    exif[0x0112] = value
    assert int(orientation(encode(PIXELS, "JPEG", exif=exif))) == value


@pytest.mark.parametrize("value", [0, 9, 1000])
def test_an_invalid_orientation_is_ignored(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert int(orientation(encode(PIXELS, "JPEG", exif=exif))) == 1


def test_a_jpeg_without_exif_is_upright() -> None:
    assert int(orientation(encode(PIXELS, "JPEG"))) == 1


@pytest.mark.parametrize("value", STORED)
def test_a_picture_is_turned_upright(value: int) -> None:
    stored = tf.constant(np.asarray(Image.fromarray(PIXELS).transpose(STORED[value])))
    turned = upright(stored[..., None], tf.constant(value))
    np.testing.assert_array_equal(turned[..., 0], PIXELS)
