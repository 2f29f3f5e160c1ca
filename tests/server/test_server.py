"""The server from start to stop."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Never

import grpc
import numpy as np
import pytest
import tensorflow as tf

from kmnist import AsyncClient, Client, Dataset
from kmnist.errors import InputError, KmnistError, MissingError
from kmnist.server import Server
from kmnist.server.errors import StatusError
from kmnist.server.model import LoadedSignature
from tests.server.calls import BODY, IMAGES, PREDICT, Stubs, ask, predict_request, wait_until


def test_both_transports_return_what_the_model_does(served: Server, tiny_dataset: Dataset) -> None:
    images = tiny_dataset.test.images[:20]
    model = tf.saved_model.load(str(served.base / "1"))
    expected = model.signatures["serving_default"](images=tf.constant(images))
    for url in (served.grpc_url, served.rest_url):
        with Client(url) as client:
            predictions = client.predict(images)
        np.testing.assert_array_equal(predictions.class_ids, expected["class_ids"])
        np.testing.assert_allclose(predictions.probabilities, expected["probabilities"], rtol=1e-5)


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rest_port": 8500, "grpc_port": 8500}, "8500"),
        ({"name": "a/b"}, "'a/b' cannot be a model's name"),
        ({"name": "a:b"}, "'a:b' cannot be a model's name"),
        ({"host": "no such host", "rest_port": 0}, "cannot listen on no such host"),
    ],
)
def test_settings_that_cannot_be_used_are_input_errors(
    saved: Path, settings: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Server(saved, **settings)  # type: ignore[arg-type]


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
    saved: Path, monkeypatch: pytest.MonkeyPatch, stubs: Callable[[Server], Stubs]
) -> None:
    reached, release = threading.Semaphore(0), threading.Event()

    def wait(signature: LoadedSignature, inputs: object) -> Never:
        reached.release()
        release.wait(30)
        raise StatusError(grpc.StatusCode.ABORTED, "released")

    def post() -> None:
        with suppress(OSError, HTTPException):
            ask(server, PREDICT, BODY)

    server = Server(saved, rest_port=0, grpc_port=0, grace=0.1)
    server.start()
    monkeypatch.setattr(LoadedSignature, "__call__", wait)
    over_grpc = stubs(server).predict.future(predict_request(), timeout=30)
    over_rest = threading.Thread(target=post)
    over_rest.start()
    assert reached.acquire(timeout=30)
    assert reached.acquire(timeout=30)
    assert not server.stop()
    release.set()
    over_rest.join()
    assert over_grpc.exception() is not None
    wait_until(server.stop)
