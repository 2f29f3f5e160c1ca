"""The client: its import and its requests, beside what it replaces."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import grpc
import numpy as np
import requests

from benchmarks.harness import Options, call_in_turn, compare, python, run_in_turn, table
from benchmarks.models import half_plus_two, predict_request, serving, trained_models
from kmnist import Client
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import PREDICT, ModelSpec
from kmnist.protocol.prediction import message

IMAGES: Final = np.random.default_rng(0).integers(0, 256, (1000, 28, 28), dtype=np.uint8)
STUBS: Final = "tensorflow_serving.apis.predict_pb2"

# A process reports its own peak: from outside, it is at least that of its parent.
IMPORT: Final = """
import json, {}
from benchmarks.harness import memory
print(json.dumps(dict(peak=memory("VmHWM"))))
"""


def measure(options: Options) -> str:
    """Measure the import, then requests to ``kmnist serve``."""
    with serving(trained_models(options.scratch)) as (grpc_url, rest_url):
        rows = [
            *_imports(options.rounds),
            *(_images(grpc_url, *load, options.rounds) for load in ((1, 2000), (1000, 300))),
            _over_rest(rest_url, options.rounds),
        ]
    with serving(half_plus_two(options.scratch)) as (grpc_url, _):
        rows.insert(-1, _call(grpc_url, options.rounds))
    return (
        "## Client\n\n`kmnist.client` beside what it replaces, request by request in turn on the "
        "same server. A round counts with the median of its requests.\n\n" + table(rows)
    )


def _imports(rounds: int) -> Iterator[Sequence[str]]:
    modules = ("kmnist.client", STUBS)
    commands = {module: python("-c", IMPORT.format(module)) for module in modules}
    ours, theirs = run_in_turn(commands, rounds).values()
    peer = f"`import {STUBS}`"
    seconds = [[usage.seconds for usage in usages] for usages in (ours, theirs)]
    peaks = [[usage.result["peak"] for usage in usages] for usages in (ours, theirs)]
    yield compare("import", "s", seconds[0], peer, seconds[1])
    yield compare("import, memory", "MB", peaks[0], peer, peaks[1])


def _images(url: str, count: int, calls: int, rounds: int) -> Sequence[str]:
    images = IMAGES[:count]
    with Client(url) as client:
        ours = partial(client.predict, images)
        what = f"gRPC, {count:,} image{'s' * (count > 1)}"
        return _over_grpc(what, ours, url, predict_request(images), calls, rounds)


def _call(url: str, rounds: int) -> Sequence[str]:
    vector = np.arange(100, dtype=np.float32)
    request = message(ModelSpec("half_plus_two"), "", {"x": vector})
    with Client(url, model="half_plus_two") as client:
        ours = partial(client.call, vector)
        return _over_grpc("gRPC, `call` with 100 floats", ours, url, request, 2000, rounds)


def _over_grpc(
    what: str,
    ours: Callable[[], object],
    url: str,
    request: pb.PredictRequest,
    calls: int,
    rounds: int,
) -> Sequence[str]:
    with grpc.insecure_channel(url.removeprefix("grpc://")) as channel:
        stub = channel.unary_unary(
            PREDICT, pb.PredictRequest.SerializeToString, pb.PredictResponse.FromString
        )
        theirs = partial(stub, request, timeout=30)
        figures = call_in_turn(ours, theirs, calls=calls, rounds=rounds)
    return compare(what, "ms", figures[0], "a bare stub, message prebuilt", figures[1])


def _over_rest(url: str, rounds: int) -> Sequence[str]:
    with Client(url) as client, requests.Session() as session:

        def post() -> None:
            body = {"instances": IMAGES.tolist()}
            response = session.post(f"{url}/v1/models/kmnist:predict", json=body, timeout=30)
            response.raise_for_status()
            response.json()

        ours, theirs = call_in_turn(partial(client.predict, IMAGES), post, calls=20, rounds=rounds)
    peer = "`requests.post(json={'instances': array.tolist()})`"
    return compare("REST, 1,000 images", "ms", ours, peer, theirs)
