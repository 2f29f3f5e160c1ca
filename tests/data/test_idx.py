"""The IDX reader: what it reads, and every file that it refuses, by name."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from kmnist.data import idx
from kmnist.data.idx import read_idx, write_idx
from kmnist.errors import InputError


def header(*shape: int, kind: int = 8, ndim: int | None = None) -> bytes:
    dimensions = len(shape) if ndim is None else ndim
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, dimensions, *shape)


@pytest.fixture
def images(tiny: Path) -> np.ndarray:
    return read_idx(tiny / "t10k-images-idx3-ubyte.gz", ndim=3)


def test_reads_real_images_and_labels(tiny: Path, images: np.ndarray) -> None:
    labels = read_idx(tiny / "t10k-labels-idx1-ubyte.gz", ndim=1)
    assert images.shape == (200, 28, 28)
    assert images.dtype == np.uint8
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]  # MNIST's first test digits


@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_what_is_written_is_read_again(tmp_path: Path, images: np.ndarray, name: str) -> None:
    write_idx(tmp_path / name, images)
    assert np.array_equal(read_idx(tmp_path / name, ndim=3), images)


def test_the_same_values_give_the_same_compressed_file(tmp_path: Path, images: np.ndarray) -> None:
    write_idx(tmp_path / "a.gz", images)
    write_idx(tmp_path / "b.gz", images)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_a_large_raw_file_is_mapped(
    tmp_path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_idx(tmp_path / "images", images)
    monkeypatch.setattr(idx, "MAP_FROM_BYTES", 1000)
    mapped = read_idx(tmp_path / "images", ndim=3)
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(mapped, images)


def test_only_bytes_are_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="float64"):
        write_idx(tmp_path / "floats", np.zeros(3))  # type: ignore[arg-type]


REFUSED = {
    "empty file": (b"", r"starts with bytes \(none\)"),
    "not IDX": (b"GIF89a and more", "starts with bytes 47 49 46 38"),
    "floats": (header(2, 2, 2, kind=13) + bytes(8), "starts with bytes 00 00 0d 03"),
    "labels for images": (header(8) + bytes(8), "in 3 dimensions"),
    "header cut off": (header(2, 2, ndim=3), "ends inside its header"),
    "no images": (header(0, 28, 28), "holds nothing"),
    "too short": (header(2, 2, 2) + bytes(7), "cannot hold them"),
    "too long": (header(2, 2, 2) + bytes(9), "more follow"),
    "terabytes": (header(2**32 - 1, 2**16, 2**16), "cannot hold them"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_a_bad_raw_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad-images"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as refusal:
        read_idx(path, ndim=3)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_large_raw_file_that_goes_on_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idx, "MAP_FROM_BYTES", 10)
    path = tmp_path / "images"
    path.write_bytes(header(2, 2, 2) + bytes(9))
    with pytest.raises(InputError, match="more follow"):
        read_idx(path, ndim=3)


GOOD = header(2, 2, 2) + bytes(range(8))
REFUSED_COMPRESSED = {
    "not gzip": (GOOD, "gzip stream is corrupt"),
    "cut off": (gzip.compress(GOOD)[:-10], "gzip stream is cut off"),
    "wrong check sum": (gzip.compress(GOOD)[:-8] + bytes(8), "gzip stream is corrupt"),
    "damaged": (gzip.compress(GOOD)[:12] + b"\xff\xff" + gzip.compress(GOOD)[14:], "corrupt"),
    "too short": (gzip.compress(GOOD[:-1]), "only 7 are there"),
    "too long": (gzip.compress(GOOD + b"x"), "more follow"),
    "terabytes": (gzip.compress(header(2**32 - 1, 2**16, 2**16)), "cannot hold them"),
}


@pytest.mark.parametrize(
    ("content", "message"), REFUSED_COMPRESSED.values(), ids=REFUSED_COMPRESSED
)
def test_a_bad_compressed_file_is_refused_by_name(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "bad-images.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as refusal:
        read_idx(path, ndim=3)
    assert str(path) in str(refusal.value)


def test_every_flip_of_a_header_byte_is_refused_or_read_whole(
    tmp_path: Path, images: np.ndarray
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
