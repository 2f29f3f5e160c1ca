"""Refuse pictures and requests that would cost a server too much, before anything is decoded.

A few kilobytes can promise gigabytes of pixels, seconds of inflating or thousands of scans. The
limits hold a request of 1 MB to less than 3 s of a core and 400 MB of memory; photographs of 48
megapixels pass. ``python -m benchmarks.hostile`` measures both.
"""

from typing import Final

import tensorflow as tf

__all__ = [
    "MAX_BYTES",
    "MAX_PICTURES",
    "MAX_PIXELS",
    "MAX_SCANS",
    "check_pictures",
    "limit_rows",
]

# The size of the photographs of phones, and of the largest files they make of them.
MAX_PIXELS: Final = 50_000_000
MAX_BYTES: Final = 50_000_000

# A progressive photograph has about ten. With its thumbnail and a second picture for bright screens,
# each with scans of its own, it stays below this.
MAX_SCANS: Final = 32

# The longest side of a JPEG. The time of a PNG depends on its rows too.
_MAX_SIDE: Final = 65_535

# The pictures of one request may have this many pixels, and more for each byte; photographs have one
# to six.
_REQUEST_PIXELS: Final = 56_000_000
_PIXELS_PER_BYTE: Final = 8

# Finding the ink of a picture of any size, 15 ms at worst, counts as this many pixels more, and
# inflating a compressed text in a PNG, of 8 MB at most, as twice as many.
_EXTRA: Final = 500_000

MAX_PICTURES: Final = 100

# The beginning of a file that has the sizes of all formats but JPEG.
_HEADER: Final = 32

# The beginning of the header of a scan of a JPEG. Other data has it by chance once in 17 MB.
_SCAN: Final = b"\xff\xda\x00"

# The end of the names of the compressed texts in a PNG, zTXt and iTXt; a request with as many texts as
# are counted is refused.
_TEXT: Final = b"TXt"
_MAX_TEXTS: Final = 10_000

# A PNG may have this many chunks of any length, and others of this many bytes; 8,192 are usual.
_CHUNKS: Final = 200
_CHUNK: Final = 1000


def limit_rows(rows: tf.Tensor, most: int, what: str) -> tf.Tensor:
    """Refuse a request of too many rows before anything is computed from them.

    A message of a few bytes can have any number of rows: one value, and a shape.

    Args:
        rows: The input of a signature, (n, ...).
        most: The largest n.
        what: What the rows are, for the message.

    Returns:
        The same rows. What uses these runs after the check; an assertion alone would run beside it.

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs: there are more rows.
    """
    message = f" {what}, larger than maximum input batch size "
    check = _check_request(tf.shape(rows, tf.int64)[0], message, most, what)
    with tf.control_dependencies([check]):
        return tf.identity(rows)


def check_pictures(pictures: tf.Tensor) -> tf.Tensor:
    """Read the headers of pictures and refuse what is too large.

    Args:
        pictures: string (n,), the bytes of a file each.

    Returns:
        The same pictures. What uses these runs after the checks.

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs; see
            :func:`kmnist.pictures.decode.read_pictures`.
    """
    pictures = limit_rows(pictures, MAX_PICTURES, "pictures")
    header = tf.cast(tf.io.decode_raw(pictures, tf.uint8, fixed_length=_HEADER), tf.int64)
    jpeg, png, bmp = (
        _has(header, magic) for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")
    )
    animated = _has(header, b"VP8X", at=12) & (header[:, 20] // 2 % 2 == 1)
    webp = _has(header, b"RIFF") & _has(header, b"WEBP", at=8) & ~animated
    length = tf.strings.length(pictures)
    form = " bytes, is no PNG, JPEG, BMP or still WebP. Send the bytes of the file itself."
    heavy = f" bytes; expected at most {MAX_BYTES:,}. Send a smaller picture."
    scans = f" has more than {MAX_SCANS} scans. Save it again as an ordinary JPEG or PNG."
    checks = [
        _check(jpeg | png | bmp | webp, ", ", length, form),
        _check(length <= MAX_BYTES, " has ", length, heavy),
        _check(_count(pictures, _SCAN, MAX_SCANS) <= MAX_SCANS, scans),
    ]
    with tf.control_dependencies(checks):
        read = _read(jpeg, png, pictures)
    shapes = tf.where(jpeg[:, None], read[:, :2], _shapes(header, png, bmp))
    height, width = shapes[:, 0], shapes[:, 1]
    # Of a progressive JPEG, decoders hold all coefficients: a fourth channel takes a third more.
    pixels = height * width * tf.maximum(read[:, 2], 3) // 3
    fits = (tf.minimum(height, width) > 0) & (tf.maximum(height, width) <= _MAX_SIDE)
    large = (
        f" pixels; expected 1 to {MAX_PIXELS:,}, in CMYK three quarters of it, and a side"
        f" of at most {_MAX_SIDE:,}. Send a smaller picture."
    )
    damaged = " is a PNG whose chunks do not fit into it, or are too many. Save it again."
    total = tf.reduce_sum(pixels + _EXTRA * (1 + 2 * _count(pictures, _TEXT, _MAX_TEXTS)))
    most = _REQUEST_PIXELS + _PIXELS_PER_BYTE * tf.reduce_sum(tf.cast(length, tf.int64))
    checks = [
        _check(fits & (pixels <= MAX_PIXELS), " has ", width, " by ", height, large),
        _check(read[:, 3] > 0, damaged),
        _check_request(
            total,
            f" pixels, with {_EXTRA:,} more for each picture, larger than maximum ",
            most,
            "pictures",
        ),
    ]
    with tf.control_dependencies(checks):
        return tf.identity(pictures)


def _has(header: tf.Tensor, magic: bytes, at: int = 0) -> tf.Tensor:
    return tf.reduce_all(header[:, at : at + len(magic)] == tf.constant(list(magic), tf.int64), 1)


def _count(pictures: tf.Tensor, sign: bytes, most: int) -> tf.Tensor:
    """Count how often a sign is in each picture, int64 (n,); ``most`` + 1 if it is more often."""
    return tf.strings.split(pictures, sign, maxsplit=most + 1).row_lengths() - 1


def _check(good: tf.Tensor, *message: str | tf.Tensor) -> tf.Operation:
    """Assert that all pictures are good; the message names the first that is not."""
    parts = ("Picture ", tf.range(tf.size(good)), *message)
    texts = [part if isinstance(part, str) else tf.strings.as_string(part) for part in parts]
    first = tf.strings.reduce_join(tf.boolean_mask(tf.strings.join(texts), ~good)[:1])
    return tf.debugging.Assert(tf.reduce_all(good), [first])


def _check_request(
    received: tf.Tensor, message: str, most: tf.Tensor | int, rows: str
) -> tf.Operation:
    # Clients split a request that is "larger than maximum", which TensorFlow Serving says too.
    numbers = tf.strings.as_string(received), message, tf.strings.as_string(most)
    text = tf.strings.join(["Received ", *numbers, f"; send fewer {rows} in one request."])
    return tf.debugging.Assert(received <= most, [text])


def _read(jpeg: tf.Tensor, png: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
    """Read what the beginning of a file does not have, int64 (n, 4).

    Returns:
        Height, width and channels of a JPEG, or 0; and 0 if the chunks of a PNG do not fit into it,
        else 1: decoders allocate the length of a chunk before they read it.
    """

    def read(item: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        is_jpeg, is_png, picture = item
        shape = tf.cond(
            is_jpeg,
            lambda: tf.io.extract_jpeg_shape(picture, tf.int64),
            lambda: tf.zeros(3, tf.int64),
        )
        fits = tf.cond(is_png, lambda: _chunks_fit(picture), lambda: tf.constant(True))
        return tf.concat([shape, [tf.cast(fits, tf.int64)]], 0)

    spec = tf.TensorSpec((4,), tf.int64)
    return tf.map_fn(read, (jpeg, png, pictures), fn_output_signature=spec)


def _chunks_fit(picture: tf.Tensor) -> tf.Tensor:
    size = tf.strings.length(picture)
    long = tf.cast(size, tf.int64)

    def step(at: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        head = tf.cast(tf.io.decode_raw(tf.strings.substr(picture, at, 8), tf.uint8), tf.int64)
        length = tf.reduce_sum(head[:4] * [2**24, 2**16, 2**8, 1])
        return at + 12 + length, tf.reduce_all(head[4:] == list(b"IEND"))

    at, ended = tf.while_loop(
        lambda at, ended: (at + 12 <= long) & ~ended,
        step,
        (tf.constant(8, tf.int64), tf.constant(False)),
        maximum_iterations=_CHUNKS + size // _CHUNK,
    )
    return ended & (at <= long)


def _shapes(header: tf.Tensor, png: tf.Tensor, bmp: tf.Tensor) -> tf.Tensor:
    """Read height and width from the headers of all but JPEG, int64 (n, 2)."""

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
    return tf.stack([height, width], 1)
