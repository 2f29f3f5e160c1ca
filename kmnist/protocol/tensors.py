"""Conversion between numpy arrays and TensorProto messages, without a loop over elements.

Supported are bool, (u)int8 to (u)int64, float16 to float64, complex64 and complex128, and strings
as object arrays of bytes. TensorFlow's other dtypes (bfloat16, quantized types, resources) raise
:class:`TensorError`.

Source: tensorflow/core/framework/tensor.proto.
"""

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmnist.protocol import serving_pb2 as pb

__all__ = ["TensorError", "dtype_name", "from_array", "shape_of", "to_array"]

# The size limit of a protobuf message, so no tensor in one can be larger.
_MAX_BYTES: Final = 2**31

# numpy's limit.
_MAX_DIMS: Final = 64

# Up to this many values, numpy reads a list faster than a repeated field.
_FEW_VALUES: Final = 64


class TensorError(ValueError):
    """An array cannot be written as a TensorProto, or a TensorProto cannot be read."""


class _Encoding(NamedTuple):
    """How a TensorProto stores the elements of one dtype.

    Attributes:
        dtype: The numpy dtype, little-endian as in ``tensor_content``.
        field: The typed field.
        part: The dtype of the numbers in the typed field, to be viewed as ``dtype``: a half is
            stored as its bits, a complex number as its real and imaginary parts.
    """

    dtype: np.dtype[Any]
    field: str
    part: np.dtype[Any]


_ENCODINGS: Final[dict[int, _Encoding]] = {
    data_type: _Encoding(np.dtype(dtype), field, np.dtype(part))
    for data_type, dtype, field, part in (
        (pb.DT_FLOAT, "<f4", "float_val", "<f4"),
        (pb.DT_DOUBLE, "<f8", "double_val", "<f8"),
        (pb.DT_INT32, "<i4", "int_val", "<i4"),
        (pb.DT_UINT8, "u1", "int_val", "u1"),
        (pb.DT_INT16, "<i2", "int_val", "<i2"),
        (pb.DT_INT8, "i1", "int_val", "i1"),
        (pb.DT_UINT16, "<u2", "int_val", "<u2"),
        (pb.DT_INT64, "<i8", "int64_val", "<i8"),
        (pb.DT_UINT32, "<u4", "uint32_val", "<u4"),
        (pb.DT_UINT64, "<u8", "uint64_val", "<u8"),
        (pb.DT_BOOL, "?", "bool_val", "?"),
        (pb.DT_HALF, "<f2", "half_val", "<u2"),
        (pb.DT_COMPLEX64, "<c8", "scomplex_val", "<f4"),
        (pb.DT_COMPLEX128, "<c16", "dcomplex_val", "<f8"),
        (pb.DT_STRING, "O", "string_val", "O"),
    )
}
_DATA_TYPES: Final = {encoding.dtype: data_type for data_type, encoding in _ENCODINGS.items()}

# These fields are int32, wider than the dtypes that share them.
_INT32_FIELDS: Final = ("int_val", "half_val")


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
    values: ArrayLike, into: pb.TensorProto | None = None, *, typed: bool = False
) -> pb.TensorProto:
    """Write an array as a TensorProto.

    Args:
        values: Any shape and any supported dtype; str and bytes become DT_STRING (UTF-8).
        into: An empty message to fill, such as one inside a request, which saves a copy; by
            default a new one.
        typed: Write numbers into the field of their dtype (``float_val``, …), as TensorFlow
            Serving answers by default, rather than into ``tensor_content``.

    Returns:
        The message.

    Raises:
        TensorError: The dtype is not supported, or an object array contains something other than
            bytes and str.
    """
    array = np.asarray(values)
    tensor = pb.TensorProto() if into is None else into
    if array.dtype.kind in "OSU":
        tensor.dtype = pb.DT_STRING
        tensor.string_val.extend([_utf8(value) for value in array.ravel().tolist()])
    else:
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype not in _DATA_TYPES:
            raise TensorError(f"received an array of {array.dtype}; expected numbers or strings")
        tensor.dtype = _DATA_TYPES[array.dtype]  # type: ignore[assignment]
        if typed:
            _, field, part = _ENCODINGS[tensor.dtype]
            getattr(tensor, field).extend(array.ravel().view(part).tolist())
        else:
            tensor.tensor_content = array.tobytes()
    add_dim = tensor.tensor_shape.dim.add
    for size in array.shape:
        add_dim(size=size)
    return tensor


def to_array(tensor: pb.TensorProto, *, limit: int = _MAX_BYTES) -> NDArray[Any]:
    """Read the values of a TensorProto, which need not come from a trusted sender.

    As in TensorFlow, a typed field with fewer values than the shape has elements repeats the last
    one, and an empty one means zeros (or empty strings).

    Args:
        tensor: The message.
        limit: Largest size of the array in bytes; a string counts as a pointer. Nothing larger is
            ever allocated, whatever the shape claims.

    Returns:
        The array, read-only if it shares the memory of ``tensor_content``.

    Raises:
        TensorError: The dtype is not supported, the shape is not fully known or exceeds
            ``limit``, or the number of values does not fit the shape.
    """
    encoding = _ENCODINGS.get(tensor.dtype)
    if encoding is None:
        raise TensorError(f"dtype {dtype_name(tensor.dtype)} has no numpy equivalent")
    dtype = encoding.dtype
    shape = tuple([dim.size for dim in tensor.tensor_shape.dim])
    if len(shape) > _MAX_DIMS:
        raise TensorError(f"received {len(shape)} dimensions; expected at most {_MAX_DIMS}")
    if tensor.tensor_shape.unknown_rank or (shape and min(shape) < 0):
        raise TensorError(
            f"received a tensor of shape {shape_of(tensor.tensor_shape)}; expected a known shape"
        )
    count = math.prod(shape)
    size = count * dtype.itemsize
    if size > limit:
        raise TensorError(
            f"received shape {shape} of {dtype}, {size:,} bytes; expected at most {limit:,}"
        )
    content = tensor.tensor_content
    if not content:
        values = _typed_values(tensor, encoding)
        if len(values) != count:
            values = _padded(values, count)
    elif dtype.kind == "O":
        values = _string_content(content, count)
    elif len(content) == size:
        values = np.frombuffer(content, dtype=dtype)
    else:
        raise TensorError(
            f"tensor_content has {len(content):,} bytes; expected {size:,} for shape {shape} of "
            f"{dtype}"
        )
    try:
        return values.reshape(shape)
    except ValueError as error:  # numpy limits the dimensions of empty arrays as well
        raise TensorError(f"received shape {shape}: {error}") from None


def _utf8(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise TensorError(f"received {type(value).__name__} in an object array; expected bytes or str")


def _typed_values(tensor: pb.TensorProto, encoding: _Encoding) -> NDArray[Any]:
    """Read the typed field as a flat array."""
    dtype, field, part = encoding
    values = getattr(tensor, field)
    if len(values) <= _FEW_VALUES or dtype.kind == "O":
        values = values[:]
    if field in _INT32_FIELDS:
        wide = np.array(values, dtype="<i4")
        parts = wide.astype(part)
        if not np.array_equal(wide, parts):
            raise TensorError(f"a value in {field} does not fit {part}")
    else:
        parts = np.array(values, dtype=part)
    try:
        return parts.view(dtype)
    except ValueError:
        raise TensorError(f"{field} has {len(parts)} numbers; expected pairs for {dtype}") from None


def _padded(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Repeat the last value up to ``count`` values; zeros or empty strings if there is none."""
    if len(values) > count:
        raise TensorError(f"the tensor has {len(values):,} values; expected at most {count:,}")
    filler = values[-1] if len(values) else b"" if values.dtype.kind == "O" else 0
    padded = np.full(count, filler, dtype=values.dtype)
    padded[: len(values)] = values
    return padded


def _string_content(content: bytes, count: int) -> NDArray[Any]:
    """Read strings in ``tensor_content``: each length as a varint, then each string."""
    lengths, offset = [], 0
    for _ in range(count):
        length, offset = _varint(content, offset)
        lengths.append(length)
    if offset + sum(lengths) != len(content):
        raise TensorError(
            f"tensor_content has {len(content):,} bytes; expected {offset + sum(lengths):,} for "
            f"its {count:,} strings"
        )
    strings = np.empty(count, dtype=object)
    for index, length in enumerate(lengths):
        strings[index] = content[offset : offset + length]
        offset += length
    return strings


def _varint(content: bytes, offset: int) -> tuple[int, int]:
    """Read a varint; return it and the offset behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if offset >= len(content):
            break
        byte = content[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
    raise TensorError("tensor_content ends inside the length of a string")
