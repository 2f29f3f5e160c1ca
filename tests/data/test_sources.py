"""load_dataset: which source a name refers to, the validation split, and the size of the images."""

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmnist import load_dataset
from kmnist.data.sources import needs_tensorflow
from kmnist.errors import InputError, MissingError


def test_the_bundled_files_have_the_listed_checksums() -> None:
    lines = (files("kmnist") / "data/mnist/SHA256SUMS").read_text().splitlines()
    listed = {name: checksum for checksum, name in map(str.split, lines)}
    assert listed == load_dataset("mnist").checksums()


def test_mnist_is_split_as_in_the_tutorial() -> None:
    dataset = load_dataset()
    assert repr(dataset) == "Dataset(mnist: 55,000 / 5,000 / 10,000 of 28×28, 10 classes)"
    assert dataset.validation.labels[:5].tolist() == [5, 0, 4, 1, 9]  # the first of the 60,000
    assert dataset.class_names == tuple("0123456789")


def test_the_first_training_images_are_held_out_for_validation(tiny: Path) -> None:
    whole, split = load_dataset(tiny, validation_size=0), load_dataset(tiny, validation_size=50)
    assert len(whole.validation) == 0
    assert np.array_equal(split.validation.images, whole.train.images[:50])
    assert np.array_equal(split.train.labels, whole.train.labels[50:])
    assert len(load_dataset(tiny).validation) == 50  # a tenth


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation_size": -1}, "validation_size must be an integer from 0 to 499, not -1"),
        ({"validation_size": 500}, "from 0 to 499, not 500"),
        ({"image_size": 0}, "image_size must be an integer from 1 to 1,024, not 0"),
        ({"image_size": (28, 2000)}, "image_size must be an integer from 1 to 1,024, not 2000"),
        (
            {"image_size": 20},
            r"tiny has images of \(28, 28\), not of \(20, 20\) pixels: only folder",
        ),
    ],
)
def test_sizes_that_the_data_does_not_have_are_rejected(
    tiny: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset(tiny, **arguments)
    assert load_dataset(tiny, image_size=28).image_shape == (28, 28)


def test_a_source_may_be_a_bare_name(
    tiny: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.parent)
    shutil.copytree(tiny, "digits")
    test = load_dataset("digits", validation_size=0).test
    half: Any = {"x_train": test.images, "y_train": test.labels}
    np.savez("digits.npz", **half, x_test=test.images, y_test=test.labels)
    assert repr(load_dataset("pictures")) == "Dataset(pictures: 36 / 4 / 20 of 28×28, 10 classes)"
    assert len(load_dataset("digits.npz", validation_size=0).train) == 200
    sources = "digits", "digits.npz", "mnist", "pictures", "fashion_mnist", "tfds:mnist"
    assert [needs_tensorflow(source) for source in sources] == [False] * 3 + [True] * 3


def test_a_folder_or_a_file_that_is_no_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"the four IDX files .*, or a folder of pictures"):
        load_dataset(tmp_path)
    for name in ("/nowhere", "./nowhere.npz", "nowhere.npz"):
        with pytest.raises(MissingError, match=f"there is no folder or file {name}: a data set is"):
            load_dataset(name)
    with pytest.raises(MissingError, match="there is no folder or file no/such/folder: a data set"):
        load_dataset("no/such/folder")
    with pytest.raises(InputError, match="is a file: a data set is a folder, an "):
        load_dataset(__file__)
