"""The client: its import, requests and memory, beside what it replaces."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import grpc
import numpy as np
import requests

from benchmarks.harness import (
    Options,
    Usage,
    call_in_turn,
    compare,
    python,
    run,
    run_in_turn,
    table,
)
from benchmarks.models import serving, trained_models
from kmnist.client import Client
from kmnist.protocol import messages as methods
from kmnist.protocol import prediction
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import ModelSpec

IMAGES: Final = np.random.default_rng(0).integers(0, 256, (1000, 28, 28), dtype=np.uint8)
STUBS: Final = "tensorflow_serving.apis.predict_pb2"

# A process reports its own peak: from outside, it is at least that of its parent.
IMPORT: Final = """
import {}
print(open("/proc/self/status").read())
"""

# Prints the MB of memory that a call takes, and the MB of the arrays that it takes and returns.
MEMORY: Final = """
import sys, numpy as np
from benchmarks.harness import memory
from kmnist.client import Client

with Client(sys.argv[1]) as client:
    client.predict(np.zeros((1000, 28, 28), np.uint8))
    before = memory("VmRSS")
    images = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28), dtype=np.uint8)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # reset the peak
    answer = client.predict(images)
    arrays = (images, answer.probabilities, answer.class_ids, answer.class_names)
    print(memory("VmHWM") - before, sum(array.nbytes for array in arrays) / 1e6)
"""


def measure(options: Options) -> str:
    """Measure the import, then ``kmnist serve`` and every given server."""
    rows = [*_imports(options.rounds)]
    with serving(trained_models(options.scratch)) as urls:
        for url in (*urls, *options.server):
            over = _over_grpc if url.startswith("grpc") else _over_rest
            server = "kmnist serve" if url in urls else url
            for what, *figures in (*over(url, options.rounds), _memory(url, options.rounds)):
                rows.append([f"{what}, {server}", *figures])
    return (
        "## Client\n\n`kmnist.client` beside what it replaces, request by request in turn on the "
        "same server. A round counts with the median of its requests. Peak memory is compared "
        "with the arrays that the call takes and returns.\n\n" + table(rows)
    )


def _imports(rounds: int) -> Iterator[Sequence[str]]:
    modules = ("kmnist.client", STUBS)
    commands = {module: python("-c", IMPORT.format(module)) for module in modules}
    ours, theirs = run_in_turn(commands, rounds).values()
    peer = f"`import {STUBS}`"
    yield compare("import", "s", [u.seconds for u in ours], peer, [u.seconds for u in theirs])
    yield compare("import, memory", "MB", _peaks(ours), peer, _peaks(theirs))


def _peaks(usages: Sequence[Usage]) -> list[float]:
    lines = (line for usage in usages for line in usage.output.splitlines())
    return [int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")]


def _over_grpc(url: str, rounds: int) -> Iterator[Sequence[str]]:
    limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with (
        Client(url) as client,
        grpc.insecure_channel(url.removeprefix("grpc://"), limits) as channel,
    ):
        stub = channel.unary_unary(
            methods.PREDICT,
            request_serializer=pb.PredictRequest.SerializeToString,
            response_deserializer=pb.PredictResponse.FromString,
        )
        for count, calls in ((1, 2000), (1000, 300)):
            images = IMAGES[:count]
            message = prediction.message(ModelSpec("kmnist"), "serving_default", {"images": images})
            ours, theirs = call_in_turn(
                partial(client.predict, images),
                partial(stub, message, timeout=30),
                calls=calls,
                rounds=rounds,
            )
            peer = "a bare stub, message prebuilt"
            yield compare(f"gRPC, {count:,} image{'s' * (count > 1)}", "ms", ours, peer, theirs)


def _over_rest(url: str, rounds: int) -> Iterator[Sequence[str]]:
    with Client(url) as client, requests.Session() as session:

        def post() -> None:
            body = {"instances": IMAGES.tolist()}
            response = session.post(f"{url}/v1/models/kmnist:predict", json=body, timeout=30)
            response.raise_for_status()
            response.json()

        ours, theirs = call_in_turn(partial(client.predict, IMAGES), post, calls=20, rounds=rounds)
    peer = "`requests.post(json={'instances': array.tolist()})`"
    yield compare("REST, 1,000 images", "ms", ours, peer, theirs)


def _memory(url: str, rounds: int) -> Sequence[str]:
    usages = [run(python("-c", MEMORY, url)) for _ in range(rounds)]
    peaks, arrays = zip(*(map(float, usage.output.split()) for usage in usages), strict=True)
    transport = "gRPC" if url.startswith("grpc") else "REST"
    return compare(
        f"{transport}, 10,000 images, peak memory", "MB", peaks, "the arrays themselves", arrays
    )
