"""Images and pictures that a caller passes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from kmnist.client import InvalidInputError, TensorSpec
from kmnist.client.inputs import (
    MAX_REQUEST_BYTES,
    as_images,
    as_pictures,
    check_shape,
    chunk_size,
)


def test_images_are_not_copied_unless_needed() -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    assert as_images(images) is images
    assert as_images(images[0]).base is images


@pytest.mark.parametrize(
    "images",
    [[[0, 255], [1, 2]], [[[0, 255], [1, 2]]], np.array([[[0, 255], [1, 2]]], np.int64)],
    ids=["lists (h, w)", "lists (n, h, w)", "int64"],
)
def test_lists_and_wider_integers_are_converted(images: ArrayLike) -> None:
    converted = as_images(images)
    assert converted.dtype == np.uint8
    assert converted.tolist() == [[[0, 255], [1, 2]]]


@pytest.mark.parametrize(
    ("empty", "shape"),
    [([], (0, 0, 0)), (np.empty((0, 28, 28)), (0, 28, 28))],
    ids=["list", "array"],
)
def test_no_images_are_images_too(empty: ArrayLike, shape: tuple[int, ...]) -> None:
    assert as_images(empty).shape == shape


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((28, 28), np.float32), r"float32 with values from 0.0 to 0.0.*\(images \* 255\)"),
        (np.full((1, 28, 28), 254.5), "float64 with values from 254.5 to 254.5; expected integers"),
        (np.full((28, 28), 256), "int64 with values from 256 to 256; expected 0 to 255"),
        (np.full((28, 28), -1), "from -1 to -1"),
        (np.zeros((28, 28), bool), "received bool"),
        (np.zeros((1, 28, 28, 1), np.uint8), r"remove the last axis with images\[..., 0\]"),
        (np.zeros(784, np.uint8), r"shape \(784,\); expected \(n, h, w\) or \(h, w\)"),
        ([[1, 2], [3]], "lists of different lengths"),
        ("seven.png", "received <U9"),
        (None, "received object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_images_are_an_error(bad: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        as_images(bad)


def test_pictures_are_paths_or_bytes(tmp_path: Path) -> None:
    path = tmp_path / "seven.png"
    path.write_bytes(b"seven")
    for one in (path, str(path), b"seven"):
        assert as_pictures(one).tolist() == [b"seven"]
    several: list[Path | str | bytes] = [path, str(path), b"\x00\xff"]
    assert as_pictures(iter(several)).tolist() == [b"seven", b"seven", b"\x00\xff"]
    assert as_pictures([]).shape == (0,)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("no-such.png", "cannot read the picture no-such.png: No such file"),
        (b"", r"empty picture \(bytes\)"),
        ([b"x", 7], "received int as a picture"),
        (np.zeros((28, 28), np.uint8), "received ndarray as a picture"),
    ],
    ids=["path", "empty", "int", "array"],
)
def test_bad_pictures_are_an_error(bad: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        as_pictures(bad)


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec("DT_UINT8", (None, 28, 28)),
        TensorSpec("DT_UINT8", (2, None, None)),
        TensorSpec("DT_UINT8", None),
    ],
    ids=str,
)
def test_images_fit_known_and_unknown_dimensions(spec: TensorSpec) -> None:
    check_shape(np.zeros((2, 28, 28), np.uint8), spec, "model 'm'")


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec("DT_UINT8", (None, 14, 28)),
        TensorSpec("DT_UINT8", (None, 784)),
        TensorSpec("DT_FLOAT", (None, 28, 28)),
    ],
    ids=str,
)
def test_images_that_a_model_does_not_accept_are_an_error(spec: TensorSpec) -> None:
    with pytest.raises(InvalidInputError) as info:
        check_shape(np.zeros((2, 28, 28), np.uint8), spec, "model 'm'")
    assert str(info.value) == f"received images uint8 (2, 28, 28); model 'm' expects {spec}"


def test_a_request_contains_at_least_one_value_and_no_more_than_the_limits_allow() -> None:
    assert chunk_size(np.ones(5, int), 3) == 3
    for size, fitting in ((1, 5), (MAX_REQUEST_BYTES * 2, 1), (MAX_REQUEST_BYTES // 2, 2)):
        assert chunk_size(np.full(5, size), 5) == fitting
        assert chunk_size(size, 5) == fitting


def test_a_large_value_ends_the_chunk_before_it() -> None:
    assert chunk_size(np.array([1, 1, MAX_REQUEST_BYTES, 1]), 4) == 2
