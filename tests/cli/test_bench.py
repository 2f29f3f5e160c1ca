"""``kmnist bench``: that it measures what it says, not how fast."""

import json
import threading
import time

import pytest
from click.testing import CliRunner

from kmnist.cli import main

pytest.importorskip("tensorflow", reason="needs TensorFlow for the model behind it")
pytest.importorskip("hdrh", reason="needs hdrhistogram")


def bench(*args):
    return CliRunner().invoke(main, ["bench", *map(str, args), "--duration", "0.3"])


def test_both_transports_in_a_table(served) -> None:
    result = bench(served.grpc_url, served.rest_url, "--images", 3)
    assert result.exit_code == 0, result.stderr
    head, *lines = result.stdout.splitlines()
    assert head.split()[:3] == ["server", "requests/s", "images/s"]
    assert served.grpc_url in lines[0] + lines[1]


def test_json(served) -> None:
    result = bench(served.grpc_url, "--images", 3, "--concurrency", 2, "--json")
    found = json.loads(result.stdout)
    (measured,) = found["results"]
    latency = measured["latency_ms"]
    assert measured["requests"] > 0
    assert measured["images_per_second"] == pytest.approx(3 * measured["requests_per_second"])
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert measured["failures"] == {}
    assert (found["images"], found["concurrency"], found["rate"]) == (3, 2, None)


def test_an_open_loop_sends_what_is_due(served) -> None:
    result = bench(served.grpc_url, "--rate", 20, "--concurrency", 2, "--json")
    (measured,) = json.loads(result.stdout)["results"]
    assert measured["requests"] in (6, 7)  # the last one is due at the very end


def test_a_stall_counts_for_every_request_that_was_due(monkeypatch) -> None:
    """Coordinated omission: one answer of 0.3 s at 50 requests a second delays 15 of them."""
    from kmnist.cli.bench import _Load, _measure
    from kmnist.client import Client
    from kmnist.client.testing import FakeTransport

    asked = []

    def answer(images):
        asked.append(images)
        if len(asked) == 3:
            time.sleep(0.3)
        return [[0.5, 0.5]] * len(images)

    fake = FakeTransport(answer, class_names=("a", "b"))
    with Client(transport=fake) as client:
        monkeypatch.setattr(client, "predict", _after_warm_up(client.predict))
        result = _measure(client, _Load(images=1, concurrency=1, duration=0.5, rate=50.0))
    assert result.requests in (25, 26)  # the last one is due at the very end
    assert result.milliseconds(50) > 20


def _after_warm_up(predict):
    """The warm-up of the measurement is not what the fake counts."""

    def wrapped(images):
        in_warm_up = threading.current_thread() is threading.main_thread()
        return None if in_warm_up else predict(images)

    return wrapped


def test_a_chart(served, tmp_path) -> None:
    path = tmp_path / "latency.svg"
    result = bench(served.grpc_url, "--plot", path)
    assert result.exit_code == 0, result.stderr
    assert path.read_text().count("<svg") == 1


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["grpc://127.0.0.1:1"], 1, "127.0.0.1:1: Connection refused"),
        (["localhost"], 2, "without a scheme"),
        (["grpc://a", "--plot", "no/such/file.png"], 2, "there is no folder no/such"),
        (["grpc://a", "--images", 0], 2, "x>=1"),
        (["grpc://a", "--rate", 0], 2, "x>0"),
    ],
)
def test_failures_are_one_line(args, code, said) -> None:
    result = bench(*args)
    assert result.exit_code == code
    errors = [line for line in result.stderr.splitlines() if not line.startswith("measuring")]
    assert len(errors) == 1
    assert said in errors[0]


def test_a_chart_of_no_known_kind(served) -> None:
    result = bench(served.grpc_url, "--plot", "latency.nope")
    assert result.exit_code == 2
    assert "cannot draw into latency.nope" in result.stderr
