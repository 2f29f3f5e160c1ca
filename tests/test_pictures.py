"""kmnist.pictures: what people send becomes an image as MNIST has them."""

import numpy as np
import pytest
import tensorflow as tf
from picture_kinds import encode

from kmnist.pictures import read_pictures


@pytest.fixture(scope="module")
def read():
    graph = tf.function(read_pictures, input_signature=[tf.TensorSpec([None], tf.string)])
    return lambda *pictures: graph(tf.constant(list(pictures), tf.string)).numpy()


def test_no_pictures_give_no_images(read):
    images = read()
    assert images.shape == (0, 28, 28)
    assert images.dtype == np.uint8


@pytest.mark.parametrize("tone", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (28, 28), (300, 200)])
def test_one_colour_gives_a_black_image(read, tone, shape):
    assert read(encode(np.full(shape, tone, np.uint8))).max() == 0


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (b"", "Picture 1, 0 bytes, is no PNG, JPEG, GIF, BMP or WebP"),
        (b"no picture", "Picture 1, 10 bytes, is no PNG"),
        (encode(np.zeros((28, 28), np.uint8))[:60], "PNG"),
        (encode(np.zeros((28, 28), np.uint8), "JPEG")[:-200], "JPEG"),
    ],
)
def test_a_broken_picture_is_refused(read, picture, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        read(encode(np.zeros((28, 28), np.uint8)), picture)
