"""The client beside what it replaces, against one server in one run.

    python -m benchmarks.client [--rounds 5] [--server grpc://host:8500 --server http://host:8501]

The server is ``kmnist serve``, and then the one given, if both its protocols are. Both sides of a
ratio take turns, request by request, so that a noisy machine slows both; a round's figures are the
medians of its requests.
"""

import argparse
import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import requests

from benchmarks.flags import alone
from benchmarks.measure import Command, Usage, in_turn, run
from benchmarks.prepare import serving, trained
from benchmarks.report import Comparison, Section
from kmnist.client import Client
from kmnist.client.address import Address
from kmnist.client.transports.grpc_messages import channel_options, target
from kmnist.protocol import methods, prediction
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.model_spec import ModelSpec

IMAGES = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28), dtype=np.uint8)
STUBS = "tensorflow_serving.apis.predict_pb2"
NAIVE = "requests.post(json={'instances': array.tolist()})"

# Run in a fresh process, which tells its own peak: from outside one sees at least that of this one.
IMPORT = """
import {name}
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""

# Run in a fresh process: the peak of one call's memory, over the bytes of what goes in and out.
MEMORY = """
import sys, numpy as np
from kmnist.client import Client

def kib(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))

with Client(sys.argv[1]) as client:
    client.predict(np.zeros((1000, 28, 28), np.uint8))
    before = kib("VmRSS")
    images = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28), dtype=np.uint8)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak counts from here
    answer = client.predict(images)
    arrays = (images, answer.probabilities, answer.class_ids, answer.class_names)
    print(sum(array.nbytes for array in arrays), (kib("VmHWM") - before) * 1024)
"""


def measure(flags: argparse.Namespace, scratch: Path) -> Section:
    """Imports first, then each server."""
    found = [*imports(flags.rounds)]
    with serving(trained(scratch)) as started:
        found += against("kmnist serve", started["grpc"], started["rest"], flags.rounds)
    if given := both(flags.server):
        found += against("the server given", *given, flags.rounds)
    return Section(
        "client",
        "The client",
        "`kmnist.client` beside what it replaces, against one server, request by request in turn.",
        Comparison.HEADER,
        [comparison.row() for comparison in found],
        [(f"kmnist: {each.what}", each.share) for each in found],
        "share of the most that the ratio may be; less is better",
    )


def both(servers: list[str]) -> tuple[str, str] | None:
    """The first gRPC and the first REST address, if there are both."""
    found = [[url for url in servers if url.startswith(kind)] for kind in ("grpc", "http")]
    return (found[0][0], found[1][0]) if all(found) else None


def against(server: str, grpc_url: str, rest_url: str, rounds: int) -> Iterator[Comparison]:
    for comparison in (
        *over_grpc(grpc_url, rounds),
        *over_rest(rest_url, rounds),
        *memory([grpc_url, rest_url], rounds),
    ):
        yield dataclasses.replace(comparison, what=f"{comparison.what}, {server}")


def turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], times: int, rounds: int
) -> tuple[list[float], list[float]]:
    """The medians of each round in milliseconds, of each side."""
    for call in (ours, theirs) * 5:
        call()
    medians: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        taken: tuple[list[float], list[float]] = ([], [])
        for _ in range(times):
            for call, into in zip((ours, theirs), taken, strict=True):
                begin = time.perf_counter()
                call()
                into.append((time.perf_counter() - begin) * 1000)
        for side, values in zip(medians, taken, strict=True):
            side.append(statistics.median(values))
    return medians


def imports(rounds: int) -> list[Comparison]:
    commands = [
        Command(name, ["-c", IMPORT.format(name=name)]) for name in ("kmnist.client", STUBS)
    ]
    found: dict[str, list[Usage]] = in_turn(commands, rounds, lambda usage: usage)
    ours, theirs = found.values()
    beside = f"`import {STUBS}`"
    seconds = ([usage.wall for usage in ours], [usage.wall for usage in theirs])
    sizes = ([_megabytes(usage) for usage in ours], [_megabytes(usage) for usage in theirs])
    return [
        Comparison("import, time", beside, "s", *seconds, 0.1),
        Comparison("import, memory", beside, "MB", *sizes, 0.2),
    ]


def _megabytes(usage: Usage) -> float:
    return int(usage.output) * 1024 / 1e6


def over_grpc(url: str, rounds: int) -> Iterator[Comparison]:
    """client.predict beside a bare stub that sends a message made beforehand."""
    address = Address.parse(url)
    with (
        Client(url) as client,
        grpc.insecure_channel(target(address.hosts[0]), channel_options(address)) as channel,
    ):
        stub = channel.unary_unary(
            methods.PREDICT,
            request_serializer=pb.PredictRequest.SerializeToString,
            response_deserializer=pb.PredictResponse.FromString,
        )
        for count, most, times in ((1, 1.15, 2000), (1000, 1.2, 300)):
            images = IMAGES[:count]
            message = prediction.message(ModelSpec("kmnist"), "serving_default", {"images": images})
            taken = turns(
                functools.partial(client.predict, images),
                functools.partial(stub, message, timeout=30),
                times,
                rounds,
            )
            what = f"gRPC, {count:,} image{'s' if count > 1 else ''}"
            yield Comparison(what, "a bare stub, message prebuilt", "ms", *taken, most)


def over_rest(url: str, rounds: int) -> Iterator[Comparison]:
    """client.predict beside what a tutorial would do; and 100 images beside 1."""
    with Client(url) as client, requests.Session() as session:
        body = IMAGES[:1000]

        def naive() -> None:
            answer = session.post(
                f"{url}/v1/models/kmnist:predict", json={"instances": body.tolist()}, timeout=30
            )
            answer.raise_for_status()
            answer.json()

        taken = turns(lambda: client.predict(body), naive, 20, rounds)
        yield Comparison("REST, 1,000 images", f"`{NAIVE}`", "ms", *taken, 1 / 6)
        taken = turns(
            lambda: client.predict(IMAGES[:100]), lambda: client.predict(IMAGES[0]), 300, rounds
        )
        yield Comparison("REST, 100 images", "REST, 1 image", "ms", *taken, 4.0)


def memory(urls: list[str], rounds: int) -> Iterator[Comparison]:
    for url in urls:
        sizes = [
            [int(size) / 1e6 for size in run(Command("memory", ["-c", MEMORY, url])).output.split()]
            for _ in range(rounds)
        ]
        what = f"{'gRPC' if url.startswith('grpc') else 'REST'}, 10,000 images, peak memory"
        arrays, peak = [each[0] for each in sizes], [each[1] for each in sizes]
        yield Comparison(what, "the arrays that go in and out", "MB", peak, arrays, 3.0)


if __name__ == "__main__":
    alone(__doc__, measure)
