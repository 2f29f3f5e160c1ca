"""Predict's request and answer on the shortest way, since every call takes it.

The bytes around an image are made once for each shape, and the numbers of an answer are taken
from where they stand in it. What is not as plain as that goes the general way, through
:mod:`kmnist.protocol.tensors`, with the same result for whatever a protobuf library has written.

Source: https://protobuf.dev/programming-guides/encoding, of fields with a length before them.
"""

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol import tensors
from kmnist.protocol.model_spec import ModelSpec, Outputs

__all__ = ["answer", "message", "model_spec", "request"]

_FLOAT: Final = np.dtype("<f4")
_INT64: Final = np.dtype("<i8")

# A map on the wire is a repeated message with these two fields.
_MAP_KEY: Final = 1
_MAP_VALUE: Final = 2

# What is remembered of a server's answers is shorter than this many bytes.
_SHORT: Final = 1024


def message(
    spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]]
) -> pb.PredictRequest:
    """A request, as a message.

    Raises:
        TensorError: An input has a dtype that cannot be sent.
    """
    made = pb.PredictRequest(model_spec=model_spec(spec, signature))
    for name, values in inputs.items():
        tensors.from_array(values, made.inputs[name])
    return made


def request(spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]]) -> bytes:
    """A request, as it is sent.

    Raises:
        TensorError: An input has a dtype that cannot be sent.
    """
    if len(inputs) == 1:
        ((name, values),) = inputs.items()
        if values.dtype == np.uint8:
            # Joined, which copies the images once.
            head = _until_pixels(spec, signature, name, values.shape)
            return b"".join((head, np.ascontiguousarray(values).data))
    return message(spec, signature, inputs).SerializeToString()


def answer(data: bytes, names: Iterable[str]) -> Outputs:
    """The tensors of an answer, and the version that gave it.

    Args:
        data: A PredictResponse.
        names: The tensors that are wanted. If they are not all there, all that are.

    Raises:
        DecodeError: It is no PredictResponse.
        TensorError: One of its tensors cannot be read.
    """
    plain = pb.PlainPredictResponse.FromString(data)
    read = _version if len(plain.model_spec) <= _SHORT else _version.__wrapped__
    version = read(plain.model_spec)
    found = plain.outputs
    arrays = {}
    for name in names:
        tensor = found.get(name)
        array = None if tensor is None else _taken(tensor)
        if array is None:
            full = pb.PredictResponse.FromString(data).outputs
            return Outputs({name: tensors.to_array(full[name]) for name in full}, version)
        arrays[name] = array
    return Outputs(arrays, version)


def model_spec(spec: ModelSpec, signature: str = "") -> pb.ModelSpec:
    """Which model is meant, as a message."""
    made = pb.ModelSpec(name=spec.name, signature_name=signature)
    if spec.version is not None:
        made.version.value = spec.version
    if spec.label is not None:
        made.version_label = spec.label
    return made


@lru_cache(maxsize=256)
def _until_pixels(spec: ModelSpec, signature: str, name: str, shape: tuple[int, ...]) -> bytes:
    """A request with one uint8 input, up to its values, which are the end of it."""
    dims = [pb.TensorShapeProto.Dim(size=size) for size in shape]
    tensor = pb.TensorProto(dtype=pb.DT_UINT8, tensor_shape=pb.TensorShapeProto(dim=dims))
    size = math.prod(shape)
    # From the innermost field out, each with the length of all that it holds.
    head = tensor.SerializeToString() + _field(pb.TensorProto.TENSOR_CONTENT_FIELD_NUMBER, size)
    head = _field(_MAP_VALUE, len(head) + size) + head
    head = _field(_MAP_KEY, len(name.encode())) + name.encode() + head
    head = _field(pb.PredictRequest.INPUTS_FIELD_NUMBER, len(head) + size) + head
    made = pb.PredictRequest(model_spec=model_spec(spec, signature))
    return made.SerializeToString() + head


def _field(number: int, length: int) -> bytes:
    """The beginning of a field that has a length: its number and wire type 2, and the length."""
    start = bytearray([number << 3 | 2])  # numbers up to 15 take one byte
    while length > 0x7F:
        start.append(length & 0x7F | 0x80)
        length >>= 7
    start.append(length)
    return bytes(start)


def _taken(tensor: pb.PlainTensor) -> NDArray[Any] | None:
    """The values of a tensor that stand one after the other; None if they do not, exactly.

    Numbers are copied, since what lies in a message cannot be written to.
    """
    dtype = tensor.dtype
    if len(tensor.tensor_shape) > _SHORT:
        return None
    shape, count = _shape(tensor.tensor_shape)
    if dtype == pb.DT_FLOAT:
        numbers = tensor.tensor_content or tensor.float_val
        if len(numbers) == 4 * count:
            return np.ndarray(shape, _FLOAT, bytearray(numbers))
    elif dtype == pb.DT_INT64:
        wide, small = tensor.tensor_content, tensor.int64_val
        # An integer below 128 is one byte, and an ASCII character is nothing else.
        if not wide and len(small) == count and small.isascii():
            return np.fromiter(small, _INT64, count).reshape(shape)
        if wide and len(wide) == 8 * count:
            return np.ndarray(shape, _INT64, bytearray(wide))
    elif dtype == pb.DT_STRING:
        strings = tensor.string_val[:]
        if len(strings) == count and not tensor.tensor_content:
            return np.array(strings, dtype=object).reshape(shape)
    return None


@lru_cache(maxsize=256)
def _shape(data: bytes) -> tuple[tuple[int, ...], int]:
    """A shape and its number of values; -1 of them if no array can have it."""
    try:
        shape = tensors.known_shape(pb.TensorShapeProto.FromString(data))
    except tensors.TensorError:
        return (), -1
    return shape, math.prod(shape)


@lru_cache(maxsize=256)
def _version(data: bytes) -> int | None:
    """The version in a ModelSpec."""
    spec = pb.ModelSpec.FromString(data)
    return spec.version.value if spec.HasField("version") else None
