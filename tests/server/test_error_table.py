"""TensorFlow Serving's table of errors, row by row, over both transports.

The gRPC client is the official one.
"""

import socket
import threading
from types import SimpleNamespace
from typing import Never

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kmnist.server import Server
from kmnist.server.servable import SignatureRunner
from kmnist.server.serving_error import ServingError

IMAGES = np.zeros((1, 28, 28), np.uint8)
BODY = {"instances": IMAGES.tolist()}
Code = grpc.StatusCode


def predict_request(name="kmnist", version=None, label=None, signature="", **inputs):
    request = PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for alias, value in (inputs or {"images": IMAGES}).items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    return request


def metadata_request(name, version=None):
    request = GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    return request


def status_request(name, version=None):
    request = GetModelStatusRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    return request


def grpc_error(method, request, **options):
    with pytest.raises(grpc.RpcError) as caught:
        method(request, **{"timeout": 30} | options)
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize(
    ("path", "spec", "expected"),
    [
        ("/v1/models/other", {"name": "other"}, "Latest(other)"),
        ("/v1/models/kmnist/versions/7", {"version": 7}, "Specific(kmnist, 7)"),
    ],
)
def test_unknown_model_or_version(server, ask, stubs, path, spec, expected) -> None:
    message = f"Servable not found for request: {expected}"
    over_rest = ask(server, f"{path}:predict", BODY)
    assert (over_rest.status, over_rest.body) == (404, {"error": message})
    assert grpc_error(stubs(server).predict, predict_request(**spec)) == (Code.NOT_FOUND, message)
    over_rest = ask(server, f"{path}/metadata")
    assert (over_rest.status, over_rest.body) == (404, {"error": message})
    request = metadata_request(**{"name": "kmnist"} | spec)
    assert grpc_error(stubs(server).metadata, request) == (Code.NOT_FOUND, message)


@pytest.mark.parametrize(
    ("path", "spec", "message"),
    [
        ("/v1/models/other", {"name": "other"}, "Could not find any versions of model other"),
        (
            "/v1/models/kmnist/versions/7",
            {"name": "kmnist", "version": 7},
            "Could not find version 7 of model kmnist",
        ),
    ],
)
def test_status_of_an_unknown_model_or_version(server, ask, stubs, path, spec, message) -> None:
    over_rest = ask(server, path)
    assert (over_rest.status, over_rest.body) == (404, {"error": message})
    assert grpc_error(stubs(server).status, status_request(**spec)) == (Code.NOT_FOUND, message)


def test_unknown_label(server, ask, stubs) -> None:
    message = "Unrecognized servable version label: canary"
    over_rest = ask(server, "/v1/models/kmnist/labels/canary:predict", BODY)
    assert (over_rest.status, over_rest.body) == (400, {"error": message})
    request = predict_request(label="canary")
    assert grpc_error(stubs(server).predict, request) == (Code.INVALID_ARGUMENT, message)


def test_unknown_signature(server, ask, stubs) -> None:
    over_rest = ask(server, "/v1/models/kmnist:predict", {"signature_name": "x", **BODY})
    assert over_rest.status == 400
    assert over_rest.body["error"] == 'Serving signature name: "x" not found in signature def'
    assert grpc_error(stubs(server).predict, predict_request(signature="x")) == (
        Code.FAILED_PRECONDITION,
        'Serving signature key "x" not found.',
    )


@pytest.mark.parametrize(
    "inputs",
    [
        {"pictures": IMAGES},
        {"images": IMAGES, "more": IMAGES},
        {"images": IMAGES.astype(np.float32) + 0.5},
        {"images": IMAGES[:, :, 1:]},
        {"images": IMAGES[0]},
        {"images": np.uint8(1)},
    ],
    ids=["wrong name", "a name too many", "wrong dtype", "narrow", "wrong rank", "scalar"],
)
def test_wrong_name_dtype_or_shape(server, ask, stubs, inputs) -> None:
    columns = {name: array.tolist() for name, array in inputs.items()}
    over_rest = ask(server, "/v1/models/kmnist:predict", {"inputs": columns})
    assert over_rest.status == 400
    assert over_rest.body["error"]
    code, message = grpc_error(stubs(server).predict, predict_request(**inputs))
    assert code == Code.INVALID_ARGUMENT
    assert message


@pytest.mark.parametrize(
    ("body", "begins"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"images", "JSON Parse error"),
        (b"[1]", "JSON Parse error"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": []}, "JSON Value: []"),
        ({"instances": [[[1, 2], [3]]]}, "Encountered list at unexpected size"),
    ],
    ids=["empty", "no JSON", "no object", "neither key", "no values", "ragged"],
)
def test_not_a_request(server, ask, body, begins) -> None:
    over_rest = ask(server, "/v1/models/kmnist:predict", body)
    assert over_rest.status == 400
    assert over_rest.body["error"].startswith(begins)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/kmnist:predict"),
        ("POST", "/v1/models/kmnist"),
        ("DELETE", "/v1/models/kmnist"),
        ("GET", "/v1/modles/kmnist"),
        ("POST", "/v1/models/kmnist:guess"),
        ("GET", "/v1/models/kmnist/versions/-1"),
    ],
)
def test_wrong_path_or_verb(server, ask, method, path) -> None:
    over_rest = ask(server, path, b"{}" if method == "POST" else None, method=method)
    assert over_rest.status == 400
    assert over_rest.body == {"error": f"Malformed request: {method} {path}"}


def test_a_method_that_is_not_served(server, ask, stubs) -> None:
    from tensorflow_serving.apis.classification_pb2 import ClassificationRequest

    code, _ = grpc_error(stubs(server).classify, ClassificationRequest())
    assert code == Code.UNIMPLEMENTED
    assert ask(server, "/v1/models/kmnist:classify", {"examples": []}).status == 501


def test_a_path_outside_the_api_is_html(server, ask) -> None:
    over_rest = ask(server, "/v2/models/kmnist")
    assert (over_rest.status, over_rest.type) == (404, "text/html")


def test_down_or_still_loading(base, stubs) -> None:
    server = Server(base, rest_port=0, grpc_port=0)  # not started: it has no version yet
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.rest_port))
        code, _ = grpc_error(stubs(server).predict, predict_request())
        assert code == Code.UNAVAILABLE
    finally:
        server.stop()


@pytest.fixture
def stuck(monkeypatch):
    """Requests that reach the model wait there until ``release`` is set."""
    state = SimpleNamespace(reached=threading.Semaphore(0), release=threading.Event())
    run = SignatureRunner.__call__

    def wait(signature, inputs):
        state.reached.release()
        assert state.release.wait(30)
        return run(signature, inputs)

    monkeypatch.setattr(SignatureRunner, "__call__", wait)
    yield state
    state.release.set()


def test_too_many_concurrent_calls(base, ask, stubs, stuck) -> None:
    with Server(base, rest_port=0, grpc_port=0, concurrency=1) as server:
        predict = stubs(server).predict
        first = predict.future(predict_request(), timeout=30)
        assert stuck.reached.acquire(timeout=30)
        message = "Server Threadpool Exhausted"
        assert grpc_error(predict, predict_request()) == (Code.RESOURCE_EXHAUSTED, message)
        over_rest = ask(server, "/v1/models/kmnist:predict", BODY)
        assert (over_rest.status, over_rest.body) == (503, {"error": message})
        # States are told even so.
        assert ask(server, "/v1/models/kmnist").status == 200
        stuck.release.set()
        assert first.result().model_spec.version.value == 1
        assert ask(server, "/v1/models/kmnist:predict", BODY).status == 200


def test_timeouts(base, ask, stubs, stuck) -> None:
    with Server(base, rest_port=0, grpc_port=0, timeout=0.1) as server:
        over_rest = ask(server, "/v1/models/kmnist:predict", BODY)
        assert (over_rest.status, over_rest.body) == (504, {"error": "Timed out after 0.1 seconds"})
        code, _ = grpc_error(stubs(server).predict, predict_request(), timeout=0.1)
        assert code == Code.DEADLINE_EXCEEDED
        stuck.release.set()
        assert ask(server, "/v1/models/kmnist").status == 200


@pytest.mark.parametrize(
    ("code", "http_status"),
    [
        (Code.UNIMPLEMENTED, 501),
        (Code.INTERNAL, 500),
        (Code.UNKNOWN, 500),
        (Code.DATA_LOSS, 500),
        (Code.PERMISSION_DENIED, 403),
        (Code.UNAUTHENTICATED, 401),
        (Code.RESOURCE_EXHAUSTED, 429),
        (Code.ABORTED, 409),
        (Code.ALREADY_EXISTS, 409),
        (Code.CANCELLED, 499),
        (Code.UNAVAILABLE, 503),
        (Code.DEADLINE_EXCEEDED, 504),
    ],
)
def test_what_the_model_raises(server, ask, stubs, monkeypatch, code, http_status) -> None:
    def fail(signature, inputs) -> Never:
        raise ServingError(code, "the model's words")

    monkeypatch.setattr(SignatureRunner, "__call__", fail)
    over_rest = ask(server, "/v1/models/kmnist:predict", BODY)
    assert (over_rest.status, over_rest.body) == (http_status, {"error": "the model's words"})
    assert grpc_error(stubs(server).predict, predict_request()) == (code, "the model's words")


def test_a_bug_is_internal_and_logged(server, ask, stubs, monkeypatch, caplog) -> None:
    def fail(signature, inputs) -> Never:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(SignatureRunner, "__call__", fail)
    over_rest = ask(server, "/v1/models/kmnist:predict", BODY)
    assert (over_rest.status, over_rest.body) == (500, {"error": "ZeroDivisionError: a bug"})
    code, _ = grpc_error(stubs(server).predict, predict_request())
    assert code == Code.INTERNAL
    assert [record.levelname for record in caplog.records].count("ERROR") == 2
