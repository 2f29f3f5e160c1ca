"""Serving: the start and a large request of ``kmnist serve``, and servers under load."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import grpc
import numpy as np
import tensorflow as tf

from benchmarks.harness import Options, call_in_turn, compare, python, run, spread, table
from benchmarks.models import first_line, serve, serving, trained_models
from kmnist.client import Client
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import PREDICT
from kmnist.protocol.tensors import from_array

# Concurrent requests, and the images in each.
LOADS: Final = ((1, 1), (8, 1), (32, 1), (1, 100), (1, 1000))
LOAD_COLUMNS: Final = "server | concurrency | images | images/s | p50, ms | p99, ms | failed"

LOAD_MODEL: Final = """
import sys, tensorflow as tf
tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
print("ready", flush=True)
"""

# Answer every request with the same bytes.
CONSTANT: Final = """
import sys
from concurrent.futures import ThreadPoolExecutor
import grpc
answer = bytes.fromhex(sys.argv[2])
service, method = sys.argv[1].split("/")[1:]
handler = grpc.unary_unary_rpc_method_handler(lambda request, context: answer)
server = grpc.server(ThreadPoolExecutor())
server.add_generic_rpc_handlers(
    [grpc.method_handlers_generic_handler(service, {method: handler})]
)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""


def measure(options: Options) -> str:
    """Measure ``kmnist serve`` beside TensorFlow alone, then every server under load."""
    models = trained_models(options.scratch)
    rows = [_start(models, options.rounds)]
    with serving(models) as urls:
        rows.append(_request(models, urls[0], options.rounds))
        rows.append(_one_image(urls[0], options.rounds))
        names = {urls[0]: "kmnist serve, gRPC", urls[1]: "kmnist serve, REST"}
        names |= {url: url for url in options.server}
        loads = table(_loads(names, options), LOAD_COLUMNS)
    return (
        "## Serving\n\n`kmnist serve` beside TensorFlow in one process with the same model, and beside "
        "grpcio alone.\n\n"
        f"{table(rows)}\n"
        f"`kmnist bench --duration {_duration(options)}`, each server in turn; its threads and the "
        f"servers share this machine.\n\n{loads}"
    )


def _start(models: Path, rounds: int) -> Sequence[str]:
    """Compare the times until both report that they are ready."""
    ours: list[float] = []
    theirs: list[float] = []
    load = python("-c", LOAD_MODEL, str(models / "1"))
    for _ in range(rounds):
        for command, seconds in ((serve(models), ours), (load, theirs)):
            started = time.perf_counter()
            with first_line(command):
                seconds.append(time.perf_counter() - started)
    return compare("until it answers", "s", ours, "`import tensorflow`, load the model", theirs)


def _request(models: Path, url: str, rounds: int) -> Sequence[str]:
    images = np.random.default_rng(0).integers(0, 256, (1000, 28, 28), dtype=np.uint8)
    signature = tf.saved_model.load(str(models / "1")).signatures["serving_default"]

    def call() -> dict[str, object]:
        return {name: tensor.numpy() for name, tensor in signature(images=images).items()}

    with Client(url) as client:
        np.testing.assert_array_equal(client.predict(images).class_ids, call()["class_ids"])
        ours, theirs = call_in_turn(partial(client.predict, images), call, calls=50, rounds=rounds)
    return compare("gRPC, 1,000 images", "ms", ours, "a call of the signature", theirs)


def _one_image(url: str, rounds: int) -> Sequence[str]:
    """Compare a small request with one of grpcio's server that computes nothing."""
    request = pb.PredictRequest()
    request.model_spec.name = "kmnist"
    from_array(np.zeros((1, 28, 28), np.uint8), request.inputs["images"])
    data = request.SerializeToString()
    with ExitStack() as stack:

        def caller(address: str) -> Callable[[bytes], bytes]:
            channel = stack.enter_context(grpc.insecure_channel(address))
            call: Callable[[bytes], bytes] = channel.unary_unary(PREDICT, None, None)
            return call

        call = caller(url.removeprefix("grpc://"))
        command = python("-c", CONSTANT, PREDICT, call(data).hex())
        port = stack.enter_context(first_line(command)).strip()
        bare = caller(f"127.0.0.1:{port}")
        assert bare(data) == call(data)
        calls = (partial(call, data), partial(bare, data))
        ours, theirs = call_in_turn(*calls, calls=1000, rounds=rounds)
    return compare("gRPC, 1 image", "ms", ours, "grpcio's server, a constant answer", theirs)


def _loads(names: Mapping[str, str], options: Options) -> Iterator[Sequence[str]]:
    servers = [part for url in names for part in ("--server", url)]
    bench = python("-m", "kmnist", "bench", *servers, "--duration", _duration(options), "--json")
    for concurrency, images in LOADS:
        command = (*bench, "--concurrency", str(concurrency), "--images", str(images))
        rounds = [run(command).result["results"] for _ in range(options.rounds)]
        for name, results in zip(names.values(), zip(*rounds, strict=True), strict=True):
            yield [
                name,
                str(concurrency),
                f"{images:,}",
                spread([result["images_per_second"] for result in results], ",.0f"),
                spread([result["latency_ms"]["p50"] for result in results]),
                spread([result["latency_ms"]["p99"] for result in results]),
                str(sum(sum(result["failures"].values()) for result in results)),
            ]


def _duration(options: Options) -> str:
    return "0.5" if options.quick else "3"
