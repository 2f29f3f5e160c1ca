"""The HTTP transport: bodies, connections and invalid HTTP."""

import asyncio
import errno
import gzip
import json
import logging
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kmnist.server import Server, http_server
from kmnist.server.metrics import METRICS_PATH
from tests.server.calls import BODY, PREDICT, ask

GOOD = json.dumps(BODY).encode()


def talk(port: int, data: bytes) -> bytes:
    """Send raw bytes; return the response up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def test_a_body_above_the_limit_is_refused(server: Server) -> None:
    answer = ask(server, PREDICT, bytes(100_000_000))
    assert answer.status == 413
    assert "67,108,864" in answer.body["error"]
    assert ask(server, PREDICT, BODY).status == 200


def test_a_chunked_body_above_the_limit_is_refused(server: Server) -> None:
    pieces = iter([bytes(1_000_000)] * 100)
    answer = ask(server, PREDICT, pieces, headers={"Transfer-Encoding": "chunked"})
    assert answer.status == 413
    assert ask(server, PREDICT, BODY).status == 200


def test_a_compressed_body_is_refused_unless_that_is_allowed(server: Server) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    answer = ask(server, PREDICT, bomb, headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.body) == (
        415,
        {"error": "received a body with Content-Encoding gzip; expected no encoding"},
    )
    assert ask(server, PREDICT, GOOD, headers={"Content-Encoding": "identity"}).status == 200


def test_a_compressed_body_is_limited_after_decompression(saved: Path) -> None:
    headers = {"Content-Encoding": "gzip"}
    packed = gzip.compress(GOOD)
    with Server(saved, rest_port=0, grpc_port=0, max_bytes=10**6, accept_gzip=True) as server:
        assert ask(server, PREDICT, packed, headers=headers).status == 200
        bomb = gzip.compress(bytes(10**6 + 1))
        assert ask(server, PREDICT, bomb, headers=headers).status == 413
        for broken in (b"not gzip", packed[:-1], packed + b"x", b""):
            answer = ask(server, PREDICT, broken, headers=headers)
            assert answer.status == 400
            assert "gzip stream" in answer.body["error"]
        assert ask(server, PREDICT, GOOD, headers={"Content-Encoding": "br"}).status == 415


def test_a_client_may_wait_for_permission_to_send_the_body(server: Server) -> None:
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n"
    response = talk(
        server.rest_port, head.encode() + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD
    )
    assert response.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=10) as connection:
        connection.sendall(head.encode() + b"Content-Length: 100000000\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 413"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 3 + b"\r\n\r\n",
        b"\0\1\2\3\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/models/kmnist:predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    ],
    ids=["TLS", "binary", "no colon", "long", "negative length"],
)
def test_invalid_http_is_answered_with_json_and_logged(
    server: Server, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    caplog.set_level(logging.INFO, "kmnist")
    head, _, body = talk(server.rest_port, garbage).partition(b"\r\n\r\n")
    assert head.splitlines()[0].split()[1] == b"400"
    assert json.loads(body).keys() == {"error"}
    assert "not an HTTP request" in caplog.text
    assert ask(server, PREDICT, BODY).status == 200


def test_silent_connections_neither_block_requests_nor_the_stop(saved: Path) -> None:
    with Server(saved, rest_port=0, grpc_port=0) as server:
        connections = [
            socket.create_connection(("127.0.0.1", port))
            for port in (server.rest_port, server.grpc_port)
            for _ in range(50)
        ]
        for connection in connections:
            connection.sendall(b"POST /v1/models/kmnist:predict HTTP/1.1\r\nContent-Le")
        assert ask(server, PREDICT, BODY).status == 200
    for connection in connections:
        connection.close()


def begin(server: Server, size: int = 1000, sent: bytes = b"") -> socket.socket:
    """Begin a predict request whose body does not end; return when the server reads the body."""
    connection = socket.create_connection(("127.0.0.1", server.rest_port), timeout=10)
    connection.sendall(
        f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        f"Content-Length: {size}\r\n\r\n".encode()
    )
    assert connection.recv(100).startswith(b"HTTP/1.1 100")
    connection.sendall(sent)
    return connection


def test_slow_bodies_delay_no_other_request(saved: Path) -> None:
    with Server(saved, rest_port=0, grpc_port=0, concurrency=1, grace=0) as server:
        uploads = [begin(server) for _ in range(50)]
        for path in ("/v1/models/kmnist", "/v1/models/kmnist/metadata", METRICS_PATH, "/"):
            assert ask(server, path).status == 200
        assert ask(server, PREDICT, BODY).status == 200
        for upload in uploads:
            upload.close()


def test_at_the_limit_the_connection_that_waits_longest_is_closed(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "_connection_limit", lambda: 3)
    with Server(saved, rest_port=0, grpc_port=0, grace=0) as server:
        uploads = [begin(server) for _ in range(3)]
        assert ask(server, "/v1/models/kmnist").status == 200
        with suppress(ConnectionResetError):
            assert uploads[0].recv(1) == b""
        for upload in uploads[1:]:
            upload.settimeout(0.1)
            with pytest.raises(TimeoutError):
                upload.recv(1)
        for upload in uploads:
            upload.close()


def test_the_bytes_of_all_bodies_together_are_limited(saved: Path) -> None:
    with Server(saved, rest_port=0, grpc_port=0, max_bytes=10_000, grace=0) as server:
        uploads = [begin(server, 10_000, b" " * 9_999) for _ in range(4)]
        while (answer := ask(server, PREDICT, BODY)).status == 200:
            """The uploads are still arriving."""
        assert (answer.status, answer.body) == (
            503,
            {"error": "the requests in progress exceed 40,000 bytes; try again later"},
        )
        assert ask(server, "/v1/models/kmnist").status == 200
        for upload in uploads:
            upload.close()
        while ask(server, PREDICT, BODY).status == 503:
            """The server has not yet noticed that the uploads have ended."""
        assert ask(server, PREDICT, BODY).status == 200


def test_without_descriptors_the_server_waits_and_recovers(
    saved: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept: Any = asyncio.SelectorEventLoop.sock_accept
    failures = iter([OSError(errno.EMFILE, "Too many open files")] * 3)

    async def accept_after_failures(loop: Any, listener: socket.socket) -> Any:
        accepted = await accept(loop, listener)
        for failure in failures:
            accepted[0].close()
            raise failure
        return accepted

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_accept", accept_after_failures)
    with Server(saved, rest_port=0, grpc_port=0) as server:
        for _ in range(3):
            assert talk(server.rest_port, b"") == b""
        assert ask(server, "/v1/models/kmnist").status == 200
    lines = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert lines == ["a connection cannot be accepted: Too many open files"] * 3


@pytest.mark.parametrize("path", ["/v1/models/kmnist", "/v1/models/x", "/", "/none", METRICS_PATH])
def test_a_response_has_no_versions_and_must_not_be_sniffed(server: Server, path: str) -> None:
    headers = ask(server, path).headers
    assert headers.get_all("Server") == ["kmnist"]
    assert headers.get_all("X-Content-Type-Options") == ["nosniff"]


def test_a_refusal_of_invalid_http_has_no_versions(server: Server) -> None:
    head = talk(server.rest_port, b"\0\r\n\r\n")
    assert b"\r\nServer: kmnist\r\n" in head
