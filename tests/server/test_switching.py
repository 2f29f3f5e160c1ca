"""Versions change under load, and no request fails."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Event

import urllib3

from kmnist.server import Server
from tests.server.calls import IMAGES, PREDICT, Stubs, ask, predict_request, wait_until
from tests.server.served_models import save_digits

REQUESTS = int(os.environ.get("KMNIST_SWITCH_REQUESTS", "500"))
VERSIONS = range(2, 7)
COLUMNS = {"inputs": IMAGES.tolist()}

Connect = Callable[[Server], Stubs]


def test_no_request_fails_while_versions_change(base: Path, stubs: Connect) -> None:
    pool, stop = urllib3.PoolManager(retries=False), Event()
    answers: list[int] = []

    def over_grpc() -> int:
        response = predict(predict_request(), timeout=30)
        version: int = response.model_spec.version.value
        assert response.outputs["class_ids"].int64_val == [version]
        return version

    def over_rest() -> int:
        response = pool.request("POST", server.rest_url + PREDICT, json=COLUMNS)
        assert response.status == 200, response.data
        return int(response.json()["outputs"]["class_ids"][0])

    def repeat(call: Callable[[], int]) -> None:
        while not stop.is_set():
            answers.append(call())

    def has_answered(version: int, count: int) -> bool:
        is_new = len(answers) > count and answers[-1] == version
        return is_new or any(caller.done() for caller in callers)

    with (
        Server(base, rest_port=0, grpc_port=0, poll_seconds=0.05) as server,
        ThreadPoolExecutor() as threads,
        ExitStack() as cleanup,
    ):
        cleanup.callback(stop.set)  # or the threads would not end if the test fails
        predict = stubs(server).predict
        callers = [threads.submit(repeat, call) for call in [over_grpc, over_rest] * 2]
        for version in VERSIONS:
            save_digits(base, version)
            count = len(answers) + REQUESTS // len(VERSIONS)
            wait_until(partial(has_answered, version, count))
        stop.set()
        for caller in callers:
            caller.result()
        states = ask(server, "/v1/models/kmnist").body["model_version_status"]
    assert len(answers) >= REQUESTS
    assert set(answers) >= set(VERSIONS)
    assert [state["version"] for state in states if state["state"] == "AVAILABLE"] == ["6"]


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
