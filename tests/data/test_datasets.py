"""Dataset and Split: slices, shapes and checksums."""

import hashlib
from dataclasses import replace

import numpy as np

from kmnist import Dataset


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
