"""Data sources: the bundled MNIST, IDX folders and TFDS, and what each refuses."""

import hashlib
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Never

import numpy as np
import pytest

from kmnist import load_dataset
from kmnist.data.idx import read_idx, write_idx
from kmnist.errors import InputError, MissingError

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"

# The canonical MNIST, unzipped.
MD5 = {
    TRAIN_IMAGES: "6bbc9ace898e44ae57da46a324031adb",
    TRAIN_LABELS: "a25bea736e30d166cdddb491f175f624",
    TEST_IMAGES: "2646ac647ad5339dbf082846283269ea",
    TEST_LABELS: "27ae3e4e09519cfbb04c329615203637",
}


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data set, to be damaged."""
    return Path(shutil.copytree(tiny, tmp_path / "digits"))


def change(folder: Path, name: str, values: np.ndarray) -> Path:
    """Replaces a compressed file by a raw one."""
    (folder / f"{name}.gz").unlink()
    write_idx(folder / name, values)
    return folder / name


def test_the_bundled_files_are_the_canonical_mnist() -> None:
    for name, md5 in MD5.items():
        path = Path(str(files("kmnist") / "data/mnist" / f"{name}.gz"))
        ndim = 3 if "images" in name else 1
        shape = {3: "08030000", 1: "08010000"}[ndim]
        values = read_idx(path, ndim=ndim)
        raw = bytes.fromhex("0000" + shape[:4]) + b"".join(
            size.to_bytes(4, "big") for size in values.shape
        )
        digest = hashlib.md5(raw + values.tobytes())
        assert digest.hexdigest() == md5


def test_the_checksums_beside_the_bundled_files_are_theirs() -> None:
    mnist = Path(str(files("kmnist") / "data/mnist"))
    stated = dict(
        reversed(line.split()) for line in (mnist / "SHA256SUMS").read_text().splitlines()
    )
    assert stated == load_dataset("mnist").checksums()


def test_mnist_is_split_as_in_the_tutorial() -> None:
    dataset = load_dataset()
    assert [len(dataset.train), len(dataset.validation), len(dataset.test)] == [55000, 5000, 10000]
    assert dataset.validation.labels[:5].tolist() == [5, 0, 4, 1, 9]  # the first of the 60,000
    assert dataset.class_names == tuple("0123456789")
    assert dataset.image_shape == (28, 28)
    assert dataset.name == "mnist"


def test_a_folder_may_hold_raw_and_compressed_files(folder: Path, tiny: Path) -> None:
    change(folder, TRAIN_IMAGES, read_idx(folder / f"{TRAIN_IMAGES}.gz", ndim=3))
    mixed, plain = (load_dataset(path, validation_size=50) for path in (folder, tiny))
    assert np.array_equal(mixed.train.images, plain.train.images)
    assert np.array_equal(mixed.train.labels, plain.train.labels)
    assert len(mixed.validation) == 50


def test_other_sizes_and_class_names_are_taken(folder: Path) -> None:
    change(folder, TRAIN_IMAGES, np.zeros((500, 20, 30), np.uint8))
    change(folder, TEST_IMAGES, np.zeros((200, 20, 30), np.uint8))
    (folder / "classes.txt").write_text(
        "\n".join("zero one two three four five six seven eight nine ten".split()) + "\n"
    )
    dataset = load_dataset(str(folder), validation_size=0)
    assert dataset.image_shape == (20, 30)
    assert dataset.class_names[10] == "ten"
    assert len(dataset.validation) == 0
    assert "classes.txt" in dataset.checksums()


def test_classes_are_counted_from_the_training_labels(folder: Path) -> None:
    labels = np.arange(500, dtype=np.uint8) % 4
    change(folder, TRAIN_LABELS, labels)
    change(folder, TEST_LABELS, labels[:200])
    assert load_dataset(folder, validation_size=0).class_names == ("0", "1", "2", "3")


def test_a_folder_is_not_taken_for_a_tfds_name_that_it_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A checkout of this project has a folder kmnist, and TFDS a data set of that name.
    (tmp_path / "no_such_tfds_name").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingError, match="TFDS knows no data set"):
        load_dataset("no_such_tfds_name")


def test_a_missing_folder_and_a_missing_file_are_named(folder: Path) -> None:
    with pytest.raises(MissingError, match="there is no folder /nowhere"):
        load_dataset("/nowhere")
    (folder / f"{TEST_LABELS}.gz").unlink()
    with pytest.raises(MissingError, match=f"neither {TEST_LABELS} nor"):
        load_dataset(folder)


def test_a_count_of_labels_unlike_the_images_is_refused(folder: Path) -> None:
    change(folder, TRAIN_LABELS, np.zeros(499, np.uint8))
    with pytest.raises(InputError, match=r"500 images, but .*499 labels"):
        load_dataset(folder)


def test_test_images_of_another_size_are_refused(folder: Path) -> None:
    change(folder, TEST_IMAGES, np.zeros((200, 27, 28), np.uint8))
    with pytest.raises(InputError, match=r"\(27, 28\) pixels"):
        load_dataset(folder)


def test_labels_out_of_range_are_refused(folder: Path) -> None:
    labels = np.arange(200, dtype=np.uint8) % 10
    labels[7] = 10
    path = change(folder, TEST_LABELS, labels)
    with pytest.raises(InputError, match="has a label 10; expected labels from 0 to 9") as refusal:
        load_dataset(folder)
    assert str(path) in str(refusal.value)
    (folder / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(InputError, match=r"classes.txt has 3 classes"):
        load_dataset(folder)


def test_bad_class_names_are_refused(folder: Path) -> None:
    (folder / "classes.txt").write_text("one\ntwo\none\n")
    with pytest.raises(InputError, match="names 'one' twice"):
        load_dataset(folder)
    (folder / "classes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        load_dataset(folder)


def test_a_single_class_is_refused(folder: Path) -> None:
    change(folder, TRAIN_LABELS, np.zeros(500, np.uint8))
    with pytest.raises(InputError, match="has 1 class; expected at least two"):
        load_dataset(folder)


@pytest.mark.parametrize("size", [-1, 500, 5000])
def test_a_validation_size_that_leaves_nothing_is_refused(tiny: Path, size: int) -> None:
    with pytest.raises(InputError, match=f"validation size of {size}.*from 0 to 499"):
        load_dataset(tiny, validation_size=size)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
class TestTFDS:
    """Against TFDS itself, with data prepared in a folder of the test's."""

    def test_prepared_data_is_read_without_network(self, tiny: Path, tmp_path: Path) -> None:
        import tensorflow as tf
        import tensorflow_datasets as tfds

        source = load_dataset(tiny, validation_size=0)
        names = [f"digit {digit}" for digit in range(10)]
        tfds.dataset_builders.store_as_tfds_dataset(
            "tiny_digits",
            "1.0.0",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(names=names),
                }
            ),
            split_datasets={
                split: tf.data.Dataset.from_tensor_slices(
                    {"image": part.images[..., None], "label": part.labels.astype(np.int64)}
                )
                for split, part in (("train", source.train), ("test", source.test))
            },
            data_dir=tmp_path,
        )
        dataset = load_dataset("tiny_digits", validation_size=100, data_dir=tmp_path)
        assert dataset.class_names == tuple(names)
        assert dataset.train.images.shape == (400, 28, 28)
        assert sorted(dataset.test.labels) == sorted(source.test.labels)
        of_a_seven = dataset.test.images[dataset.test.labels == 7]
        assert of_a_seven.sum() == source.test.images[source.test.labels == 7].sum()
        assert set(dataset.checksums()) == {"train", "validation", "test"}
        assert dataset.name == "tiny_digits/1.0.0"

    def test_unknown_names_are_one_clear_line(self) -> None:
        with pytest.raises(MissingError, match=r"knows no data set 'mnits'.*or 'mnist'"):
            load_dataset("mnits")
        with pytest.raises(InputError, match="not a name that TFDS can read"):
            load_dataset("fashion mnist!")

    def test_colour_images_are_refused_before_a_download(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"\(32, 32, 3\); expected grey"):
            load_dataset("cifar10", data_dir=tmp_path)

    def test_a_failed_download_is_one_clear_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import tensorflow_datasets as tfds

        def fail(*args, **kwargs) -> Never:
            raise ConnectionError("no route to host")

        monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
        with pytest.raises(
            MissingError, match=r"cannot be downloaded \(ConnectionError\).*--data-dir"
        ):
            load_dataset("kmnist", data_dir=tmp_path)
