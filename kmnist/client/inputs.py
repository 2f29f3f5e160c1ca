"""Validation and conversion of the images and pictures that a caller passes."""

import os
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmnist.errors import InvalidInputError
from kmnist.protocol.messages import TensorSpec

__all__ = [
    "MAX_REQUEST_BYTES",
    "PicturesLike",
    "as_images",
    "as_pictures",
    "check_shape",
    "chunk_size",
]

PicturesLike = str | bytes | os.PathLike[str] | Iterable[str | bytes | os.PathLike[str]]

# gRPC servers and proxies accept 4 MiB by default; base64 adds a third.
MAX_REQUEST_BYTES: Final = 2_900_000


def as_images(images: ArrayLike) -> NDArray[np.uint8]:
    """Convert images to uint8 (n, h, w); copy only if needed.

    Args:
        images: Integers from 0 to 255 of shape (n, h, w) or (h, w), as an array or lists.

    Raises:
        InvalidInputError: The dtype, the range or the shape is wrong.
    """
    try:
        array = np.asarray(images)
    except ValueError as error:
        raise InvalidInputError(
            f"received lists of different lengths ({error}); expected images of one shape (n, h, w)"
        ) from None
    if array.shape[:1] == (0,) and array.ndim in (1, 3):
        return np.empty(array.shape if array.ndim == 3 else (0, 0, 0), np.uint8)
    if array.dtype != np.uint8:
        array = _as_uint8(array)
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim != 3:
        hint = "; remove the last axis with images[..., 0]" if array.shape[3:] == (1,) else ""
        raise InvalidInputError(
            f"received an array of shape {array.shape}; expected (n, h, w) or (h, w){hint}"
        )
    return array


def as_pictures(pictures: PicturesLike) -> NDArray[np.object_]:
    """Read picture files into an object array of bytes (n,).

    Args:
        pictures: The path or the contents of a picture file, or several of these.

    Raises:
        InvalidInputError: A file cannot be read or is empty, or an item is neither path nor bytes.
    """
    items = [pictures] if isinstance(pictures, (str, bytes, os.PathLike)) else list(pictures)
    contents = np.empty(len(items), dtype=object)
    for index, picture in enumerate(items):
        contents[index] = _content(picture)
    return contents


def check_shape(images: NDArray[np.uint8], spec: TensorSpec, model: str) -> None:
    """Check that a model accepts the images.

    Args:
        images: uint8 (n, h, w).
        spec: The input of the model.
        model: What to call the model in the message.

    Raises:
        InvalidInputError: The model expects another dtype or shape.
    """
    fits = spec.shape is None or (
        len(spec.shape) == images.ndim
        and all(want in (None, got) for want, got in zip(spec.shape, images.shape, strict=True))
    )
    if spec.dtype != "DT_UINT8" or not fits:
        raise InvalidInputError(f"received images uint8 {images.shape}; {model} expects {spec}")


def chunk_size(sizes: NDArray[np.int64] | int, most: int) -> int:
    """Return how many values the next request should contain.

    Args:
        sizes: The size of each value in bytes, or of all alike.
        most: Most values in a request.

    Returns:
        At least 1 and at most ``most``; as many as fit into ``MAX_REQUEST_BYTES``.
    """
    if isinstance(sizes, int):
        fitting = MAX_REQUEST_BYTES // max(sizes, 1)
    else:
        fitting = int(np.searchsorted(np.cumsum(sizes[:most]), MAX_REQUEST_BYTES, side="right"))
    return max(1, min(fitting, most))


def _as_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype.kind not in "iuf":
        raise InvalidInputError(
            f"received {array.dtype} of shape {array.shape}; expected images as integers 0 to 255"
        )
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    received = f"received {array.dtype} with values from {low} to {high}"
    if array.dtype.kind == "f":
        hint = (
            "; undo it with (images * 255).round().astype('uint8')" if 0 <= low <= high <= 1 else ""
        )
        raise InvalidInputError(
            f"{received}; expected integers 0 to 255: the model scales them itself{hint}"
        )
    if low < 0 or high > 255:
        raise InvalidInputError(f"{received}; expected 0 to 255")
    return array.astype(np.uint8)


def _content(picture: object) -> bytes:
    if isinstance(picture, bytes):
        content, name = picture, "bytes"
    elif isinstance(picture, (str, os.PathLike)):
        name = os.fspath(picture)
        try:
            with open(picture, "rb") as file:
                content = file.read()
        except OSError as error:
            raise InvalidInputError(
                f"cannot read the picture {name}: {error.strerror}; expected a picture file"
            ) from None
    else:
        raise InvalidInputError(
            f"received {type(picture).__name__} as a picture; expected a path or bytes "
            "(pass arrays of pixels to predict())"
        )
    if not content:
        raise InvalidInputError(f"received an empty picture ({name}); expected an encoded image")
    return content
