"""Versions change under load, and no request notices."""

import json
import logging
import os
import threading
import time
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
import urllib3
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kmnist.errors import InputError, KmnistError
from kmnist.protocol import serving_pb2 as pb
from kmnist.server import Server
from tests.server.served_models import save_digits

REQUESTS = int(os.environ.get("KMNIST_SWITCH_REQUESTS", "1000"))
SWITCHES = 10
IMAGES = np.zeros((1, 28, 28), np.uint8)


def predict_request(version: int | None = None) -> Any:
    request = PredictRequest()
    request.model_spec.name = "kmnist"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(IMAGES))
    if version is not None:
        request.model_spec.version.value = version
    return request


class Callers:
    """Threads that ask without a pause until told to stop; half over gRPC, half over REST."""

    def __init__(self, server: Server, predict) -> None:
        self._predict = predict
        self._pool = urllib3.PoolManager(retries=False)
        self._url = f"{server.rest_url}/v1/models/kmnist:predict"
        self._stop = threading.Event()
        self.answers: list[int] = []
        self.failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(ask,))
            for ask in (self._ask_grpc, self._ask_rest)
            for _ in range(2)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._pool.clear()

    def _run(self, ask) -> None:
        try:
            while not self._stop.is_set():
                self.answers.append(ask())
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.failures.append(error)

    def _ask_grpc(self) -> Any:
        response = self._predict(predict_request(), timeout=30)
        version = response.model_spec.version.value
        assert response.outputs["class_ids"].int64_val == [version % 10]
        return version

    def _ask_rest(self) -> Any:
        body = json.dumps({"inputs": IMAGES.tolist()})
        response = self._pool.request("POST", self._url, body=body)
        assert response.status == 200, response.data
        return response.json()["outputs"]["class_ids"][0]

    def wait_for_more(self, requests: int) -> None:
        count = len(self.answers) + requests
        while len(self.answers) < count and not self.failures:
            time.sleep(0.01)


@pytest.mark.timeout(600)
def test_no_request_fails_while_versions_change(base, stubs, ask) -> None:
    with (
        Server(base, rest_port=0, grpc_port=0, poll_seconds=0.05) as server,
        Callers(server, stubs(server).predict) as callers,
    ):
        for version in range(2, 2 + SWITCHES):
            callers.wait_for_more(REQUESTS // SWITCHES)
            save_digits(base, version)
            path = f"/v1/models/kmnist/versions/{version}:predict"
            while ask(server, path, {"inputs": IMAGES.tolist()}).status != 200:
                time.sleep(0.01)
        callers.wait_for_more(REQUESTS // SWITCHES)
        states = ask(server, "/v1/models/kmnist").body["model_version_status"]
    logging.getLogger(__name__).info(
        "%d requests, %d failed", len(callers.answers), len(callers.failures)
    )
    assert not callers.failures
    assert len(callers.answers) >= REQUESTS
    assert {answer % 10 for answer in callers.answers} == set(range(10))
    assert [state["version"] for state in states if state["state"] == "AVAILABLE"] == ["11"]


def write_warmup(folder, *records) -> None:
    (folder / "assets.extra").mkdir()
    path = str(folder / "assets.extra" / "tf_serving_warmup_requests")
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)


def warmup_record(**inputs) -> bytes:
    request = PredictRequest()
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    log = pb.PredictionLog()
    log.predict_log.request.ParseFromString(request.SerializeToString())
    return log.SerializeToString()


def test_the_warm_up_is_run(base, ask) -> None:
    write_warmup(base / "1", warmup_record(images=IMAGES), warmup_record(images=IMAGES))
    with Server(base, rest_port=0, grpc_port=0) as server:
        assert ask(server, "/v1/models/kmnist:predict", {"inputs": IMAGES.tolist()}).status == 200


@pytest.mark.parametrize("record", [warmup_record(wrong=IMAGES), b"\xff\xff"])
def test_a_bad_warm_up_record_fails_the_version(base, record) -> None:
    write_warmup(base / "1", record)
    with (
        pytest.raises(KmnistError, match=r"no version in .* can be loaded: version 1"),
        Server(base, rest_port=0, grpc_port=0),
    ):
        pass


def test_a_broken_version_is_told_of_and_the_old_one_answers(base, ask, stubs) -> None:
    with Server(base, rest_port=0, grpc_port=0, poll_seconds=0.05) as server:
        (base / "2").mkdir()
        (base / "2" / "saved_model.pb").write_bytes(b"\xff")
        while ask(server, "/v1/models/kmnist/versions/2").status != 200:
            time.sleep(0.01)
        while True:
            [status] = ask(server, "/v1/models/kmnist/versions/2").body["model_version_status"]
            if status["state"] != "LOADING":
                break
            time.sleep(0.01)
        assert status["state"] == "END"
        assert status["status"]["error_code"] != "OK"
        assert "saved_model.pb" in status["status"]["error_message"]
        assert stubs(server).predict(predict_request()).model_spec.version.value == 1
        with pytest.raises(grpc.RpcError, match="Servable not found"):
            stubs(server).predict(predict_request(version=2))


def test_labels(base, ask) -> None:
    save_digits(base, 2)
    (base.parent / "models.config").write_text(
        'model_config_list { config { name: "kmnist" base_path: "/models/kmnist" '
        "model_version_policy { all {} } "
        'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 } } }'
    )
    body = {"inputs": IMAGES.tolist()}
    with Server(base, rest_port=0, grpc_port=0) as server:
        for target, version in (("labels/stable", 1), ("labels/canary", 2), ("versions/1", 1)):
            answer = ask(server, f"/v1/models/kmnist/{target}:predict", body)
            assert answer.body["outputs"]["class_ids"] == [version]
        metadata = ask(server, "/v1/models/kmnist/labels/canary/metadata").body
        assert metadata["model_spec"]["version"] == "2"
        # As upstream, a label is not looked at here.
        assert len(ask(server, "/v1/models/kmnist/labels/x").body["model_version_status"]) == 2


def test_the_version_folder_instead_of_its_parent(base) -> None:
    with pytest.raises(InputError, match="is a version; expected the folder of versions"):
        Server(base / "1", rest_port=0, grpc_port=0)
