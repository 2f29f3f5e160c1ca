"""The REST port: paths, bodies, and what it writes to the log."""

import gzip
import json
import logging
import socket
from pathlib import Path

import pytest

from kmnist.server import Server
from tests.server.calls import BODY, PREDICT, ask

GOOD = json.dumps(BODY).encode()
GZIP = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    ("body", "beginning"),
    [
        (b"", "JSON Parse error"),
        (b"[" * 1_000, "JSON Parse error"),
        (b"\0" * 100, "JSON Parse error"),
        (b"{}", "the body must have"),
        (b'{"instances": [[[1, 2], [3]]]}', "input 'images' has lists of different lengths"),
    ],
    ids=["empty", "deep", "binary", "neither key", "ragged"],
)
def test_an_invalid_body_is_refused_and_logged(
    server: Server, caplog: pytest.LogCaptureFixture, body: bytes, beginning: str
) -> None:
    caplog.set_level(logging.INFO, "kmnist")
    answer = ask(server, PREDICT, body)
    assert answer.status == 400
    assert answer.body["error"].startswith(beginning)
    assert len(answer.body["error"]) < 500
    assert f"POST {PREDICT} 400: {beginning}" in caplog.text


def test_a_body_may_be_compressed(server: Server) -> None:
    assert (
        ask(server, PREDICT, gzip.compress(GOOD), headers=GZIP).body
        == ask(server, PREDICT, BODY).body
    )


@pytest.mark.parametrize(
    "broken", [b"not gzip", gzip.compress(GOOD)[:20]], ids=["other", "cut off"]
)
def test_a_broken_gzip_stream_is_refused(server: Server, broken: bytes) -> None:
    answer = ask(server, PREDICT, broken, headers=GZIP)
    assert answer.status == 400
    assert answer.body.keys() == {"error"}


def test_a_body_above_the_limit_is_refused(server: Server) -> None:
    large = bytes(2**24 + 1)
    for body, headers in (
        (large, {}),
        (gzip.compress(large), GZIP),
        (iter([large]), {"Transfer-Encoding": "chunked"}),
    ):
        answer = ask(server, PREDICT, body, headers=headers)
        assert answer.status == 413
        assert "16,777,216 bytes" in answer.body["error"]
    assert ask(server, PREDICT, BODY).status == 200


def test_a_body_has_to_arrive_in_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kmnist.server.rest_api.BODY_SECONDS", 0.1)
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=30) as connection:
        connection.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\n".encode())
        connection.sendall(b"Content-Length: 1000\r\n\r\n{")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_connections_that_send_nothing_delay_neither_requests_nor_the_stop(saved: Path) -> None:
    with Server(saved, rest_port=0, grpc_port=0, concurrency=1) as server:
        ports = [server.rest_port, server.grpc_port] * 50
        connections = [socket.create_connection(("127.0.0.1", port)) for port in ports]
        for connection in connections:
            connection.sendall(b"POST /v1/models/kmnist:predict HTTP/1.1\r\nContent-Le")
        assert ask(server, PREDICT, BODY).status == 200
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/kmnist/versions/-1:predict", 400),
        (f"/v1/models/kmnist/versions/{2**63}:predict", 400),
        (f"/v1/models/kmnist/versions/{'9' * 5000}:predict", 400),
        (f"/v1/models/kmnist/versions/{2**63 - 1}:predict", 404),
        (f"/v1/models/kmnist/versions/{'0' * 5000}1:predict", 200),
        ("/v1/models/../../etc/passwd:predict", 400),
        ("/V1/MODELS/kmnist:PREDICT", 200),
        ("/v1/models/kmnist/versions/1/labels/x:predict", 400),
    ],
)
def test_paths_of_predictions(server: Server, path: str, status: int) -> None:
    answer = ask(server, path, BODY)
    assert answer.status == status
    assert answer.body.keys() == ({"predictions"} if status == 200 else {"error"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/kmnist:predict"),
        ("POST", "/v1/models/kmnist"),
        ("GET", "/v1/models"),
        ("POST", "/v1/models/kmnist:guess"),
    ],
)
def test_a_wrong_path_or_verb_is_malformed(server: Server, method: str, path: str) -> None:
    answer = ask(server, path, b"{}" if method == "POST" else None, method=method)
    assert answer.status == 400
    assert answer.body == {"error": f"Malformed request: {method} {path}"}


@pytest.mark.parametrize(
    "path", ["/v1/models/{}:predict", "/v1/models/kmnist/labels/{}:predict", "/v1/{}"]
)
def test_a_name_is_cut_off_and_cannot_forge_lines_of_the_log(
    server: Server, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level(logging.INFO, "kmnist")
    answer = ask(server, path.format("%0aFORGED%1b" + "n" * 5000), BODY)
    assert len(answer.body["error"]) < 300
    [line] = caplog.messages
    assert len(line) < 500
    assert line.isprintable()


def test_metadata(mixed_server: Server) -> None:
    body = ask(mixed_server, "/v1/models/mixed/metadata").body
    assert body["model_spec"] == {"name": "mixed", "signature_name": "", "version": "1"}
    add = body["metadata"]["signature_def"]["signature_def"]["add"]
    assert add.keys() == {"inputs", "outputs", "method_name", "defaults"}
    assert add["inputs"]["a"] == {
        "dtype": "DT_INT64",
        "name": "add_a:0",
        "tensor_shape": {"dim": [{"name": "", "size": "-1"}], "unknown_rank": False},
    }
