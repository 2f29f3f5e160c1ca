"""IDX files and folders of them: reading, writing, and what is rejected."""

import functools
import gzip
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist import load_dataset
from kmnist.data.idx import read_idx, write_idx
from kmnist.errors import InputError, MissingError

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"


def header(*shape: int, kind: int = 8, ndim: int | None = None) -> bytes:
    dimensions = len(shape) if ndim is None else ndim
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, dimensions, *shape)


@pytest.fixture
def images(tiny: Path) -> NDArray[np.uint8]:
    return read_idx(tiny / f"{TEST_IMAGES}.gz", ndim=3)


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data set, to modify."""
    return Path(shutil.copytree(tiny, tmp_path / "digits"))


def replace(folder: Path, name: str, values: NDArray[Any]) -> None:
    """Replace a compressed file with a raw one."""
    (folder / f"{name}.gz").unlink()
    write_idx(folder / name, values)


def test_written_values_are_read_back(tmp_path: Path, images: NDArray[np.uint8]) -> None:
    for name in ("raw", "a.gz", "b.gz"):
        write_idx(tmp_path / name, images)
        assert np.array_equal(read_idx(tmp_path / name, ndim=3), images)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_a_large_raw_file_is_memory_mapped(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(header(512, 1024, 1024) + b"\x07")
    os.truncate(path, 16 + 2**29)  # sparse
    mapped = read_idx(path, ndim=3)
    assert isinstance(mapped, np.memmap)
    assert (mapped[0, 0, :2].tolist(), mapped.shape) == ([7, 0], (512, 1024, 1024))


GOOD = header(2, 2, 2) + bytes(range(8))
TERABYTES = header(2**32 - 1, 2**16, 2**16)
gzipped = functools.partial(gzip.compress, mtime=0)  # the cases of all processes have one name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"begins with the bytes \(none\)"),
        (b"GIF89a and more", "begins with the bytes 47 49 46 38"),
        (header(2, 2, 2, kind=13) + bytes(8), "begins with the bytes 00 00 0d 03"),
        (header(8) + bytes(8), "in 3 dimensions"),
        (header(2, 2, ndim=3), "and the dimensions"),
        (header(0, 28, 28), r"has the shape \(0, 28, 28\), without any example"),
        (GOOD[:-1], r"8 bytes of data .* do not fit a file of 23 bytes; fetch it again"),
        (GOOD + b"x", "do not fit a file of 25 bytes"),
        (TERABYTES, "do not fit"),
        (gzipped(GOOD[:-1]), "the file has more or fewer"),
        (gzipped(GOOD + b"x"), "the file has more or fewer"),
        (gzipped(TERABYTES), "do not fit"),
        (gzipped(GOOD)[:-10], "the gzip stream is damaged"),
        (gzipped(GOOD)[:-8] + bytes(8), "the gzip stream is damaged"),
        (gzipped(GOOD)[:12] + b"\xff\xff" + gzipped(GOOD)[14:], "is damaged"),
    ],
)
def test_an_invalid_file_is_rejected_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / ("bad.gz" if content[:2] == b"\x1f\x8b" else "bad")
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_idx(path, ndim=3)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_raw_and_compressed_files_may_be_mixed(folder: Path, tiny: Path) -> None:
    replace(folder, TRAIN_IMAGES, read_idx(folder / f"{TRAIN_IMAGES}.gz", ndim=3))
    mixed, compressed = load_dataset(folder), load_dataset(tiny)
    assert np.array_equal(mixed.train.images, compressed.train.images)
    assert np.array_equal(mixed.train.labels, compressed.train.labels)
    assert [path.suffix for path in mixed.paths] == ["", ".gz", ".gz", ".gz", ".txt"]


@pytest.mark.parametrize("written", ["\n".join, lambda names: "\ufeff" + "\r\n".join(names)])
def test_images_may_have_any_size_and_classes_a_name(folder: Path, written: Any) -> None:
    (folder / "classes.txt").unlink()
    unnamed = load_dataset(folder)
    assert unnamed.notes == ("no classes.txt (one name a line): the names are class 0 to class 9",)
    assert unnamed.class_names == tuple(f"class {label}" for label in range(10))
    replace(folder, TRAIN_IMAGES, np.zeros((500, 20, 30), np.uint8))
    replace(folder, TEST_IMAGES, np.zeros((200, 20, 30), np.uint8))
    names = "zero one two three four five six seven eight nine ten".split()
    (folder / "classes.txt").write_bytes(written(names).encode())
    dataset = load_dataset(folder)
    assert (dataset.image_shape, dataset.notes) == ((20, 30), ())
    assert dataset.class_names == tuple(names)
    assert dataset.paths[-1].name == "classes.txt"


def test_files_that_do_not_fit_together_are_rejected(folder: Path) -> None:
    (folder / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(InputError, match=r"label 9, but 3 class names: labels must be from 0 to 2"):
        load_dataset(folder)
    (folder / "classes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"classes\.txt is not UTF-8 .*: write one class name a"):
        load_dataset(folder)
    (folder / "classes.txt").unlink()
    replace(folder, TRAIN_LABELS, np.arange(499, dtype=np.uint8) % 4)
    with pytest.raises(InputError, match="one label per image, not 499 labels for 500 images"):
        load_dataset(folder)
    (folder / f"{TEST_LABELS}.gz").unlink()
    with pytest.raises(MissingError, match=f"neither {TEST_LABELS} nor {TEST_LABELS}.gz: a data s"):
        load_dataset(folder)
