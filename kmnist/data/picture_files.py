"""Decode picture files in parallel to grey images of one size; TensorFlow is imported on first use."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmnist.errors import ColourError, InputError

__all__ = ["SUFFIXES", "Pictures", "read_picture_files"]

SUFFIXES: Final = frozenset({"bmp", "gif", "jpeg", "jpg", "png", "webp"})

# The seed of the hash of a file's content.
_SEED: Final = b"0"

_BATCH: Final = 100
_MAX_THREADS: Final = 16

# A model of larger images has too many weights.
_MAX_SIDE: Final = 2_048

# TensorFlow's messages contain the place in the graph.
_PLACE: Final = re.compile(r"\{\{.*?\}\}|\[Op:.*|\[\[.*", re.DOTALL)


@dataclass(frozen=True)
class Pictures:
    """Decoded picture files.

    Attributes:
        images: uint8 (n, height, width).
        hashes: float64 (n,), from 0 to 1, a hash of the content of each file.
        sizes: How many pictures have each size (height, width) in their files.
    """

    images: NDArray[np.uint8]
    hashes: NDArray[np.float64]
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)


def read_picture_files(paths: Sequence[str], *, grey: bool) -> Pictures:
    """Decode picture files.

    If they differ in size, all get the most frequent one, the smallest of several: pictures of
    another size are scaled with antialiasing to fit, keeping the aspect ratio, and centred on the
    mean tone of their rim. A JPEG is turned upright by its EXIF orientation, as in the exported
    model. Of an animation, the first frame is read.

    Args:
        paths: The files, PNG, JPEG, GIF, BMP or WebP whatever their names; at least one.
        grey: Convert pictures with colours to their brightness.

    Raises:
        ColourError: A picture has colours, and ``grey`` is not set.
        InputError: A file cannot be read or decoded, or has transparent pixels, or the size is
            above 2,048 pixels.
    """
    height, width = _decode(paths[0], _content(paths[0])).shape[:2]
    while True:
        pictures = _read(paths, (height, width), grey=grey)
        common = min(pictures.sizes, key=lambda size: (-pictures.sizes[size], size))
        if common == (height, width):
            return pictures
        height, width = common


def _read(paths: Sequence[str], size: tuple[int, int], *, grey: bool) -> Pictures:
    if max(size) > _MAX_SIDE:
        raise InputError(
            f"received pictures of {size[0]}×{size[1]} pixels, such as {paths[0]}; expected sides "
            f"of at most {_MAX_SIDE}; scale them down"
        )
    pictures = Pictures(np.empty((len(paths), *size), np.uint8), np.empty(len(paths)))
    # Of the fields of a PNG's header up to its filter: 8 bits per pixel, grey, without an alpha.
    header = b"IHDR" + b"".join(side.to_bytes(4, "big") for side in reversed(size)) + b"\x08\x00"
    decode_plain, decode_any = _decoders(*size)

    def read(start: int) -> list[tuple[int, int]]:
        """Read a batch; return the sizes of its pictures."""
        batch = paths[start : start + _BATCH]
        contents = [_content(path) for path in batch]
        digests = (
            hashlib.blake2b(content, digest_size=6, key=_SEED).digest() for content in contents
        )
        pictures.hashes[start : start + len(batch)] = [
            int.from_bytes(digest, "big") / 2**48 for digest in digests
        ]
        plain = np.array([content[12:26] == header for content in contents])
        sizes = [size] * int(plain.sum())
        chosen = np.flatnonzero(plain)
        if len(chosen):
            pictures.images[start + chosen] = _run(decode_plain, batch, contents, chosen)
        chosen = np.flatnonzero(~plain)
        if len(chosen):
            decoded, shapes, coloured, transparent = _run(decode_any, batch, contents, chosen)
            _check(batch, chosen[transparent], chosen[coloured & (not grey)])
            pictures.images[start + chosen] = decoded
            sizes += map(tuple, shapes.tolist())
        return sizes

    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS))
    try:
        for sizes in pool.map(read, range(0, len(paths), _BATCH)):
            pictures.sizes.update(sizes)
    finally:
        pool.shutdown(cancel_futures=True)
    return pictures


def _check(
    paths: Sequence[str], transparent: NDArray[np.int64], coloured: NDArray[np.int64]
) -> None:
    if len(transparent):
        raise InputError(
            f"{paths[transparent[0]]} has transparent pixels; expected opaque pictures; lay them "
            "on a background"
        )
    if len(coloured):
        raise ColourError(
            f"{paths[coloured[0]]} has colours; expected grey pictures; convert them, or load the "
            "data set as grey"
        )


def _content(path: str) -> bytes:
    try:
        # Half of the time of `open`, which matters with files of a few hundred bytes.
        handle = os.open(path, os.O_RDONLY)
        try:
            return os.read(handle, os.fstat(handle).st_size)
        finally:
            os.close(handle)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); make it readable or remove it"
        ) from None


def _run(
    function: Callable[[Any], Any],
    paths: Sequence[str],
    contents: Sequence[bytes],
    chosen: NDArray[np.int64],
) -> Any:
    """Run a graph on the chosen files; an error names the first of them that is damaged."""
    import tensorflow as tf

    try:
        return tf.nest.map_structure(
            lambda tensor: tensor.numpy(), function(tf.constant([contents[i] for i in chosen]))
        )
    except tf.errors.OpError:
        for index in chosen:
            _decode(paths[index], contents[index])
        raise


def _decode(path: str, content: bytes) -> Any:
    import tensorflow as tf

    try:
        return tf.io.decode_image(content, expand_animations=False)
    except tf.errors.OpError as error:
        reason = " ".join(_PLACE.sub("", error.message).split())[:200]
        raise InputError(
            f"{path} cannot be decoded ({reason}); expected a PNG, JPEG, GIF, BMP or WebP file; "
            "save it again or remove it"
        ) from None


@lru_cache(maxsize=2)  # tracing takes a second
def _decoders(height: int, width: int) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return the graphs that decode the contents of files, string (n,).

    The first one is for grey PNG of the size itself. It returns the images, uint8 (n, height,
    width), the second one also the sizes in the files, int32 (n, 2), and whether there are colours
    and transparent pixels, bool (n,).
    """
    import tensorflow as tf

    from kmnist.pictures.decode import grey_of
    from kmnist.pictures.frame import fit
    from kmnist.pictures.orientation import orientation, upright

    def decode(content: Any) -> Any:
        pixels = tf.io.decode_image(content, expand_animations=False)
        pixels.set_shape([None, None, None])
        return pixels

    def flatten(pixels: Any) -> tuple[Any, Any]:
        """Return uint8 (h, w), and whether it had colours."""
        colours = pixels[..., :3]
        coloured = tf.reduce_any(colours != colours[..., :1])
        brightness = tf.round(grey_of(tf.cast(tf.ensure_shape(colours, (None, None, 3)), "float")))
        return tf.where(coloured, tf.cast(brightness, tf.uint8), pixels[..., 0]), coloured

    def scale(flat: Any) -> Any:
        image = tf.cast(flat, tf.float32) / 255
        rim = tf.concat([image[0], image[-1], image[:, 0], image[:, -1]], 0)
        return fit(image, height, width, tf.reduce_mean(rim))

    def read(content: Any) -> tuple[Any, Any, Any, Any]:
        pixels = decode(content)
        is_jpeg = tf.strings.substr(content, 0, 3) == b"\xff\xd8\xff"
        pixels = tf.cond(is_jpeg, lambda: upright(pixels, orientation(content)), lambda: pixels)
        channels = tf.shape(pixels)[2]
        # A BMP with an unused fourth byte has 0 everywhere in it.
        alpha = pixels[..., -1]
        transparent = tf.reduce_any(alpha < 255) & tf.reduce_any(alpha > 0) & (channels % 2 == 0)
        flat, coloured = tf.cond(
            channels > 2, lambda: flatten(pixels), lambda: (pixels[..., 0], tf.constant(False))
        )
        shape = tf.shape(flat)
        same = tf.reduce_all(shape == [height, width])
        image = tf.cond(same, lambda: flat, lambda: scale(flat))
        return tf.ensure_shape(image, (height, width)), shape, coloured, transparent

    image = tf.TensorSpec((height, width), tf.uint8)
    flag = tf.TensorSpec((), tf.bool)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
    def decode_plain(contents: Any) -> Any:
        return tf.map_fn(
            lambda content: tf.ensure_shape(decode(content)[..., 0], (height, width)),
            contents,
            fn_output_signature=image,
            parallel_iterations=1,  # the batches are decoded in parallel
        )

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
    def decode_any(contents: Any) -> Any:
        shape = tf.TensorSpec((2,), tf.int32)
        return tf.map_fn(
            read,
            contents,
            fn_output_signature=(image, shape, flag, flag),
            parallel_iterations=1,  # each may take hundreds of megabytes
        )

    return decode_plain, decode_any
