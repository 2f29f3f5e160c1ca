"""Decode pictures and turn them into images like those of the data set, in the exported graph.

All operations are TensorFlow's own and none calls Python, so TensorFlow Serving can run the graph.
"""

from collections.abc import Sequence
from typing import Final

import tensorflow as tf

from kmnist.pictures import BRIGHTNESS, frame
from kmnist.pictures.ink import find_ink, find_small_ink
from kmnist.pictures.limits import check_pictures

__all__ = ["LONGER_SIDE", "decode_picture", "grey_and_opacity", "read_pictures"]

# Larger pictures are reduced to this longer side, at which a digit of a fiftieth of the height of
# the sheet still has 20 pixels.
LONGER_SIDE: Final = 1024

# The EXIF orientation is looked for in the first bytes of a JPEG, its entry in some more of them.
_SEARCHED: Final = 1024
_HEAD: Final = 4096
_ORIENTATION: Final = 0x0112


@tf.autograph.experimental.do_not_convert
def read_pictures(
    pictures: tf.Tensor | Sequence[bytes],
    image_shape: tuple[int, int] = (28, 28),
    *,
    extent: float | None = frame.MNIST_EXTENT,
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
            shorter side of an image (see :func:`kmnist.pictures.measure.ink_extent`): the ink is
            separated from the paper, screen or transparent canvas, scaled and centred. None for any
            other data set: pictures are converted to grey and scaled to fit.
        background: Of a data set without an extent, the tone around its objects, 0 (black) to 1; see
            :func:`kmnist.pictures.measure.background_tone`. A picture on the opposite background is
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

    def read(picture: tf.Tensor) -> tf.Tensor:
        grey, alpha = grey_and_opacity(decode_picture(picture))
        if extent is None:
            laid, tone = frame.on_background(grey, alpha, background)
            return frame.fit(laid, height, width, tone)
        return tf.cond(
            frame.is_fitted(grey * alpha, height, width, extent),
            lambda: frame.fit(grey * alpha, height, width),
            lambda: frame.centre_by_mass(ink(grey, alpha), height, width, extent),
        )

    def ink(grey: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
        found: tf.Tensor = tf.cond(
            tf.reduce_all(tf.shape(grey) <= [height, width]),
            lambda: find_small_ink(grey, alpha),
            lambda: find_ink(grey, alpha),
        )
        return found

    return tf.map_fn(
        read,
        check_pictures(tf.convert_to_tensor(pictures, tf.string)),
        fn_output_signature=tf.TensorSpec((height, width), tf.uint8),
        parallel_iterations=2,  # each may take 200 MB
    )


def decode_picture(picture: tf.Tensor) -> tf.Tensor:
    """Decode a picture; of an animation, the first frame.

    Args:
        picture: string (), the bytes of the file.

    Returns:
        The pixels, uint8 (h, w, 1 to 4). A JPEG is upright, and reduced if it is more than twice as
        long as ``LONGER_SIDE``.

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs: the picture is damaged.
    """
    pixels = tf.cond(
        tf.strings.substr(picture, 0, 3) == b"\xff\xd8\xff",
        lambda: _decode_jpeg(picture),
        lambda: tf.io.decode_image(picture, expand_animations=False),
    )
    pixels.set_shape([None, None, None])
    return pixels


def grey_and_opacity(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Convert pixels to brightness and opacity, reduced to a longer side of ``LONGER_SIDE``.

    Args:
        pixels: uint8 (h, w, c): grey, grey and opacity, RGB, or RGB and opacity.

    Returns:
        The brightness, float32 (h, w), from 0 to 1; and the opacity, float32 (h, w), from 0
        (transparent) to 1 (opaque).
    """
    height, width, channels = tf.unstack(tf.shape(pixels))
    longer = tf.maximum(height, width)
    # Subsampling first bounds the memory of the floats; the rest is averaged.
    step = tf.maximum(1, longer // LONGER_SIDE)
    floats = tf.cast(pixels[::step, ::step], tf.float32)
    floats.set_shape([None, None, None])
    weights = tf.constant([(1.0, 0, 0, 0)] * 2 + [(*BRIGHTNESS, 0)] * 2) / 255
    grey = tf.linalg.matvec(floats, weights[channels - 1, :channels])
    grey.set_shape([None, None])

    def shrink(image: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            longer > LONGER_SIDE, lambda: frame.resize(image, LONGER_SIDE), lambda: image
        )

    def opaque() -> tuple[tf.Tensor, tf.Tensor]:
        shrunk = shrink(grey[..., None])[..., 0]
        return shrunk, tf.ones_like(shrunk)

    def transparent() -> tuple[tf.Tensor, tf.Tensor]:
        # Transparent pixels must not contribute to the averages.
        alpha = floats[..., -1] / 255
        weighted, alpha = tf.unstack(shrink(tf.stack([grey * alpha, alpha], 2)), axis=2)
        return weighted / tf.maximum(alpha, 1e-3), alpha

    found: tuple[tf.Tensor, tf.Tensor] = tf.cond(channels % 2 == 1, opaque, transparent)
    return found


def _decode_jpeg(picture: tf.Tensor) -> tf.Tensor:
    # Decoding at a half, a quarter or an eighth of the size takes a fraction of the time.
    ratios = (1, 2, 4, 8)
    longer = tf.reduce_max(tf.io.extract_jpeg_shape(picture)[:2])
    fitting = tf.reduce_sum(tf.cast(longer >= LONGER_SIDE * tf.constant(ratios[1:]), tf.int32))
    pixels = tf.switch_case(
        fitting, [lambda r=r: tf.io.decode_jpeg(picture, 3, ratio=r) for r in ratios]
    )
    return _turn_upright(pixels, _read_orientation(picture))


def _read_orientation(picture: tf.Tensor) -> tf.Tensor:
    """Read the orientation of a JPEG file, int32 (), 1 to 8 (EXIF 2.3, 4.6.4); 1 if it has none.

    Phones store a photograph as the sensor recorded it, along with how to turn it. TensorFlow ignores
    that.
    """
    start = tf.strings.substr(picture, 0, _HEAD)
    head = tf.cast(tf.io.decode_raw(tf.strings.join([start, bytes(_HEAD)]), tf.uint8), tf.int32)
    sign = tf.stack(
        [head[i : _SEARCHED + i] == value for i, value in enumerate(b"Exif\x00\x00")], axis=1
    )
    found = tf.reduce_all(sign, axis=1)
    base = tf.argmax(tf.cast(found, tf.int32), output_type=tf.int32) + 6
    little = head[base] == ord("I")

    def short(at: tf.Tensor) -> tf.Tensor:
        place = tf.clip_by_value(base + at, 0, _HEAD - 2)
        first, second = tf.gather(head, place), tf.gather(head, place + 1)
        return tf.where(little, first + 256 * second, 256 * first + second)

    directory = short(tf.where(little, 4, 6))  # the lower half of an offset of four bytes
    entries = directory + 2 + 12 * tf.range(tf.minimum(short(directory), 100))
    value = tf.reduce_max(tf.where(short(entries) == _ORIENTATION, short(entries + 8), 0))
    return tf.where(tf.reduce_any(found) & (value >= 1) & (value <= 8), value, 1)


def _turn_upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    pixels.set_shape([None, None, None])
    turned = tf.cond(orientation > 4, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    mirrored = tf.reduce_any(orientation == [2, 3, 6, 7])
    upside_down = tf.reduce_any(orientation == [3, 4, 7, 8])
    return turned[:: tf.where(upside_down, -1, 1), :: tf.where(mirrored, -1, 1)]
