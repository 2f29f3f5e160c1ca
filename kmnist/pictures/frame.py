"""Place ink or a grey picture in an image of the data set's size.

MNIST's digits were scaled with antialiasing to a longer side of 20 pixels, keeping the aspect
ratio, and placed in 28 × 28 pixels by their centre of mass (Y. LeCun, C. Cortes, C. Burges, "The
MNIST database of handwritten digits"). Pictures are treated likewise.
"""

from typing import Final

import tensorflow as tf

from kmnist.pictures.measure import rim

__all__ = [
    "MNIST_EXTENT",
    "centre_by_mass",
    "fit",
    "is_fitted",
    "moments",
    "on_background",
    "resize",
    "span",
]

MNIST_EXTENT: Final = 20 / 28


def span(mask: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Compute the bounding box of a mask.

    Args:
        mask: bool (h, w).

    Returns:
        The half-open ranges of rows and of columns, int32 () each; the whole mask if it is empty.
    """

    def ends(line: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        line = tf.cast(line, tf.int32)
        after = tf.argmax(line[::-1], output_type=tf.int32)  # argmax takes the first, 0 if none
        return tf.argmax(line, output_type=tf.int32), tf.size(line) - after

    return ends(tf.reduce_any(mask, 1)), ends(tf.reduce_any(mask, 0))


def moments(grey: tf.Tensor, alpha: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the mean and the variance of what is opaque in a grey picture, float32 () each."""
    weight = tf.reduce_sum(alpha)
    mean = tf.math.divide_no_nan(tf.reduce_sum(grey * alpha), weight)
    return mean, tf.math.divide_no_nan(tf.reduce_sum(alpha * (grey - mean) ** 2), weight)


def resize(image: tf.Tensor, side: int, method: str = "area") -> tf.Tensor:
    """Scale float32 (h, w, c) to a longer side of ``side``, keeping the aspect ratio."""
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    size = tf.maximum(1, tf.cast(tf.round(shape * side / tf.reduce_max(shape)), tf.int32))
    return tf.image.resize(image, size, method=method, antialias=True)


def is_fitted(grey: tf.Tensor, height: int, width: int, extent: float) -> tf.Tensor:
    """Return whether a grey picture, float32 (h, w), already is like an image of the data set."""

    def is_centred() -> tf.Tensor:
        ink = grey > 31.5 / 255
        off_centre = _centre_of_mass(grey) - tf.constant([height / 2 + 0.5, width / 2 + 0.5])
        return (
            (tf.reduce_mean(tf.cast(ink, tf.float32)) < 0.5)
            & (tf.abs(_longer_side(ink) - extent * min(height, width)) < 1.5)
            & (tf.reduce_max(tf.abs(off_centre)) < 0.6)
        )

    same_size = tf.reduce_all(tf.shape(grey) == [height, width])
    return tf.cond(same_size, is_centred, lambda: tf.constant(False))


def centre_by_mass(ink: tf.Tensor, height: int, width: int, extent: float) -> tf.Tensor:
    """Scale ink to its extent and place its centre of mass in the middle of an image.

    Args:
        ink: float32 (h, w), from 0 to 1.
        height: The height of the image.
        width: The width of the image.
        extent: The longer side of the ink as a fraction of the shorter side of the image.

    Returns:
        uint8 (height, width).
    """
    drawn = ink > 0.5
    (top, _), (left, _) = span(drawn)
    scale = extent * min(height, width) / _longer_side(drawn)
    corner = scale * tf.cast(tf.stack([top, left]), tf.float32)
    # MNIST's digits were moved by whole pixels to bring their centre of mass to pixel (14, 14).
    middle = tf.constant([height / 2 + 0.5, width / 2 + 0.5])
    moved = tf.round(middle + corner - scale * _centre_of_mass(ink))
    return _place(ink, height, width, scale, moved - corner)


def on_background(
    grey: tf.Tensor, alpha: tf.Tensor, background: float | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Lay a picture on the background of a data set that is not ink on black.

    Args:
        grey: float32 (h, w), from 0 to 1.
        alpha: float32 (h, w), from 0 (transparent) to 1 (opaque).
        background: The tone around the objects of the data set, or None if it has no such tone.

    Returns:
        The picture, float32 (h, w), inverted if it is on the opposite background; and the tone
        around it, float32 (). With a background of None, nothing is inverted, transparency becomes
        the mean tone of the picture, and the tone around it is the mean of its rim.
    """
    mean, variance = moments(grey, alpha)
    if background is None:
        laid = grey * alpha + mean * (1 - alpha)
        return laid, tf.reduce_mean(tf.concat(rim(laid), 0))
    # On a transparent canvas, one colour is a silhouette, whose tones are its opacity.
    canvas = tf.reduce_mean(tf.concat(rim(alpha), 0)) < 0.5
    silhouette = canvas & (variance < 0.05**2)
    grey = tf.where(silhouette, 1.0 - background, grey)
    opposite = tf.abs(tf.concat(rim(grey), 0) - background) > 0.5
    inverted = (tf.reduce_mean(tf.cast(opposite, tf.float32)) > 0.5) & ~canvas
    tone = tf.where(inverted, 1.0 - background, background)
    laid = grey * alpha + tone * (1 - alpha)
    return tf.where(inverted, 1 - laid, laid), tf.constant(background)


def fit(grey: tf.Tensor, height: int, width: int, background: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Scale a grey picture to fit into an image, centred on its background.

    Args:
        grey: float32 (h, w), from 0 to 1.
        height: The height of the image.
        width: The width of the image.
        background: The tone beside the picture, from 0 to 1.

    Returns:
        uint8 (height, width).
    """
    shape, size = tf.cast(tf.shape(grey), tf.float32), tf.constant([height, width], tf.float32)
    scale = tf.reduce_min(size / shape)
    # Beside the picture is 0.
    return _place(grey - background, height, width, scale, (size - shape * scale) / 2, background)


def _longer_side(mask: tf.Tensor) -> tf.Tensor:
    (top, bottom), (left, right) = span(mask)
    return tf.cast(tf.maximum(bottom - top, right - left), tf.float32)


def _centre_of_mass(ink: tf.Tensor) -> tf.Tensor:
    """Return row and column, float32 (2,); the middle of pixel 0 is at 0.5."""
    rows = tf.range(tf.shape(ink)[0], dtype=tf.float32) + 0.5
    columns = tf.range(tf.shape(ink)[1], dtype=tf.float32) + 0.5
    sums = [tf.reduce_sum(ink * rows[:, None]), tf.reduce_sum(ink * columns)]
    return tf.math.divide_no_nan(tf.stack(sums), tf.reduce_sum(ink))


def _place(
    image: tf.Tensor,
    height: int,
    width: int,
    scale: tf.Tensor,
    offset: tf.Tensor,
    background: tf.Tensor | float = 0.0,
) -> tf.Tensor:
    placed = tf.raw_ops.ScaleAndTranslate(
        images=image[None, ..., None],
        size=[height, width],
        scale=tf.stack([scale, scale]),
        translation=offset,
        kernel_type="triangle",
        antialias=True,
    )
    tones = tf.round((placed[0, ..., 0] + background) * 255)
    return tf.cast(tf.clip_by_value(tones, 0, 255), tf.uint8)
