"""Images and pictures that a caller passes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from kmnist.client.inputs import as_images, as_pictures
from kmnist.errors import InvalidInputError


@pytest.mark.parametrize(
    "images",
    [[[0, 255], [1, 2]], [[[0, 255], [1, 2]]], np.array([[[0, 255], [1, 2]]], np.int64)],
    ids=["lists (h, w)", "lists (n, h, w)", "int64"],
)
def test_lists_and_wider_integers_are_converted(images: ArrayLike) -> None:
    converted = as_images(images)
    assert converted.dtype == np.uint8
    assert converted.tolist() == [[[0, 255], [1, 2]]]
    assert as_images(converted) is converted


@pytest.mark.parametrize(
    ("empty", "shape"), [([], (0, 0, 0)), (np.empty((0, 28, 28)), (0, 28, 28))], ids=str
)
def test_no_images_are_images_too(empty: ArrayLike, shape: tuple[int, ...]) -> None:
    assert as_images(empty).shape == shape


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((28, 28), np.float32), r"not float32 from 0.0 to 0.0: .*\(images \* 255\)"),
        (np.full((1, 28, 28), 254.5), r"not float64 from 254.5 to 254.5: .* images.round\(\)"),
        (np.full((28, 28), 256), "from 0 to 255, not from 256 to 256"),
        (np.full((28, 28), -1), "not from -1 to -1"),
        (np.zeros((28, 28), bool), "integers from 0 to 255, not bool"),
        (np.zeros((1, 28, 28, 1), np.uint8), r"remove the last axis with images\[..., 0\]"),
        (np.zeros(784, np.uint8), r"shape \(n, h, w\) or \(h, w\), not \(784,\)"),
        ([[1, 2], [3]], "the images have different shapes"),
        ("seven.png", "not <U9"),
        (None, "not object"),
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


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("no-such.png", "cannot read the picture no-such.png: No such file"),
        (b"", "the picture b'' is empty"),
        ([b"x", 7], "a picture is a path or bytes, not int"),
        (np.zeros((28, 28), np.uint8), r"not ndarray; pass arrays of pixels to predict\(\)"),
    ],
    ids=["path", "empty", "int", "array"],
)
def test_bad_pictures_are_an_error(bad: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        as_pictures(bad)
