"""Validation and conversion of the images, pictures and other inputs that a caller passes."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmnist.errors import InvalidInputError
from kmnist.protocol.messages import TensorSpec

__all__ = [
    "InputsLike",
    "PicturesLike",
    "as_bytes",
    "as_images",
    "as_inputs",
    "as_pictures",
    "check_images",
    "fitting",
]

InputsLike = Mapping[str, ArrayLike] | ArrayLike
PicturesLike = str | bytes | os.PathLike[str] | Iterable[str | bytes | os.PathLike[str]]

# The kinds of arrays that can be converted to a kind of dtype without changing what they mean.
_KINDS: Final = {"b": "b", "i": "iu", "u": "iu", "f": "iuf", "c": "iufc"}
_NAMES_OF_KINDS: Final = {"U": "text", "S": "bytes", "O": "objects"}

# gRPC servers and proxies accept 4 MiB by default; base64 adds a third.
_MAX_REQUEST_BYTES: Final = 2_900_000


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
        raise InvalidInputError(f"the images have different shapes: {error}") from None
    if array.shape == (0,):
        return np.empty((0, 0, 0), np.uint8)
    if array.dtype != np.uint8:
        array = _as_uint8(array)
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim != 3:
        hint = "; remove the last axis with images[..., 0]" if array.shape[3:] == (1,) else ""
        raise InvalidInputError(f"images have shape (n, h, w) or (h, w), not {array.shape}{hint}")
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
        contents[index] = picture if isinstance(picture, bytes) else _read(picture)
        if not contents[index]:
            raise InvalidInputError(f"the picture {picture!r} is empty")
    return contents


def as_inputs(inputs: InputsLike, specs: Mapping[str, TensorSpec]) -> dict[str, NDArray[Any]]:
    """Convert the inputs of a call to the dtypes of a signature; copy only if needed.

    Args:
        inputs: An array-like for each input by name, or that of the only one.
        specs: The inputs of the signature.

    Returns:
        An array for each input, strings as object arrays of bytes.

    Raises:
        InvalidInputError: An input is missing, unknown or ragged, has another shape, or cannot be
            converted without loss.
    """
    names = ", ".join(sorted(specs)) or "none"
    if not isinstance(inputs, Mapping):
        if len(specs) != 1:
            raise InvalidInputError(
                f"the signature has {len(specs)} inputs: pass a dict with the keys {names}"
            )
        inputs = dict.fromkeys(specs, inputs)
    missing, unknown = specs.keys() - inputs.keys(), inputs.keys() - specs.keys()
    if missing or unknown:
        problem = f"no input {min(missing)!r}" if missing else f"unknown input {min(unknown)!r}"
        raise InvalidInputError(f"{problem}; the inputs of the signature: {names}")
    return {name: _as_input(name, inputs[name], spec) for name, spec in specs.items()}


def check_images(images: NDArray[np.uint8], spec: TensorSpec, model: str) -> None:
    """Check that a model accepts the images.

    Args:
        images: uint8 (n, h, w).
        spec: The input of the model.
        model: The name of the model.

    Raises:
        InvalidInputError: The model expects another dtype or shape.
    """
    if spec.dtype != "DT_UINT8" or not spec.accepts(images.shape):
        raise InvalidInputError(f"model {model!r} expects {spec}, not uint8 {images.shape}")


def fitting(values: NDArray[Any]) -> int:
    """Return how many of the values servers accept in one request by default, at least 1.

    Args:
        values: Images, uint8 (n, h, w), or pictures, object (n,) of bytes; n is at least 1.
    """
    if values.dtype == object:
        sizes = np.cumsum([len(value) for value in values])
        count = int(np.searchsorted(sizes, _MAX_REQUEST_BYTES, side="right"))
    else:
        count = _MAX_REQUEST_BYTES // max(values[0].nbytes, 1)
    return max(1, count)


def as_bytes(images: NDArray[np.uint8]) -> NDArray[np.object_]:
    """Return the pixels of each image as bytes, row by row: object (n,)."""
    rows = np.empty(len(images), dtype=object)
    rows[:] = [image.tobytes() for image in images]
    return rows


def _as_input(name: str, values: ArrayLike, spec: TensorSpec) -> NDArray[Any]:
    dtype = spec.array_dtype
    if dtype is None:
        raise InvalidInputError(f"input {name!r} is {spec}, which cannot be sent")
    try:
        array = np.asarray(values, object if dtype.kind == "O" else None)
    except ValueError:
        raise InvalidInputError(f"input {name!r} has lists of different lengths") from None
    array = _as_strings(name, array) if dtype.kind == "O" else _as_numbers(name, array, dtype, spec)
    if not spec.accepts(array.shape):
        raise InvalidInputError(f"input {name!r} must be {spec}, not of shape {array.shape}")
    return array


def _as_strings(name: str, array: NDArray[Any]) -> NDArray[np.object_]:
    strings = np.empty(array.size, object)
    try:
        strings[:] = [s.encode() if isinstance(s, str) else s for s in array.ravel().tolist()]
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"input {name!r} has text that is not Unicode: {error}") from None
    if odd := {type(each).__name__ for each in strings if not isinstance(each, bytes)}:
        hint = "lists of different lengths" if "list" in odd else f"values of type {min(odd)}"
        raise InvalidInputError(f"input {name!r} consists of text or bytes, and has {hint}")
    return strings.reshape(array.shape)


def _as_numbers(
    name: str, array: NDArray[Any], dtype: np.dtype[Any], spec: TensorSpec
) -> NDArray[Any]:
    if array.dtype == dtype:
        return array
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    kind = array.dtype.kind
    if array.size and kind not in _KINDS[dtype.kind]:
        found = _NAMES_OF_KINDS.get(kind, array.dtype)
        raise InvalidInputError(f"input {name!r} must be {spec}, not {found}: convert it first")
    with np.errstate(over="ignore"):
        converted = array.astype(dtype)
    if dtype.kind in "iu":
        fits = np.array_equal(array, converted)
    else:
        fits = np.array_equal(np.isfinite(array), np.isfinite(converted))
    if not fits:
        low, high = array.min(), array.max()
        raise InvalidInputError(
            f"input {name!r} has values from {low} to {high}, not all of which fit {dtype}"
        )
    return converted


def _as_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype.kind not in "iuf":
        raise InvalidInputError(f"images are integers from 0 to 255, not {array.dtype}")
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if array.dtype.kind == "f" and array.size:
        hint = "(images * 255).round()" if 0 <= low <= high <= 1 else "images.round()"
        raise InvalidInputError(
            f"images are integers from 0 to 255, not {array.dtype} from {low} to {high}: the model "
            f"scales them itself; convert them with {hint}.astype('uint8')"
        )
    if low < 0 or high > 255:
        raise InvalidInputError(f"images are integers from 0 to 255, not from {low} to {high}")
    return array.astype(np.uint8)


def _read(path: object) -> bytes:
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidInputError(
            f"a picture is a path or bytes, not {type(path).__name__}; pass arrays of pixels to "
            "predict()"
        )
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidInputError(
            f"cannot read the picture {os.fspath(path)}: {error.strerror}"
        ) from None
