"""Colours and opacity → the ink of what is drawn there, on any paper, screen or canvas."""

from typing import Any

import tensorflow as tf

from .decode import grey_of, resize
from .filters import blur, closing, components, maximum, otsu, span

__all__ = ["find_ink"]

COARSE = 128
"""Where the drawing is, is looked for in a picture of this longer side."""

FINE = 128
"""The drawing with a margin is enlarged or reduced to this longer side: 4 pixels for each of 28."""

STROKE = 3 / 10
"""No stroke is wider than this share of the picture: what is wider counts as background."""

WINDOW_STROKE = 4 / 10
"""The same in the window, which the drawing fills."""

PEN = 0.11
"""Strokes thinner than this share of the drawing's longer side are widened to it. In nine of ten
images of MNIST they are wider: softmax regression knows no thin ones."""

ROOM = 8
"""Pixels around the window for strokes to widen into."""

FAINTEST = 0.05
"""Less contrast than this is no ink."""

CERTAIN = 0.4
"""More contrast than this is ink; the grain and the shadows of an empty sheet have less."""


def find_ink(colours: Any, alpha: Any) -> Any:
    """Find the ink of a picture, in a window around the drawing.

    Args:
        colours: float32 (h, w, 3), 0 to 1.
        alpha: float32 (h, w), 0 to 1.

    Returns:
        float32, a longer side of ``FINE``: 0 on the background to 1 in the ink.
    """
    grey = _dark_on_light(*_flatten(grey_of(colours), alpha))
    coarse = resize(grey[..., None], COARSE)[..., 0]
    dark = _contrast(coarse, int(COARSE * STROKE))
    darkest = tf.reduce_max(blur(dark, 3))
    window, near = _window(grey, _drawing(dark, dark > 0.4 * darkest))
    dark = _contrast(window, int(FINE * WINDOW_STROKE)) * near
    low, high = otsu(dark)
    drawn = (darkest > CERTAIN) | _stands_out(dark, low, high)
    # Edges a little sharper than they are photographed: full ink from 3/4 of the contrast.
    ink = tf.clip_by_value(2 * (dark - low) / tf.maximum(high - low, FAINTEST) - 0.5, 0, 1)
    return _thicken(ink * tf.cast(drawn, tf.float32))


def _stands_out(dark: Any, low: Any, high: Any) -> Any:
    """Whether ink and paper are two tones, and not the two halves of one: an empty sheet's grain."""
    nearer = tf.where(dark > (low + high) / 2, high, low)
    return high - low > 7 * tf.sqrt(tf.reduce_mean((dark - nearer) ** 2))


def _flatten(grey: Any, alpha: Any) -> tuple[Any, Any]:
    """Lay a picture on its paper: a grey picture and whether its polarity is undecided.

    A transparent canvas shows strokes by their opacity, whatever their colour. Only an opaque
    sheet with something on it, such as a screenshot with round corners, is laid on its own tone.
    """
    mean = tf.math.divide_no_nan(tf.reduce_sum(grey * alpha), tf.reduce_sum(alpha))
    variance = tf.math.divide_no_nan(
        tf.reduce_sum(alpha * (grey - mean) ** 2), tf.reduce_sum(alpha)
    )
    (top, bottom), (left, right) = span(alpha > 0.5)
    filled = tf.reduce_mean(alpha[top:bottom, left:right]) > 0.75
    sheet = (tf.reduce_min(alpha) > 0.99) | ((variance > 0.05**2) & filled)
    return tf.where(sheet, grey * alpha + mean * (1 - alpha), alpha), sheet


def _dark_on_light(grey: Any, undecided: Any) -> Any:
    """Invert what is light on dark, which is always so for opacity."""
    coarse = resize(grey[..., None], COARSE)[..., 0]
    # Ink is the lesser part of its surroundings, and rare on the rim of the picture.
    detail = coarse - blur(coarse, COARSE * 3 // 8)
    deviation = tf.sqrt(tf.reduce_mean(detail**2))
    skewness = tf.reduce_mean(detail**3) / tf.maximum(deviation**3, 1e-9)
    rim = tf.concat([coarse[0], coarse[-1], coarse[:, 0], coarse[:, -1]], 0)
    dark_rim = tf.reduce_mean(tf.cast(rim < tf.add_n(otsu(coarse)) / 2, tf.float32))
    return tf.where(undecided & (skewness + dark_rim < 0.5), grey, 1 - grey)


def _contrast(grey: Any, stroke: int) -> Any:
    """How much darker each pixel is than the paper around it, as a share of the paper's light."""
    paper = blur(closing(blur(grey, 3), stroke), 5)
    return tf.nn.relu(paper - grey) / tf.maximum(paper, 0.1)


def _drawing(dark: Any, mask: Any) -> Any:
    """Of the parts of a mask those that make up the drawing: the main one and what is near it."""
    labels = components(mask)
    score = tf.math.unsorted_segment_sum(
        tf.reshape(dark, [-1]), tf.reshape(labels, [-1]), tf.size(mask) + 1
    )
    # An edge of the paper or a shadow comes in from the side, and often leaves on another.
    sides = _sides(labels)
    main = tf.argmax((score / 10.0**sides)[1:], output_type=tf.int32) + 1
    (top, bottom), (left, right) = span(labels == main)
    reach = tf.maximum(bottom - top, right - left) * 3 // 10
    rows, columns = tf.range(tf.shape(mask)[0])[:, None], tf.range(tf.shape(mask)[1])
    near = (rows >= top - reach) & (rows < bottom + reach)
    near &= (columns >= left - reach) & (columns < right + reach)
    belongs = (score > 0.05 * score[main]) & (sides <= sides[main])
    return mask & near & tf.gather(belongs, labels)


def _sides(labels: Any) -> Any:
    """How many of the picture's four sides each part touches, float32 (parts + 1,)."""
    parts = tf.size(labels) + 1
    sides = [labels[0], labels[-1], labels[:, 0], labels[:, -1]]
    return tf.add_n(
        [tf.cast(tf.math.bincount(side, minlength=parts) > 0, tf.float32) for side in sides]
    )


def _window(grey: Any, drawing: Any) -> tuple[Any, Any]:
    """Cut out the drawing with a margin, scaled to ``FINE``, and a mask of where it may be."""
    scale = tf.cast(tf.shape(grey), tf.float32) / tf.cast(tf.shape(drawing), tf.float32)
    rows, columns = span(drawing)
    longer = tf.maximum(rows[1] - rows[0], columns[1] - columns[0])
    margin = 0.3 * tf.cast(longer, tf.float32) + 2

    def cut(ends: tuple[Any, Any], axis: int) -> slice:
        first = (tf.cast(ends[0], tf.float32) - margin) * scale[axis]
        last = tf.math.ceil((tf.cast(ends[1], tf.float32) + margin) * scale[axis])
        return slice(tf.cast(tf.maximum(first, 0), tf.int32), tf.cast(last, tf.int32))

    around = maximum(tf.cast(drawing, tf.float32), 5)
    around = tf.image.resize(around[..., None], tf.shape(grey))
    both = tf.concat([grey[..., None], around], 2)[cut(rows, 0), cut(columns, 1)]
    both = resize(both, FINE, method="bicubic")
    return both[..., 0], tf.cast(both[..., 1] > 0.01, tf.float32)


def _thicken(ink: Any) -> Any:
    """Widen the strokes of a fine pen, step by step, to what the data set's pens are."""
    across = tf.sqrt((ink[1:, :-1] - ink[:-1, :-1]) ** 2 + (ink[:-1, 1:] - ink[:-1, :-1]) ** 2)
    # A stroke has two edges: twice its area by their length is its width.
    width = 2 * tf.math.divide_no_nan(tf.reduce_sum(ink), tf.reduce_sum(across))
    (top, bottom), (left, right) = span(ink > 0.5)
    longer = tf.cast(tf.maximum(bottom - top, right - left), tf.float32)
    steps = tf.cast((PEN * longer - width) / 2, tf.int32)

    def widen(step: Any, ink: Any) -> tuple[Any, Any]:
        square, cross = maximum(ink, 3), tf.maximum(maximum(ink, (1, 3)), maximum(ink, (3, 1)))
        return step + 1, tf.where(step % 2 == 0, cross, square)

    room = tf.pad(ink, [[ROOM, ROOM], [ROOM, ROOM]])
    return tf.while_loop(lambda step, _: step < steps, widen, (0, room))[1]
