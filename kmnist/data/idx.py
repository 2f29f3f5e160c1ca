"""Read and write IDX files, the file format of MNIST, and folders of the four files of MNIST.

An IDX file is two zero bytes, a byte for the type of the values (8: unsigned bytes, the only type
supported here), a byte for the number of dimensions, each dimension as a big-endian 32-bit
integer, and then the values in row-major order (Y. LeCun, C. Cortes, C. Burges, "The MNIST
database of handwritten digits"). A file whose name ends in ``.gz`` is compressed with gzip.
"""

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from kmnist.data.dataset import Dataset, Split
from kmnist.errors import InputError, MissingError

__all__ = [
    "find_test_images",
    "is_idx_folder",
    "open_idx",
    "read_idx",
    "read_idx_folder",
    "write_idx",
]

_UNSIGNED_BYTE: Final = 8

# Deflate expands by at most 1032:1 (technical details of zlib). A header that promises more is
# rejected before memory is allocated for it.
_MAX_EXPANSION: Final = 1040

# Larger raw files are memory-mapped, so that the kernel can evict their pages.
_MAP_FROM_BYTES: Final = 512 * 2**20

_TEST_IMAGES: Final = "t10k-images-idx3-ubyte"

# The files of a folder, with the number of their dimensions.
_FILES: Final = {
    "train-images-idx3-ubyte": 3,
    "train-labels-idx1-ubyte": 1,
    _TEST_IMAGES: 3,
    "t10k-labels-idx1-ubyte": 1,
}
_CLASSES: Final = "classes.txt"


def is_idx_folder(folder: Path) -> bool:
    """Return whether ``folder`` holds the IDX file of the training images."""
    return _find(folder, next(iter(_FILES))) is not None


def find_test_images(folder: Path) -> Path | None:
    """Return the file of the test images of a folder of IDX files; None for another folder."""
    return _find(folder, _TEST_IMAGES)


def read_idx_folder(folder: Path) -> Dataset:
    """Read a folder of IDX files.

    Args:
        folder: The folder, with the files listed at :func:`kmnist.load_dataset`.

    Returns:
        The data set, with an empty validation split. Without ``classes.txt``, the classes are
        "class 0", "class 1" and so on up to the highest training label, as ``notes`` says: nothing
        tells digits from clothes.

    Raises:
        InputError: A file is damaged, or :class:`Dataset` rejects what the files contain.
        MissingError: One of the four files does not exist.
        OSError: A file cannot be read.
    """
    paths = []
    for name in _FILES:
        path = _find(folder, name)
        if path is None:
            raise MissingError(
                f"{folder} has neither {name} nor {name}.gz: a data set is a folder of the four IDX "
                f"files {', '.join(_FILES)}, or a folder of pictures for each class"
            )
        paths.append(path)
    with ThreadPoolExecutor() as pool:  # decompression releases the GIL
        arrays = list(
            pool.map(lambda path, ndim: read_idx(path, ndim=ndim), paths, _FILES.values())
        )
    train, test = Split(*arrays[:2]), Split(*arrays[2:])
    named = folder / _CLASSES
    notes: tuple[str, ...] = ()
    if named.exists():
        class_names = _read_class_names(named)
        paths.append(named)
    else:
        class_names = tuple(f"class {label}" for label in range(int(train.labels.max()) + 1))
        notes = (f"no {_CLASSES} (one name a line): the names are class 0 to {class_names[-1]}",)
    return Dataset(str(folder), train, train[:0], test, class_names, tuple(paths), notes)


def read_idx(path: str | os.PathLike[str], *, ndim: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes.

    Args:
        path: The file; compressed if its name ends in ``.gz``.
        ndim: The number of dimensions to expect: 3 for images, 1 for labels.

    Returns:
        uint8, of the shape given in the header; read-only. Raw files of 512 MiB or more are
        memory-mapped.

    Raises:
        InputError: The file is not an IDX file of unsigned bytes in ``ndim`` dimensions, its
            length does not match its header, or it is truncated or corrupt.
        OSError: The file cannot be opened or read.
    """
    path = Path(path)
    with open_idx(path, ndim=ndim) as (stream, shape):
        if path.suffix != ".gz" and path.stat().st_size >= _MAP_FROM_BYTES:
            return np.memmap(path, np.uint8, "r", stream.tell(), shape)
        # One byte more shows whether the file is longer than promised.
        data = stream.read(math.prod(shape) + 1)
    if len(data) != math.prod(shape):
        raise InputError(
            f"{path}: the header promises {math.prod(shape)} bytes of data (shape {shape}), but the "
            "file has more or fewer; fetch it again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


@contextmanager
def open_idx(
    path: str | os.PathLike[str], *, ndim: int
) -> Iterator[tuple[BinaryIO, tuple[int, ...]]]:
    """Open an IDX file of unsigned bytes, to read its values in pieces.

    Args:
        path: The file; compressed if its name ends in ``.gz``.
        ndim: The number of dimensions to expect.

    Yields:
        The decompressed file at its first value, and the shape of all values. Errors of the
        compression that are raised within the block become InputErrors.

    Raises:
        InputError: The file is not an IDX file of unsigned bytes in ``ndim`` dimensions, or it is
            truncated or corrupt.
        OSError: The file cannot be opened or read.
    """
    path = Path(path)
    size, header = path.stat().st_size, 4 + 4 * ndim
    try:
        with path.open("rb") as raw:
            compressed = path.suffix == ".gz"
            stream = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if compressed else raw
            shape = _read_shape(stream, path, ndim)
            promised = math.prod(shape)
            if promised > size * _MAX_EXPANSION or (not compressed and promised != size - header):
                raise InputError(
                    f"{path}: the header promises {promised} bytes of data (shape {shape}), which do "
                    f"not fit a file of {size} bytes; fetch it again"
                )
            yield stream, shape
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: the gzip stream is damaged ({error}); fetch it again") from None


def write_idx(path: str | os.PathLike[str], values: NDArray[np.uint8]) -> None:
    """Write an IDX file; equal values give equal bytes.

    Args:
        path: The file; compressed if its name ends in ``.gz``.
        values: uint8, of any shape.

    Raises:
        OSError: The file cannot be written.
    """
    path = Path(path)
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, _UNSIGNED_BYTE, values.ndim, *values.shape)
    data = header + values.tobytes()
    # Without a time the output depends on the values alone.
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _read_shape(stream: BinaryIO, path: Path, ndim: int) -> tuple[int, ...]:
    header = stream.read(4 + 4 * ndim)
    expected = bytes((0, 0, _UNSIGNED_BYTE, ndim))
    if header[:4] != expected or len(header) < 4 + 4 * ndim:
        raise InputError(
            f"{path} is not an IDX file of unsigned bytes in {ndim} dimensions: it begins with the "
            f"bytes {header[:4].hex(' ') or '(none)'}, not {expected.hex(' ')} and the dimensions"
        )
    shape = struct.unpack(f">{ndim}I", header[4:])
    if 0 in shape:
        raise InputError(f"{path} has the shape {shape}, without any example")
    return shape


def _find(folder: Path, name: str) -> Path | None:
    paths = (folder / name, folder / f"{name}.gz")
    return next((path for path in paths if path.is_file()), None)


def _read_class_names(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text("utf-8-sig").split("\n")  # Windows editors begin it with a BOM
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error}): write one class name a line") from None
    return tuple(line.strip() for line in lines if line.strip())
