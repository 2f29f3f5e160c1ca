"""Place ink or a grey picture in an image of the data set's size."""

import tensorflow as tf

from kmnist.pictures.filters import moments, span

__all__ = ["centre_by_mass", "fit", "is_fitted", "on_background"]


def is_fitted(grey: tf.Tensor, height: int, width: int, extent: float) -> tf.Tensor:
    """Return whether a grey picture, float32 (h, w), already is like an image of the data set."""

    def is_centred() -> tf.Tensor:
        ink = grey > 31.5 / 255
        (top, bottom), (left, right) = span(ink)
        longer = tf.cast(tf.maximum(bottom - top, right - left), tf.float32)
        off_centre = _centre_of_mass(grey) - tf.constant([height / 2 + 0.5, width / 2 + 0.5])
        return (
            (tf.reduce_mean(tf.cast(ink, tf.float32)) < 0.5)
            & (tf.abs(longer - extent * min(height, width)) < 1.5)
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
    (top, bottom), (left, right) = span(ink > 0.5)
    longer = tf.cast(tf.maximum(bottom - top, right - left), tf.float32)
    scale = extent * min(height, width) / longer
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
        around it, float32 (). With a background of None, nothing is inverted, and transparency
        becomes the mean tone of the picture.
    """
    mean, variance = moments(grey, alpha)
    if background is None:
        return grey * alpha + mean * (1 - alpha), mean
    # On a transparent canvas, one colour is a silhouette, whose tones are its opacity.
    rim = _rim(alpha)
    canvas = tf.reduce_mean(rim) < 0.5
    silhouette = canvas & (variance < 0.05**2)
    grey = tf.where(silhouette, 1.0 - background, grey)
    opposite = tf.reduce_mean(tf.cast(tf.abs(_rim(grey) - background) > 0.5, tf.float32)) > 0.5
    opposite &= ~canvas
    tone = tf.where(opposite, 1.0 - background, background)
    laid = grey * alpha + tone * (1 - alpha)
    return tf.where(opposite, 1 - laid, laid), tf.constant(background)


def _rim(image: tf.Tensor) -> tf.Tensor:
    return tf.concat([image[0], image[-1], image[:, 0], image[:, -1]], 0)


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
    shape = tf.cast(tf.shape(grey), tf.float32)
    scale = tf.reduce_min(tf.constant([height, width], tf.float32) / shape)
    offset = (tf.constant([height, width], tf.float32) - shape * scale) / 2
    # Beside the picture is 0.
    return _place(grey - background, height, width, scale, offset, background)


def _centre_of_mass(ink: tf.Tensor) -> tf.Tensor:
    """Return row and column, float32 (2,); the middle of pixel 0 is at 0.5."""
    rows = tf.range(tf.shape(ink)[0], dtype=tf.float32) + 0.5
    columns = tf.range(tf.shape(ink)[1], dtype=tf.float32) + 0.5
    moments = [tf.reduce_sum(ink * rows[:, None]), tf.reduce_sum(ink * columns)]
    return tf.math.divide_no_nan(tf.stack(moments), tf.reduce_sum(ink))


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
    return tf.cast(
        tf.clip_by_value(tf.round((placed[0, ..., 0] + background) * 255), 0, 255), tf.uint8
    )
