"""TensorFlow Serving's errors, case by case, over both transports."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
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
    ask,
    grpc_error,
    predict_request,
    wait_until,
)

Code = grpc.StatusCode
Connect = Callable[[Server], Stubs]


def request_for(kind: type[Any], name: str, version: int | None, **fields: Any) -> Any:
    """Return a request for metadata or for a status."""
    request = kind(**fields)
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    return request


@pytest.mark.parametrize(
    ("path", "name", "version", "not_found", "no_status"),
    [
        ("/v1/models/other", "other", None, "Latest(other)", "any versions of model other"),
        (
            "/v1/models/kmnist/versions/7",
            "kmnist",
            7,
            "Specific(kmnist, 7)",
            "version 7 of model kmnist",
        ),
    ],
    ids=["model", "version"],
)
def test_an_unknown_model_or_version(
    server: Server,
    stubs: Connect,
    path: str,
    name: str,
    version: int | None,
    not_found: str,
    no_status: str,
) -> None:
    stub = stubs(server)
    metadata = request_for(GetModelMetadataRequest, name, version, metadata_field=["signature_def"])
    for answer, method, request, message in (
        (
            ask(server, f"{path}:predict", BODY),
            stub.predict,
            predict_request(name, version=version),
            f"Servable not found for request: {not_found}",
        ),
        (
            ask(server, f"{path}/metadata"),
            stub.metadata,
            metadata,
            f"Servable not found for request: {not_found}",
        ),
        (
            ask(server, path),
            stub.status,
            request_for(GetModelStatusRequest, name, version),
            f"Could not find {no_status}",
        ),
    ):
        assert (answer.status, answer.body) == (404, {"error": message})
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
    "inputs",
    [
        {"pictures": IMAGES},
        {"images": IMAGES, "more": IMAGES},
        {"images": IMAGES.astype(np.float32) + 0.5},
        {"images": IMAGES[:, :, 1:]},
        {"images": IMAGES[0]},
        {"images": np.array(1, np.uint8)},
    ],
    ids=["wrong name", "too many names", "wrong dtype", "narrow", "wrong rank", "scalar"],
)
def test_a_wrong_name_dtype_or_shape(
    server: Server, stubs: Connect, inputs: dict[str, NDArray[Any]]
) -> None:
    columns = {name: array.tolist() for name, array in inputs.items()}
    over_rest = ask(server, PREDICT, {"inputs": columns})
    assert over_rest.status == 400
    assert over_rest.body["error"]
    code, message = grpc_error(stubs(server).predict, predict_request(inputs=inputs))
    assert code == Code.INVALID_ARGUMENT
    assert message


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


@dataclass
class Stuck:
    """Requests that have reached the model and wait there for ``release``."""

    reached: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    release: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stuck]:
    """Every request waits in the model until ``release`` is set."""
    state = Stuck()
    run = LoadedSignature.__call__

    def wait(
        signature: LoadedSignature, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        state.reached.release()
        assert state.release.wait(30)
        return run(signature, inputs)

    monkeypatch.setattr(LoadedSignature, "__call__", wait)
    yield state
    state.release.set()


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
    fail_with(monkeypatch, StatusError(Code[name], message))
    over_rest = ask(server, PREDICT, BODY)
    assert (over_rest.status, over_rest.body) == (int(status), {"error": message})
    assert grpc_error(stubs(server).predict, predict_request()) == (Code[name], message)


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
