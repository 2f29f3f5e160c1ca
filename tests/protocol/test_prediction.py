"""Predict requests and responses."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError

from kmnist.protocol import prediction
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import ModelSpec
from kmnist.protocol.tensors import TensorError, from_array, to_array

NAMES = ("probabilities", "class_ids", "class_names")
PROBABILITIES = np.array([[0.25, 0.75], [1, 0]], np.float32)
CLASS_NAMES = np.array([b"one", "ö".encode()], dtype=object)


def outputs(*, typed: bool) -> dict[str, pb.TensorProto]:
    return {
        "probabilities": from_array(PROBABILITIES, typed=typed),
        "class_ids": from_array(np.array([1, 0]), typed=typed),
        "class_names": from_array(CLASS_NAMES),
    }


def response(tensors: dict[str, pb.TensorProto], version: int | None = 7) -> bytes:
    proto = pb.PredictResponse()
    for name, tensor in tensors.items():
        proto.outputs[name].CopyFrom(tensor)
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
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 2, 4), (300, 28, 28), (0, 28, 28)], ids=str)
def test_a_request_with_images_parses_to_its_message(
    spec: ModelSpec, shape: tuple[int, ...]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    inputs = {"images": images}
    sent = pb.PredictRequest.FromString(prediction.request(spec, "serving_default", inputs))
    assert sent == prediction.message(spec, "serving_default", inputs)
    np.testing.assert_array_equal(to_array(sent.inputs["images"]), images)


def test_strided_images_are_sent_by_value() -> None:
    images = np.arange(2 * 6 * 6, dtype=np.uint8).reshape(2, 6, 6)[:, ::2, ::-1]
    sent = pb.PredictRequest.FromString(prediction.request(ModelSpec("m"), "", {"images": images}))
    np.testing.assert_array_equal(to_array(sent.inputs["images"]), images)


def test_a_request_with_other_inputs_parses_to_its_message() -> None:
    inputs = {"pictures": np.array([b"GIF89a"], object), "sizes": np.array([1.5])}
    sent = prediction.request(ModelSpec("m"), "pictures", inputs)
    message = prediction.message(ModelSpec("m"), "pictures", inputs)
    assert pb.PredictRequest.FromString(sent) == message


def test_an_input_of_an_unsupported_dtype_is_an_error() -> None:
    for write in (prediction.request, prediction.message):
        with pytest.raises(TensorError, match="received an array of datetime64"):
            write(ModelSpec("m"), "", {"dates": np.array(["2026-11-01"], "M8[D]")})


@pytest.mark.parametrize("typed", [True, False], ids=["typed", "content"])
def test_outputs_are_read_from_typed_fields_and_from_tensor_content(typed: bool) -> None:
    answer = prediction.read_outputs(response(outputs(typed=typed)), NAMES)
    assert answer.version == 7
    assert list(answer.tensors) == list(NAMES)
    np.testing.assert_array_equal(answer.tensors["probabilities"], PROBABILITIES)
    assert answer.tensors["probabilities"].dtype == np.float32
    assert answer.tensors["class_ids"].tolist() == [1, 0]
    assert answer.tensors["class_ids"].dtype == np.int64
    assert answer.tensors["class_names"].tolist() == CLASS_NAMES.tolist()


def test_other_outputs_are_not_read() -> None:
    unreadable = pb.TensorProto(dtype=pb.DT_BFLOAT16)
    answer = prediction.read_outputs(response(outputs(typed=True) | {"other": unreadable}), NAMES)
    assert list(answer.tensors) == list(NAMES)


def test_all_outputs_are_read_if_one_is_missing() -> None:
    tensors = outputs(typed=True)
    del tensors["class_ids"]
    answer = prediction.read_outputs(response(tensors | {"logits": from_array(np.zeros(2))}), NAMES)
    assert sorted(answer.tensors) == ["class_names", "logits", "probabilities"]


def test_unpacked_and_split_fields_are_read() -> None:
    """Both are valid encodings of repeated numbers, though TensorFlow Serving sends neither."""
    head = pb.TensorProto(dtype=pb.DT_FLOAT)
    head.tensor_shape.dim.add(size=2)
    one, two = np.float32(1.5).tobytes(), np.float32(2.5).tobytes()
    for values in (b"\x2d" + one + b"\x2d" + two, b"\x2a\x04" + one + b"\x2a\x04" + two):
        tensor = head.SerializeToString() + values
        entry = b"\x0a\x01x\x12" + bytes([len(tensor)]) + tensor
        answer = prediction.read_outputs(b"\x0a" + bytes([len(entry)]) + entry, ["x"])
        assert answer.tensors["x"].tolist() == [1.5, 2.5]
        assert answer.version is None


def test_an_unreadable_output_is_an_error() -> None:
    tensor = from_array(PROBABILITIES)
    tensor.tensor_content = b"1234567"
    with pytest.raises(TensorError, match="has 7 bytes; expected 16"):
        prediction.read_outputs(response({"x": tensor}), ["x"])


@pytest.mark.parametrize(
    "damage", [lambda _: b"<html>", lambda data: data[:-3]], ids=["html", "truncated"]
)
def test_what_is_not_a_response_is_an_error(damage: Callable[[bytes], Any]) -> None:
    with pytest.raises(DecodeError):
        prediction.read_outputs(damage(response({"x": from_array(PROBABILITIES)})), ["x"])


def test_version_zero_is_a_version() -> None:
    assert prediction.read_outputs(response({}, 0), []).version == 0
    assert prediction.read_outputs(response({}, None), []).version is None
