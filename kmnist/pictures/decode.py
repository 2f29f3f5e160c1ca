"""Decode a picture of any format and size to colours and opacity."""

from typing import Final

import tensorflow as tf

from kmnist.pictures.orientation import orientation, upright

__all__ = ["MAX_PIXELS", "decode_picture", "grey_of", "resize"]

# The size of the photographs of phones. A header can promise terabytes.
MAX_PIXELS: Final = 50_000_000

# Larger pictures are reduced to this longer side, at which a digit of a fiftieth of the height of
# the sheet still has 20 pixels.
LONGER_SIDE: Final = 1024

_HEADER: Final = 32
_JPEG, _PNG, _GIF, _BMP, _WEBP, _UNKNOWN = range(6)


def decode_picture(number: tf.Tensor, picture: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode a picture, reduced to a longer side of at most ``LONGER_SIDE``.

    Args:
        number: int32 (), the index of the picture, for messages.
        picture: string (), the bytes of the file.

    Returns:
        The colours, float32 (h, w, 3), red, green and blue from 0 to 1; and the opacity, float32
        (h, w), from 0 (transparent) to 1 (opaque).

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs; see
            :func:`kmnist.pictures.read_pictures`.
    """
    start = tf.strings.join([tf.strings.substr(picture, 0, _HEADER), bytes(_HEADER)])
    header = tf.io.decode_raw(start, tf.uint8)[:_HEADER]
    kind = _kind(header)
    name = tf.strings.join(["Picture ", tf.strings.as_string(number)])
    with tf.control_dependencies([_check_kind(kind, name, picture)]):
        shape = _shape(kind, header, picture)
    with tf.control_dependencies([_check_shape(shape, name)]):
        pixels = tf.cond(
            kind == _JPEG,
            lambda: _decode_jpeg(picture, shape),
            lambda: tf.io.decode_image(picture, expand_animations=False),
        )
    pixels.set_shape([None, None, None])
    return _reduce(pixels)


def _kind(header: tf.Tensor) -> tf.Tensor:
    def has(magic: bytes, at: int = 0) -> tf.Tensor:
        return tf.reduce_all(header[at : at + len(magic)] == tf.constant(list(magic), tf.uint8))

    signs = [
        has(b"\xff\xd8\xff"),
        has(b"\x89PNG\r\n\x1a\n"),
        has(b"GIF8"),
        has(b"BM"),
        has(b"RIFF") & has(b"WEBP", at=8),
        True,
    ]
    return tf.argmax(tf.cast(tf.stack(signs), tf.int32), output_type=tf.int32)


def _check_kind(kind: tf.Tensor, name: tf.Tensor, picture: tf.Tensor) -> tf.Tensor:
    size = tf.strings.as_string(tf.strings.length(picture))
    message = " bytes, is no PNG, JPEG, GIF, BMP or WebP. Send the bytes of the file itself."
    return tf.debugging.Assert(kind < _UNKNOWN, [tf.strings.join([name, ", ", size, message])])


def _check_shape(shape: tf.Tensor, name: tf.Tensor) -> tf.Tensor:
    height, width = tf.unstack(tf.strings.as_string(shape))
    message = f" pixels; expected 1 to {MAX_PIXELS:,}. Send a smaller picture."
    text = tf.strings.join([name, " has ", width, " by ", height, message])
    pixels = tf.reduce_prod(shape)
    fits = (tf.reduce_min(shape) > 0) & (pixels <= MAX_PIXELS)
    return tf.debugging.Assert(fits, [text])


def _shape(kind: tf.Tensor, header: tf.Tensor, picture: tf.Tensor) -> tf.Tensor:
    """Read height and width from the header, int64 (2,)."""
    return tf.switch_case(
        kind,
        {
            _JPEG: lambda: tf.io.extract_jpeg_shape(picture, tf.int64)[:2],
            _PNG: lambda: tf.stack([_number(header, 23, 20), _number(header, 19, 16)]),
            _GIF: lambda: tf.stack([_number(header, 8, 9), _number(header, 6, 7)]),
            _BMP: lambda: _bmp_shape(header),
            _WEBP: lambda: _webp_shape(header),
        },
    )


def _number(header: tf.Tensor, first: int, last: int) -> tf.Tensor:
    """Read the unsigned number at the bytes from ``first``, the lowest, to ``last``, int64 ()."""
    places = range(first, last + 1) if first <= last else range(first, last - 1, -1)
    return tf.add_n([tf.cast(header[at], tf.int64) * 256**i for i, at in enumerate(places)])


def _bmp_shape(header: tf.Tensor) -> tf.Tensor:
    height = _number(header, 22, 25)  # signed: negative when the top row comes first
    return tf.stack([tf.minimum(height, 2**32 - height), _number(header, 18, 21)])


def _webp_shape(header: tf.Tensor) -> tf.Tensor:
    """Read height and width from the header of a lossy, lossless or extended file (RFC 9649)."""
    lossless = _number(header, 21, 24)
    layout = tf.where(header[15] == ord(" "), 0, tf.where(header[15] == ord("L"), 1, 2))
    return tf.switch_case(
        layout,
        [
            lambda: tf.stack([_number(header, 28, 29) % 2**14, _number(header, 26, 27) % 2**14]),
            lambda: tf.stack([lossless // 2**14 % 2**14 + 1, lossless % 2**14 + 1]),
            lambda: tf.stack([_number(header, 27, 29) + 1, _number(header, 24, 26) + 1]),
        ],
    )


def _decode_jpeg(picture: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    # Decoding at a half, a quarter or an eighth of the size takes a fraction of the time.
    ratios = (1, 2, 4, 8)
    longer = tf.reduce_max(shape)
    fitting = tf.reduce_sum(
        tf.cast(longer >= LONGER_SIDE * tf.constant(ratios[1:], tf.int64), tf.int32)
    )
    pixels = tf.switch_case(
        fitting, [lambda r=r: tf.io.decode_jpeg(picture, 3, ratio=r) for r in ratios]
    )
    return upright(pixels, orientation(picture))


def _reduce(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Split uint8 (h, w, 1 to 4) into colours and opacity, at most ``LONGER_SIDE`` long."""
    height, width, channels = tf.unstack(tf.shape(pixels))
    # Subsampling first bounds the memory of the floats; the rest is averaged.
    step = tf.maximum(1, tf.maximum(height, width) // LONGER_SIDE)
    pixels = tf.cast(pixels[::step, ::step], tf.float32) / 255
    pixels.set_shape([None, None, None])
    chosen = tf.constant([[0, 0, 0], [0, 0, 0], [0, 1, 2], [0, 1, 2]])  # grey is repeated
    colours = tf.ensure_shape(tf.gather(pixels, chosen[channels - 1], axis=2), [None, None, 3])
    opaque = tf.cast(channels % 2, tf.float32)  # without an alpha channel
    alpha = tf.maximum(pixels[..., -1:], opaque)
    # Transparent pixels must not contribute to the averages of colours.
    weighted = tf.concat([colours * alpha, alpha], 2)
    reduced = tf.cond(
        tf.maximum(height, width) > LONGER_SIDE,
        lambda: resize(weighted, LONGER_SIDE),
        lambda: weighted,
    )
    reduced.set_shape([None, None, 4])
    alpha = reduced[..., 3:]
    return reduced[..., :3] / tf.maximum(alpha, 1e-3), alpha[..., 0]


def grey_of(colours: tf.Tensor) -> tf.Tensor:
    """Convert colours, float32 (h, w, 3), to brightness, float32 (h, w) (ITU-R BT.601)."""
    return tf.linalg.matvec(colours, [0.299, 0.587, 0.114])


def resize(image: tf.Tensor, side: int, method: str = "area") -> tf.Tensor:
    """Scale float32 (h, w, c) to a longer side of ``side``, keeping the aspect ratio."""
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    size = tf.maximum(1, tf.cast(tf.round(shape * side / tf.reduce_max(shape)), tf.int32))
    return tf.image.resize(image, size, method=method, antialias=True)
