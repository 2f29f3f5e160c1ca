"""Read and write IDX files, the file format of MNIST.

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
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from kmnist.errors import InputError

__all__ = ["open_idx", "read_idx", "write_idx"]

_UNSIGNED_BYTE: Final = 8

# Deflate expands by at most 1032:1 (technical details of zlib). A header that promises more is
# rejected before memory is allocated for it.
_MAX_EXPANSION: Final = 1040

# Larger raw files are memory-mapped, so that the kernel can evict their pages.
_MAP_FROM_BYTES: Final = 512 * 2**20


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
    size, header = path.stat().st_size, 4 + 4 * ndim
    with open_idx(path, ndim=ndim) as (stream, shape):
        promised = math.prod(shape)
        if path.suffix != ".gz" and size >= _MAP_FROM_BYTES:
            _check_length(path, shape, promised, size - header)
            return np.memmap(path, np.uint8, "r", header, shape)
        # One byte more shows whether the file is longer than promised.
        data = stream.read(promised + 1)
    _check_length(path, shape, promised, len(data))
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
    size = path.stat().st_size
    compressed = path.suffix == ".gz"
    try:
        with path.open("rb") as raw:
            stream = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if compressed else raw
            shape = _read_shape(stream, path, ndim)
            possible = size * _MAX_EXPANSION if compressed else size - (4 + 4 * ndim)
            if math.prod(shape) > possible:
                raise InputError(
                    f"{path}: the header promises {math.prod(shape)} bytes of data (shape {shape}), "
                    f"but a file of {size} bytes cannot hold them; it is truncated or not an IDX "
                    "file"
                )
            yield stream, shape
    except EOFError:
        raise InputError(f"{path}: the gzip stream is truncated; fetch the file again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: the gzip stream is corrupt ({error}); fetch the file again"
        ) from None


def write_idx(path: str | os.PathLike[str], values: NDArray[np.uint8]) -> None:
    """Write an IDX file; equal values give equal bytes.

    Args:
        path: The file; compressed if its name ends in ``.gz``.
        values: uint8, of any shape.

    Raises:
        InputError: ``values`` is not uint8.
        OSError: The file cannot be written.
    """
    if values.dtype != np.uint8:
        raise InputError(f"received values of dtype {values.dtype}; expected uint8; convert them")
    path = Path(path)
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, _UNSIGNED_BYTE, values.ndim, *values.shape)
    with path.open("wb") as raw:
        if path.suffix == ".gz":
            # Without a file name and a time the output depends on the values alone.
            with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as stream:
                stream.write(header)
                stream.write(np.ascontiguousarray(values).data)
        else:
            raw.write(header)
            np.ascontiguousarray(values).tofile(raw)


def _read_shape(stream: BinaryIO, path: Path, ndim: int) -> tuple[int, ...]:
    header = stream.read(4 + 4 * ndim)
    expected = bytes((0, 0, _UNSIGNED_BYTE, ndim))
    if header[:4] != expected:
        raise InputError(
            f"{path}: starts with the bytes {header[:4].hex(' ') or '(none)'}; expected "
            f"{expected.hex(' ')}, an IDX file of unsigned bytes in {ndim} dimensions"
        )
    if len(header) < 4 + 4 * ndim:
        raise InputError(f"{path}: the header is truncated; fetch the file again")
    shape = struct.unpack(f">{ndim}I", header[4:])
    if 0 in shape:
        raise InputError(f"{path}: has the shape {shape}; expected at least one example")
    return shape


def _check_length(path: Path, shape: tuple[int, ...], promised: int, found: int) -> None:
    if found != promised:
        difference = f"only {found} are present" if found < promised else "more follow"
        raise InputError(
            f"{path}: the header promises {promised} bytes of data (shape {shape}), "
            f"but {difference}; fetch the file again"
        )
