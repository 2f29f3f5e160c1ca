"""``.npz`` files: those of Keras, and what is refused."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmnist import Dataset, load_dataset
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
    path, names = tmp_path / "mnist.npz", [f"digit {n}" for n in range(10)]
    save(path, **arrays, class_names=names)
    dataset = load_dataset(path, validation_size=0)
    assert repr(dataset) == "Dataset(mnist.npz: 400 / 0 / 200 of 28×28, 10 classes)"
    assert np.array_equal(dataset.train.images, tiny_dataset.train.images)
    assert np.array_equal(dataset.test.labels, tiny_dataset.test.labels)
    assert dataset.class_names == tuple(names)
    assert list(dataset.checksums()) == ["mnist.npz"]


def test_colours_are_refused_or_converted(arrays: dict[str, Any], tmp_path: Path) -> None:
    colours = np.zeros((400, 28, 28, 3), np.uint8)
    colours[..., 0] = 200
    np.savez(tmp_path / "x.npz", **arrays | {"x_train": colours})
    with pytest.raises(ColourError, match=r"x\.npz has images with colours: convert to greyscale"):
        load_dataset(tmp_path / "x.npz")
    assert (load_dataset(tmp_path / "x.npz", grey=True).train.images == 60).all()


@pytest.mark.parametrize("kind", ["text", "truncated", "missing", "objects", "huge"])
def test_a_file_of_another_kind_is_refused(
    arrays: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "x.npz"
    if kind == "objects":  # which only pickle reads
        arrays["y_test"] = np.array([{}] * 200)
    elif kind == "missing":
        del arrays["y_test"]
    np.savez(path, **arrays)
    if kind == "huge":
        with zipfile.ZipFile(path, "w") as file, file.open("x_train.npy", "w") as member:
            header = {"descr": "|u1", "fortran_order": False, "shape": (10**12,)}
            np.lib.format.write_array_header_1_0(member, header)
    if kind in ("text", "truncated"):
        path.write_bytes(b"x_train" if kind == "text" else path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"x\.npz is not an \.npz file of the arrays x_train, y_t"):
        load_dataset(path)
