"""Predict requests and responses.

A request with one uint8 input, as the client sends for every batch of images, takes a short way:
the bytes around the pixels are built once per shape, so that the images are copied only once.

Source: https://protobuf.dev/programming-guides/encoding (length-delimited fields).
"""

import math
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import ModelSpec, Outputs
from kmnist.protocol.tensors import MAX_TENSOR_BYTES, from_array, to_array

__all__ = ["message", "model_spec", "read_outputs", "request"]

# A map on the wire is a repeated message with these two fields.
_MAP_KEY: Final = 1
_MAP_VALUE: Final = 2


def model_spec(spec: ModelSpec, signature: str = "") -> pb.ModelSpec:
    """Return a ModelSpec as a message."""
    proto = pb.ModelSpec(name=spec.name, signature_name=signature)
    if spec.version is not None:
        proto.version.value = spec.version
    if spec.label is not None:
        proto.version_label = spec.label
    return proto


def message(
    spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]]
) -> pb.PredictRequest:
    """Return a predict request as a message.

    Args:
        spec: The model, and its version or label.
        signature: The name of the signature; "" for the default one.
        inputs: Arrays by input name.

    Raises:
        TensorError: An input has a dtype that TensorFlow Serving does not support.
    """
    proto = pb.PredictRequest(model_spec=model_spec(spec, signature))
    for name, values in inputs.items():
        from_array(values, proto.inputs[name])
    return proto


def request(spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]]) -> bytes:
    """Return a predict request as serialized bytes; arguments and errors as in :func:`message`."""
    if len(inputs) == 1:
        ((name, values),) = inputs.items()
        if values.dtype == np.uint8:
            head = _until_pixels(spec, signature, name, values.shape)
            return b"".join((head, np.ascontiguousarray(values).data))
    return message(spec, signature, inputs).SerializeToString()


def read_outputs(
    response: bytes, names: Collection[str], *, limit: int = MAX_TENSOR_BYTES
) -> Outputs:
    """Read a predict response.

    Args:
        response: A serialized PredictResponse.
        names: The outputs to read. If one of them is missing, all existing outputs are read.
        limit: Largest size of an output in bytes, as in :func:`kmnist.protocol.tensors.to_array`.

    Raises:
        DecodeError: ``response`` is not a PredictResponse.
        TensorError: An output cannot be read.
    """
    proto = pb.PredictResponse.FromString(response)
    outputs, spec = proto.outputs, proto.model_spec
    version = spec.version.value if spec.HasField("version") else None
    tensors = {name: to_array(outputs[name], limit=limit) for name in names if name in outputs}
    if len(tensors) < len(names):
        tensors = {name: to_array(tensor, limit=limit) for name, tensor in outputs.items()}
    return Outputs(tensors, version)


@lru_cache(maxsize=256)
def _until_pixels(spec: ModelSpec, signature: str, name: str, shape: tuple[int, ...]) -> bytes:
    """Return a request with one uint8 input up to its values, which come last."""
    dims = [pb.TensorShapeProto.Dim(size=size) for size in shape]
    tensor = pb.TensorProto(dtype=pb.DT_UINT8, tensor_shape=pb.TensorShapeProto(dim=dims))
    size = math.prod(shape)
    # From the innermost field outwards, each with the length of all that it contains.
    head = tensor.SerializeToString() + _field(pb.TensorProto.TENSOR_CONTENT_FIELD_NUMBER, size)
    head = _field(_MAP_VALUE, len(head) + size) + head
    head = _field(_MAP_KEY, len(name.encode())) + name.encode() + head
    head = _field(pb.PredictRequest.INPUTS_FIELD_NUMBER, len(head) + size) + head
    proto = pb.PredictRequest(model_spec=model_spec(spec, signature))
    return proto.SerializeToString() + head


def _field(number: int, length: int) -> bytes:
    """Return the start of a length-delimited field: its number and wire type 2, and the length."""
    start = bytearray([number << 3 | 2])  # numbers up to 15 take one byte
    while length > 0x7F:
        start.append(length & 0x7F | 0x80)
        length >>= 7
    start.append(length)
    return bytes(start)
