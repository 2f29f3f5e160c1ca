"""Decode a picture that passed the limits to tones of grey and opacity."""

from typing import Final

import tensorflow as tf

from kmnist.pictures.orientation import orientation, upright

__all__ = ["LONGER_SIDE", "decode_picture", "grey_of", "resize"]

# Larger pictures are reduced to this longer side, at which a digit of a fiftieth of the height of
# the sheet still has 20 pixels.
LONGER_SIDE: Final = 1024

# The parts of red, green and blue in the brightness (ITU-R BT.601).
_BRIGHTNESS: Final = (0.299, 0.587, 0.114)


def decode_picture(
    picture: tf.Tensor, jpeg: tf.Tensor, shape: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode a picture, reduced to a longer side of at most ``LONGER_SIDE``.

    Args:
        picture: string (), the bytes of the file.
        jpeg: bool (), whether it is a JPEG, from :func:`kmnist.pictures.limits.check_pictures`.
        shape: int64 (2,), its height and width, likewise.

    Returns:
        The brightness, float32 (h, w), from 0 to 1; and the opacity, float32 (h, w), from 0
        (transparent) to 1 (opaque).

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs: the picture is damaged.
    """
    pixels = tf.cond(
        jpeg,
        lambda: _decode_jpeg(picture, shape),
        lambda: tf.io.decode_image(picture, expand_animations=False),
    )
    pixels.set_shape([None, None, None])
    return _reduce(pixels)


def _decode_jpeg(picture: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    # Decoding at a half, a quarter or an eighth of the size takes a fraction of the time.
    ratios = (1, 2, 4, 8)
    longer = tf.reduce_max(shape)
    fitting = tf.reduce_sum(
        tf.cast(longer >= LONGER_SIDE * tf.constant(ratios[1:], tf.int64), tf.int32)
    )
    pixels = tf.switch_case(
        fitting, [lambda r=r: tf.io.decode_jpeg(picture, 3, ratio=r) for r in ratios]
    )
    return upright(pixels, orientation(picture))


def _reduce(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Convert uint8 (h, w, 1 to 4) to brightness and opacity, at most ``LONGER_SIDE`` long."""
    height, width, channels = tf.unstack(tf.shape(pixels))
    longer = tf.maximum(height, width)
    # Subsampling first bounds the memory of the floats; the rest is averaged.
    step = tf.maximum(1, longer // LONGER_SIDE)
    floats = tf.cast(pixels[::step, ::step], tf.float32)
    floats.set_shape([None, None, None])
    weights = tf.constant([(1.0, 0, 0, 0)] * 2 + [(*_BRIGHTNESS, 0)] * 2) / 255
    grey = tf.linalg.matvec(floats, weights[channels - 1, :channels])
    grey.set_shape([None, None])

    def shrink(image: tf.Tensor) -> tf.Tensor:
        return tf.cond(longer > LONGER_SIDE, lambda: resize(image, LONGER_SIDE), lambda: image)

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


def grey_of(colours: tf.Tensor) -> tf.Tensor:
    """Convert colours, float32 (h, w, 3), to brightness, float32 (h, w) (ITU-R BT.601)."""
    return tf.linalg.matvec(colours, _BRIGHTNESS)


def resize(image: tf.Tensor, side: int, method: str = "area") -> tf.Tensor:
    """Scale float32 (h, w, c) to a longer side of ``side``, keeping the aspect ratio."""
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    size = tf.maximum(1, tf.cast(tf.round(shape * side / tf.reduce_max(shape)), tf.int32))
    return tf.image.resize(image, size, method=method, antialias=True)
