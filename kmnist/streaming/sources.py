"""Sources of any number of images or pictures, read in chunks, in an order that does not change."""

import hashlib
import math
import os
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kmnist.data.idx import open_idx
from kmnist.errors import InputError, MissingError

__all__ = ["Chunk", "Source", "SourceLike", "open_source"]

SourceLike: TypeAlias = (
    "str | os.PathLike[str] | NDArray[np.uint8] | Iterable[str | os.PathLike[str]]"
)

_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".webp")

# The number of images that a request of the client has by default, and the bytes of large ones.
_IMAGES: Final = 1000
_IMAGE_BYTES: Final = 2_900_000
# A request may have 100 pictures. Fewer of them share their cores more evenly.
_PICTURES: Final = 32


class Chunk(NamedTuple):
    """The images of one request.

    Attributes:
        inputs: The paths of pictures, or the indexes of images.
        images: uint8 (n, h, w); None for pictures, which are still to be read.
        fingerprint: A digest of the source from its beginning to the end of this chunk.
    """

    inputs: Sequence[str] | range
    images: NDArray[np.uint8] | None
    fingerprint: str


class Source(Protocol):
    """A source, which is read once from its beginning to its end.

    Attributes:
        total: The number of images; None if it is not known in advance.
        folder: The folder that the paths of pictures start from; None for images.
    """

    total: int | None
    folder: Path | None

    def skip(self, count: int) -> str:
        """Skip the first images, at most all; return the fingerprint of those skipped."""

    def __iter__(self) -> Iterator[Chunk]:
        """Read the images that follow; an InputError says that the source is damaged or changes."""


class _Images:
    """Images that ``read`` returns by their first and last index."""

    folder: Path | None = None

    def __init__(
        self,
        shape: tuple[int, ...],
        read: Callable[[int, int], NDArray[np.uint8]],
        fingerprint: str = "",
    ) -> None:
        self.total: int | None = shape[0]
        self._count = shape[0]
        self._step = max(1, min(_IMAGES, _IMAGE_BYTES // max(1, math.prod(shape[1:]))))
        self._read = read
        self._start = 0
        self._fingerprint = fingerprint

    def skip(self, count: int) -> str:
        self._start = count
        return self._fingerprint

    def __iter__(self) -> Iterator[Chunk]:
        for start in range(self._start, self._count, self._step):
            stop = min(start + self._step, self._count)
            yield Chunk(range(start, stop), self._read(start, stop), self._fingerprint)


class _Pictures:
    """Picture files by their paths; the fingerprint is a digest of the paths."""

    def __init__(
        self, paths: Iterable[str | os.PathLike[str]], folder: Path, total: int | None
    ) -> None:
        self.total = total
        self.folder: Path | None = folder
        self._paths = (os.fspath(path) for path in paths)
        self._digest = hashlib.sha256()

    def skip(self, count: int) -> str:
        while paths := self._next(min(_PICTURES, count)):
            count -= len(paths)
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[Chunk]:
        while paths := self._next(_PICTURES):
            yield Chunk(paths, None, self._digest.hexdigest())

    def _next(self, count: int) -> list[str]:
        paths = list(islice(self._paths, count))
        for path in paths:
            self._digest.update(path.encode("utf-8", "surrogateescape") + b"\0")
        return paths


@contextmanager
def open_source(source: SourceLike) -> Iterator[Source]:
    """Open a source; see :func:`kmnist.streaming.predict_stream`.

    Raises:
        InputError: The source is of another kind, damaged or empty.
        MissingError: There is no such file or folder.
        OSError: It cannot be read.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3:
            raise InputError(
                f"received an array {source.dtype} {source.shape}; expected uint8 (n, h, w)"
            )
        yield _Images(source.shape, lambda start, stop: source[start:stop])
        return
    if not isinstance(source, (str, os.PathLike)):
        yield _Pictures(source, Path(), None)
        return
    path = Path(source)
    if path.is_dir():
        with _sorted_pictures(path) as (paths, count):
            yield _Pictures(paths, path, count)
    elif not path.exists():
        raise MissingError(
            f"there is no file or folder {path}; expected a folder, IDX or .npz file"
        )
    elif not path.is_file():
        raise InputError(f"{path} is not a regular file; expected a folder, IDX or .npz file")
    elif path.suffix == ".npz":
        with _open_npz(path) as (stream, shape):
            yield _file_images(path, stream, shape)
    else:
        with open_idx(path, ndim=3) as (stream, shape):
            yield _file_images(path, stream, shape)


def _file_images(path: Path, stream: IO[bytes], shape: tuple[int, ...]) -> _Images:
    """Return the images of an opened file, which is read in order.

    It is not memory-mapped: mapped pages count as memory of the process, and a file that is
    truncated would end it.
    """
    first, size, before = stream.tell(), math.prod(shape[1:]), _state(path)

    def read(start: int, stop: int) -> NDArray[np.uint8]:
        position = first + start * size
        if stream.tell() != position:
            stream.seek(position)
        data = stream.read((stop - start) * size)
        if _state(path) != before:
            raise InputError(
                f"{path} was changed while it was read; start again when it is complete"
            )
        if len(data) < (stop - start) * size:
            raise InputError(f"{path} ends before image {stop}; expected {shape[0]}")
        if stop == shape[0] and stream.read(1):
            raise InputError(f"{path} is longer than its header promises; fetch the file again")
        return np.frombuffer(data, np.uint8).reshape(-1, *shape[1:])

    return _Images(shape, read, before)


def _state(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "deleted"
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


@contextmanager
def _open_npz(path: Path) -> Iterator[tuple[IO[bytes], tuple[int, ...]]]:
    """Open the one array of images of an ``.npz`` file; yield its bytes and its shape."""
    try:
        with zipfile.ZipFile(path) as archive:
            shapes = {name: _npy_shape(archive, name) for name in archive.namelist()}
            found = [name for name, shape in shapes.items() if shape]
            if len(found) != 1:
                listed = ", ".join(name.removesuffix(".npy") for name in found) or "none"
                raise InputError(
                    f"{path}: has these arrays of images, uint8 (n, h, w): {listed}; expected one; "
                    "save the one to classify in a file of its own"
                )
            with archive.open(found[0]) as stream:
                _npy_header(stream)
                yield stream, shapes[found[0]]
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{path} is not a valid .npz file ({error}); write it again") from None


def _npy_shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    """Return the shape of an array of images; () for anything else."""
    try:
        with archive.open(name) as stream:
            shape, is_fortran, dtype = _npy_header(stream)
    except ValueError:  # not an array
        return ()
    return shape if dtype == np.uint8 and len(shape) == 3 and not is_fortran else ()


def _npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


@contextmanager
def _sorted_pictures(folder: Path) -> Iterator[tuple[Iterator[str], int]]:
    """List the pictures below a folder; yield their sorted relative paths and their number.

    A temporary database of SQLite sorts them: it moves to the disk what exceeds its cache.
    """
    names = sqlite3.connect("", check_same_thread=False)
    try:
        names.execute("CREATE TABLE names (name BLOB PRIMARY KEY) WITHOUT ROWID")
        rows = ((os.fsencode(name),) for name in _walk(folder))
        names.executemany("INSERT INTO names VALUES (?)", rows)
        ((count,),) = names.execute("SELECT count(*) FROM names")
        if not count:
            raise InputError(f"{folder} has no pictures; expected files {', '.join(_SUFFIXES)}")
        found = names.execute("SELECT name FROM names ORDER BY name")
        yield (os.fsdecode(name) for (name,) in found), count
    finally:
        names.close()


def _walk(folder: Path) -> Iterator[str]:
    folders = [""]
    while folders:
        parent = folders.pop()
        with os.scandir(folder / parent) as entries:
            for entry in entries:
                name = os.path.join(parent, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                elif name.lower().endswith(_SUFFIXES):
                    yield name
