"""In the graph: any PNG, JPEG, GIF, BMP or WebP becomes an image as the data set has them.

MNIST's digits were scaled to a longer side of 20 pixels, the aspect ratio kept, with antialiasing,
and placed in 28×28 with their centre of mass in the middle (Y. LeCun, C. Cortes, C. Burges, "The
MNIST database of handwritten digits"). A picture of a digit gets the same here: its ink is told
from paper, screen or transparent canvas, scaled and centred.

Only operations of TensorFlow's own are used, none of them of Python, so the exported graph runs
in TensorFlow Serving.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .decode import decode_picture, grey_of
from .frame import centre_by_mass, fit, is_fitted
from .ink import find_ink

__all__ = ["MNIST_EXTENT", "ink_extent", "read_pictures"]

MNIST_EXTENT = 20 / 28


@tf.autograph.experimental.do_not_convert
def read_pictures(
    pictures: Any, image_shape: tuple[int, int] = (28, 28), *, extent: float | None = MNIST_EXTENT
) -> Any:
    """Turn encoded pictures into images as the data set has them.

    Args:
        pictures: string (n,), a PNG, JPEG, GIF, BMP or WebP file each, of any size and colours,
            mixed as they come. Of an animation the first frame is read. A JPEG is turned upright
            as its EXIF orientation says. What TensorFlow does not decode is refused: BMP of one
            bit, and WebP where the server is too old (2.16 is, 2.20 is not). It also does not
            tell which parts of a GIF are transparent.
        image_shape: height and width of the images to make.
        extent: for a data set of ink on black, the longer side of the ink as a share of the
            shorter side of the image (see :func:`ink_extent`). ``None`` for any other data set:
            pictures are only turned grey and fitted into the image.

    Returns:
        uint8 (n, height, width). With ``extent``, white ink on black; a picture of one colour
        gives a black image, and an image as the data set has them stays as it is. A photograph
        of an empty sheet gives one too, or, one time in five, what its grain draws.

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs: a picture is broken, of another
            format, or has more than 50 million pixels. The text names the picture by its index.
    """
    height, width = image_shape

    def read(numbered: tuple[Any, Any]) -> Any:
        colours, alpha = decode_picture(*numbered)
        grey = grey_of(colours) * alpha
        if extent is None:
            return fit(grey, height, width)
        return tf.cond(
            is_fitted(grey, height, width, extent),
            lambda: fit(grey, height, width),
            lambda: centre_by_mass(find_ink(colours, alpha), height, width, extent),
        )

    pictures = tf.convert_to_tensor(pictures, tf.string)
    numbers = tf.range(tf.size(pictures))
    image = tf.TensorSpec((height, width), tf.uint8)
    return tf.map_fn(read, (numbers, pictures), fn_output_signature=image)


def ink_extent(images: NDArray[np.uint8]) -> float | None:
    """How large the ink is drawn in a data set of ink on black, or ``None`` for another kind.

    A data set counts as ink on black when in 95 of 100 images more than half of the pixels are
    nearly black, as in MNIST; photographs that fill their image are another kind.

    Args:
        images: uint8 (n, height, width), the training images, n ≥ 1; the first 5,000 are looked at.

    Returns:
        The median longer side of the ink as a share of the shorter side of an image: 20/28 for
        MNIST.
    """
    images = images[:5000]
    ink = images >= 32
    black = 1 - ink.mean((1, 2))
    if np.quantile(black, 0.05) <= 0.5:
        return None
    heights, widths = (_span(np.any(ink, axis)) for axis in (2, 1))
    return float(np.median(np.maximum(heights, widths)) / min(images.shape[1:]))


def _span(touched: Any) -> NDArray[np.int_]:
    """From the first to the last true of each row: bool (n, length) → int (n,)."""
    first, last = touched.argmax(1), touched.shape[1] - touched[:, ::-1].argmax(1)
    return np.asarray(np.where(touched.any(1), last - first, 0))
