"""The EXIF orientation of a JPEG, which TensorFlow ignores.

Phones store a photograph as the sensor recorded it, along with how to turn it.
"""

from typing import Final

import tensorflow as tf

__all__ = ["orientation", "upright"]

_SEARCHED: Final = 1024
_HEAD: Final = 4096
_TAG: Final = 0x0112


def orientation(picture: tf.Tensor) -> tf.Tensor:
    """Read the orientation of a JPEG file, int32 (), 1 to 8 (EXIF 2.3, 4.6.4); 1 if it has none."""
    start = tf.strings.substr(picture, 0, _HEAD)
    head = tf.cast(tf.io.decode_raw(tf.strings.join([start, bytes(_HEAD)]), tf.uint8), tf.int32)
    sign = tf.stack(
        [head[i : _SEARCHED + i] == value for i, value in enumerate(b"Exif\x00\x00")], axis=1
    )
    found = tf.reduce_all(sign, axis=1)
    base = tf.argmax(tf.cast(found, tf.int32), output_type=tf.int32) + 6
    little = head[base] == ord("I")

    def short(at: tf.Tensor) -> tf.Tensor:
        place = tf.clip_by_value(base + at, 0, _HEAD - 2)
        first, second = tf.gather(head, place), tf.gather(head, place + 1)
        return tf.where(little, first + 256 * second, 256 * first + second)

    directory = short(tf.where(little, 4, 6))  # the lower half of an offset of four bytes
    entries = directory + 2 + 12 * tf.range(tf.minimum(short(directory), 100))
    value = tf.reduce_max(tf.where(short(entries) == _TAG, short(entries + 8), 0))
    return tf.where(tf.reduce_any(found) & (value >= 1) & (value <= 8), value, 1)


def upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Rotate and mirror an image (h, w, c) of the given orientation, so that it is upright."""
    pixels.set_shape([None, None, None])
    turned = tf.cond(orientation > 4, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    mirrored = (orientation == 2) | (orientation == 3) | (orientation == 6) | (orientation == 7)
    upside_down = (orientation == 3) | (orientation == 4) | (orientation == 7) | (orientation == 8)
    rows = tf.where(upside_down, -1, 1)
    columns = tf.where(mirrored, -1, 1)
    return turned[::rows, ::columns]
