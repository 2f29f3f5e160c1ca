"""Refuse pictures and requests that would cost a server too much, before anything is decoded.

A few kilobytes can promise gigabytes of pixels, seconds of inflating or thousands of scans. The
limits hold a request of 1 MB to less than 3 s of a core and 400 MB of memory; photographs of 48
megapixels pass. ``python -m benchmarks.hostile`` measures both.
"""

from collections.abc import Sequence
from typing import Final

import tensorflow as tf

__all__ = ["MAX_BYTES", "MAX_PICTURES", "MAX_PIXELS", "MAX_SCANS", "check_pictures"]

# The size of the photographs of phones, and of the largest files they make of them.
MAX_PIXELS: Final = 50_000_000
MAX_BYTES: Final = 50_000_000

# A progressive photograph has about ten. With its thumbnail and a second picture for bright screens,
# each with scans of its own, it stays below this.
MAX_SCANS: Final = 32

# The longest side of a JPEG. The time of a PNG depends on its rows too.
_MAX_SIDE: Final = 65_535

# The pictures of one request may have MAX_PIXELS and this many more for each byte; photographs have
# one to six.
_PIXELS_PER_BYTE: Final = 8

# The ink of a small picture may take as long to find as a megapixel to decode: 50 ms. So does a
# compressed text in a PNG, which may inflate to 8 MB.
_LEAST_PIXELS: Final = 1_000_000

MAX_PICTURES: Final = MAX_PIXELS // _LEAST_PIXELS

# The beginning of a file that has the sizes of all formats but JPEG.
_HEADER: Final = 32

# The beginning of the header of a scan of a JPEG. Other data has it by chance once in 17 MB.
_SCAN: Final = b"\xff\xda\x00"

# The end of the names of the chunks of a PNG that may hold compressed text, zTXt and iTXt.
_TEXT: Final = b"TXt"


def check_pictures(pictures: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Read the headers of pictures and refuse what is too large.

    Args:
        pictures: string (n,), the bytes of a file each.

    Returns:
        Whether each is a JPEG, bool (n,); and its height and width, int64 (n, 2).

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs; see
            :func:`kmnist.pictures.read_pictures`.
    """
    header = tf.cast(tf.io.decode_raw(pictures, tf.uint8, fixed_length=_HEADER), tf.int64)
    jpeg, png, bmp = (
        _has(header, magic) for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")
    )
    animated = _has(header, b"VP8X", at=12) & (header[:, 20] // 2 % 2 == 1)
    webp = _has(header, b"RIFF") & _has(header, b"WEBP", at=8) & ~animated
    count, length = tf.size(pictures), tf.strings.length(pictures)
    size = tf.strings.as_string(length)
    form = " bytes, is no PNG, JPEG, BMP or still WebP. Send the bytes of the file itself."
    heavy = f" bytes; expected at most {MAX_BYTES:,}. Send a smaller picture."
    scans = f" has more than {MAX_SCANS} scans. Save it again as an ordinary JPEG or PNG."
    scanned, scan = _split(pictures, _SCAN, MAX_SCANS + 1)
    checks = [
        _check_request(count, MAX_PICTURES, " pictures, larger than maximum input batch size "),
        _check(jpeg | png | bmp | webp, [", ", size, form]),
        _check(length <= MAX_BYTES, [" has ", size, heavy]),
        _check(scan <= MAX_SCANS, [scans], scanned),
    ]
    with tf.control_dependencies(checks):
        shapes = tf.where(jpeg[:, None], _jpeg_shapes(jpeg, pictures), _shapes(header, png, bmp))
    height, width, channels = tf.unstack(shapes, axis=1)
    # Of a progressive JPEG, decoders hold all coefficients: a fourth channel takes a third more.
    pixels = height * width * tf.maximum(channels, 3) // 3
    fits = (tf.minimum(height, width) > 0) & (tf.maximum(height, width) <= _MAX_SIDE)
    sides = [" has ", tf.strings.as_string(width), " by ", tf.strings.as_string(height)]
    large = f" pixels; expected 1 to {MAX_PIXELS:,}, at most {_MAX_SIDE:,} along a side."
    _, text = _split(pictures, _TEXT, MAX_PICTURES)
    texts = tf.math.count_nonzero(text)
    total = tf.reduce_sum(tf.maximum(pixels, _LEAST_PIXELS)) + _LEAST_PIXELS * texts
    most = MAX_PIXELS + _PIXELS_PER_BYTE * tf.reduce_sum(tf.cast(length, tf.int64))
    checks = [
        _check(fits & (pixels <= MAX_PIXELS), [*sides, large, " Send a smaller picture."]),
        _check_request(total, most, " pixels or the like of work, larger than maximum "),
    ]
    with tf.control_dependencies(checks):
        return tf.identity(jpeg), shapes[:, :2]


def _has(header: tf.Tensor, magic: bytes, at: int = 0) -> tf.Tensor:
    return tf.reduce_all(header[:, at : at + len(magic)] == tf.constant(list(magic), tf.int64), 1)


def _split(pictures: tf.Tensor, mark: bytes, most: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Split pictures at a mark; return the picture and the place there of each piece, int64 (m,)."""
    pieces = tf.raw_ops.StringSplitV2(input=pictures, sep=mark, maxsplit=most)
    return pieces.indices[:, 0], pieces.indices[:, 1]


def _check(
    good: tf.Tensor, message: Sequence[str | tf.Tensor], numbers: tf.Tensor | None = None
) -> tf.Operation:
    """Assert that all pictures are good; the message names the first that is not."""
    numbers = tf.range(tf.size(good)) if numbers is None else numbers
    messages = tf.strings.join(["Picture ", tf.strings.as_string(numbers), *message])
    first = tf.strings.reduce_join(tf.boolean_mask(messages, ~good)[:1])
    return tf.debugging.Assert(tf.reduce_all(good), [first])


def _check_request(received: tf.Tensor, most: tf.Tensor | int, message: str) -> tf.Operation:
    # Clients split a request that is "larger than maximum", which TensorFlow Serving says too.
    numbers = tf.strings.as_string(received), message, tf.strings.as_string(most)
    text = tf.strings.join(["Received ", *numbers, "; send fewer pictures in one request."])
    return tf.debugging.Assert(received <= most, [text])


def _jpeg_shapes(jpeg: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
    """Read height, width and channels of those that are JPEG, int64 (n, 3)."""

    def shape(item: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        chosen, picture = item
        return tf.cond(
            chosen,
            lambda: tf.io.extract_jpeg_shape(picture, tf.int64),
            lambda: tf.zeros(3, tf.int64),
        )

    spec = tf.TensorSpec((3,), tf.int64)
    return tf.map_fn(shape, (jpeg, pictures), fn_output_signature=spec)


def _shapes(header: tf.Tensor, png: tf.Tensor, bmp: tf.Tensor) -> tf.Tensor:
    """Read height, width and 0 for the channels from the headers of all but JPEG, int64 (n, 3)."""

    def number(first: int, last: int) -> tf.Tensor:
        """Read the unsigned number at the bytes from ``first``, the lowest, to ``last``."""
        low, high = min(first, last), max(first, last)
        places = [256 ** abs(at - first) for at in range(low, high + 1)]
        return tf.reduce_sum(header[:, low : high + 1] * tf.constant(places, tf.int64), 1)

    tall = number(22, 25)  # signed: negative when the top row comes first
    lossless = number(21, 24)
    kinds = [
        (png, number(23, 20), number(19, 16)),
        (bmp, tf.minimum(tall, 2**32 - tall), number(18, 21)),
        # WebP, lossy, extended and lossless (RFC 9649)
        (header[:, 15] == ord(" "), number(28, 29) % 2**14, number(26, 27) % 2**14),
        (header[:, 15] == ord("X"), number(27, 29) + 1, number(24, 26) + 1),
    ]
    height, width = lossless // 2**14 % 2**14 + 1, lossless % 2**14 + 1
    for chosen, high, wide in reversed(kinds):
        height, width = tf.where(chosen, high, height), tf.where(chosen, wide, width)
    return tf.stack([height, width, tf.zeros_like(height)], 1)
