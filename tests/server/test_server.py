"""The server from start to stop."""

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from kmnist import AsyncClient
from kmnist.errors import KmnistError, MissingError
from kmnist.server import Server
from tests.server.calls import BODY, IMAGES, PREDICT, Stubs, Stuck, predict_request, wait_until


def test_an_async_client_in_the_same_process_gets_answers_and_nothing_is_logged(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def predict() -> None:
        async with AsyncClient(server.grpc_url) as client:
            for _ in range(20):
                answers = await asyncio.gather(*[client.predict(IMAGES) for _ in range(10)])
                assert {answer.class_ids[0] for answer in answers} == {1}

    asyncio.run(predict())
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_a_folder_without_a_version_is_reported_at_once(tmp_path: Path) -> None:
    with (
        pytest.raises(MissingError, match=r"no version in .*; train one with: kmnist-train$"),
        Server(tmp_path, rest_port=0, grpc_port=0),
    ):
        pass


@pytest.mark.parametrize("taken", ["rest_port", "grpc_port"])
def test_a_port_in_use_is_reported(server: Server, saved: Path, taken: str) -> None:
    ports = {"rest_port": 0, "grpc_port": 0} | {taken: getattr(server, taken)}
    with pytest.raises(KmnistError, match=f"cannot listen on 127.0.0.1:{ports[taken]}: .*in use"):
        Server(saved, rest_port=ports["rest_port"], grpc_port=ports["grpc_port"])


@pytest.mark.parametrize("taken", ["rest_port", "grpc_port"])
def test_a_port_may_be_taken_while_the_model_loads(saved: Path, taken: str) -> None:
    server = Server(saved, rest_port=0, grpc_port=0)
    port = getattr(server, taken)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(KmnistError, match=f"cannot listen on 127.0.0.1:{port}: "):
            server.start()


def test_stop_may_be_called_twice_or_before_the_start(saved: Path) -> None:
    server = Server(saved, rest_port=0, grpc_port=0)
    assert server.stop()
    assert server.stop()
    server.wait()


def test_stop_reports_a_computation_that_outlasts_the_grace(
    saved: Path, stuck: Stuck, stubs: Callable[[Server], Stubs]
) -> None:
    server = Server(saved, rest_port=0, grpc_port=0, grace=0.1)
    server.start()
    over_grpc = stubs(server).predict.future(predict_request(), timeout=30)
    with socket.create_connection(("127.0.0.1", server.rest_port)) as connection:
        body = json.dumps(BODY).encode()
        connection.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\n".encode())
        connection.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        for _ in range(2):
            assert stuck.reached.acquire(timeout=30)
        assert not server.stop()
    stuck.release.set()
    assert over_grpc.exception() is not None
    wait_until(server.stop)
