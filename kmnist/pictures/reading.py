"""Read pictures in the graph of the exported model.

MNIST's digits were scaled with antialiasing to a longer side of 20 pixels, keeping the aspect
ratio, and placed in 28 × 28 pixels by their centre of mass (Y. LeCun, C. Cortes, C. Burges, "The
MNIST database of handwritten digits"). Pictures are treated likewise: their ink is separated from
the paper, screen or transparent canvas, scaled and centred.

All operations are TensorFlow's own and none calls Python, so TensorFlow Serving can run the graph.
"""

from collections.abc import Sequence

import tensorflow as tf

from kmnist.pictures.decode import decode_picture
from kmnist.pictures.extent import MNIST_EXTENT
from kmnist.pictures.frame import centre_by_mass, fit, is_fitted, on_background
from kmnist.pictures.ink import find_ink
from kmnist.pictures.limits import check_pictures

__all__ = ["read_pictures"]


@tf.autograph.experimental.do_not_convert
def read_pictures(
    pictures: tf.Tensor | Sequence[bytes],
    image_shape: tuple[int, int] = (28, 28),
    *,
    extent: float | None = MNIST_EXTENT,
    background: float | None = 0.0,
) -> tf.Tensor:
    """Convert encoded pictures to images like those of the data set.

    Args:
        pictures: string (n,), the bytes of a PNG, JPEG, BMP or WebP file each, of any size and
            colours, in any mixture. A JPEG is turned upright by its EXIF orientation. GIF and
            animations are rejected, because decoders allocate all of their frames; BMP with 1 bit
            per pixel too, and WebP where TensorFlow cannot decode it (2.16; 2.20 can).
        image_shape: Height and width of the images.
        extent: For a data set of ink on black, the longer side of the ink as a fraction of the
            shorter side of an image (see :func:`kmnist.pictures.ink_extent`). None for any other
            data set: pictures are converted to grey and scaled to fit.
        background: Of a data set without an extent, the tone around its objects, 0 (black) to 1; see
            :func:`kmnist.pictures.background_tone`. A picture on the opposite background is
            inverted, and a transparent one is laid on this tone. None leaves the tones as they are.

    Returns:
        uint8 (n, height, width). With ``extent``, white ink on black. A picture of one colour
        gives a black image, and an image of the data set is unchanged. A photograph of an empty
        sheet gives a black image in about four of five cases, else the grain of the photograph.

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs: a picture is damaged, of another
            format, or larger than a limit of :mod:`kmnist.pictures.limits`, or there are too many
            of them. The limits are checked before any picture is decoded, and their messages give
            the index of the picture.
    """
    height, width = image_shape

    def read(checked: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        grey, alpha = decode_picture(*checked)
        if extent is None:
            laid, tone = on_background(grey, alpha, background)
            return fit(laid, height, width, tone)
        return tf.cond(
            is_fitted(grey * alpha, height, width, extent),
            lambda: fit(grey * alpha, height, width),
            lambda: centre_by_mass(find_ink(grey, alpha), height, width, extent),
        )

    pictures = tf.convert_to_tensor(pictures, tf.string)
    jpeg, shapes = check_pictures(pictures)
    return tf.map_fn(
        read,
        (pictures, jpeg, shapes),
        fn_output_signature=tf.TensorSpec((height, width), tf.uint8),
        parallel_iterations=2,  # each may take 200 MB
    )
