"""Serving: the start of ``kmnist serve``, and a small request."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import grpc
import numpy as np

from benchmarks.harness import Options, call_in_turn, compare, python, table
from benchmarks.models import first_line, predict_request, serve, serving, trained_models
from kmnist.protocol.messages import PREDICT

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
    """Measure ``kmnist serve`` beside TensorFlow and grpcio alone."""
    models = trained_models(options.scratch)
    rows = [_start(models, options.rounds)]
    with serving(models) as (url, _):
        rows.append(_one_image(url, options.rounds))
    return (
        "## Serving\n\n`kmnist serve` beside TensorFlow, which loads the same model, and beside "
        "grpcio alone. `kmnist bench --concurrency N` measures a server under load.\n\n"
        f"{table(rows)}"
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


def _one_image(url: str, rounds: int) -> Sequence[str]:
    """Compare a small request with one of grpcio's server that computes nothing."""
    data = predict_request(np.zeros((1, 28, 28), np.uint8)).SerializeToString()
    with grpc.insecure_channel(url.removeprefix("grpc://")) as channel:
        call = channel.unary_unary(PREDICT, None, None)
        constant = python("-c", CONSTANT, PREDICT, call(data).hex())
        with first_line(constant) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as other:
            bare = other.unary_unary(PREDICT, None, None)
            assert bare(data) == call(data)
            calls = (partial(call, data), partial(bare, data))
            ours, theirs = call_in_turn(*calls, calls=1000, rounds=rounds)
    return compare("gRPC, 1 image", "ms", ours, "grpcio's server, a constant answer", theirs)
