"""Serving: the start and a large request of ``kmnist serve``, and servers under load."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import tensorflow as tf

from benchmarks.harness import Options, call_in_turn, compare, python, run, spread, table
from benchmarks.models import first_line, serve, serving, trained_models
from kmnist.client import Client

# Concurrent requests, and the images in each.
LOADS: Final = ((1, 1), (8, 1), (32, 1), (1, 100), (1, 1000))
LOAD_COLUMNS: Final = "server | concurrency | images | images/s | p50, ms | p99, ms | failed"

LOAD_MODEL: Final = """
import sys, tensorflow as tf
tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
print("ready", flush=True)
"""


def measure(options: Options) -> str:
    """Measure ``kmnist serve`` beside TensorFlow alone, then every server under load."""
    models = trained_models(options.scratch)
    rows = [_start(models, options.rounds)]
    with serving(models) as urls:
        rows.append(_request(models, urls[0], options.rounds))
        names = {urls[0]: "kmnist serve, gRPC", urls[1]: "kmnist serve, REST"}
        names |= {url: url for url in options.server}
        loads = table(_loads(names, options), LOAD_COLUMNS)
    return (
        "## Serving\n\n`kmnist serve` beside TensorFlow in one process with the same model.\n\n"
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
