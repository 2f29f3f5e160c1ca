"""Conversion between numpy arrays and TensorProto messages, without a loop over elements.

Supported are bool, (u)int8 to (u)int64, float16 to float64, complex64 and complex128, bfloat16 as
float32, and strings as object arrays of bytes. TensorFlow's other dtypes (quantized types, resources)
raise :class:`TensorError`.

Source: tensorflow/core/framework/tensor.proto.
"""

import io
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmnist.protocol import serving_pb2 as pb

__all__ = ["MAX_TENSOR_BYTES", "TensorError", "dtype_name", "from_array", "shape_of", "to_array"]

# The size limit of a protobuf message, so no tensor in one can be larger.
MAX_TENSOR_BYTES: Final = 2**31

# TensorFlow's limit for strings, beyond which it crashes; no honest tensor has as many.
_MAX_DIMS: Final = 32

# A string has at least a pointer here and an object of 24 bytes in TensorFlow.
_STRING_BYTES: Final = 32

# What a tensor may take beyond its values: more is no abbreviation but an attack.
_MAX_FILLED_BYTES: Final = 2**20


class TensorError(ValueError):
    """An array cannot be written as a TensorProto, or a TensorProto cannot be read."""


# The numpy dtype, little-endian as in tensor_content, and the field with typed values.
_ENCODINGS: Final[Mapping[int, tuple[np.dtype[Any], str]]] = {
    pb.DT_FLOAT: (np.dtype("<f4"), "float_val"),
    pb.DT_DOUBLE: (np.dtype("<f8"), "double_val"),
    pb.DT_INT32: (np.dtype("<i4"), "int_val"),
    pb.DT_UINT8: (np.dtype("u1"), "int_val"),
    pb.DT_INT16: (np.dtype("<i2"), "int_val"),
    pb.DT_INT8: (np.dtype("i1"), "int_val"),
    pb.DT_UINT16: (np.dtype("<u2"), "int_val"),
    pb.DT_INT64: (np.dtype("<i8"), "int64_val"),
    pb.DT_UINT32: (np.dtype("<u4"), "uint32_val"),
    pb.DT_UINT64: (np.dtype("<u8"), "uint64_val"),
    pb.DT_BOOL: (np.dtype("?"), "bool_val"),
    pb.DT_HALF: (np.dtype("<f2"), "half_val"),
    pb.DT_COMPLEX64: (np.dtype("<c8"), "scomplex_val"),
    pb.DT_COMPLEX128: (np.dtype("<c16"), "dcomplex_val"),
    pb.DT_STRING: (np.dtype("O"), "string_val"),
}
_DATA_TYPES: Final = {dtype: data_type for data_type, (dtype, _) in _ENCODINGS.items()}
# The bits of a bfloat16, which are the upper half of those of a float32.
_BFLOAT16_BITS: Final = (np.dtype("<u2"), "half_val")

# The numbers in these fields: a half as its bits, a complex number as its two parts.
_PARTS: Final[Mapping[str, np.dtype[Any]]] = {
    "half_val": np.dtype("<u2"),
    "scomplex_val": np.dtype("<f4"),
    "dcomplex_val": np.dtype("<f8"),
}


def dtype_name(data_type: int) -> str:
    """Return the name of a DataType, such as ``DT_UINT8``; ``DataType 99`` if it is unknown."""
    if data_type in pb.DataType.values():
        return pb.DataType.Name(data_type)
    return f"DataType {data_type}"


def shape_of(shape: pb.TensorShapeProto) -> tuple[int | None, ...] | None:
    """Return the dimensions of a shape, None for each unknown one; None if the rank is unknown."""
    if shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in shape.dim)


def from_array(
    values: ArrayLike,
    into: pb.TensorProto | None = None,
    *,
    typed: bool = False,
    bfloat16: bool = False,
) -> pb.TensorProto:
    """Write an array as a TensorProto.

    Args:
        values: Any shape and any supported dtype; str and bytes become DT_STRING (UTF-8).
        into: An empty message to fill, such as one inside a request, which saves a copy; by
            default a new one.
        typed: Write numbers into the field of their dtype (``float_val``, …), as TensorFlow
            Serving answers by default, rather than into ``tensor_content``.
        bfloat16: Round the numbers to bfloat16. Arrays with the dtype of that name, which
            TensorFlow has, are written as such in any case.

    Returns:
        The message.

    Raises:
        TensorError: The dtype is not supported, or an object array contains something other than
            bytes and str.
    """
    array = np.asarray(values)
    tensor = pb.TensorProto() if into is None else into
    tensor.tensor_shape.dim.extend([pb.TensorShapeProto.Dim(size=size) for size in array.shape])
    if array.dtype.kind in "OSU":
        tensor.dtype = pb.DT_STRING
        strings = array.ravel().tolist()
        try:
            tensor.string_val.extend([s.encode() if isinstance(s, str) else s for s in strings])
        except TypeError as error:
            raise TensorError(f"an object array must consist of bytes or str: {error}") from None
        return tensor
    if bfloat16 or array.dtype.name == "bfloat16":
        tensor.dtype = pb.DT_BFLOAT16
        array = _rounded_to_bfloat16(array.astype("<f4"))
    else:
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype not in _DATA_TYPES:
            raise TensorError(f"TensorFlow Serving accepts no arrays of {array.dtype}")
        tensor.dtype = _DATA_TYPES[array.dtype]  # type: ignore[assignment]
    if typed:
        _, field = _encoding(tensor.dtype)
        parts = array.ravel().view(_PARTS.get(field, array.dtype))
        getattr(tensor, field).extend(parts.tolist())
    else:
        tensor.tensor_content = array.tobytes()
    return tensor


def to_array(tensor: pb.TensorProto, *, limit: int = MAX_TENSOR_BYTES) -> NDArray[Any]:
    """Read the values of a TensorProto, which need not come from a trusted sender.

    As in TensorFlow, a typed field with fewer values than the shape has elements repeats the last
    one, and an empty one means zeros (or empty strings).

    Args:
        tensor: The message.
        limit: Largest size of the array in bytes, 32 for each string. Nothing larger is ever
            allocated, whatever the shape claims.

    Returns:
        The array, read-only if it shares the memory of ``tensor_content``.

    Raises:
        TensorError: The dtype is not supported, the shape is not fully known or exceeds
            ``limit``, the number of values does not fit the shape, or more than 1 MiB would repeat
            the last one.
    """
    dtype, field = _encoding(tensor.dtype)
    shape = tuple([dim.size for dim in tensor.tensor_shape.dim])
    if len(shape) > _MAX_DIMS:
        raise TensorError(f"a tensor may have {_MAX_DIMS} dimensions, not {len(shape)}")
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise TensorError(f"the shape {shape_of(tensor.tensor_shape)} is not fully known")
    count = math.prod(shape)
    size = _STRING_BYTES if dtype.kind == "O" else dtype.itemsize
    if count * size > limit:
        raise TensorError(f"shape {shape} of {dtype} takes more than the limit of {limit:,} bytes")
    try:
        if tensor.tensor_content:
            values = _content(tensor.tensor_content, dtype, count)
        else:
            values = _padded(_typed(getattr(tensor, field), field, dtype), count)
        if tensor.dtype == pb.DT_BFLOAT16:
            values = (values.astype("<u4") << 16).view("<f4")
        return values.reshape(shape)
    except (ValueError, OverflowError) as error:  # numpy limits the shapes of empty arrays as well
        raise TensorError(f"values do not fit shape {shape} of {dtype}: {error}") from None


def _encoding(data_type: int) -> tuple[np.dtype[Any], str]:
    if data_type == pb.DT_BFLOAT16:
        return _BFLOAT16_BITS
    if data_type not in _ENCODINGS:
        raise TensorError(f"dtype {dtype_name(data_type)} has no numpy equivalent")
    return _ENCODINGS[data_type]


def _rounded_to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the bits of the nearest bfloat16 of each number, the even one of two."""
    bits = values.view("<u4")
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype("<u2")


def _typed(values: Any, field: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read a typed field as a flat array."""
    if field in ("int_val", "half_val", "string_val"):
        # As a list, whose numbers are checked: an int32 of the field may be too large for its dtype.
        values = values[:]
    return np.array(values, dtype=_PARTS.get(field, dtype)).view(dtype)


def _padded(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Repeat the last value up to ``count`` values; zeros or empty strings if there is none."""
    if len(values) >= count:
        return values
    size = _STRING_BYTES if values.dtype.kind == "O" else values.dtype.itemsize
    if (count - len(values)) * size > _MAX_FILLED_BYTES:
        raise ValueError(f"it is not filled with {len(values):,} of {count:,} values")
    filler = values[-1] if len(values) else b"" if values.dtype.kind == "O" else 0
    padded = np.full(count, filler, dtype=values.dtype)
    padded[: len(values)] = values
    return padded


def _content(content: bytes, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Read ``tensor_content``, which has strings as the length of each, then each one's bytes."""
    if dtype.kind != "O":
        return np.frombuffer(content, dtype=dtype)
    stream = io.BytesIO(content)
    lengths = [_varint(stream) for _ in range(count)]
    if stream.tell() + sum(lengths) != len(content):
        raise ValueError(f"{len(content):,} bytes instead of {stream.tell() + sum(lengths):,}")
    return np.array([stream.read(length) for length in lengths], dtype=object)


def _varint(stream: io.BytesIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = int.from_bytes(stream.read(1), "little")  # 0 at the end, which the caller notices
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return value
