"""IDX files: reading, writing, and which files are rejected."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.data import idx
from kmnist.data.idx import read_idx, write_idx
from kmnist.errors import InputError


def header(*shape: int, kind: int = 8, ndim: int | None = None) -> bytes:
    dimensions = len(shape) if ndim is None else ndim
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, dimensions, *shape)


@pytest.fixture
def images(tiny: Path) -> NDArray[np.uint8]:
    return read_idx(tiny / "t10k-images-idx3-ubyte.gz", ndim=3)


def test_real_images_and_labels_are_read(tiny: Path, images: NDArray[np.uint8]) -> None:
    labels = read_idx(tiny / "t10k-labels-idx1-ubyte.gz", ndim=1)
    assert images.shape == (200, 28, 28)
    assert images.dtype == np.uint8
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]  # MNIST's first test digits


@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_written_values_are_read_back(tmp_path: Path, images: NDArray[np.uint8], name: str) -> None:
    write_idx(tmp_path / name, images)
    assert np.array_equal(read_idx(tmp_path / name, ndim=3), images)


def test_equal_values_give_equal_compressed_files(
    tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    write_idx(tmp_path / "a.gz", images)
    write_idx(tmp_path / "b.gz", images)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_a_large_raw_file_is_memory_mapped(
    tmp_path: Path, images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_idx(tmp_path / "images", images)
    monkeypatch.setattr(idx, "_MAP_FROM_BYTES", 1000)
    mapped = read_idx(tmp_path / "images", ndim=3)
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(mapped, images)


def test_values_other_than_bytes_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="float64"):
        write_idx(tmp_path / "floats", np.zeros(3))  # type: ignore[arg-type]


INVALID = {
    "empty file": (b"", r"starts with the bytes \(none\)"),
    "not IDX": (b"GIF89a and more", "starts with the bytes 47 49 46 38"),
    "floats": (header(2, 2, 2, kind=13) + bytes(8), "starts with the bytes 00 00 0d 03"),
    "labels for images": (header(8) + bytes(8), "in 3 dimensions"),
    "truncated header": (header(2, 2, ndim=3), "header is truncated"),
    "no images": (header(0, 28, 28), r"has the shape \(0, 28, 28\); expected at least one"),
    "too short": (header(2, 2, 2) + bytes(7), "cannot hold them"),
    "too long": (header(2, 2, 2) + bytes(9), "more follow"),
    "terabytes": (header(2**32 - 1, 2**16, 2**16), "cannot hold them"),
}


@pytest.mark.parametrize(("content", "message"), INVALID.values(), ids=INVALID)
def test_an_invalid_raw_file_is_rejected_by_name(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "bad-images"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_idx(path, ndim=3)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_memory_mapped_file_that_is_too_long_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idx, "_MAP_FROM_BYTES", 10)
    path = tmp_path / "images"
    path.write_bytes(header(2, 2, 2) + bytes(9))
    with pytest.raises(InputError, match="more follow"):
        read_idx(path, ndim=3)


GOOD = header(2, 2, 2) + bytes(range(8))
INVALID_COMPRESSED = {
    "not gzip": (GOOD, "gzip stream is corrupt"),
    "truncated": (gzip.compress(GOOD)[:-10], "gzip stream is truncated"),
    "wrong checksum": (gzip.compress(GOOD)[:-8] + bytes(8), "gzip stream is corrupt"),
    "damaged": (gzip.compress(GOOD)[:12] + b"\xff\xff" + gzip.compress(GOOD)[14:], "corrupt"),
    "too short": (gzip.compress(GOOD[:-1]), "only 7 are present"),
    "too long": (gzip.compress(GOOD + b"x"), "more follow"),
    "terabytes": (gzip.compress(header(2**32 - 1, 2**16, 2**16)), "cannot hold them"),
}


@pytest.mark.parametrize(
    ("content", "message"), INVALID_COMPRESSED.values(), ids=INVALID_COMPRESSED
)
def test_an_invalid_compressed_file_is_rejected_by_name(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "bad-images.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_idx(path, ndim=3)
    assert str(path) in str(error.value)


def test_every_flipped_bit_of_a_header_is_detected(
    tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    write_idx(tmp_path / "good", images[:3])
    good = (tmp_path / "good").read_bytes()
    for position in range(16):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            (tmp_path / "bad").write_bytes(bad)
            with pytest.raises(InputError):
                read_idx(tmp_path / "bad", ndim=3)
