"""TFDS as a source: prepared data without a network, and what is rejected."""

from pathlib import Path
from typing import Never

import numpy as np
import pytest

from kmnist import load_dataset
from kmnist.data.tfds import read_tfds
from kmnist.errors import InputError, MissingError

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

NAMES = [f"digit {digit}" for digit in range(10)]


def prepare(tiny: Path, data_dir: Path, *splits: str) -> None:
    """Prepare the tiny data set as ``tiny_digits`` in ``data_dir``."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    source = load_dataset(tiny, validation_size=0)
    tfds.dataset_builders.store_as_tfds_dataset(
        "tiny_digits",
        "1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(28, 28, 1), dtype=np.uint8),
                "label": tfds.features.ClassLabel(names=NAMES),
            }
        ),
        split_datasets={
            split: tf.data.Dataset.from_tensor_slices(
                {"image": part.images[..., None], "label": part.labels.astype(np.int64)}
            )
            for split, part in (("train", source.train), ("test", source.test))
            if split in splits
        },
        data_dir=data_dir,
    )


def test_prepared_data_is_read_without_a_network(tiny: Path, tmp_path: Path) -> None:
    prepare(tiny, tmp_path, "train", "test")
    source = load_dataset(tiny, validation_size=0)
    dataset = read_tfds("tiny_digits", tmp_path)
    assert dataset.name == "tiny_digits/1.0.0"
    assert dataset.class_names == tuple(NAMES)
    assert dataset.train.images.shape == (500, 28, 28)
    assert dataset.train.images.dtype == np.uint8
    assert len(dataset.validation) == 0
    assert sorted(dataset.test.labels) == sorted(source.test.labels)
    sevens = dataset.test.images[dataset.test.labels == 7]
    assert sevens.sum() == source.test.images[source.test.labels == 7].sum()


def test_a_data_set_without_a_test_split_is_rejected(tiny: Path, tmp_path: Path) -> None:
    prepare(tiny, tmp_path, "train")
    with pytest.raises(InputError, match="has the splits train; expected train and test"):
        read_tfds("tiny_digits", tmp_path)


def test_unknown_and_malformed_names_are_rejected() -> None:
    with pytest.raises(MissingError, match=r"TFDS has no data set 'mnits'.*or 'mnist'"):
        read_tfds("mnits")
    with pytest.raises(InputError, match="received 'fashion mnist!'; expected a TFDS name such as"):
        read_tfds("fashion mnist!")


def test_colour_images_are_rejected_before_a_download(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\(32, 32, 3\); expected grey"):
        read_tfds("cifar10", tmp_path)


def test_a_failed_download_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_datasets as tfds

    def fail(*_arguments: object, **_options: object) -> Never:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(
        MissingError,
        match=r"cannot be downloaded \(ConnectionError\); prepare it on a machine with",
    ) as error:
        read_tfds("kmnist", tmp_path)
    assert "\n" not in str(error.value)
