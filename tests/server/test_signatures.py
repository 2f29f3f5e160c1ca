"""Any SavedModel with predict signatures can be served, over both transports."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.server import Server
from tests.server.calls import Stubs, ask, predict_request

Predict = Callable[[str, dict[str, Any]], dict[str, NDArray[Any]]]
Post = Callable[..., tuple[int, Any]]


@pytest.fixture
def predict(mixed_server: Server, stubs: Callable[[Server], Stubs]) -> Predict:
    """``predict(signature, inputs)`` returns the outputs over gRPC."""

    def predict(signature: str, inputs: dict[str, Any]) -> dict[str, NDArray[Any]]:
        request = predict_request("mixed", inputs, signature=signature)
        response = stubs(mixed_server).predict(request, timeout=30)
        return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}

    return predict


@pytest.fixture
def post(mixed_server: Server) -> Post:
    """``post(signature, inputs=…)`` returns status and JSON value of the response over REST."""

    def post(signature: str, **body: Any) -> tuple[int, Any]:
        answer = ask(
            mixed_server, "/v1/models/mixed:predict", {"signature_name": signature, **body}
        )
        return answer.status, answer.body

    return post


@pytest.mark.parametrize(
    "x",
    [
        np.array(2, np.float32),
        np.array([1, 2], np.float32),
        np.zeros((0, 3), np.float32),
        np.ones((2, 3, 4), np.float32),
    ],
    ids=["scalar", "vector", "empty", "three dimensions"],
)
def test_floats_of_any_shape(predict: Predict, post: Post, x: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(predict("double", {"x": x})["y"], x * 2)
    assert post("double", inputs=x.tolist()) == (200, {"outputs": (x * 2).tolist()})


def test_several_inputs_and_outputs(predict: Predict, post: Post) -> None:
    outputs = predict("add", {"a": np.array([1, 5], np.int64), "b": np.array([2, 3], np.int64)})
    assert {name: array.tolist() for name, array in outputs.items()} == {
        "sum": [3, 8],
        "larger": [2, 5],
    }
    assert post("add", instances=[{"a": 1, "b": 2}]) == (
        200,
        {"predictions": [{"sum": 3, "larger": 2}]},
    )


def test_strings_and_bytes(predict: Predict, post: Post) -> None:
    assert predict("shout", {"text": [b"abc"]})["upper"].tolist() == [b"ABC"]
    assert post("shout", inputs=["abc", {"b64": "/w=="}])[1]["outputs"]["raw_bytes"] == [
        {"b64": "YWJj"},
        {"b64": "/w=="},
    ]
    assert post("shout", instances=["abc"])[1] == {
        "predictions": [{"upper": "ABC", "raw_bytes": {"b64": "YWJj"}}]
    }


def test_booleans(predict: Predict, post: Post) -> None:
    assert predict("invert", {"flags": [True, False]})["not"].tolist() == [False, True]
    assert post("invert", instances=[True, False]) == (200, {"predictions": [False, True]})


def test_outputs_without_a_common_first_dimension_have_no_row_form(
    predict: Predict, post: Post
) -> None:
    assert predict("total", {"x": np.array([1, 2], np.float32)})["total"] == 3
    assert post("total", inputs=[1, 2]) == (200, {"outputs": 3.0})
    assert post("uneven", inputs=[1, 2])[1] == {"outputs": {"all": [1.0, 2.0], "first": [1.0]}}
    for signature in ("total", "uneven"):
        status, body = post(signature, instances=[1, 2])
        assert status == 400
        assert "no common first dimension" in body["error"]


def test_the_initializer_cannot_be_called(post: Post) -> None:
    assert post("__saved_model_init_op", inputs={})[0] == 400
