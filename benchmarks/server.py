"""The embedded server beside a direct call of the same SavedModel, in turn in the same run.

    python -m benchmarks.server [--rounds 5]

How long ``kmnist serve`` takes to be ready beside ``import tensorflow`` plus loading the model,
and what a request of 1,000 images costs beside a direct call.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import grpc
import numpy as np
import tensorflow as tf

from benchmarks.flags import alone
from benchmarks.prepare import serving, trained
from benchmarks.report import Comparison, Section
from kmnist.protocol import methods, prediction
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.model_spec import ModelSpec

CALLS = 50  # of each side in each round
DIRECT = (
    "import tensorflow as tf; "
    "tf.saved_model.load({folder!r}).signatures['serving_default']; "
    "print('ready', flush=True)"
)

Times = tuple[list[float], list[float]]  # ours, and direct


def measure(flags: argparse.Namespace, scratch: Path) -> Section:
    base = trained(scratch)
    (folder,) = (child for child in base.iterdir() if child.name.isdecimal())
    loading, calling = "`import tensorflow` and loading it", "its signature called in one process"
    found = [
        Comparison("until it answers", loading, "s", *measure_start(folder, flags.rounds), 1.5),
        Comparison("1,000 images, gRPC", calling, "ms", *measure_batch(folder, flags.rounds), 3.0),
    ]
    return Section(
        "server",
        "kmnist serve",
        "The embedded server beside a direct call of the same SavedModel.",
        Comparison.HEADER,
        [comparison.row() for comparison in found],
    )


def measure_start(folder: Path, rounds: int) -> Times:
    """Seconds until ``kmnist serve`` answers, beside loading the model in a bare process.

    Both say when they are ready; how long they take to end does not count.
    """
    times: Times = ([], [])
    for _ in range(rounds):
        started = time.perf_counter()
        with serving(folder.parent):
            times[0].append(time.perf_counter() - started)
        started = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", DIRECT.format(folder=str(folder))],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            times[1].append(time.perf_counter() - started)
        if said != "ready\n" or process.returncode:
            raise RuntimeError(f"loading {folder} directly ended with {process.returncode}")
    return times


def measure_batch(folder: Path, rounds: int, count: int = 1000) -> Times:
    """Milliseconds of a predict of ``count`` images over gRPC, beside a direct call."""
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    times: Times = ([], [])
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with (
        serving(folder.parent) as started,
        grpc.insecure_channel(started["grpc"].removeprefix("grpc://"), options) as channel,
    ):
        stub = channel.unary_unary(
            methods.PREDICT,
            request_serializer=pb.PredictRequest.SerializeToString,
            response_deserializer=pb.PredictResponse.FromString,
        )
        for _ in range(rounds):
            ours, direct = [], []
            for _ in range(CALLS):
                begin = time.perf_counter()
                request = prediction.message(
                    ModelSpec(folder.parent.name), "serving_default", {"images": images}
                )
                outputs = stub(request, timeout=60)
                ours.append((time.perf_counter() - begin) * 1e3)
                begin = time.perf_counter()
                expected = {name: t.numpy() for name, t in signature(images=images).items()}
                direct.append((time.perf_counter() - begin) * 1e3)
            times[0].append(median(ours))
            times[1].append(median(direct))
        assert list(outputs.outputs["class_ids"].int64_val) == expected["class_ids"].tolist()
    return times


if __name__ == "__main__":
    alone(__doc__, measure)
