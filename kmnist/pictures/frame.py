"""Place ink or a grey picture in an image of the data set's size."""

import tensorflow as tf

from kmnist.pictures.filters import span

__all__ = ["centre_by_mass", "fit", "is_fitted"]


def is_fitted(grey: tf.Tensor, height: int, width: int, extent: float) -> tf.Tensor:
    """Return whether a grey picture, float32 (h, w), already is like an image of the data set."""
    ink = grey >= 32 / 255
    (top, bottom), (left, right) = span(ink)
    longer = tf.cast(tf.maximum(bottom - top, right - left), tf.float32)
    off_centre = _centre_of_mass(grey) - tf.constant([height / 2 + 0.5, width / 2 + 0.5])
    return (
        tf.reduce_all(tf.shape(grey) == [height, width])
        & (tf.reduce_mean(tf.cast(ink, tf.float32)) < 0.5)
        & (tf.abs(longer - extent * min(height, width)) < 1.5)
        & (tf.reduce_max(tf.abs(off_centre)) < 0.6)
    )


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
    (top, bottom), (left, right) = span(ink > 0.5)
    longer = tf.cast(tf.maximum(bottom - top, right - left), tf.float32)
    scale = extent * min(height, width) / longer
    corner = scale * tf.cast(tf.stack([top, left]), tf.float32)
    # MNIST's digits were moved by whole pixels to bring their centre of mass to pixel (14, 14).
    middle = tf.constant([height / 2 + 0.5, width / 2 + 0.5])
    moved = tf.round(middle + corner - scale * _centre_of_mass(ink))
    return _place(ink, height, width, scale, moved - corner)


def fit(grey: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Scale a grey picture to fit into an image, centred on black.

    Args:
        grey: float32 (h, w), from 0 to 1.
        height: The height of the image.
        width: The width of the image.

    Returns:
        uint8 (height, width).
    """
    shape = tf.cast(tf.shape(grey), tf.float32)
    scale = tf.reduce_min(tf.constant([height, width], tf.float32) / shape)
    return _place(
        grey, height, width, scale, (tf.constant([height, width], tf.float32) - shape * scale) / 2
    )


def _centre_of_mass(ink: tf.Tensor) -> tf.Tensor:
    """Return row and column, float32 (2,); the middle of pixel 0 is at 0.5."""
    rows = tf.range(tf.shape(ink)[0], dtype=tf.float32) + 0.5
    columns = tf.range(tf.shape(ink)[1], dtype=tf.float32) + 0.5
    moments = [tf.reduce_sum(ink * rows[:, None]), tf.reduce_sum(ink * columns)]
    return tf.math.divide_no_nan(tf.stack(moments), tf.reduce_sum(ink))


def _place(
    image: tf.Tensor, height: int, width: int, scale: tf.Tensor, offset: tf.Tensor
) -> tf.Tensor:
    placed = tf.raw_ops.ScaleAndTranslate(
        images=image[None, ..., None],
        size=[height, width],
        scale=tf.stack([scale, scale]),
        translation=offset,
        kernel_type="triangle",
        antialias=True,
    )
    return tf.cast(tf.clip_by_value(tf.round(placed[0, ..., 0] * 255), 0, 255), tf.uint8)
