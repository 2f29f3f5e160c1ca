"""The HTTP transport: bodies, connections and invalid HTTP."""

import gzip
import json
import logging
import socket
from pathlib import Path

import pytest

from kmnist.server import Server
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


def test_a_compressed_body_is_limited_after_decompression(server: Server) -> None:
    headers = {"Content-Encoding": "gzip"}
    assert ask(server, PREDICT, gzip.compress(GOOD), headers=headers).status == 200
    assert ask(server, PREDICT, gzip.compress(bytes(100_000_000)), headers=headers).status == 413
    answer = ask(server, PREDICT, b"not gzip", headers=headers)
    assert answer.status == 400
    assert answer.body["error"]


def test_a_client_may_wait_for_permission_to_send_the_body(server: Server) -> None:
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
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


def test_the_number_of_bodies_in_memory_is_limited(saved: Path) -> None:
    with Server(saved, rest_port=0, grpc_port=0, concurrency=1) as server:
        address = ("127.0.0.1", server.rest_port)
        uploads = [socket.create_connection(address, timeout=10) for _ in range(4)]
        for upload in uploads:
            upload.sendall(
                f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                f"Content-Length: 1000\r\n\r\n".encode()
            )
            assert upload.recv(100).startswith(b"HTTP/1.1 100")
        answer = ask(server, PREDICT, BODY)
        assert (answer.status, answer.body) == (503, {"error": "Server Threadpool Exhausted"})
        for upload in uploads:
            upload.close()
        while ask(server, PREDICT, BODY).status == 503:
            pass
        assert ask(server, PREDICT, BODY).status == 200
