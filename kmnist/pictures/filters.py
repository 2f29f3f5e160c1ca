"""Filters and statistics of images in the graph, float32 (h, w) unless stated otherwise."""

from collections.abc import Callable

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
        line = tf.cast(line, tf.int32)
        after = tf.argmax(line[::-1], output_type=tf.int32)  # argmax takes the first, 0 if none
        return tf.argmax(line, output_type=tf.int32), tf.size(line) - after

    return ends(tf.reduce_any(mask, 1)), ends(tf.reduce_any(mask, 0))


def maximum(image: tf.Tensor, side: int | tuple[int, int]) -> tf.Tensor:
    """Take the maximum of the square, or of the rectangle (height, width), around each pixel."""
    return _pool(tf.nn.max_pool2d, image, side)


def blur(image: tf.Tensor, side: int) -> tf.Tensor:
    """Take the mean of the square around each pixel, clipped to the image."""
    return _pool(tf.nn.avg_pool2d, image, side)


def _pool(
    pool: Callable[..., tf.Tensor], image: tf.Tensor, side: int | tuple[int, int]
) -> tf.Tensor:
    # TensorFlow's pooling is many times as fast over the channels as over one channel: each row of
    # the image is a pixel, and its pixels are the channels.
    rows = image[None, :, None]
    for length in (side, side) if isinstance(side, int) else side:
        rows = tf.transpose(pool(rows, (length, 1), 1, "SAME"), (0, 3, 2, 1))
    return tf.squeeze(rows, (0, 2))


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
    # The runs of each row are numbered from 1. A run has the label of the highest one that it is
    # known to be connected to; that of its label's run follows too, so that labels spread in jumps.
    starts = mask & ~tf.pad(mask[:, :-1], [[0, 0], [1, 0]])
    counted = tf.cumsum(tf.cast(tf.reshape(starts, [-1]), tf.int32))
    runs = tf.where(mask, tf.reshape(counted, tf.shape(mask)), 0)
    count = counted[-1] + 1

    def spread(labels: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        around = maximum(tf.cast(tf.gather(labels, runs), tf.float32), 3)
        touched = tf.math.unsorted_segment_max(tf.cast(around, tf.int32), runs, count)
        touched *= tf.cast(tf.range(count) > 0, tf.int32)
        highest = tf.maximum(tf.math.unsorted_segment_max(touched, labels, count), labels)
        for _ in range(4):
            highest = tf.gather(highest, highest)
        higher = tf.gather(highest, labels)
        return higher, tf.reduce_any(higher != labels)

    labels, _ = tf.while_loop(lambda _, changed: changed, spread, (tf.range(count), True))
    return tf.gather(labels, runs)
