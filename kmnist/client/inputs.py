"""What a caller may hand over: images as numbers, pictures as files or bytes."""

import os
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmnist.errors import InvalidInputError
from kmnist.protocol.metadata import TensorSpec

__all__ = [
    "MAX_REQUEST_BYTES",
    "PicturesLike",
    "as_images",
    "as_pictures",
    "check_shape",
    "first_piece",
]

PicturesLike = str | bytes | os.PathLike[str] | Iterable[str | bytes | os.PathLike[str]]

#: Where a request is split at the latest: gRPC's servers and proxies take 4 MiB by default, less
#: room for base64 and for the rest of the message.
MAX_REQUEST_BYTES: Final = 2_900_000


def as_images(images: ArrayLike) -> NDArray[np.uint8]:
    """Images as uint8 (n, h, w), without a copy if they are that already.

    Args:
        images: Whole numbers 0 to 255 of shape (n, h, w) or (h, w): an array, or lists.

    Raises:
        InvalidInputError: Another dtype, range or shape.
    """
    if type(images) is np.ndarray and images.dtype == np.uint8 and images.ndim == 3 and len(images):
        return images  # the usual case, in a call of which each microsecond counts
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
        hint = "; leave out the last axis: images[..., 0]" if array.shape[3:] == (1,) else ""
        raise InvalidInputError(
            f"received an array of shape {array.shape}; expected (n, h, w) or (h, w){hint}"
        )
    return array


def as_pictures(pictures: PicturesLike) -> NDArray[np.object_]:
    """Encoded pictures as an object array of bytes (n,).

    Args:
        pictures: The path of a picture file or the bytes of one, or several of these.

    Raises:
        InvalidInputError: A file cannot be read or is empty, or something else was given.
    """
    several = [pictures] if isinstance(pictures, (str, bytes, os.PathLike)) else list(pictures)
    contents = np.empty(len(several), dtype=object)
    for index, picture in enumerate(several):
        contents[index] = _content(picture)
    return contents


def check_shape(images: NDArray[np.uint8], spec: TensorSpec, of: str) -> None:
    """Refuse images that the model's input cannot take.

    Raises:
        InvalidInputError: The model takes another dtype or shape; ``of`` names the model.
    """
    fits = spec.shape is None or (
        len(spec.shape) == images.ndim
        and all(want in (None, got) for want, got in zip(spec.shape, images.shape, strict=True))
    )
    if spec.dtype != "DT_UINT8" or not fits:
        raise InvalidInputError(f"received uint8 {images.shape}; {of} takes {spec}")


def first_piece(sizes: NDArray[np.int64] | int, count: int) -> int:
    """How many of at most ``count`` values go into the next request.

    Args:
        sizes: Bytes of each value, or of every one.
    """
    if isinstance(sizes, int):
        fitting = MAX_REQUEST_BYTES // max(sizes, 1)
    else:
        fitting = int(np.searchsorted(np.cumsum(sizes[:count]), MAX_REQUEST_BYTES, side="right"))
    return max(1, min(fitting, count))


def _as_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype.kind == "f":
        low, high = _range(array)
        raise InvalidInputError(
            f"received {array.dtype} with values from {low} to {high}; expected whole numbers 0 "
            "to 255: the model scales them itself"
            + (
                "; undo it with (images * 255).round().astype('uint8')"
                if 0 <= low <= high <= 1
                else ""
            )
        )
    if array.dtype.kind not in "iu":
        raise InvalidInputError(
            f"received {array.dtype} of shape {array.shape}; expected images as whole numbers 0 to 255"
        )
    low, high = _range(array)
    if low < 0 or high > 255:
        raise InvalidInputError(
            f"received {array.dtype} with values from {low} to {high}; expected 0 to 255"
        )
    return array.astype(np.uint8)


def _range(array: NDArray[Any]) -> tuple[Any, Any]:
    return (array.min(), array.max()) if array.size else (0, 0)


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
            "(arrays of pixels go to predict())"
        )
    if not content:
        raise InvalidInputError(f"received an empty picture ({name}); expected an encoded one")
    return content
