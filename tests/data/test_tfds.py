"""TFDS as a source: downloads, prepared data without a network, and what is rejected."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmnist import load_dataset
from kmnist.errors import ColourError, InputError, MissingError

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_what_tfds_prepared_is_read_without_a_network(
    tiny_tfds: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # where nothing listens
    # A checkout of this project has a folder kmnist, and TFDS a data set of that name.
    (tmp_path / "tiny_digits").mkdir()
    monkeypatch.chdir(tmp_path)
    source = load_dataset(tiny, validation_size=0)
    dataset = load_dataset("tiny_digits", data_dir=tiny_tfds)
    assert repr(dataset) == "Dataset(tiny_digits/1.0.0: 450 / 50 / 200 of 28×28, 10 classes)"
    assert dataset.class_names == tuple("0123456789")
    assert sorted(dataset.test.labels) == sorted(source.test.labels)
    sevens = dataset.test.images[dataset.test.labels == 7]
    assert sevens.sum() == source.test.images[source.test.labels == 7].sum()


def test_damaged_prepared_data_is_rejected(tiny_tfds: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_tfds, tmp_path, dirs_exist_ok=True)
    (records,) = tmp_path.glob("tiny_digits/1.0.0/*-train.*")
    records.write_bytes(records.read_bytes()[:-100])
    with pytest.raises(MissingError, match=r"TFDS cannot load 'tiny_digits': .*truncated") as error:
        load_dataset("tiny_digits", data_dir=tmp_path)
    assert "\n" not in str(error.value)


def test_names_that_tfds_does_not_have_and_images_with_colours_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="TFDS has no data set 'mnits': look up its name in"):
        load_dataset("mnits")
    with pytest.raises(MissingError, match="TFDS cannot load 'fashion mnist!': "):
        load_dataset("fashion mnist!")
    with pytest.raises(ColourError, match="'cifar10' has colours: convert to greyscale"):
        load_dataset("cifar10", data_dir=tmp_path)  # before a download


def test_a_failed_download_and_labels_that_are_no_classes_are_rejected(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import tensorflow_datasets as tfds

    class BrokenDigits(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
        VERSION = tfds.core.Version("1.0.0")
        label: Any = tfds.features.ClassLabel(num_classes=10)

        def _info(self) -> Any:
            features = {"image": tfds.features.Image(shape=(28, 28, 1)), "label": self.label}
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, _: Any) -> Any:
            raise OSError("no space\nleft on device")

        def _generate_examples(self) -> Any:
            raise NotImplementedError

    with pytest.raises(MissingError, match=r"load 'broken_digits': .*no space left on device"):
        load_dataset("broken_digits", data_dir=tmp_path)
    out, err = capfd.readouterr()
    assert (out, err) == (
        "",
        f"TFDS downloads broken_digits/1.0.0 to {tmp_path}/broken_digits/1.0.0\n",
    )
    BrokenDigits.label = tfds.features.Scalar(np.int64)
    with pytest.raises(InputError, match="'broken_digits' does not have an image, uint8 of one si"):
        load_dataset("broken_digits", data_dir=tmp_path)
