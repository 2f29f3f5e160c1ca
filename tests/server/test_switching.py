"""Versions change under load, and no request fails."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import pytest
import urllib3

from kmnist.server import Server
from tests.server.calls import IMAGES, PREDICT, Stubs, ask, predict_request
from tests.server.served_models import save_digits

REQUESTS = int(os.environ.get("KMNIST_SWITCH_REQUESTS", "1000"))
SWITCHES = 10
COLUMNS = {"inputs": IMAGES.tolist()}
STATUS = "/v1/models/kmnist/versions/2"


class Callers:
    """Threads that send requests without a pause; half over gRPC, half over REST."""

    def __init__(self, server: Server, predict: Any) -> None:
        self._predict = predict
        self._pool = urllib3.PoolManager(retries=False)
        self._url = server.rest_url + PREDICT
        self._stop = threading.Event()
        self.answers: list[int] = []
        self.failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(call,))
            for call in (self._call_grpc, self._call_rest)
            for _ in range(2)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._pool.clear()

    def wait_for_more(self, requests: int) -> None:
        """Wait until this number of further requests has been answered, or one has failed."""
        count = len(self.answers) + requests
        while len(self.answers) < count and not self.failures:
            time.sleep(0.01)

    def _run(self, call: Callable[[], int]) -> None:
        try:
            while not self._stop.is_set():
                self.answers.append(call())
        except BaseException as error:  # noqa: BLE001 - reported by the test
            self.failures.append(error)

    def _call_grpc(self) -> int:
        response = self._predict(predict_request(), timeout=30)
        version: int = response.model_spec.version.value
        assert response.outputs["class_ids"].int64_val == [version % 10]
        return version

    def _call_rest(self) -> int:
        response = self._pool.request("POST", self._url, json=COLUMNS)
        assert response.status == 200, response.data
        return int(response.json()["outputs"]["class_ids"][0])


@pytest.mark.timeout(600)
def test_no_request_fails_while_versions_change(
    base: Path, stubs: Callable[[Server], Stubs]
) -> None:
    with (
        Server(base, rest_port=0, grpc_port=0, poll_seconds=0.05) as server,
        Callers(server, stubs(server).predict) as callers,
    ):
        for version in range(2, 2 + SWITCHES):
            callers.wait_for_more(REQUESTS // SWITCHES)
            save_digits(base, version)
            path = f"/v1/models/kmnist/versions/{version}:predict"
            while ask(server, path, COLUMNS).status != 200:
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


def test_a_broken_version_is_reported_while_the_old_one_answers(
    base: Path, stubs: Callable[[Server], Stubs]
) -> None:
    with Server(base, rest_port=0, grpc_port=0, poll_seconds=0.05) as server:
        (base / "2").mkdir()
        (base / "2" / "saved_model.pb").write_bytes(b"\xff")
        while ask(server, STATUS).status != 200:
            time.sleep(0.01)
        while True:
            [status] = ask(server, STATUS).body["model_version_status"]
            if status["state"] != "LOADING":
                break
            time.sleep(0.01)
        assert status["state"] == "END"
        assert status["status"]["error_code"] != "OK"
        assert "saved_model.pb" in status["status"]["error_message"]
        assert stubs(server).predict(predict_request()).model_spec.version.value == 1
        with pytest.raises(grpc.RpcError, match="Servable not found"):
            stubs(server).predict(predict_request(version=2))


def test_labels_select_versions(base: Path) -> None:
    save_digits(base, 2)
    (base.parent / "models.config").write_text(
        'model_config_list { config { name: "kmnist" base_path: "/models/kmnist" '
        "model_version_policy { all {} } "
        'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 } } }'
    )
    with Server(base, rest_port=0, grpc_port=0) as server:
        for target, version in (("labels/stable", 1), ("labels/canary", 2), ("versions/1", 1)):
            answer = ask(server, f"/v1/models/kmnist/{target}:predict", COLUMNS)
            assert answer.body["outputs"]["class_ids"] == [version]
        metadata = ask(server, "/v1/models/kmnist/labels/canary/metadata").body
        assert metadata["model_spec"]["version"] == "2"
        # As in TensorFlow Serving, a label is ignored in a status request.
        assert len(ask(server, "/v1/models/kmnist/labels/x").body["model_version_status"]) == 2
