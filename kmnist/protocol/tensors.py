"""numpy arrays as TensorProto messages and back, without a loop over elements.

==================  ==========================================================================
numpy dtype         TensorProto dtype
==================  ==========================================================================
bool, (u)int8–64    DT_BOOL, DT_UINT8 … DT_INT64
float16, 32, 64     DT_HALF, DT_FLOAT, DT_DOUBLE
complex64, 128      DT_COMPLEX64, DT_COMPLEX128
object (of bytes)   DT_STRING
==================  ==========================================================================

A tensor that cannot be read raises :class:`TensorError`; nothing larger than ``limit`` bytes is
ever allocated, whatever its shape says.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmnist.protocol import serving_pb2 as pb

__all__ = [
    "MAX_BYTES",
    "TensorError",
    "dtype_name",
    "from_array",
    "known_shape",
    "numpy_dtype",
    "shape_of",
    "to_array",
]

#: No protobuf message is larger than this, so no honest tensor is either.
MAX_BYTES: Final = 2**31

_MAX_DIMS: Final = 32

_Reader = Callable[[Any, np.dtype[Any]], NDArray[Any]]


class TensorError(ValueError):
    """A tensor that cannot be written as, or read from, a TensorProto."""


def dtype_name(data_type: int) -> str:
    """The name of a DataType, ``DT_UINT8`` say; ``DataType 99`` for one not known here."""
    return (
        pb.DataType.Name(data_type)
        if data_type in pb.DataType.values()
        else f"DataType {data_type}"
    )


def numpy_dtype(data_type: int) -> np.dtype[Any]:
    """The numpy dtype of a DataType; strings are object arrays of bytes.

    Raises:
        TensorError: No numpy dtype stands for it (bfloat16, quantised types, resources).
    """
    return _type(data_type)[0]


def shape_of(shape: pb.TensorShapeProto) -> tuple[int | None, ...] | None:
    """The dimensions, None for each unknown one; None alone where even their number is unknown."""
    if shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in shape.dim)


def known_shape(proto: pb.TensorShapeProto) -> tuple[int, ...]:
    """The dimensions of a shape that an array can have.

    Raises:
        TensorError: One of them is not known, or they are too many or too large for any array.
    """
    shape = tuple([dim.size for dim in proto.dim])
    if min(shape) < 0 if shape else proto.unknown_rank:
        raise TensorError(f"a tensor's shape must be fully known, received {shape_of(proto)}")
    # numpy minds the others even where one is 0. No model has a tenth of so many dimensions.
    if len(shape) > _MAX_DIMS or math.prod([size or 1 for size in shape]) > 2**60:
        raise TensorError(
            f"received a tensor of {len(shape)} dimensions, the largest {max(shape):,}; larger than "
            "the limit of any array"
        )
    return shape


def from_array(values: ArrayLike, into: pb.TensorProto | None = None) -> pb.TensorProto:
    """An array as a TensorProto: numbers in ``tensor_content``, strings in ``string_val``.

    Args:
        values: Any shape and any dtype of the table above; str and bytes become DT_STRING (UTF-8).
        into: The empty message to fill, of a request say, which spares a copy; a new one if None.

    Raises:
        TensorError: The dtype has no counterpart, or an object array holds something not a string.
    """
    array = np.asarray(values)
    tensor = pb.TensorProto() if into is None else into
    if array.dtype.kind in "OSU":
        tensor.dtype = pb.DT_STRING
        tensor.string_val.extend([_encoded(value) for value in array.ravel().tolist()])
    else:
        little = array.dtype.newbyteorder("<")
        if little not in _DATA_TYPES:
            raise TensorError(f"an array of dtype {array.dtype} cannot be sent")
        tensor.dtype = _DATA_TYPES[little]  # type: ignore[assignment]
        tensor.tensor_content = array.astype(little, copy=False).tobytes()
    add_dim = tensor.tensor_shape.dim.add
    for size in array.shape:
        add_dim(size=size)
    return tensor


def to_array(tensor: pb.TensorProto, *, limit: int = MAX_BYTES) -> NDArray[Any]:
    """The values of a TensorProto; read-only where they could be taken without a copy.

    As TensorFlow does, a typed field with fewer values than the shape asks for repeats its last
    one, and one with none means zeros (empty strings).

    Args:
        tensor: From anyone; its shape and its values are checked against each other.
        limit: Most bytes that the array may take (a string counts as a pointer).

    Raises:
        TensorError: The dtype has no numpy equivalent, the shape is not fully known or larger
            than ``limit``, or the number of values does not fit it.
    """
    dtype, field, read = _type(tensor.dtype)
    shape = known_shape(tensor.tensor_shape)
    count = math.prod(shape)
    if count * dtype.itemsize > limit:
        raise TensorError(f"shape {shape} of {dtype} is larger than the limit of {limit:,} bytes")
    content = tensor.tensor_content
    if not content:
        values = read(getattr(tensor, field), dtype)
        if len(values) != count:
            values = _filled(values, count)
        return values if len(shape) == 1 else values.reshape(shape)
    if dtype.kind == "O":
        return _string_content(content, count).reshape(shape)
    if len(content) != count * dtype.itemsize:
        raise TensorError(
            f"tensor_content has {len(content):,} bytes, expected {count * dtype.itemsize:,} for "
            f"shape {shape} of {dtype}"
        )
    return np.frombuffer(content, dtype=dtype).reshape(shape)


def _type(data_type: int) -> tuple[np.dtype[Any], str, _Reader]:
    try:
        return _TYPES[data_type]
    except KeyError:
        raise TensorError(f"dtype {dtype_name(data_type)} has no numpy equivalent") from None


def _encoded(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise TensorError(f"expected bytes or str in an object array, received {type(value).__name__}")


def _read_values(values: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.array(values, dtype=dtype)


def _read_strings(values: Any, _dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.array(values[:], dtype=object)


def _read_small_ints(values: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    wide = np.array(values, dtype="<i4")
    narrow = wide.astype(dtype)
    if not np.array_equal(wide, narrow):
        raise TensorError(f"a value of the tensor does not fit {dtype}")
    return narrow


def _read_halves(values: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Each number comes as its bits, in an int."""
    return _read_small_ints(values, np.dtype("<u2")).view(dtype)


def _read_complex(values: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Real and imaginary parts come in turn."""
    if len(values) % 2:
        raise TensorError(f"complex numbers come as pairs, received {len(values)} parts")
    return np.array(values, dtype=f"<f{dtype.itemsize // 2}").view(dtype)


def _filled(values: NDArray[Any], count: int) -> NDArray[Any]:
    if len(values) > count:
        raise TensorError(f"the tensor has {len(values):,} values, expected at most {count:,}")
    filled = np.empty(count, dtype=values.dtype)
    filled[: len(values)] = values
    filled[len(values) :] = values[-1] if len(values) else (b"" if values.dtype.kind == "O" else 0)
    return filled


def _string_content(content: bytes, count: int) -> NDArray[Any]:
    """Strings in ``tensor_content``: every length as a varint, then every string."""
    lengths, offset = [], 0
    for _ in range(count):
        length, offset = _varint(content, offset)
        lengths.append(length)
    if offset + sum(lengths) != len(content):
        raise TensorError(
            f"tensor_content has {len(content):,} bytes, expected {offset + sum(lengths):,} "
            f"for its {count:,} strings"
        )
    strings = np.empty(count, dtype=object)
    for index, length in enumerate(lengths):
        strings[index] = content[offset : offset + length]
        offset += length
    return strings


def _varint(content: bytes, offset: int) -> tuple[int, int]:
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


# DataType → the numpy dtype, little-endian as on the wire; the field of its values; its reader.
_TYPES: Final[dict[int, tuple[np.dtype[Any], str, _Reader]]] = {
    pb.DT_FLOAT: (np.dtype("<f4"), "float_val", _read_values),
    pb.DT_DOUBLE: (np.dtype("<f8"), "double_val", _read_values),
    pb.DT_INT32: (np.dtype("<i4"), "int_val", _read_values),
    pb.DT_UINT8: (np.dtype("u1"), "int_val", _read_small_ints),
    pb.DT_INT16: (np.dtype("<i2"), "int_val", _read_small_ints),
    pb.DT_INT8: (np.dtype("i1"), "int_val", _read_small_ints),
    pb.DT_UINT16: (np.dtype("<u2"), "int_val", _read_small_ints),
    pb.DT_INT64: (np.dtype("<i8"), "int64_val", _read_values),
    pb.DT_UINT32: (np.dtype("<u4"), "uint32_val", _read_values),
    pb.DT_UINT64: (np.dtype("<u8"), "uint64_val", _read_values),
    pb.DT_BOOL: (np.dtype("?"), "bool_val", _read_values),
    pb.DT_HALF: (np.dtype("<f2"), "half_val", _read_halves),
    pb.DT_COMPLEX64: (np.dtype("<c8"), "scomplex_val", _read_complex),
    pb.DT_COMPLEX128: (np.dtype("<c16"), "dcomplex_val", _read_complex),
    pb.DT_STRING: (np.dtype(object), "string_val", _read_strings),
}
_DATA_TYPES: Final = {dtype: data_type for data_type, (dtype, _, _) in _TYPES.items()}
