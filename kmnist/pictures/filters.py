"""Filters and statistics of images in the graph, float32 (h, w) unless stated otherwise."""

import tensorflow as tf

__all__ = ["blur", "closing", "components", "maximum", "moments", "otsu", "span"]


def span(mask: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Compute the bounding box of a mask.

    Args:
        mask: bool (h, w).

    Returns:
        The half-open ranges of rows and of columns, int32 () each; the whole mask if it is empty.
    """

    def ends(line: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        length, at = tf.size(line), tf.range(tf.size(line))
        first = tf.reduce_min(tf.where(line, at, length))
        last = tf.reduce_max(tf.where(line, at + 1, 0))
        return tf.where(last > 0, first, 0), tf.where(last > 0, last, length)

    return ends(tf.reduce_any(mask, 1)), ends(tf.reduce_any(mask, 0))


def maximum(image: tf.Tensor, side: int | tuple[int, int]) -> tf.Tensor:
    """Take the maximum of the square, or of the rectangle (height, width), around each pixel."""
    height, width = (side, side) if isinstance(side, int) else side
    image = tf.nn.max_pool2d(image[None, ..., None], (height, 1), 1, "SAME")
    return tf.nn.max_pool2d(image, (1, width), 1, "SAME")[0, ..., 0]


def blur(image: tf.Tensor, side: int) -> tf.Tensor:
    """Take the mean of the square around each pixel, clipped to the image."""
    image = tf.nn.avg_pool2d(image[None, ..., None], (side, 1), 1, "SAME")
    return tf.nn.avg_pool2d(image, (1, side), 1, "SAME")[0, ..., 0]


def closing(image: tf.Tensor, side: int) -> tf.Tensor:
    """Remove what is darker than its surroundings and narrower than ``side``."""
    return -maximum(-maximum(image, side), side)


def moments(grey: tf.Tensor, alpha: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the mean and the variance of what is opaque in a grey picture, float32 () each."""
    weight = tf.reduce_sum(alpha)
    mean = tf.math.divide_no_nan(tf.reduce_sum(grey * alpha), weight)
    return mean, tf.math.divide_no_nan(tf.reduce_sum(alpha * (grey - mean) ** 2), weight)


def otsu(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Split values ≥ 0 into two classes (N. Otsu, 1979); return their means, the lower first."""
    bins = 64
    top = tf.maximum(tf.reduce_max(values), 1e-6)
    counts = tf.cast(tf.histogram_fixed_width(values, [0.0, top], bins), tf.float32)
    levels = (tf.range(bins, dtype=tf.float32) + 0.5) / bins * top
    below, total = tf.cumsum(counts), tf.reduce_sum(counts)
    mass, whole = tf.cumsum(counts * levels), tf.reduce_sum(counts * levels)
    low = tf.math.divide_no_nan(mass, below)
    high = tf.math.divide_no_nan(whole - mass, total - below)
    best = tf.argmax(below * (total - below) * (high - low) ** 2)
    return low[best], high[best]


def components(mask: tf.Tensor) -> tf.Tensor:
    """Label the connected components of a mask; pixels that share a corner are connected.

    Args:
        mask: bool (h, w).

    Returns:
        int32 (h, w): 0 outside of the mask, a different label > 0 in each component.
    """
    shape = tf.shape(mask)
    inside = tf.cast(mask, tf.float32)
    labels = tf.reshape(tf.range(1, tf.size(mask) + 1, dtype=tf.float32), shape) * inside

    def spread(labels: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Give each pixel the highest label around it, then the label of that label's own pixel."""
        wider = maximum(labels, 3) * inside
        for _ in range(2):
            known = tf.concat([[0.0], tf.reshape(wider, [-1])], 0)
            wider = tf.gather(known, tf.cast(wider, tf.int32))
        return wider, tf.reduce_any(wider != labels)

    labels, _ = tf.while_loop(lambda _, changed: changed, spread, (labels, True))
    return tf.cast(labels, tf.int32)
