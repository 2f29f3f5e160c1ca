"""Sources: their order, their chunks, and what is wrong with them."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.data.idx import write_idx
from kmnist.errors import InputError, MissingError
from kmnist.streaming.sources import Chunk, SourceLike, open_source

Write = Callable[[Path, NDArray[np.uint8]], None]


def write_npz(path: Path, images: NDArray[np.uint8]) -> None:
    np.savez_compressed(path, images=images, labels=np.zeros(len(images), np.uint8))


def chunks(source: SourceLike, skip: int = 0) -> list[Chunk]:
    with open_source(source) as opened:
        opened.skip(skip)
        return list(opened)


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.idx", write_idx), ("t10k-images-idx3-ubyte.gz", write_idx), ("a.npz", write_npz)],
)
@pytest.mark.parametrize("skip", [0, 1300])
def test_a_file_is_read_in_chunks_from_any_image(
    name: str, write: Write, skip: int, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    write(tmp_path / name, images)
    found = chunks(tmp_path / name, skip)
    assert [index for chunk in found for index in chunk.inputs] == list(range(skip, 2500))
    parts = [chunk.images for chunk in found if chunk.images is not None]
    np.testing.assert_array_equal(np.concatenate(parts), images[skip:])
    assert max(map(len, parts)) == 1000


def test_large_images_come_in_small_chunks() -> None:
    found = chunks(np.zeros((4, 1200, 1200), np.uint8))
    assert [list(chunk.inputs) for chunk in found] == [[0, 1], [2, 3]]


def test_a_folder_is_sorted_by_name_with_its_folders(folder: Path) -> None:
    with open_source(folder) as source:
        assert (source.total, source.folder) == (4, folder)
        (chunk,) = source
    assert chunk.inputs == ["3.PNG", "5.PNG", "7.PNG", "more/1.jpg"]


def test_the_fingerprint_of_a_folder_is_that_of_the_names_so_far(folder: Path) -> None:
    with open_source(folder) as source:
        first = source.skip(2)
    (folder / "4.png").write_text("4")
    with open_source(folder) as source:
        assert source.skip(2) != first
    (folder / "4.png").rename(folder / "6.png")
    with open_source(folder) as source:
        assert source.skip(2) == first


def test_a_name_that_is_no_text_is_kept(tmp_path: Path) -> None:
    name = b"\xff.png"
    (tmp_path / os.fsdecode(name)).write_text("1")
    (chunk,) = chunks(tmp_path)
    assert [os.fsencode(path) for path in chunk.inputs if isinstance(path, str)] == [name]


def test_a_file_that_changes_under_way_is_an_error(
    images: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "a.idx"
    write_idx(path, images)
    with open_source(path) as source:
        reading = iter(source)
        next(reading)
        write_idx(path, images[:1500])
        with pytest.raises(InputError, match="was changed while it was read"):
            next(reading)


@pytest.mark.parametrize(("keep", "message"), [(-1, "cannot hold them"), (8, "longer than its")])
def test_a_file_of_another_length_than_promised_is_an_error(
    keep: int, message: str, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "a.idx"
    write_idx(path, images)
    content = path.read_bytes()
    path.write_bytes(content[:keep] if keep < 0 else content + b"more")
    with pytest.raises(InputError, match=message):
        chunks(path)


def test_a_truncated_gzip_stream_is_an_error(images: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    write_idx(path, np.random.default_rng(0).permuted(images, axis=0))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="gzip stream is truncated"):
        chunks(path)


def test_an_npz_file_has_one_array_of_images(images: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x_train=images, x_test=images)
    with pytest.raises(InputError, match=r"x_train, x_test; expected one"):
        chunks(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"is not a valid \.npz file"):
        chunks(path)


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"there is no file or folder .*no-such"):
        chunks(tmp_path / "no-such")
    with pytest.raises(InputError, match="has no pictures"):
        chunks(tmp_path)
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match="starts with the bytes 89 50 4e 47"):
        chunks(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        chunks(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"received an array float64 \(2, 28, 28\)"):
        chunks(np.zeros((2, 28, 28)))
