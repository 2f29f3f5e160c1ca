"""Read pictures in the graph of the exported model.

MNIST's digits were scaled with antialiasing to a longer side of 20 pixels, keeping the aspect
ratio, and placed in 28 × 28 pixels by their centre of mass (Y. LeCun, C. Cortes, C. Burges, "The
MNIST database of handwritten digits"). Pictures are treated likewise: their ink is separated from
the paper, screen or transparent canvas, scaled and centred.

All operations are TensorFlow's own and none calls Python, so TensorFlow Serving can run the graph.
"""

from collections.abc import Sequence

import tensorflow as tf

from kmnist.pictures.decode import decode_picture, grey_of
from kmnist.pictures.extent import MNIST_EXTENT
from kmnist.pictures.frame import centre_by_mass, fit, is_fitted
from kmnist.pictures.ink import find_ink

__all__ = ["read_pictures"]


@tf.autograph.experimental.do_not_convert
def read_pictures(
    pictures: tf.Tensor | Sequence[bytes],
    image_shape: tuple[int, int] = (28, 28),
    *,
    extent: float | None = MNIST_EXTENT,
) -> tf.Tensor:
    """Convert encoded pictures to images like those of the data set.

    Args:
        pictures: string (n,), the bytes of a PNG, JPEG, GIF, BMP or WebP file each, of any size
            and colours, in any mixture. The first frame of an animation is read. A JPEG is turned
            upright by its EXIF orientation. Transparency in GIF is ignored; BMP with 1 bit per
            pixel is rejected, and WebP where TensorFlow cannot decode it (2.16; 2.20 can).
        image_shape: Height and width of the images.
        extent: For a data set of ink on black, the longer side of the ink as a fraction of the
            shorter side of an image (see :func:`kmnist.pictures.ink_extent`). None for any other
            data set: pictures are only converted to grey and scaled to fit.

    Returns:
        uint8 (n, height, width). With ``extent``, white ink on black. A picture of one colour
        gives a black image, and an image of the data set is unchanged. A photograph of an empty
        sheet gives a black image in about four of five cases, else the grain of the photograph.

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs: a picture is damaged, of another
            format, or has more than 50 million pixels. The message gives the index of the picture.
    """
    height, width = image_shape

    def read(numbered: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
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
