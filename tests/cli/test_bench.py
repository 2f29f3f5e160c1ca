"""``kmnist bench``: the measurement is correct, whatever the speed of the machine."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from kmnist.cli import main
from kmnist.cli.bench import _Load, _measure
from kmnist.client import Client, ClientError, NotReachableError, OverloadedError
from kmnist.client.testing import FakeTransport
from kmnist.server import Server


def bench(*arguments: object, **environment: str) -> Result:
    command = ["bench", *map(str, arguments), "--duration", "0.3"]
    return CliRunner().invoke(main, command, env=environment)


def test_the_servers_are_the_rows_of_a_table(served: Server) -> None:
    done = bench("--server", served.grpc_url, "--server", served.rest_url, "--images", 3)
    assert done.exit_code == 0, done.stderr
    header, *rows = done.stdout.splitlines()
    assert header.split()[:3] == ["server", "requests/s", "images/s"]
    assert served.grpc_url in rows[0]
    assert served.rest_url in "".join(rows[1:])


def test_the_environment_names_servers(served: Server) -> None:
    done = bench("--json", KMNIST_SERVER=f"{served.grpc_url} {served.rest_url}")
    servers = [result["server"] for result in json.loads(done.stdout)["results"]]
    assert servers == [served.grpc_url, served.rest_url]


def test_json_has_the_load_and_the_results(served: Server) -> None:
    done = bench("--server", served.grpc_url, "--images", 3, "--concurrency", 2, "--json")
    output = json.loads(done.stdout)
    assert done.stderr == ""
    (result,) = output.pop("results")
    latency = result["latency_ms"]
    assert result["requests"] > 0
    assert result["images_per_second"] == pytest.approx(3 * result["requests_per_second"])
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert result["failures"] == {}
    assert output == {
        "images": 3,
        "concurrency": 2,
        "processes": 1,
        "rate": None,
        "duration": 0.3,
    }


def test_an_open_loop_sends_every_request_that_is_due(served: Server) -> None:
    done = bench("--server", served.grpc_url, "--rate", 20, "--concurrency", 2, "--json")
    (result,) = json.loads(done.stdout)["results"]
    assert result["requests"] == 6


def test_a_pause_of_the_server_delays_every_request_that_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Coordinated omission: one answer of 0.3 s at 50 requests per second delays 15 of them."""
    requests = []

    def answer(images: NDArray[np.uint8]) -> list[list[float]]:
        requests.append(images)
        if len(requests) == 3:
            time.sleep(0.3)
        return [[0.5, 0.5]] * len(images)

    with Client(transport=FakeTransport(answer, class_names=("a", "b"))) as client:
        monkeypatch.setattr(client, "predict", skip_warm_up(client.predict))
        measurement = _measure(client, _Load(images=1, concurrency=1, duration=0.5, rate=50.0))
    assert measurement.requests == 25
    assert measurement.milliseconds(50) > 20


def skip_warm_up(predict: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the requests of the warm-up, which the main thread sends, from the transport."""

    def wrapped(images: NDArray[np.uint8]) -> Any:
        in_warm_up = threading.current_thread() is threading.main_thread()
        return None if in_warm_up else predict(images)

    return wrapped


def test_several_processes_measure_together(served: Server) -> None:
    load = ("--processes", 2, "--rate", 20, "--json")
    done = bench("--server", served.grpc_url, *load)
    output = json.loads(done.stdout)
    assert output["processes"] == 2
    assert output["rate"] == 20
    (result,) = output["results"]
    assert result["requests"] == 6


def test_a_failure_of_one_of_several_processes_is_one_line(served: Server) -> None:
    done = bench("--server", served.grpc_url, "--name", "other", "--processes", 2)
    assert done.exit_code == 1
    assert "other" in done.stderr.splitlines()[-1]
    assert "Barrier" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code"), [(NotReachableError("reset"), 1), (OverloadedError("busy"), 0)]
)
def test_a_server_that_dies_in_the_middle_is_a_failure_and_a_busy_one_is_not(
    error: ClientError, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeTransport(lambda images: np.eye(10)[[7] * len(images)])
    answer, errors = fake.predict, [error]

    def fail_once(*arguments: Any) -> Any:
        if errors and threading.current_thread() is not threading.main_thread():
            raise errors.pop()
        return answer(*arguments)

    monkeypatch.setattr(fake, "predict", fail_once)
    monkeypatch.setattr(
        "kmnist.cli._client.open_client", lambda *_, **__: Client(transport=fake, retries=0)
    )
    done = bench("--server", "grpc://fake", "--json")
    (result,) = json.loads(done.stdout)["results"]
    assert result["failures"] == {type(error).__name__: 1}
    assert done.exit_code == code
    if code:
        assert done.stderr.endswith("failed: 1 × NotReachableError\n")


def test_a_chart_is_drawn(served: Server, tmp_path: Path) -> None:
    path = tmp_path / "latency.svg"
    done = bench("--server", served.grpc_url, "--plot", path)
    assert done.exit_code == 0, done.stderr
    assert path.read_text().count("<svg") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--server grpc://127.0.0.1:1", 1, "127.0.0.1:1: Connection refused"),
        ("--server localhost", 2, "without a scheme"),
        ("grpc://localhost:8500", 2, "unexpected extra argument (grpc://localhost:8500)"),
        ("--plot no/such/file.png", 2, "there is no folder no/such"),
        ("--images 0", 2, "1<=x"),
        ("--rate 0", 2, "x>0"),
    ],
)
def test_a_failure_is_one_line(arguments: str, code: int, message: str) -> None:
    done = bench(*arguments.split())
    assert done.exit_code == code
    errors = [line for line in done.stderr.splitlines() if not line.startswith("measuring")]
    assert len(errors) == 1
    assert message in errors[0]


def test_a_chart_of_an_unknown_format_is_refused(served: Server) -> None:
    done = bench("--server", served.grpc_url, "--plot", "latency.nope")
    assert done.exit_code == 2
    assert "--plot latency.nope: cannot draw" in done.stderr
