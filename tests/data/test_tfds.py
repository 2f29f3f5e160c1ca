"""TFDS as a source: downloads, prepared data without a network, and what is rejected."""

import shutil
from importlib import import_module
from pathlib import Path
from typing import Never

import numpy as np
import pytest

from kmnist import load_dataset
from kmnist.data import tfds as module
from kmnist.data.tfds import read_tfds
from kmnist.errors import ColourError, InputError, MissingError

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


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send every request to a port of this machine that nothing listens on."""
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")


def test_what_tfds_downloaded_and_prepared_is_read_without_a_network(
    tiny_tfds: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_network(monkeypatch)
    source = load_dataset(tiny, validation_size=0)
    dataset = read_tfds("tiny_digits", tiny_tfds)
    assert dataset.name == "tiny_digits/1.0.0"
    assert dataset.class_names == tuple("0123456789")
    assert dataset.train.images.shape == (500, 28, 28)
    assert dataset.train.images.dtype == np.uint8
    assert len(dataset.validation) == 0
    assert sorted(dataset.test.labels) == sorted(source.test.labels)
    sevens = dataset.test.images[dataset.test.labels == 7]
    assert sevens.sum() == source.test.images[source.test.labels == 7].sum()


def test_damaged_prepared_data_is_rejected_by_its_folder(tiny_tfds: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_tfds, tmp_path, dirs_exist_ok=True)
    (records,) = tmp_path.glob("tiny_digits/1.0.0/*-train.*")
    records.write_bytes(records.read_bytes()[:-100])
    with pytest.raises(
        InputError, match=r"1\.0\.0 cannot be read \(.*; delete that folder"
    ) as error:
        read_tfds("tiny_digits", tmp_path)
    assert "\n" not in str(error.value)


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
    with pytest.raises(ColourError, match=r"\(32, 32, 3\); expected grey ones; load it as grey"):
        read_tfds("cifar10", tmp_path)


def test_labels_that_are_not_classes_are_rejected() -> None:
    import tensorflow_datasets as tfds

    image, label = tfds.features.Image(shape=(28, 28, 1)), tfds.features.Scalar(np.int64)
    features = tfds.features.FeaturesDict({"image": image, "label": label})
    with pytest.raises(InputError, match="'ages' has labels that are not classes"):
        module._check_features(features, "ages", grey=False)


def test_without_a_network_tfds_makes_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import tensorflow_datasets as tfds

    def fail(*_: object, **__: object) -> Never:
        raise AssertionError

    no_network(monkeypatch)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(
        MissingError,
        match=r"downloaded \(codh\.rois\.ac\.jp does not answer: .*refused\); prepare it on a",
    ) as error:
        read_tfds("kmnist", tmp_path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_the_retries_of_a_download_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader

    retries: list[int] = []

    def fail(*_: object, **__: object) -> Never:
        retries.append(downloader.MAX_RETRIES)
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "_require_hosts", lambda _: None)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    usual = downloader.MAX_RETRIES
    with pytest.raises(MissingError, match=r"downloaded \(no space left on device\)"):
        read_tfds("kmnist", tmp_path)
    assert [*retries, downloader.MAX_RETRIES] == [4, usual]


def test_a_module_that_tfds_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow_datasets as tfds

    def fail(*_: object, **__: object) -> Never:
        try:
            import_module("no_such_module")
        except ModuleNotFoundError as error:
            raise RuntimeError("while preparing") from error
        raise AssertionError

    monkeypatch.setattr(module, "_require_hosts", lambda _: None)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(MissingError, match="needs the Python module no_such_module, which is not"):
        read_tfds("kmnist", tmp_path)
