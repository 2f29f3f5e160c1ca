"""Dataset and Split: slices, what they reject, and checksums."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmnist import Dataset, InputError
from kmnist.data import Split


def test_a_slice_of_a_split_is_a_split(tiny_dataset: Dataset) -> None:
    part = tiny_dataset.test[10:30]
    assert len(part) == 20
    assert np.array_equal(part.images, tiny_dataset.test.images[10:30])
    assert np.array_equal(part.labels, tiny_dataset.test.labels[10:30])


def test_checksums_are_those_of_the_files(tiny_dataset: Dataset) -> None:
    assert tiny_dataset.checksums() == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tiny_dataset.paths
    }
    assert len(tiny_dataset.paths) == 4


def test_without_files_checksums_are_those_of_the_splits(tiny_dataset: Dataset) -> None:
    dataset = replace(tiny_dataset, paths=())
    test = tiny_dataset.test
    expected = hashlib.sha256(test.images.tobytes() + test.labels.tobytes()).hexdigest()
    assert list(dataset.checksums()) == ["train", "validation", "test"]
    assert dataset.checksums()["test"] == expected
    other = replace(dataset, test=replace(test, labels=test.labels[::-1]))
    assert other.checksums()["test"] != expected


IMAGES = np.zeros((6, 28, 28), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64])
def test_labels_may_be_integers_of_any_size(dtype: Any) -> None:
    assert len(Split(IMAGES, LABELS.astype(dtype))) == 6


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES / 255, LABELS, r"received images float64 \(6, 28, 28\); .*\.astype\(np\.uint8\)"),
        (IMAGES.astype(np.int64), LABELS, r"received images int64"),
        (IMAGES.tolist(), LABELS, "received images of type list; expected uint8"),
        (IMAGES.reshape(6, 784), LABELS, r"uint8 \(6, 784\); .*images\.reshape\(-1, 28, 28\)"),
        (IMAGES[..., None], LABELS, r"uint8 \(6, 28, 28, 1\); .*reshape"),
        (IMAGES[:, :0], LABELS, r"uint8 \(6, 0, 28\)"),
        (IMAGES, np.eye(3)[LABELS], r"float64 \(6, 3\); .*labels\.argmax\(axis=1\)"),
        (IMAGES, LABELS.astype(np.float32), r"labels float32 \(6,\); .*\.astype\(np\.int64\)"),
        (IMAGES, LABELS > 0, r"received labels bool"),
        (IMAGES, LABELS.tolist(), "received labels of type list; expected integers"),
        (IMAGES, LABELS[:5], "received 6 images and 5 labels; expected one label per image"),
    ],
)
def test_arrays_of_another_kind_are_rejected_with_what_to_give(
    images: Any, labels: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        Split(images, labels)
    assert "\n" not in str(error.value)


def test_memory_mapped_images_are_checked_without_reading_them(tmp_path: Path) -> None:
    # The file is sparse: one that was read would be 64 GiB in memory.
    images = np.memmap(tmp_path / "images", np.uint8, "w+", shape=(2**26, 32, 32))
    assert len(Split(images, np.zeros(2**26, np.uint8))[10:]) == 2**26 - 10


SPLIT = Split(IMAGES, LABELS)
MADE = Dataset("mine", SPLIT, SPLIT[:0], SPLIT, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": Split(IMAGES, LABELS + 1)}, "mine has the train label 3; expected 0 to 2, bec"),
        ({"validation": Split(IMAGES, LABELS - 1)}, "the validation label -1; expected 0 to 2"),
        ({"test": Split(IMAGES[:, 1:], LABELS)}, r"test images of \(27, 28\) pixels, but training"),
        ({"train": Split(IMAGES[:0], LABELS[:0])}, "mine has no training image"),
    ],
)
def test_splits_that_do_not_fit_together_are_rejected(splits: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(MADE, **splits)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a",), "mine has 1 class name; expected 2 to 1000"),
        (("a", "b", ""), "a class name of 0 characters; expected strings of 1 to 256"),
        (("a", "b", 3), "mine has a class name 3; expected strings"),
        (("a", "b", "a"), "mine has the class name 'a' 2 times; expected different"),
    ],
)
def test_invalid_class_names_are_rejected(names: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(MADE, class_names=names)
