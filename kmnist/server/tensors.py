"""The tensors of gRPC requests and answers."""

from collections.abc import Mapping
from typing import Any, Final

import grpc
import numpy as np
from numpy.typing import NDArray

from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.tensors import TensorError, to_array
from kmnist.server.serving_error import ServingError, invalid

__all__ = ["arrays", "typed"]

# numpy dtype → DataType and the field that TensorFlow Serving answers in.
_FIELDS: Final[dict[np.dtype[Any], tuple[Any, str]]] = {
    np.dtype(np.float32): (pb.DT_FLOAT, "float_val"),
    np.dtype(np.float64): (pb.DT_DOUBLE, "double_val"),
    np.dtype(np.float16): (pb.DT_HALF, "half_val"),
    np.dtype(np.int8): (pb.DT_INT8, "int_val"),
    np.dtype(np.int16): (pb.DT_INT16, "int_val"),
    np.dtype(np.int32): (pb.DT_INT32, "int_val"),
    np.dtype(np.int64): (pb.DT_INT64, "int64_val"),
    np.dtype(np.uint8): (pb.DT_UINT8, "int_val"),
    np.dtype(np.uint16): (pb.DT_UINT16, "int_val"),
    np.dtype(np.uint32): (pb.DT_UINT32, "uint32_val"),
    np.dtype(np.uint64): (pb.DT_UINT64, "uint64_val"),
    np.dtype(np.bool_): (pb.DT_BOOL, "bool_val"),
    np.dtype(np.object_): (pb.DT_STRING, "string_val"),
}


def arrays(tensors: Mapping[str, pb.TensorProto], *, limit: int = 2**31) -> dict[str, NDArray[Any]]:
    """The inputs of a request; ``limit`` bounds the bytes of each, whatever its shape claims.

    Raises:
        ServingError: a tensor is malformed or too large.
    """
    result = {}
    for name, tensor in tensors.items():
        try:
            result[name] = to_array(tensor, limit=limit)
        except TensorError as error:
            raise invalid(f"input {name!r}: {error}") from None
    return result


def typed(array: NDArray[Any]) -> pb.TensorProto:
    """An output, its values in the field of their type.

    ``tensor_content`` would be a little smaller to make, but TensorFlow Serving answers in typed
    fields unless told otherwise, and a client that reads only one form has to find out here.

    Raises:
        ServingError: TensorFlow has the dtype but the API has no field for it that we know.
    """
    try:
        data_type, field = _FIELDS[array.dtype]
    except KeyError:
        raise ServingError(
            grpc.StatusCode.UNIMPLEMENTED, f"outputs of type {array.dtype} are not supported"
        ) from None
    tensor = pb.TensorProto(dtype=data_type)
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    values = array.view(np.uint16) if field == "half_val" else array
    getattr(tensor, field).extend(values.ravel().tolist())
    return tensor
