"""Dataset and Split: slices, what they reject, and checksums."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmnist import Dataset, InputError
from kmnist.data import Split
from kmnist.errors import ColourError


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


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"batch_size": 1.5}, {"seed": -1}])
def test_batches_of_no_size_are_refused(tiny_dataset: Dataset, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"received {min(arguments)} {min(arguments.values())}; "):
        tiny_dataset.test.batches(**{"batch_size": 10} | arguments)


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


def test_arrays_with_colours_are_refused_or_converted() -> None:
    images = np.repeat(IMAGES[..., None], 3, axis=3)
    same = Dataset.from_arrays(images, LABELS, IMAGES, LABELS)
    assert same.image_shape == (28, 28)
    images[1, :, :, 0] = 200
    with pytest.raises(
        ColourError, match=r"arrays has images with colours, uint8 \(6, 28, 28, 3\)"
    ):
        Dataset.from_arrays(images, LABELS, IMAGES, LABELS)
    grey = Dataset.from_arrays(images, LABELS, IMAGES, LABELS, grey=True, validation_size=0)
    assert grey.train.images[:3, 0, 0].tolist() == [0, 60, 0]


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="arrays has the test label 3; expected 0 to 2"):
        Dataset.from_arrays(IMAGES, LABELS, IMAGES, LABELS + 1)
    with pytest.raises(InputError, match=r"float64 \(6, 28, 28\); .*scale them"):
        Dataset.from_arrays(IMAGES / 255, LABELS, IMAGES, LABELS)
    with pytest.raises(InputError, match=r"labels float64 \(6, 3\); .*argmax"):
        Dataset.from_arrays(IMAGES, np.eye(3)[LABELS], IMAGES, LABELS)
    with pytest.raises(InputError, match="arrays has 0 class names"):
        Dataset.from_arrays(IMAGES[:0], LABELS[:0], IMAGES, LABELS)


def test_the_validation_split_is_a_tenth_of_at_most_5000() -> None:
    images = np.broadcast_to(np.uint8(0), (60_000, 1, 1))
    split = Split(images, np.zeros(60_000, np.uint8))
    sizes = {}
    for count in (5, 400, 60_000):
        dataset = Dataset("x", split[:count], split[:0], split[:1], ("a", "b"))
        sizes[count] = len(dataset.hold_out().validation)
    assert sizes == {5: 0, 400: 40, 60_000: 5_000}


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
