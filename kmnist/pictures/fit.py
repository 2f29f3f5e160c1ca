"""Ink or a grey picture → an image of the data set's size."""

from typing import Any

import tensorflow as tf

from .measure import span

__all__ = ["centre_by_mass", "fit"]


def centre_by_mass(ink: Any, height: int, width: int, extent: float) -> Any:
    """Scale ink, float32 (h, w), to its extent, its centre of mass in the middle: uint8 image."""
    (top, bottom), (left, right) = span(ink > 0.5)
    longer = tf.cast(tf.maximum(bottom - top, right - left), tf.float32)
    scale = extent * min(height, width) / longer
    corner = scale * tf.cast(tf.stack([top, left]), tf.float32)
    mass = tf.maximum(tf.reduce_sum(ink), 1e-6)

    def centre(axis: int) -> Any:
        places = tf.range(tf.shape(ink)[axis], dtype=tf.float32) + 0.5
        return tf.reduce_sum(tf.reduce_sum(ink, 1 - axis) * places) / mass

    # MNIST's boxes moved by whole pixels until the centre of mass was nearest to pixel (14, 14).
    middle = tf.constant([height / 2 + 0.5, width / 2 + 0.5])
    moved = tf.round(middle + corner - scale * tf.stack([centre(0), centre(1)]))
    return _place(ink, height, width, scale, moved - corner)


def fit(grey: Any, height: int, width: int) -> Any:
    """Scale a grey picture, float32 (h, w), to lie centred in the image, on black: uint8 image."""
    shape = tf.cast(tf.shape(grey), tf.float32)
    scale = tf.reduce_min(tf.constant([height, width], tf.float32) / shape)
    return _place(
        grey, height, width, scale, (tf.constant([height, width], tf.float32) - shape * scale) / 2
    )


def _place(image: Any, height: int, width: int, scale: Any, offset: Any) -> Any:
    placed = tf.raw_ops.ScaleAndTranslate(
        images=image[None, ..., None],
        size=[height, width],
        scale=tf.stack([scale, scale]),
        translation=offset,
        kernel_type="triangle",
        antialias=True,
    )
    return tf.cast(tf.clip_by_value(tf.round(placed[0, ..., 0] * 255), 0, 255), tf.uint8)
