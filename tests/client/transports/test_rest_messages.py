"""Paths, bodies and failures of both REST transports."""

import json
import socket
from typing import Any

import numpy as np
import pytest

from kmnist.client import (
    BadAnswerError,
    ClientError,
    InvalidInputError,
    NotReachableError,
    ServerError,
    TensorSpec,
    VersionStatus,
)
from kmnist.client.address import Address, Host
from kmnist.client.tls import TLS
from kmnist.client.transports import rest_messages as messages
from kmnist.protocol.messages import ModelSpec

HOST = Host("a", 80)


@pytest.mark.parametrize(
    ("url", "spec", "path"),
    [
        ("http://a", ModelSpec("m"), "/v1/models/m:predict"),
        ("http://a/up", ModelSpec("m", version=0), "/up/v1/models/m/versions/0:predict"),
        ("http://a", ModelSpec("a/b", label="x y"), "/v1/models/a%2Fb/labels/x%20y:predict"),
    ],
)
def test_a_path_contains_the_model_quoted(url: str, spec: ModelSpec, path: str) -> None:
    assert messages.path(Address.parse(url), spec, ":predict") == path


def test_a_body_has_the_column_format() -> None:
    images = np.array([[[0, 255]]], np.uint8)
    pictures = np.array([b"\xff"], dtype=object)
    body = messages.predict_body("s", {"images": images, "pictures": pictures})
    assert json.loads(body) == {
        "signature_name": "s",
        "inputs": {"images": [[[0, 255]]], "pictures": [{"b64": "/w=="}]},
    }


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (200, b"<html>", BadAnswerError, "HTTP 200 with 6 bytes of text/html: '<html>'; expected"),
        (200, b'{"error": "broken"}', ServerError, "broken"),
        (404, b"<html>", BadAnswerError, "received HTTP 404"),
        (302, b"", BadAnswerError, "received HTTP 302"),
        (500, b'{"error": "broken"}', ServerError, "broken"),
        (500, b"broken", ServerError, "broken"),
        (400, b'{"error": 3}', InvalidInputError, "error"),
    ],
)
def test_an_answer_without_a_result_is_an_error(
    status: int, body: bytes, error: type[ClientError], message: str
) -> None:
    with pytest.raises(error, match=message):
        messages.answer(status, "text/html; charset=utf-8", body)


def test_an_answer_with_too_many_arrays_is_an_error_before_it_is_parsed() -> None:
    body = b'{"outputs":[' + b"[]," * 10_000 + b"[]]}"
    with pytest.raises(BadAnswerError, match=r"received 10,003 arrays and objects in 30,016 byt"):
        messages.answer(200, "application/json", body)
    fewest_bytes = {"probabilities": [[1.0]] * 10_000, "i": [0] * 10_000, "n": ["0"] * 10_000}
    body = json.dumps({"outputs": fewest_bytes}, separators=(",", ":")).encode()
    assert len(messages.answer(200, "application/json", body)["outputs"]) == 3


def test_outputs_have_the_dtypes_of_the_model() -> None:
    found = messages.outputs({"outputs": {"p": [[0.5, 0]], "i": [3], "n": ["ö"], "b": [True]}})
    dtypes = {name: array.dtype for name, array in found.tensors.items()}
    assert dtypes == {"p": np.float32, "i": np.int64, "n": np.object_, "b": np.bool_}
    assert found.version is None


@pytest.mark.parametrize(
    ("parsed", "message"),
    [
        ({"predictions": []}, r"received an answer with \['predictions'\]; expected 'outputs'"),
        ({"outputs": {"p": [[1], [1, 2]]}}, "received a ragged output 'p'"),
        ({"outputs": {"p": [None]}}, "output 'p' as object; expected numbers or strings"),
    ],
)
def test_unexpected_outputs_are_an_error(parsed: dict[str, Any], message: str) -> None:
    with pytest.raises(BadAnswerError, match=message):
        messages.outputs(parsed)


def test_metadata_is_read() -> None:
    info = {"dtype": "DT_UINT8", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "28"}]}}
    unknown = {"dtype": "DT_FLOAT", "tensor_shape": {"unknown_rank": True}}
    signature = {"inputs": {"images": info}, "outputs": {"p": unknown}}
    definitions = {"serving_default": signature, "__saved_model_init_op": {}}
    found = messages.metadata(
        {
            "model_spec": {"version": "3"},
            "metadata": {"signature_def": {"signature_def": definitions}},
        }
    )
    assert found.version == 3
    assert list(found.signatures) == ["serving_default"]
    default = found.signatures["serving_default"]
    assert default.inputs == {"images": TensorSpec("DT_UINT8", (None, 28))}
    assert default.outputs == {"p": TensorSpec("DT_FLOAT", None)}


def test_statuses_are_read() -> None:
    failed = {"error_code": "INTERNAL", "error_message": "broken"}
    found = messages.statuses(
        {
            "model_version_status": [
                {"version": "1", "state": "AVAILABLE"},
                {"version": "2", "state": "END", "status": failed},
            ]
        }
    )
    assert found == [VersionStatus(1, "AVAILABLE"), VersionStatus(2, "END", "INTERNAL", "broken")]


@pytest.mark.parametrize("parsed", [{}, {"model_spec": {}, "metadata": []}, {"metadata": None}])
def test_unexpected_metadata_or_status_is_an_error(parsed: dict[str, Any]) -> None:
    with pytest.raises(BadAnswerError, match="cannot read the server's metadata"):
        messages.metadata(parsed)
    with pytest.raises(BadAnswerError, match="cannot read the server's status"):
        messages.statuses(parsed)


def test_a_tls_alert_is_a_failed_handshake() -> None:
    found = messages.not_http("\x15\x03\x03")
    assert isinstance(found, NotReachableError)
    assert "use https://" in str(found)


def test_another_protocol_is_a_bad_answer() -> None:
    assert "expected HTTP: check scheme and port" in str(messages.not_http("SSH-2.0"))


def test_the_cause_of_a_lost_connection_is_reported() -> None:
    outer = RuntimeError("pool")
    outer.__cause__ = ConnectionRefusedError(111, "refused")
    assert "a:80: Connection refused" in str(messages.connection_lost(outer, HOST))


def test_a_truncated_answer_is_retryable() -> None:
    assert messages.truncated(ValueError("10 of 20 bytes")).retryable


def test_tls_files_that_cannot_be_used_are_an_error() -> None:
    with pytest.raises(InvalidInputError, match="cannot use the TLS files"):
        messages.tls_context(TLS(ca="no-such.pem"))


def test_acknowledging_a_closed_connection_does_nothing() -> None:
    connection = socket.socket()
    messages.acknowledge_at_once(connection)
    connection.close()
    messages.acknowledge_at_once(connection)
    messages.acknowledge_at_once(None)
