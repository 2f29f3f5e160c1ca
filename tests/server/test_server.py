"""The server from start to stop."""

import http.client
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Never

import grpc
import numpy as np
import pytest
import tensorflow as tf

from kmnist import Client, Dataset
from kmnist.errors import InputError, KmnistError, MissingError
from kmnist.server import Server
from kmnist.server.errors import StatusError
from kmnist.server.model import LoadedModel, LoadedSignature
from tests.server.calls import BODY, PREDICT, Stubs, ask, predict_request, wait_until


def test_both_transports_return_the_same(server: Server, stubs: Callable[[Server], Stubs]) -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    response = stubs(server).predict(predict_request(inputs={"images": images}))
    assert response.model_spec.version.value == 1
    over_grpc = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
    over_rest = ask(server, PREDICT, {"inputs": images.tolist()}).body
    assert over_grpc["class_ids"].tolist() == over_rest["outputs"]["class_ids"] == [1, 1]
    assert over_rest["outputs"]["class_names"] == ["1", "1"]
    np.testing.assert_array_equal(
        over_grpc["probabilities"],
        np.array(over_rest["outputs"]["probabilities"], np.float32),
    )


@pytest.mark.parametrize("transport", ["grpc_url", "rest_url"])
def test_an_exported_model_is_served_to_the_client(
    served: Server, tiny_dataset: Dataset, transport: str
) -> None:
    images = tiny_dataset.test.images[:20]
    with Client(getattr(served, transport)) as client:
        predictions = client.predict(images)
    model = tf.saved_model.load(str(served.base / "1"))
    expected = model.signatures["serving_default"](images=tf.constant(images))
    np.testing.assert_array_equal(predictions.class_ids, expected["class_ids"])
    np.testing.assert_allclose(predictions.probabilities, expected["probabilities"], rtol=1e-5)


def test_its_repr_has_the_addresses(served: Server) -> None:
    assert repr(served) == f"Server(kmnist: {served.base}, {served.grpc_url}, {served.rest_url})"
    assert f":{served.rest_port})" in repr(served)


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


def test_both_apis_need_different_ports(saved: Path) -> None:
    with pytest.raises(InputError, match="8500"):
        Server(saved, rest_port=8500, grpc_port=8500)


@pytest.mark.parametrize("name", ["a/b", "a:b"])
def test_a_name_that_does_not_fit_into_a_path_is_refused(saved: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' cannot be a model's name"):
        Server(saved, name=name, rest_port=0, grpc_port=0)


def test_a_version_folder_is_refused(saved: Path) -> None:
    with pytest.raises(InputError, match="is a SavedModel: use the folder of versions"):
        Server(saved / "1", rest_port=0, grpc_port=0)


def test_a_port_may_be_taken_while_the_model_loads(saved: Path) -> None:
    server = Server(saved, rest_port=0, grpc_port=0)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", server.rest_port))
        other.listen()
        with pytest.raises(KmnistError, match=f"127.0.0.1:{server.rest_port}: .*in use"):
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

    monkeypatch.setattr(LoadedSignature, "__call__", wait)
    monkeypatch.setattr(LoadedModel, "_warm_up", lambda *_: None)
    server = Server(saved, rest_port=0, grpc_port=0, grace=0.1)
    server.start()
    over_grpc = stubs(server).predict.future(predict_request(), timeout=30)
    over_rest = threading.Thread(target=failing, args=(server,))
    over_rest.start()
    assert reached.acquire(timeout=30)
    assert reached.acquire(timeout=30)
    assert not server.stop()
    release.set()
    over_rest.join()
    assert over_grpc.exception() is not None
    wait_until(server.stop)


def failing(server: Server) -> None:
    """Send a request that the end of the server breaks off."""
    with suppress(OSError, http.client.HTTPException):
        ask(server, PREDICT, BODY)
