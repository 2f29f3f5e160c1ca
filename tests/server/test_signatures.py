"""Models that are not ours: any SavedModel with predict signatures is served."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.predict_pb2 import PredictRequest

KINDS = (
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
)


@pytest.fixture
def predict(odd_server, stubs):
    """``predict(signature, x=…)`` → the outputs over gRPC."""

    def predict(signature, *, wanted=(), content=False, **inputs):
        request = PredictRequest(output_filter=wanted)
        request.model_spec.name = "odd"
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        response = stubs(odd_server).predict(request, timeout=30)
        return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}

    return predict


@pytest.fixture
def post(odd_server, ask):
    """``post(signature, body)`` → the JSON answer and its status."""

    def post(signature, **body):
        answer = ask(odd_server, "/v1/models/odd:predict", {"signature_name": signature, **body})
        return answer.status, answer.body

    return post


@pytest.mark.parametrize(
    "x",
    [
        np.float32(2),
        np.array([1, 2], np.float32),
        np.zeros((0, 3), np.float32),
        np.ones((2, 3, 4), "f4"),
    ],
)
def test_floats_of_any_shape(predict, post, x) -> None:
    np.testing.assert_array_equal(predict("double", x=x)["y"], x * 2)
    assert post("double", inputs=x.tolist()) == (200, {"outputs": (x * 2).tolist()})


def test_several_inputs_and_outputs(predict, post) -> None:
    outputs = predict("add", a=np.array([1, 5], np.int64), b=np.array([2, 3], np.int64))
    assert {name: array.tolist() for name, array in outputs.items()} == {
        "sum": [3, 8],
        "larger": [2, 5],
    }
    assert post("add", instances=[{"a": 1, "b": 2}]) == (
        200,
        {"predictions": [{"sum": 3, "larger": 2}]},
    )


def test_output_filter(predict) -> None:
    arrays = {"a": np.array([1], np.int64), "b": np.array([2], np.int64)}
    assert predict("add", wanted=["sum"], **arrays).keys() == {"sum"}
    for wanted, message in ((["no"], "alias not found"), (["sum", "sum"], "duplicate output")):
        with pytest.raises(Exception, match=message):
            predict("add", wanted=wanted, **arrays)


def test_strings_and_bytes(predict, post) -> None:
    assert predict("shout", text=[b"abc"])["upper"].tolist() == [b"ABC"]
    assert post("shout", inputs=["abc", {"b64": "/w=="}])[1]["outputs"]["raw_bytes"] == [
        {"b64": "YWJj"},
        {"b64": "/w=="},
    ]
    assert post("shout", instances=["abc"])[1] == {
        "predictions": [{"upper": "ABC", "raw_bytes": {"b64": "YWJj"}}]
    }


def test_booleans(predict, post) -> None:
    assert predict("invert", flags=[True, False])["not"].tolist() == [False, True]
    assert post("invert", instances=[True, False]) == (200, {"predictions": [False, True]})


def test_every_type_of_output(predict, post) -> None:
    outputs = predict("kinds", x=np.array([0, 1, 100], np.int32))
    assert {name: str(array.dtype) for name, array in outputs.items()} == {
        kind: kind for kind in KINDS
    }
    for kind, array in outputs.items():
        np.testing.assert_array_equal(
            array, np.array([0, 1, 100], np.int32).astype(kind), err_msg=kind
        )
    assert post("kinds", inputs=[100])[1]["outputs"] == {
        kind: [True] if kind == "bool" else [100] for kind in KINDS
    }


def test_a_scalar_output_has_no_rows(predict, post) -> None:
    assert predict("total", x=np.array([1, 2], np.float32))["total"] == 3
    assert post("total", inputs=[1, 2]) == (200, {"outputs": 3.0})
    status, body = post("total", instances=[1, 2])
    assert status == 400
    assert "has no shape information" in body["error"]


def test_outputs_of_different_lengths_have_no_rows(predict, post) -> None:
    assert predict("uneven", x=np.array([1, 2], np.float32))["first"].tolist() == [1]
    assert post("uneven", instances=[1, 2])[0] == 400
    assert post("uneven", inputs=[1, 2])[1] == {"outputs": {"all": [1.0, 2.0], "first": [1.0]}}


def test_the_initialiser_is_told_of_but_cannot_be_called(odd_server, stubs, post) -> None:
    request = GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "odd"
    response = stubs(odd_server).metadata(request)
    signatures = SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert "__saved_model_init_op" in signatures.signature_def
    assert post("__saved_model_init_op", inputs={})[0] == 400


def test_metadata(odd_server, ask) -> None:
    body = ask(odd_server, "/v1/models/odd/metadata").body
    assert body["model_spec"] == {"name": "odd", "signature_name": "", "version": "1"}
    add = body["metadata"]["signature_def"]["signature_def"]["add"]
    assert add["method_name"] == "tensorflow/serving/predict"
    assert add["inputs"]["a"] == {
        "dtype": "DT_INT64",
        "name": "add_a:0",
        "tensor_shape": {"dim": [{"name": "", "size": "-1"}], "unknown_rank": False},
    }


def test_an_empty_batch(server, stubs) -> None:
    request = PredictRequest()
    request.model_spec.name = "kmnist"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(np.zeros((0, 28, 28), np.uint8)))
    outputs = stubs(server).predict(request, timeout=30).outputs
    assert tf.make_ndarray(outputs["probabilities"]).shape == (0, 10)


def test_answers_come_in_typed_fields_as_upstream_by_default(server, stubs) -> None:
    request = PredictRequest()
    request.model_spec.name = "kmnist"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(np.zeros((1, 28, 28), np.uint8)))
    outputs = stubs(server).predict(request, timeout=30).outputs
    assert len(outputs["probabilities"].float_val) == 10
    assert outputs["class_ids"].int64_val == [1]
    assert outputs["class_names"].string_val == [b"1"]
    assert not outputs["probabilities"].tensor_content
