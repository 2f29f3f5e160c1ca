"""load_dataset: which source a name refers to, and the validation split."""

import hashlib
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmnist import Dataset, load_dataset
from kmnist.data import sources
from kmnist.data.idx import read_idx, write_idx
from kmnist.errors import InputError, MissingError

MNIST = Path(str(files("kmnist") / "data/mnist"))

# MD5 of the unzipped files of the original MNIST, whose headers begin as given.
ORIGINAL = {
    "train-images-idx3-ubyte": ("00000803", "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": ("00000801", "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": ("00000803", "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": ("00000801", "27ae3e4e09519cfbb04c329615203637"),
}


@pytest.mark.parametrize(
    ("name", "magic", "md5"), [(name, *both) for name, both in ORIGINAL.items()]
)
def test_the_bundled_files_are_the_original_mnist(name: str, magic: str, md5: str) -> None:
    values = read_idx(MNIST / f"{name}.gz", ndim=int(magic[-1]))
    header = bytes.fromhex(magic) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    assert hashlib.md5(header + values.tobytes()).hexdigest() == md5


def test_the_listed_checksums_are_those_of_the_bundled_files() -> None:
    lines = (MNIST / "SHA256SUMS").read_text().splitlines()
    listed = {name: checksum for checksum, name in map(str.split, lines)}
    assert listed == load_dataset("mnist").checksums()


def test_mnist_is_split_as_in_the_tutorial() -> None:
    dataset = load_dataset()
    assert [len(dataset.train), len(dataset.validation), len(dataset.test)] == [55000, 5000, 10000]
    assert dataset.validation.labels[:5].tolist() == [5, 0, 4, 1, 9]  # the first of the 60,000
    assert dataset.class_names == tuple("0123456789")
    assert dataset.image_shape == (28, 28)
    assert dataset.name == "mnist"


def test_the_first_training_images_are_held_out_for_validation(tiny: Path) -> None:
    whole, split = load_dataset(tiny, validation_size=0), load_dataset(tiny, validation_size=50)
    assert len(whole.validation) == 0
    assert np.array_equal(split.validation.images, whole.train.images[:50])
    assert np.array_equal(split.train.labels, whole.train.labels[50:])


def test_a_small_data_set_holds_out_a_tenth(tiny: Path) -> None:
    dataset = load_dataset(tiny)
    assert repr(dataset) == f"Dataset({tiny}: 450 / 50 / 200 of 28×28, 10 classes)"


@pytest.mark.parametrize("size", [-1, 500, 5000, 0.1, True])
def test_a_validation_size_that_leaves_no_training_images_is_rejected(
    tiny: Path, size: Any
) -> None:
    with pytest.raises(InputError, match=f"validation size of {size}; expected 0 to 499"):
        load_dataset(tiny, validation_size=size)


def test_a_folder_of_idx_files_may_be_a_bare_name(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.parent)
    assert load_dataset("tiny", validation_size=0).name == "tiny"


def test_a_folder_of_pictures_may_be_a_bare_name(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.parent)
    assert repr(load_dataset("pictures")) == "Dataset(pictures: 36 / 4 / 20 of 28×28, 10 classes)"
    assert sources.needs_tensorflow("pictures")


def test_an_npz_file_may_be_a_bare_name(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    test = tiny_dataset.test
    np.savez(
        "digits.npz",
        x_train=test.images,
        y_train=test.labels,
        x_test=test.images,
        y_test=test.labels,
    )
    assert repr(load_dataset("digits.npz")) == (
        "Dataset(digits.npz: 180 / 20 / 200 of 28×28, 10 classes)"
    )
    assert not sources.needs_tensorflow("digits.npz")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        MissingError, match=r"expected the four IDX files .*, or a folder of pictures"
    ):
        load_dataset(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="a has no picture; expected a class with at least one"):
        load_dataset(tmp_path)


def test_a_missing_folder_is_named() -> None:
    for name in ("/nowhere", "./nowhere.npz", "nowhere.npz"):
        with pytest.raises(
            MissingError, match=f"no folder or file {name}; expected a folder of ID"
        ):
            load_dataset(name)


@pytest.mark.parametrize(
    ("source", "name"), [("fashion_mnist", "fashion_mnist"), ("tfds:mnist", "mnist")]
)
def test_any_other_name_is_read_from_tfds(
    source: str,
    name: str,
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    received: list[object] = []

    def read_tfds(*arguments: object, **more: object) -> Dataset:
        received.extend((*arguments, more))
        return tiny_dataset

    monkeypatch.setattr(sources, "read_tfds", read_tfds)
    # A checkout of this project has a folder kmnist, and TFDS a data set of that name.
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset(source, validation_size=10, data_dir="prepared").train) == 390
    assert received == [name, "prepared", {"grey": False}]


def test_a_bundled_file_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Valid files, so only the checksums show that they are not those of MNIST.
    bundled = tmp_path / "data" / "mnist"
    shutil.copytree(str(files("kmnist") / "data/mnist"), bundled)
    labels = read_idx(bundled / "t10k-labels-idx1-ubyte.gz", ndim=1).copy()
    labels[0] = 3
    write_idx(bundled / "t10k-labels-idx1-ubyte.gz", labels)
    monkeypatch.setattr(sources, "files", lambda _: tmp_path)
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz has the SHA-256"):
        load_dataset("mnist")
