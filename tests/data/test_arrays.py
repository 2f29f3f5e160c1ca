"""``.npz`` files: those of Keras, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmnist import Dataset
from kmnist.data.arrays import read_npz
from kmnist.errors import ColourError, InputError


@pytest.fixture
def arrays(tiny_dataset: Dataset) -> dict[str, Any]:
    """The arrays of Keras' ``mnist.npz``, of the tiny data set."""
    train, test = tiny_dataset.train, tiny_dataset.test
    return {
        "x_train": train.images, "y_train": train.labels,
        "x_test": test.images, "y_test": test.labels,
    }  # fmt: skip


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_arrays_are_read(
    arrays: dict[str, Any], tiny_dataset: Dataset, tmp_path: Path, save: Any
) -> None:
    path = tmp_path / "mnist.npz"
    save(path, **arrays)
    dataset = read_npz(path)
    assert repr(dataset) == f"Dataset({path}: 400 / 0 / 200 of 28×28, 10 classes)"
    assert np.array_equal(dataset.train.images, tiny_dataset.train.images)
    assert np.array_equal(dataset.test.labels, tiny_dataset.test.labels)
    assert list(dataset.checksums()) == ["mnist.npz"]


def test_the_file_may_name_the_classes(arrays: dict[str, Any], tmp_path: Path) -> None:
    names = [f"digit {n}" for n in range(10)]
    np.savez(tmp_path / "x.npz", **arrays, class_names=names)
    assert read_npz(tmp_path / "x.npz").class_names == tuple(names)


def test_a_missing_array_is_named(arrays: dict[str, Any], tmp_path: Path) -> None:
    arrays["x_valid"] = arrays.pop("x_test")
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(InputError, match=r"x\.npz has no arrays x_test; expected x_train, y_train"):
        read_npz(tmp_path / "x.npz")


def test_colours_are_refused_or_converted(arrays: dict[str, Any], tmp_path: Path) -> None:
    colours = np.repeat(arrays["x_train"][..., None], 3, axis=3)
    colours[..., 0] = 0
    np.savez(tmp_path / "x.npz", **arrays | {"x_train": colours})
    with pytest.raises(
        ColourError, match=r"x\.npz has images with colours, uint8 \(400, 28, 28, 3"
    ):
        read_npz(tmp_path / "x.npz")
    assert read_npz(tmp_path / "x.npz", grey=True).image_shape == (28, 28)


@pytest.mark.parametrize("kind", ["text", "empty", "array", "truncated", "damaged", "objects"])
def test_a_file_of_another_kind_is_refused(
    arrays: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "x.npz"
    if kind == "objects":  # which only pickle reads
        arrays["y_test"] = np.array([{}] * 200)
    np.savez_compressed(path, **arrays)
    content = bytearray(path.read_bytes())
    if kind == "text":
        path.write_text("x_train")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "array":
        with path.open("wb") as file:
            np.save(file, arrays["x_train"])
    elif kind == "truncated":
        path.write_bytes(content[:-1000])
    elif kind == "damaged":
        content[1000:1100] = bytes(100)
        path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"x\.npz is not an \.npz file of plain arrays \(.+\); expec"
    ):
        read_npz(path)
