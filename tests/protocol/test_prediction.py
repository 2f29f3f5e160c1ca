"""Predict requests and responses."""

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from kmnist.protocol import prediction
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import ModelSpec, Request, Signature, TensorSpec
from kmnist.protocol.tensors import TensorError, from_array, to_array

OUTPUTS: dict[str, NDArray[Any]] = {
    "probabilities": np.array([[0.25, 0.75], [1, 0]], np.float32),
    "class_ids": np.array([1, 0]),
    "class_names": np.array([b"one", "ö".encode()], dtype=object),
}


def response(version: int | None = 7, *, typed: bool = True, **others: Any) -> bytes:
    """Return a serialized response with the outputs, and with others as messages."""
    outputs = {name: from_array(values, typed=typed) for name, values in OUTPUTS.items()}
    proto = pb.PredictResponse(outputs=outputs | others)
    if version is not None:
        proto.model_spec.version.value = version
    return proto.SerializeToString()


@pytest.mark.parametrize(
    ("spec", "version", "label"),
    [
        (ModelSpec("m"), None, None),
        (ModelSpec("m", version=0), 0, None),
        (ModelSpec("m", label="stable"), None, "stable"),
    ],
)
def test_a_model_spec_contains_only_what_is_set(
    spec: ModelSpec, version: int | None, label: str | None
) -> None:
    proto = prediction.model_spec(spec, "pictures")
    assert (proto.name, proto.signature_name) == ("m", "pictures")
    assert (proto.version.value if proto.HasField("version") else None) == version
    assert (proto.version_label if proto.HasField("version_label") else None) == label


@pytest.mark.parametrize(
    "spec",
    [ModelSpec("kmnist"), ModelSpec("m", version=3), ModelSpec("m" * 300, label="stable")],
    ids=["latest", "version", "label"],
)
@pytest.mark.parametrize(
    "inputs",
    [
        *({"images": np.full(shape, 9, np.uint8)} for shape in [(), (0, 28, 28), (300, 28, 28)]),
        {"images": np.arange(2 * 6 * 6, dtype=np.uint8).reshape(2, 6, 6)[:, ::2, ::-1]},
        {"pictures": np.array([b"GIF89a"], object), "sizes": np.array([1.5])},
    ],
    ids=["scalar", "empty", "images", "strided", "others"],
)
def test_a_request_parses_to_its_message(spec: ModelSpec, inputs: dict[str, NDArray[Any]]) -> None:
    specs = {name: TensorSpec("DT_UINT8", None) for name in inputs}
    request = Request(spec, "pictures", Signature(specs, {}), inputs)
    sent = pb.PredictRequest.FromString(prediction.serialize(request))
    assert sent == prediction.message(spec, "pictures", inputs)
    assert sent.model_spec == prediction.model_spec(spec, "pictures")
    assert sent.inputs.keys() == inputs.keys()
    for name, values in inputs.items():
        np.testing.assert_array_equal(to_array(sent.inputs[name]), values)


@pytest.mark.parametrize("typed", [True, False], ids=["typed", "content"])
def test_outputs_are_read_from_typed_fields_and_from_tensor_content(typed: bool) -> None:
    unreadable = pb.TensorProto(dtype=pb.DT_QINT8)  # not read, because it is not asked for
    answer = prediction.read_outputs(response(typed=typed, other=unreadable), OUTPUTS)
    assert answer.version == 7
    assert list(answer.tensors) == list(OUTPUTS)
    for name, values in OUTPUTS.items():
        np.testing.assert_array_equal(answer.tensors[name], values, strict=True)


def test_a_response_that_cannot_be_read_is_an_error() -> None:
    wrong = pb.TensorProto(dtype=pb.DT_FLOAT, tensor_content=b"1234567")
    with pytest.raises(TensorError):
        prediction.read_outputs(response(x=wrong), ["x"])
    for data in (b"<html>", response()[:-3]):
        with pytest.raises(DecodeError):
            prediction.read_outputs(data, ["x"])
