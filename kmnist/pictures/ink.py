"""Separate the ink of a drawing from its paper, screen or transparent canvas."""

from collections.abc import Callable
from typing import Final

import tensorflow as tf

from kmnist.pictures.frame import moments, resize, span
from kmnist.pictures.measure import rim

__all__ = ["find_ink", "find_small_ink"]

# The drawing is located in a picture reduced to this longer side.
_COARSE: Final = 128

# The window, the drawing with a margin, is scaled to this longer side: 4 pixels for each of 28.
_FINE: Final = 128

# Whatever is wider than this fraction of the picture is background, not a stroke.
_STROKE: Final = 3 / 10

# The same in the window, which the drawing fills.
_WINDOW_STROKE: Final = 4 / 10

# Thinner strokes are widened to this fraction of the longer side of the drawing. Nine of ten images
# of MNIST have wider strokes, so softmax regression does not learn thin ones.
_PEN: Final = 0.11

# Pixels around the window for strokes to widen into.
_ROOM: Final = 8

# Less contrast than this is not ink.
_FAINTEST: Final = 0.05

# More contrast than this is ink; the grain and the shadows of an empty sheet have less.
_CERTAIN: Final = 0.4


def find_ink(grey: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """Find the ink of a picture, in a window around the drawing.

    Args:
        grey: The brightness, float32 (h, w), 0 to 1.
        alpha: The opacity, float32 (h, w), 0 to 1.

    Returns:
        float32 (h, w), from 0 (background) to 1 (ink).
    """
    grey, undecided = _flatten(grey, alpha)
    coarse = resize(grey[..., None], _COARSE)[..., 0]
    inverted = ~undecided | _is_light_on_dark(coarse)
    coarse = tf.where(inverted, 1 - coarse, coarse)
    dark = _contrast(coarse, int(_COARSE * _STROKE))
    darkest = tf.reduce_max(_blur(dark, 3))
    window, near = _window(grey, _drawing(dark, dark > 0.4 * darkest))
    window = tf.where(inverted, 1 - window, window)
    dark = _contrast(window, int(_FINE * _WINDOW_STROKE)) * near
    low, high = _otsu(dark)
    drawn = (darkest > _CERTAIN) | _stands_out(dark, low, high)
    # Edges are sharpened a little: full ink from 3/4 of the contrast.
    ink = tf.clip_by_value(2 * (dark - low) / tf.maximum(high - low, _FAINTEST) - 0.5, 0, 1)
    return _thicken(ink * tf.cast(drawn, tf.float32))


def find_small_ink(grey: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """Find the ink of a picture no larger than an image of the data set.

    It has too few pixels for the grain and the shadows of paper, so that its ink is whatever differs
    from its rim; enlarging it to search it as a photograph takes twenty times as long.

    Args:
        grey: The brightness, float32 (h, w), 0 to 1.
        alpha: The opacity, float32 (h, w), 0 to 1.

    Returns:
        float32 (h, w), from 0 (background) to 1 (ink).
    """
    flat, _ = _flatten(grey, alpha)
    tones = tf.sort(tf.concat(rim(flat), 0))
    ink = tf.abs(flat - tones[tf.size(tones) // 2])
    return ink / tf.maximum(tf.reduce_max(ink), 2 * _FAINTEST)


def _stands_out(dark: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """Return whether ink and paper are two tones, not two halves of the grain of an empty sheet."""
    nearer = tf.where(dark > (low + high) / 2, high, low)
    return high - low > 7 * tf.sqrt(tf.reduce_mean((dark - nearer) ** 2))


def _flatten(grey: tf.Tensor, alpha: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Remove transparency; return a grey picture and whether its polarity is undecided.

    On a transparent canvas the strokes are the opacity, whatever their colour, light on dark. Only a
    mostly opaque picture with content, such as a screenshot with round corners, is laid on its mean
    tone.
    """

    def transparent() -> tuple[tf.Tensor, tf.Tensor]:
        mean, variance = moments(grey, alpha)
        (top, bottom), (left, right) = span(alpha > 0.5)
        filled = tf.reduce_mean(alpha[top:bottom, left:right]) > 0.75
        sheet = (variance > 0.05**2) & filled
        return tf.where(sheet, grey * alpha + mean * (1 - alpha), alpha), sheet

    flat: tuple[tf.Tensor, tf.Tensor] = tf.cond(
        tf.reduce_min(alpha) > 0.99, lambda: (grey, tf.constant(True)), transparent
    )
    return flat


def _is_light_on_dark(coarse: tf.Tensor) -> tf.Tensor:
    # Ink covers the smaller part of its surroundings, and little of the rim of the picture.
    detail = coarse - _blur(coarse, _COARSE * 3 // 8)
    deviation = tf.sqrt(tf.reduce_mean(detail**2))
    skewness = tf.reduce_mean(detail**3) / tf.maximum(deviation**3, 1e-9)
    dark = tf.concat(rim(coarse), 0) < tf.add_n(_otsu(coarse)) / 2
    dark_rim = tf.reduce_mean(tf.cast(dark, tf.float32))
    return skewness + dark_rim >= 0.5


def _contrast(grey: tf.Tensor, stroke: int) -> tf.Tensor:
    """Return how much darker each pixel is than the paper around it, relative to the paper."""
    paper = _blur(_closing(_blur(grey, 3), stroke), 5)
    return tf.nn.relu(paper - grey) / tf.maximum(paper, 0.1)


def _drawing(dark: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Select the parts of a mask that make up the drawing: the main part and those near it."""
    labels = _components(mask)
    parts = tf.maximum(tf.reduce_max(labels), 1) + 1
    score = tf.math.unsorted_segment_sum(dark, labels, parts)
    # The edge of a sheet or a shadow touches one side of the picture and often another.
    sides = _sides(labels, parts)
    main = tf.argmax((score / 10.0**sides)[1:], output_type=tf.int32) + 1
    (top, bottom), (left, right) = span(labels == main)
    reach = tf.maximum(bottom - top, right - left) * 3 // 10
    rows, columns = tf.range(tf.shape(mask)[0])[:, None], tf.range(tf.shape(mask)[1])
    near = (rows >= top - reach) & (rows < bottom + reach)
    near &= (columns >= left - reach) & (columns < right + reach)
    belongs = (score > 0.05 * score[main]) & (sides <= sides[main])
    return mask & near & tf.gather(belongs, labels)


def _sides(labels: tf.Tensor, parts: tf.Tensor) -> tf.Tensor:
    """Count the sides of the picture, 0 to 4, that each part touches, float32 (parts,)."""
    touched = [
        tf.math.unsorted_segment_max(tf.ones_like(side), side, parts) for side in rim(labels)
    ]
    return tf.cast(tf.add_n([tf.maximum(each, 0) for each in touched]), tf.float32)


def _window(grey: tf.Tensor, drawing: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Crop the drawing with a margin; return it and a mask of where it may be, scaled to ``_FINE``."""
    rows, columns = span(drawing)
    longer = tf.maximum(rows[1] - rows[0], columns[1] - columns[0])
    margin = longer * 3 // 10 + 3
    first = tf.maximum(0, tf.stack([rows[0], columns[0]]) - margin)
    last = tf.minimum(tf.shape(drawing), tf.stack([rows[1], columns[1]]) + margin)
    scale = tf.cast(tf.shape(grey), tf.float32) / tf.cast(tf.shape(drawing), tf.float32)
    start = tf.cast(tf.cast(first, tf.float32) * scale, tf.int32)
    end = tf.cast(tf.math.ceil(tf.cast(last, tf.float32) * scale), tf.int32)
    window = grey[start[0] : end[0], start[1] : end[1], None]
    window = resize(window, _FINE, method="bicubic")[..., 0]
    near = _maximum(tf.cast(drawing, tf.float32), 5)
    near = near[first[0] : last[0], first[1] : last[1], None]
    near = tf.image.resize(near, tf.shape(window))[..., 0]
    return window, tf.cast(near > 0.01, tf.float32)


def _thicken(ink: tf.Tensor) -> tf.Tensor:
    """Widen the strokes of a fine pen to those of the data set, one pixel at a time."""
    across = tf.sqrt((ink[1:, :-1] - ink[:-1, :-1]) ** 2 + (ink[:-1, 1:] - ink[:-1, :-1]) ** 2)
    # A stroke has two edges: its width is twice its area divided by their length.
    width = 2 * tf.math.divide_no_nan(tf.reduce_sum(ink), tf.reduce_sum(across))
    (top, bottom), (left, right) = span(ink > 0.5)
    longer = tf.cast(tf.maximum(bottom - top, right - left), tf.float32)
    steps = tf.cast((_PEN * longer - width) / 2, tf.int32)

    def widen(step: tf.Tensor, ink: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        square, cross = _maximum(ink, 3), tf.maximum(_maximum(ink, (1, 3)), _maximum(ink, (3, 1)))
        return step + 1, tf.where(step % 2 == 0, cross, square)

    room = tf.pad(ink, [[_ROOM, _ROOM], [_ROOM, _ROOM]])
    return tf.while_loop(lambda step, _: step < steps, widen, (0, room))[1]


def _maximum(image: tf.Tensor, side: int | tuple[int, int]) -> tf.Tensor:
    """Take the maximum of the square, or of the rectangle (height, width), around each pixel."""
    return _pool(tf.nn.max_pool2d, image, side)


def _blur(image: tf.Tensor, side: int) -> tf.Tensor:
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


def _closing(image: tf.Tensor, side: int) -> tf.Tensor:
    """Remove what is darker than its surroundings and narrower than ``side``."""
    return -_maximum(-_maximum(image, side), side)


def _otsu(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
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


def _components(mask: tf.Tensor) -> tf.Tensor:
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
        around = _maximum(tf.cast(tf.gather(labels, runs), tf.float32), 3)
        touched = tf.math.unsorted_segment_max(tf.cast(around, tf.int32), runs, count)
        touched *= tf.cast(tf.range(count) > 0, tf.int32)
        highest = tf.maximum(tf.math.unsorted_segment_max(touched, labels, count), labels)
        for _ in range(4):
            highest = tf.gather(highest, highest)
        higher = tf.gather(highest, labels)
        return higher, tf.reduce_any(higher != labels)

    labels, _ = tf.while_loop(lambda _, changed: changed, spread, (tf.range(count), True))
    return tf.gather(labels, runs)
