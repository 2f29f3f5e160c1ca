"""Small measures of images in the graph: float32 (h, w) in, unless said otherwise."""

from typing import Any

import tensorflow as tf

__all__ = ["blur", "closing", "components", "maximum", "otsu", "span"]


def span(mask: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The rows and the columns that a mask touches, half-open; all of them where it is empty."""

    def ends(line: Any) -> tuple[Any, Any]:
        length, at = tf.size(line), tf.range(tf.size(line))
        first = tf.reduce_min(tf.where(line, at, length))
        last = tf.reduce_max(tf.where(line, at + 1, 0))
        return tf.where(last > 0, first, 0), tf.where(last > 0, last, length)

    return ends(tf.reduce_any(mask, 1)), ends(tf.reduce_any(mask, 0))


def maximum(image: Any, side: int | tuple[int, int]) -> Any:
    """The maximum of the square, or the rectangle of (height, width), around each pixel."""
    height, width = (side, side) if isinstance(side, int) else side
    image = tf.nn.max_pool2d(image[None, ..., None], (height, 1), 1, "SAME")
    return tf.nn.max_pool2d(image, (1, width), 1, "SAME")[0, ..., 0]


def blur(image: Any, side: int) -> Any:
    """The mean of the square around each pixel; what lies outside of the image does not count."""
    image = tf.nn.avg_pool2d(image[None, ..., None], (side, 1), 1, "SAME")
    return tf.nn.avg_pool2d(image, (1, side), 1, "SAME")[0, ..., 0]


def closing(image: Any, side: int) -> Any:
    """The image without what is darker than its surroundings and narrower than ``side``."""
    return -maximum(-maximum(image, side), side)


def otsu(values: Any) -> tuple[Any, Any]:
    """The mean of the lower and of the higher of two classes of values ≥ 0 (N. Otsu, 1979)."""
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


def components(mask: Any) -> Any:
    """Number the connected parts of a mask, int32: 0 outside, a number of its own for each."""
    shape = tf.shape(mask)
    inside = tf.cast(mask, tf.float32)
    labels = tf.reshape(tf.range(1, tf.size(mask) + 1, dtype=tf.float32), shape) * inside

    def spread(labels: Any, _: Any) -> tuple[Any, Any]:
        """Each pixel takes its neighbours' highest label, then what that label's pixel took."""
        wider = maximum(labels, 3) * inside
        for _ in range(2):
            known = tf.concat([[0.0], tf.reshape(wider, [-1])], 0)
            wider = tf.gather(known, tf.cast(wider, tf.int32))
        return wider, tf.reduce_any(wider != labels)

    labels, _ = tf.while_loop(lambda _, changed: changed, spread, (labels, True))
    return tf.cast(labels, tf.int32)
