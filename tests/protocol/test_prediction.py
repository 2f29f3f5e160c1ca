import numpy as np
import pytest
from google.protobuf.message import DecodeError

from kmnist.protocol import prediction, tensors
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.model_spec import ModelSpec
from kmnist.protocol.tensors import TensorError, from_array, to_array

NAMES = ("probabilities", "class_ids", "class_names")
PROBABILITIES = np.array([[0.25, 0.75], [1, 0]], np.float32)


def response(version=7, **outputs):
    made = pb.PredictResponse()
    for name, tensor in outputs.items():
        made.outputs[name].CopyFrom(tensor)
    if version is not None:
        made.model_spec.version.value = version
    return made.SerializeToString()


def shaped(data_type, *shape, **values):
    dims = [pb.TensorShapeProto.Dim(size=size) for size in shape]
    return pb.TensorProto(dtype=data_type, tensor_shape=pb.TensorShapeProto(dim=dims), **values)


@pytest.mark.parametrize(
    "spec",
    [ModelSpec("kmnist"), ModelSpec("m", version=3), ModelSpec("m" * 300, label="stable")],
    ids=["latest", "version", "label"],
)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 2, 4), (300, 28, 28), (0, 28, 28)], ids=str)
def test_a_request_of_images_is_the_message_of_it(spec, shape) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    inputs = {"images": images}
    sent = pb.PredictRequest.FromString(prediction.request(spec, "serving_default", inputs))
    assert sent == prediction.message(spec, "serving_default", inputs)
    np.testing.assert_array_equal(to_array(sent.inputs["images"]), images)


def test_images_that_lie_apart_are_sent_in_order() -> None:
    images = np.arange(2 * 6 * 6, dtype=np.uint8).reshape(2, 6, 6)[:, ::2, ::-1]
    sent = pb.PredictRequest.FromString(prediction.request(ModelSpec("m"), "", {"images": images}))
    np.testing.assert_array_equal(to_array(sent.inputs["images"]), images)


def test_a_request_of_anything_else_is_the_message_too() -> None:
    inputs = {"pictures": np.array([b"GIF89a"], object), "sizes": np.array([1.5])}
    sent = prediction.request(ModelSpec("m"), "pictures", inputs)
    assert pb.PredictRequest.FromString(sent) == prediction.message(
        ModelSpec("m"), "pictures", inputs
    )


def in_typed_fields():
    return {
        "probabilities": shaped(pb.DT_FLOAT, 2, 2, float_val=PROBABILITIES.ravel()),
        "class_ids": shaped(pb.DT_INT64, 2, int64_val=[1, 0]),
        "class_names": shaped(pb.DT_STRING, 2, string_val=[b"one", "ö".encode()]),
    }


def in_content():
    ids, names = in_typed_fields()["class_ids"], in_typed_fields()["class_names"]
    return {
        "probabilities": from_array(PROBABILITIES),
        "class_ids": from_array(to_array(ids)),
        "class_names": names,
    }


@pytest.mark.parametrize("outputs", [in_typed_fields, in_content])
def test_an_answer_in_either_form(outputs) -> None:
    answer = prediction.answer(response(**outputs()), NAMES)
    assert answer.version == 7
    assert list(answer.tensors) == list(NAMES)
    np.testing.assert_array_equal(answer.tensors["probabilities"], PROBABILITIES)
    assert answer.tensors["class_ids"].tolist() == [1, 0]
    assert answer.tensors["class_ids"].dtype == np.int64
    assert answer.tensors["class_names"].tolist() == [b"one", "ö".encode()]


def test_what_is_not_wanted_is_not_looked_at() -> None:
    broken = shaped(pb.DT_BFLOAT16, 1)
    answer = prediction.answer(response(**in_typed_fields(), other=broken), NAMES)
    assert list(answer.tensors) == list(NAMES)


@pytest.mark.parametrize(
    "tensor",
    [
        shaped(pb.DT_INT64, 3, int64_val=[128, -1, 2**62]),
        shaped(pb.DT_INT64, 2, int64_val=[300]),
        shaped(pb.DT_INT32, 2, int_val=[5, 6]),
        shaped(pb.DT_FLOAT, 3, float_val=[0.5]),
        shaped(pb.DT_FLOAT, 2),
        shaped(pb.DT_DOUBLE, 2, double_val=[0.1, 0.2]),
        shaped(pb.DT_STRING, 2, string_val=[b"a"]),
        shaped(pb.DT_STRING, 2, tensor_content=b"\x01\x00a"),
        shaped(pb.DT_STRING, 1, tensor_content=b"\x01y", string_val=[b"x"]),
        shaped(pb.DT_FLOAT, 0),
    ],
    ids=lambda tensor: str(tensor).split("\n", maxsplit=1)[0] + f" {tensor.ByteSize()}",
)
def test_what_is_not_plain_is_read_by_the_general_way(tensor) -> None:
    answer = prediction.answer(response(x=tensor), ["x"])
    expected = to_array(tensor)
    assert answer.tensors["x"].dtype == expected.dtype
    np.testing.assert_array_equal(answer.tensors["x"], expected)


def test_numbers_with_a_field_each_or_in_two_parts() -> None:
    head = shaped(pb.DT_FLOAT, 2).SerializeToString()
    one, two = np.float32(1.5).tobytes(), np.float32(2.5).tobytes()
    for values in (b"\x2d" + one + b"\x2d" + two, b"\x2a\x04" + one + b"\x2a\x04" + two):
        tensor = head + values
        entry = b"\x0a\x01x\x12" + bytes([len(tensor)]) + tensor
        answer = prediction.answer(b"\x0a" + bytes([len(entry)]) + entry, ["x"])
        assert answer.tensors["x"].tolist() == [1.5, 2.5]
        assert answer.version is None


def test_an_answer_that_lacks_something_tells_what_it_has() -> None:
    outputs = in_typed_fields()
    del outputs["class_ids"]
    answer = prediction.answer(response(**outputs, logits=from_array(np.zeros(2))), NAMES)
    assert sorted(answer.tensors) == ["class_names", "logits", "probabilities"]


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (shaped(pb.DT_FLOAT, -1, float_val=[1]), "fully known"),
        (shaped(pb.DT_FLOAT, 2**40, float_val=[1]), "larger than the limit"),
        (shaped(pb.DT_FLOAT, 1, float_val=[1, 2]), "at most 1"),
        (
            shaped(pb.DT_FLOAT, 0, 2**62, 2**62),
            "3 dimensions, the largest 4,611,686,018,427,387,904",
        ),
        (shaped(pb.DT_FLOAT, *[1] * 70, float_val=[1]), "70 dimensions"),
        (shaped(pb.DT_FLOAT, *[1] * 1000, float_val=[1]), "1000 dimensions"),
        (shaped(pb.DT_STRING, 0, tensor_content=b"xx"), "has 2 bytes"),
        (shaped(pb.DT_FLOAT, 2, tensor_content=b"1234567"), "has 7 bytes, expected 8"),
        (shaped(pb.DT_INT64, 1, int64_val=[1, 2]), "at most 1"),
        (pb.TensorProto(dtype=pb.DT_FLOAT, tensor_shape={"unknown_rank": True}), "fully known"),
    ],
)
def test_an_answer_that_contradicts_itself_is_refused(tensor, message) -> None:
    with pytest.raises(TensorError, match=message):
        prediction.answer(response(x=tensor), ["x"])


def test_no_answer_at_all() -> None:
    with pytest.raises(DecodeError):
        prediction.answer(b"<html>", NAMES)
    with pytest.raises(DecodeError):
        prediction.answer(response(x=from_array(PROBABILITIES))[:-3], ["x"])


def test_versions() -> None:
    assert prediction.answer(response(0), []).version == 0
    assert prediction.answer(response(None), []).version is None


def test_a_long_name_is_read_too() -> None:
    made = pb.PredictResponse.FromString(response(3))
    made.model_spec.name = "m" * 5000
    assert prediction.answer(made.SerializeToString(), []).version == 3


def test_a_random_answer_is_read_as_the_general_way_does() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(rng.integers(0, 4, rng.integers(0, 3)).tolist())
        data_type, field = [
            (pb.DT_FLOAT, "float_val"),
            (pb.DT_INT64, "int64_val"),
            (pb.DT_STRING, "string_val"),
        ][rng.integers(3)]
        values = rng.integers(0, 200, rng.integers(0, 5)).tolist()
        if field == "string_val":
            values = [str(value).encode() for value in values]
        tensor = shaped(data_type, *shape, **{field: values})
        try:
            expected = tensors.to_array(tensor)
        except TensorError:
            with pytest.raises(TensorError):
                prediction.answer(response(x=tensor), ["x"])
            continue
        np.testing.assert_array_equal(
            prediction.answer(response(x=tensor), ["x"]).tensors["x"], expected
        )
