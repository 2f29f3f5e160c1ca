"""Dataset and Split: slices, what they reject, and checksums."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmnist import Dataset, InputError
from kmnist.data import Split


def test_checksums_are_those_of_the_files(tiny_dataset: Dataset) -> None:
    assert tiny_dataset.checksums() == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tiny_dataset.paths
    }
    assert len(tiny_dataset.paths) == 5


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


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            IMAGES / 255,
            LABELS,
            r"images must be uint8 \(n, height, width\), 0 .*not float64 \(6, 28,",
        ),
        (IMAGES.tolist(), LABELS, "images must be uint8 .*, not of type list"),
        (IMAGES.reshape(6, 784), LABELS, r"images must be uint8 .*, not uint8 \(6, 784\)"),
        (IMAGES[:, :0], LABELS, r"images must have pixels, not the shape \(6, 0, 28\)"),
        (
            IMAGES,
            np.eye(3)[LABELS],
            r"labels must be integers .*astype\(int\), not float64 \(6, 3",
        ),
        (IMAGES, LABELS > 0, r"labels must be integers .*, not bool \(6,\)"),
        (IMAGES, LABELS[:5], "there must be one label per image, not 5 labels for 6 images"),
    ],
)
def test_arrays_of_another_kind_are_rejected_with_what_to_give(
    images: Any, labels: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Split(images, labels)


def test_memory_mapped_images_are_checked_without_reading_them(tmp_path: Path) -> None:
    # The file is sparse: one that was read would be 64 GiB in memory.
    images = np.memmap(tmp_path / "images", np.uint8, "w+", shape=(2**26, 32, 32))
    assert len(Split(images, np.zeros(2**26, np.uint8))[10:]) == 2**26 - 10


def test_batches_are_those_of_the_split_in_order(tiny_dataset: Dataset) -> None:
    batches = tiny_dataset.test.batches(30)
    assert len(batches) == 7
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    assert [len(batch) for batch in labels] == [*[30] * 6, 20]
    assert images[0].dtype == np.uint8
    assert np.array_equal(np.concatenate(images), tiny_dataset.test.images)
    assert np.array_equal(np.concatenate(labels), tiny_dataset.test.labels)
    assert batches.element_spec[0].shape.as_list() == [None, 28, 28]


def test_shuffled_batches_have_another_order_every_epoch(tiny_dataset: Dataset) -> None:
    def read(seed: int) -> list[list[int]]:
        split = Split(tiny_dataset.train.images, np.arange(400))
        batches = split.batches(100, shuffle=True, seed=seed)
        return [np.concatenate([n for _, n in batches]).tolist() for _ in range(2)]

    first, second = read(0)
    assert sorted(first) == sorted(second) == list(range(400))
    assert len({tuple(order) for order in (range(400), first, second, *read(1))}) == 5
    assert read(0) == [first, second]


def test_arrays_make_a_data_set() -> None:
    images, labels = np.arange(120, dtype=np.uint8).reshape(20, 3, 2), np.arange(20) % 2
    # As Keras' CIFAR-10 has them: an axis of channels, and one of labels.
    dataset = Dataset.from_arrays(
        images[..., None], labels[:, None], images[:5], labels[:5].tolist(), class_names=["a", "b"]
    )
    assert repr(dataset) == "Dataset(arrays: 18 / 2 / 5 of 3×2, 2 classes)"
    assert np.array_equal(dataset.validation.images, images[:2])
    assert dataset.class_names == ("a", "b")
    assert dataset.test.labels.tolist() == [0, 1, 0, 1, 0]
    whole = Dataset.from_arrays(images, labels, images, labels, validation_size=0, name="x")
    assert repr(whole) == "Dataset(x: 20 / 0 / 20 of 3×2, 2 classes)"
    assert whole.class_names == ("0", "1")


def test_labels_may_be_names() -> None:
    images, labels = np.zeros((20, 3, 2), np.uint8), np.array(["shoe", "bag"] * 10)
    dataset = Dataset.from_arrays(images, labels, images[:2], labels[:2].astype("S"))
    assert dataset.class_names == ("bag", "shoe")
    assert dataset.test.labels.tolist() == [1, 0]
    with pytest.raises(InputError, match="arrays has the label 'hat', which is not among its"):
        Dataset.from_arrays(images, labels, images[:1], ["hat"])
    with pytest.raises(InputError, match="labels that are text and labels that are numbers"):
        Dataset.from_arrays(images, labels, images[:1], [0])
    numbers = [str(number % 12) for number in range(len(images))]
    by_value = Dataset.from_arrays(images, numbers, images, numbers).class_names
    assert by_value == tuple(map(str, range(12)))


@pytest.mark.parametrize("label", [-1, 2000])
def test_a_label_out_of_range_is_named(label: int) -> None:
    images, labels = np.zeros((20, 3, 2), np.uint8), np.append(np.arange(19) % 2, label)
    with pytest.raises(InputError, match=f"has the training label {label}: labels must be from 0"):
        Dataset.from_arrays(images, labels, images, labels)


SPLIT = Split(IMAGES, LABELS)
MADE = Dataset("mine", SPLIT, SPLIT[:0], SPLIT, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": Split(IMAGES, LABELS + 1)}, "mine has the train label 3, but 3 class names"),
        ({"validation": Split(IMAGES, LABELS - 1)}, "label -1, .*: labels must be from 0 to 2"),
        ({"test": Split(IMAGES[:, 1:], LABELS)}, r"test images of \(27, 28\) pixels, but training"),
        ({"train": SPLIT[:0]}, "mine has no training images"),
        ({"class_names": ("a",)}, "mine has 1 class names: there must be 2 to 1000"),
        ({"class_names": tuple(map(str, range(1001)))}, "mine has 1001 class names"),
        ({"class_names": ("a", "b", "")}, "the class name '': names must be 1 to 256 characters"),
        ({"class_names": ("a", "b", "x" * 5_000_000)}, f"the class name '{'x' * 20}': names must"),
        ({"class_names": ("a", "b\x1b[2J")}, "'b.x1b.2J': names must .* control characters"),
        ({"class_names": ("a", "b", "a")}, "mine has the class name 'a' 2 times"),
    ],
)
def test_splits_and_names_that_do_not_fit_together_are_rejected(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        replace(MADE, **changes)
