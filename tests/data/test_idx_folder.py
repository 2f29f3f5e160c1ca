"""Folders of IDX files: what they may hold, and what is rejected."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.data.idx import read_idx, write_idx
from kmnist.data.idx_folder import is_idx_folder, read_idx_folder
from kmnist.errors import InputError, MissingError

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data set, to modify."""
    return Path(shutil.copytree(tiny, tmp_path / "digits"))


def replace(folder: Path, name: str, values: NDArray[Any]) -> Path:
    """Replace a compressed file with a raw one."""
    (folder / f"{name}.gz").unlink()
    write_idx(folder / name, values)
    return folder / name


def test_raw_and_compressed_files_may_be_mixed(folder: Path, tiny: Path) -> None:
    replace(folder, TRAIN_IMAGES, read_idx(folder / f"{TRAIN_IMAGES}.gz", ndim=3))
    mixed, compressed = read_idx_folder(folder), read_idx_folder(tiny)
    assert np.array_equal(mixed.train.images, compressed.train.images)
    assert np.array_equal(mixed.train.labels, compressed.train.labels)
    assert [path.suffix for path in mixed.paths] == ["", ".gz", ".gz", ".gz"]


def test_images_may_have_any_size_and_classes_a_name(folder: Path) -> None:
    replace(folder, TRAIN_IMAGES, np.zeros((500, 20, 30), np.uint8))
    replace(folder, TEST_IMAGES, np.zeros((200, 20, 30), np.uint8))
    names = "zero one two three four five six seven eight nine ten".split()
    (folder / "classes.txt").write_text("\n".join(names) + "\n")
    dataset = read_idx_folder(folder)
    assert dataset.image_shape == (20, 30)
    assert dataset.class_names == tuple(names)
    assert dataset.paths[-1].name == "classes.txt"
    assert dataset.name == str(folder)


def test_without_names_the_training_labels_determine_the_classes(folder: Path) -> None:
    labels = np.arange(500, dtype=np.uint8) % 4
    replace(folder, TRAIN_LABELS, labels)
    replace(folder, TEST_LABELS, labels[:200])
    assert read_idx_folder(folder).class_names == ("0", "1", "2", "3")


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / f"{TEST_LABELS}.gz").unlink()
    with pytest.raises(MissingError, match=f"neither {TEST_LABELS} nor {TEST_LABELS}.gz"):
        read_idx_folder(folder)


def test_a_folder_with_training_images_is_an_idx_folder(folder: Path) -> None:
    assert is_idx_folder(folder)
    replace(folder, TRAIN_IMAGES, np.zeros((500, 28, 28), np.uint8))
    assert is_idx_folder(folder)
    (folder / TRAIN_IMAGES).unlink()
    assert not is_idx_folder(folder)


def test_different_numbers_of_labels_and_images_are_rejected(folder: Path) -> None:
    replace(folder, TRAIN_LABELS, np.zeros(499, np.uint8))
    with pytest.raises(InputError, match=r"500 images, but .*499 labels"):
        read_idx_folder(folder)


def test_test_images_of_another_size_are_rejected(folder: Path) -> None:
    replace(folder, TEST_IMAGES, np.zeros((200, 27, 28), np.uint8))
    with pytest.raises(InputError, match=r"\(27, 28\) pixels"):
        read_idx_folder(folder)


def test_labels_out_of_range_are_rejected(folder: Path) -> None:
    labels = np.arange(200, dtype=np.uint8) % 10
    labels[7] = 10
    replace(folder, TEST_LABELS, labels)
    with pytest.raises(InputError, match=f"{folder} has the test label 10; expected 0 to 9"):
        read_idx_folder(folder)
    (folder / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(InputError, match="expected 0 to 2, because it has 3 class names"):
        read_idx_folder(folder)


def test_invalid_class_names_are_rejected(folder: Path) -> None:
    (folder / "classes.txt").write_text("one\ntwo\none\n")
    with pytest.raises(InputError, match="has the class name 'one' 2 times"):
        read_idx_folder(folder)
    (folder / "classes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        read_idx_folder(folder)


def test_a_byte_order_mark_is_not_part_of_the_first_class_name(folder: Path) -> None:
    names = "zero one two three four five six seven eight nine".split()
    (folder / "classes.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(names).encode())
    assert read_idx_folder(folder).class_names == tuple(names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n".join(map(str, range(300_000))), "has 300000 class names; expected 2 to 1000"),
        ("one\n" * 300_000, "has 300000 class names; expected 2 to 1000"),
        ("x" * 5_000_000 + "\ntwo", "a class name of 5000000 characters; expected .* 256"),
        ("", "has 0 class names; expected 2 to 1000"),
    ],
    ids=["many", "repeated", "long", "none"],
)
def test_class_names_beyond_the_limits_are_rejected(
    folder: Path, content: str, message: str
) -> None:
    (folder / "classes.txt").write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_idx_folder(folder)
    assert len(str(error.value)) < 400


def test_a_single_class_is_rejected(folder: Path) -> None:
    replace(folder, TRAIN_LABELS, np.zeros(500, np.uint8))
    with pytest.raises(InputError, match="has 1 class name; expected 2 to 1000"):
        read_idx_folder(folder)
