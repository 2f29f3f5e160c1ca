"""The embedded server beside a direct call of the same SavedModel, in turn in the same run.

    python benchmarks/server.py [--base models/kmnist] [--json]

Prints how long ``kmnist serve`` takes to be ready beside ``import tensorflow`` plus loading the
model, what a request of 1,000 images costs beside a direct call, and how many requests a second
of one image are answered for 1, 8 and 32 clients. Ratios are what to compare: server and clients
share the machine. Without --base it trains a model for one epoch first.
"""

import argparse
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from kmnist.client import wire
from kmnist.client.wire import serving_pb2 as pb
from kmnist.client.wire.tensors import from_array

CLIENTS = (1, 8, 32)
DIRECT = (
    "import tensorflow as tf; "
    "tf.saved_model.load({folder!r}).signatures['serving_default']; "
    "print('ready', flush=True)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="a folder of versions")
    parser.add_argument("--rounds", type=int, default=5, help="starts of each kind")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each load")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        base = arguments.base or stack.enter_context(_trained())
        results = {
            "start": measure_start(base, arguments.rounds),
            "batch": measure_batch(base),
            "load": measure_load(base, arguments.seconds),
        }
    print(json.dumps(results) if arguments.json else _report(results))


def measure_start(base: Path, rounds: int) -> dict[str, float]:
    """Seconds until ``kmnist serve`` answers, beside loading the model in a bare process."""
    times: dict[str, list[float]] = {"serve": [], "direct": []}
    folder = str(max(base.iterdir(), key=_version))
    for _ in range(rounds):
        started = time.perf_counter()
        with serving(base):
            times["serve"].append(time.perf_counter() - started)
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", DIRECT.format(folder=folder)],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        times["direct"].append(time.perf_counter() - started)
    return _medians(times)


def measure_batch(base: Path, count: int = 1000, rounds: int = 100) -> dict[str, float]:
    """Seconds of a predict of ``count`` images over gRPC, beside a direct call."""
    import tensorflow as tf

    folder = max(base.iterdir(), key=_version)
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    times: dict[str, list[float]] = {"grpc": [], "direct": []}
    with serving(base) as facts, _channel(facts) as channel:
        predict = _predict(channel)
        for _ in range(rounds):
            started = time.perf_counter()
            outputs = predict(_request(base.name, images), timeout=60)
            times["grpc"].append(time.perf_counter() - started)
            started = time.perf_counter()
            expected = {name: t.numpy() for name, t in signature(images=images).items()}
            times["direct"].append(time.perf_counter() - started)
        assert list(outputs.outputs["class_ids"].int64_val) == expected["class_ids"].tolist()
    return _medians(times)


def measure_load(base: Path, seconds: float) -> list[dict[str, Any]]:
    """Requests per second of one image, and the server's share of the machine meanwhile."""
    image = np.zeros((1, 28, 28), np.uint8)
    rows = []
    with serving(base) as facts:
        for transport in ("grpc", "rest"):
            for clients in CLIENTS:
                with _asker(transport, facts, base.name, image, clients) as ask:
                    latencies, cpu = _load(ask, clients, seconds, facts["pid"])
                rows.append(
                    {
                        "transport": transport,
                        "clients": clients,
                        "per_second": len(latencies) / seconds,
                        "median_ms": statistics.median(latencies) * 1e3,
                        "p99_ms": float(np.percentile(latencies, 99)) * 1e3,
                        "server_cpu_ms": cpu / len(latencies) * 1e3,
                        "server_cores": cpu / seconds,
                    }
                )
    return rows


@contextlib.contextmanager
def serving(base: Path) -> Iterator[dict[str, Any]]:
    """``kmnist serve`` in a process of its own; its addresses and process id."""
    command = ["serve", "--base", str(base), "--engine", "embedded", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kmnist", *command, "--rest-port", "0", "--grpc-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline()) | {"pid": process.pid}
    finally:
        process.terminate()
        process.communicate()


@contextlib.contextmanager
def _trained() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "models" / "kmnist"
        command = ["train", "--epochs", "1", "--output", str(base), "--json"]
        subprocess.run(
            [sys.executable, "-m", "kmnist", *command], check=True, stdout=subprocess.DEVNULL
        )
        yield base


@contextlib.contextmanager
def _asker(
    transport: str, facts: dict[str, Any], name: str, image: np.ndarray, clients: int
) -> Iterator[Callable[[], None]]:
    """A function that asks once, for as many threads as there are clients."""
    local = threading.local()
    if transport == "grpc":
        request = _request(name, image)
        with contextlib.ExitStack() as stack:
            # One connection a client, as if they were on machines of their own.
            channels = [stack.enter_context(_channel(facts)) for _ in range(clients)]
            free = iter(channels)

            def ask_grpc() -> None:
                if not hasattr(local, "predict"):
                    local.predict = _predict(next(free))
                local.predict(request, timeout=60)

            yield ask_grpc
        return
    host = facts["rest"].removeprefix("http://")
    body = json.dumps({"instances": image.tolist()})

    def ask_rest() -> None:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection(host, timeout=60)
        local.connection.request("POST", f"/v1/models/{name}:predict", body)
        response = local.connection.getresponse()
        response.read()
        assert response.status == 200

    yield ask_rest


def _load(
    ask: Callable[[], None], clients: int, seconds: float, pid: int
) -> tuple[list[float], float]:
    """The latency of every request of a load, and the processor seconds the server spent on it."""

    def run(stop: float) -> list[float]:
        latencies = []
        while (started := time.perf_counter()) < stop:
            ask()
            latencies.append(time.perf_counter() - started)
        return latencies

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(run, [time.perf_counter() + 0.3] * clients))  # connect and warm up
        before = _cpu_seconds(pid)
        stop = time.perf_counter() + seconds
        latencies = [latency for done in threads.map(run, [stop] * clients) for latency in done]
        return latencies, _cpu_seconds(pid) - before


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _channel(facts: dict[str, Any]) -> grpc.Channel:
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.insecure_channel(facts["grpc"].removeprefix("grpc://"), options=options)


def _predict(channel: grpc.Channel) -> Any:
    return channel.unary_unary(
        wire.PREDICT,
        request_serializer=pb.PredictRequest.SerializeToString,
        response_deserializer=pb.PredictResponse.FromString,
    )


def _request(name: str, images: np.ndarray) -> pb.PredictRequest:
    request = pb.PredictRequest()
    request.model_spec.name = name
    request.inputs["images"].CopyFrom(from_array(images))
    return request


def _version(folder: Path) -> int:
    return int(folder.name) if folder.name.isdecimal() else -1


def _medians(times: dict[str, list[float]]) -> dict[str, float]:
    (first, firsts), (second, seconds) = times.items()
    return {
        first: statistics.median(firsts),
        second: statistics.median(seconds),
        "ratio": statistics.median(firsts) / statistics.median(seconds),
    }


def _report(results: dict[str, Any]) -> str:
    start, batch = results["start"], results["batch"]
    lines = [
        "                    here  directly  ratio",
        _row("ready, s", start["serve"], start["direct"]),
        _row("1,000 images, ms", batch["grpc"] * 1e3, batch["direct"] * 1e3),
        "",
        "one image     clients  requests/s  median ms  p99 ms  server CPU ms  server cores",
    ]
    lines += [
        f"{row['transport']:13} {row['clients']:7} {row['per_second']:11,.0f} "
        f"{row['median_ms']:10.2f} {row['p99_ms']:7.2f} {row['server_cpu_ms']:14.2f} "
        f"{row['server_cores']:13.2f}"
        for row in results["load"]
    ]
    return "\n".join(lines)


def _row(name: str, here: float, directly: float) -> str:
    return f"{name:17} {here:6.2f} {directly:9.2f} {here / directly:5.2f}×"


if __name__ == "__main__":
    main()
