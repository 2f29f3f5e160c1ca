"""TensorFlow Serving's errors, case by case, over both transports."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest

from kmnist.server import Server
from kmnist.server.errors import StatusError
from kmnist.server.model import LoadedSignature
from tests.server.calls import (
    BODY,
    IMAGES,
    PREDICT,
    Stubs,
    Stuck,
    ask,
    grpc_error,
    predict_request,
    wait_until,
)

Code = grpc.StatusCode
Connect = Callable[[Server], Stubs]


@pytest.mark.parametrize(
    ("path", "spec", "wanted", "found_no"),
    [
        ("other", {"name": "other"}, "Latest(other)", "any versions of model other"),
        ("kmnist/versions/7", {"version": 7}, "Specific(kmnist, 7)", "version 7 of model kmnist"),
    ],
    ids=["model", "version"],
)
def test_an_unknown_model_or_version(
    server: Server, stubs: Connect, path: str, spec: dict[str, Any], wanted: str, found_no: str
) -> None:
    stub, predict = stubs(server), predict_request(**spec)
    target = {"model_spec": predict.model_spec}
    metadata = GetModelMetadataRequest(metadata_field=["signature_def"], **target)
    status = GetModelStatusRequest(**target)
    no_servable, no_status = (
        f"Servable not found for request: {wanted}",
        f"Could not find {found_no}",
    )
    for suffix, body, method, request, message in (
        (":predict", BODY, stub.predict, predict, no_servable),
        ("/metadata", None, stub.metadata, metadata, no_servable),
        ("", None, stub.status, status, no_status),
    ):
        over_rest = ask(server, f"/v1/models/{path}{suffix}", body)
        assert (over_rest.status, over_rest.body) == (404, {"error": message})
        assert grpc_error(method, request) == (Code.NOT_FOUND, message)


def test_an_unknown_label(server: Server, stubs: Connect) -> None:
    message = "Unrecognized servable version label: canary"
    over_rest = ask(server, "/v1/models/kmnist/labels/canary:predict", BODY)
    assert (over_rest.status, over_rest.body) == (400, {"error": message})
    request = predict_request(label="canary")
    assert grpc_error(stubs(server).predict, request) == (Code.INVALID_ARGUMENT, message)


def test_an_unknown_signature(server: Server, stubs: Connect) -> None:
    over_rest = ask(server, PREDICT, {"signature_name": "x", **BODY})
    assert over_rest.status == 400
    assert over_rest.body["error"] == 'Serving signature name: "x" not found in signature def'
    assert grpc_error(stubs(server).predict, predict_request(signature="x")) == (
        Code.FAILED_PRECONDITION,
        'Serving signature key "x" not found.',
    )


@pytest.mark.parametrize(
    ("inputs", "wrong"),
    [
        ({"pictures": IMAGES}, "1!=1, received pictures, expected images"),
        ({"images": IMAGES, "more": IMAGES}, "2!=1, received images, more, expected images"),
        ({"images": IMAGES.astype(np.float32) + 0.5}, "actual float vs. expect uint8"),
        ({"images": IMAGES[:, :, 1:]}, "[1,28,27]"),
        ({"images": IMAGES[0]}, "[28,28]"),
        ({"images": np.array(1, np.uint8)}, "[]"),
    ],
    ids=["wrong name", "too many names", "wrong dtype", "narrow", "wrong rank", "scalar"],
)
def test_a_wrong_name_dtype_or_shape(
    server: Server, stubs: Connect, inputs: dict[str, NDArray[Any]], wrong: str
) -> None:
    columns = {name: array.tolist() for name, array in inputs.items()}
    over_rest = ask(server, PREDICT, {"inputs": columns})
    assert over_rest.status == 400
    assert over_rest.body["error"]
    code, message = grpc_error(stubs(server).predict, predict_request(inputs=inputs))
    assert code == Code.INVALID_ARGUMENT
    assert wrong in message


def test_a_method_that_is_not_supported(server: Server, stubs: Connect) -> None:
    code, _ = grpc_error(stubs(server).classify, ClassificationRequest())
    assert code == Code.UNIMPLEMENTED
    assert ask(server, "/v1/models/kmnist:classify", {"examples": []}).status == 501


def test_a_server_that_is_down_or_still_loading(base: Path, stubs: Connect) -> None:
    server = Server(base, rest_port=0, grpc_port=0)  # not started: no version is loaded yet
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.rest_port))
        code, _ = grpc_error(stubs(server).predict, predict_request())
        assert code == Code.UNAVAILABLE
    finally:
        server.stop()


def test_too_many_concurrent_requests(base: Path, stubs: Connect, stuck: Stuck) -> None:
    with Server(base, rest_port=0, grpc_port=0, concurrency=1) as server:
        predict = stubs(server).predict
        first = predict.future(predict_request(), timeout=30)
        assert stuck.reached.acquire(timeout=30)
        message = "Server Threadpool Exhausted"
        assert grpc_error(predict, predict_request()) == (Code.RESOURCE_EXHAUSTED, message)
        over_rest = ask(server, PREDICT, BODY)
        assert (over_rest.status, over_rest.body) == (503, {"error": message})
        # Status requests are still answered.
        assert ask(server, "/v1/models/kmnist").status == 200
        stuck.release.set()
        assert first.result().model_spec.version.value == 1
        assert ask(server, PREDICT, BODY).status == 200


def test_a_request_that_exceeds_the_timeout_occupies_its_place_until_it_ends(
    base: Path, stubs: Connect, stuck: Stuck
) -> None:
    with Server(base, rest_port=0, grpc_port=0, timeout=0.1, concurrency=2) as server:
        over_rest = ask(server, PREDICT, BODY)
        assert (over_rest.status, over_rest.body) == (504, {"error": "Timed out after 0.1 seconds"})
        code, _ = grpc_error(stubs(server).predict, predict_request(), timeout=0.1)
        assert code == Code.DEADLINE_EXCEEDED
        assert ask(server, PREDICT, BODY).status == 503
        assert ask(server, "/v1/models/kmnist").status == 200
        stuck.release.set()
        wait_until(lambda: ask(server, PREDICT, BODY).status == 200)


@pytest.mark.parametrize(
    "code_and_status",
    "UNIMPLEMENTED 501, INTERNAL 500, UNKNOWN 500, DATA_LOSS 500, PERMISSION_DENIED 403, "
    "UNAUTHENTICATED 401, RESOURCE_EXHAUSTED 429, ABORTED 409, ALREADY_EXISTS 409, "
    "CANCELLED 499, UNAVAILABLE 503, DEADLINE_EXCEEDED 504".split(", "),
)
def test_an_error_of_the_model(
    server: Server, stubs: Connect, monkeypatch: pytest.MonkeyPatch, code_and_status: str
) -> None:
    name, status = code_and_status.split()
    message = "the text of the model"
    code = getattr(Code, name)
    fail_with(monkeypatch, StatusError(code, message))
    over_rest = ask(server, PREDICT, BODY)
    assert (over_rest.status, over_rest.body) == (int(status), {"error": message})
    assert grpc_error(stubs(server).predict, predict_request()) == (code, message)


def test_a_bug_is_an_internal_error_and_logged(
    server: Server,
    stubs: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail_with(monkeypatch, ZeroDivisionError("a bug"))
    over_rest = ask(server, PREDICT, BODY)
    assert (over_rest.status, over_rest.body) == (500, {"error": "ZeroDivisionError: a bug"})
    code, _ = grpc_error(stubs(server).predict, predict_request())
    assert code == Code.INTERNAL
    assert [record.levelname for record in caplog.records].count("ERROR") == 2


def fail_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(signature: LoadedSignature, inputs: object) -> Never:
        raise error

    monkeypatch.setattr(LoadedSignature, "__call__", fail)
