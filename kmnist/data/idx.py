"""The IDX file format of MNIST, read with every header checked, and written.

An IDX file is two zero bytes, a byte for the type of its values (8: unsigned bytes, the only one
used here), a byte for the number of dimensions, each dimension as a big-endian 32-bit integer,
and then the values, the last dimension running fastest (described by LeCun, Cortes and Burges on
the MNIST page). A name that ends in ``.gz`` is a gzip stream of one.
"""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from kmnist.errors import InputError

__all__ = ["read_idx", "write_idx"]

_UNSIGNED_BYTE = 8

# Deflate cannot expand by more than 1032:1 (zlib's technical details); a header that promises
# more than that lies, and is refused before memory is set aside for it.
_MAX_EXPANSION = 1040

# Raw files from this size on are mapped instead of read: the kernel then holds the pages that
# training touches and can drop them again.
MAP_FROM_BYTES = 512 * 2**20


def read_idx(path: str | os.PathLike[str], *, ndim: int) -> NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes.

    Args:
        path: The file, raw or, if its name ends in ``.gz``, compressed.
        ndim: The number of dimensions it has to have: 3 for images, 1 for labels.

    Returns:
        uint8, of the shape that the header states; read-only. A raw file of
        ``MAP_FROM_BYTES`` or more is memory-mapped.

    Raises:
        InputError: not an IDX file of ``ndim`` dimensions of unsigned bytes, or its length is not
            what its header promises, or the compressed stream is cut off or corrupt.
        OSError: the file cannot be opened or read.
    """
    path = Path(path)
    size = path.stat().st_size
    compressed = path.suffix == ".gz"
    try:
        with path.open("rb") as raw:
            stream = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if compressed else raw
            shape = _read_shape(stream, path, ndim)
            header, promised = 4 + 4 * ndim, math.prod(shape)
            possible = size * _MAX_EXPANSION if compressed else size - header
            if promised > possible:
                raise InputError(
                    f"{path}: the header promises {promised} bytes of data (shape {shape}), "
                    f"but a file of {size} bytes cannot hold them; it is cut off or not IDX"
                )
            if not compressed and size >= MAP_FROM_BYTES:
                _check_length(path, shape, promised, size - header)
                return np.memmap(path, np.uint8, "r", header, shape)
            # One byte more than promised shows whether the data goes on.
            data = stream.read(promised + 1)
    except EOFError:
        raise InputError(f"{path}: the gzip stream is cut off; fetch the file again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: the gzip stream is corrupt ({error}); fetch it again") from None
    _check_length(path, shape, promised, len(data))
    return np.frombuffer(data, np.uint8).reshape(shape)


def write_idx(path: str | os.PathLike[str], values: NDArray[np.uint8]) -> None:
    """Writes ``values``, uint8 of any shape, as an IDX file; compressed if ``path`` ends in .gz.

    Raises:
        InputError: ``values`` is not uint8.
    """
    if values.dtype != np.uint8:
        raise InputError(f"received values of dtype {values.dtype}; an IDX file here holds uint8")
    path = Path(path)
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, _UNSIGNED_BYTE, values.ndim, *values.shape)
    with path.open("wb") as raw:
        if path.suffix == ".gz":
            # No name and no time in the stream: the same values give the same bytes.
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
            f"{path}: starts with bytes {header[:4].hex(' ') or '(none)'}; expected "
            f"{expected.hex(' ')}, an IDX file of unsigned bytes in {ndim} dimensions"
        )
    if len(header) < 4 + 4 * ndim:
        raise InputError(f"{path}: ends inside its header; fetch the file again")
    shape = struct.unpack(f">{ndim}I", header[4:])
    if 0 in shape:
        raise InputError(f"{path}: holds nothing (shape {shape}); expected at least one example")
    return shape


def _check_length(path: Path, shape: tuple[int, ...], promised: int, there: int) -> None:
    if there != promised:
        difference = f"only {there} are there" if there < promised else "more follow"
        raise InputError(
            f"{path}: the header promises {promised} bytes of data (shape {shape}), "
            f"but {difference}; fetch the file again"
        )
