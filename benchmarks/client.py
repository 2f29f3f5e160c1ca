"""The client beside what it replaces, against one server in one run.

::

    python benchmarks/client.py --base models/kmnist          # starts kmnist serve
    python benchmarks/client.py --grpc grpc://host:8500 --rest http://host:8501

Both sides of each ratio take turns, request by request, so that a noisy machine slows both.
Exit code 1 if a ratio is missed. ``--json`` prints the figures, ``--plot FILE`` draws them.
"""

import argparse
import contextlib
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import requests

from kmnist.client import Client, wire
from kmnist.client.address import Address
from kmnist.client.answers import ModelSpec
from kmnist.client.transports.grpc_messages import channel_options, predict_request, target
from kmnist.client.wire import serving_pb2 as pb

ROOT = Path(__file__).parents[1]
IMAGES = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28), dtype=np.uint8)

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
    arrays = images.nbytes + answer.probabilities.nbytes + answer.class_ids.nbytes + answer.class_names.nbytes
    print((kib("VmHWM") - before) * 1024 / arrays)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="models/kmnist", help="what kmnist serve shall serve")
    parser.add_argument("--grpc", help="a running server instead: its gRPC address")
    parser.add_argument("--rest", help="and its REST address")
    parser.add_argument("--rounds", type=int, default=1, help="times as many measurements")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--plot", type=Path, help="draw the ratios into this file")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if arguments.grpc is None or arguments.rest is None:
            grpc_url, rest_url = stack.enter_context(serving(arguments.base))
        else:
            grpc_url, rest_url = arguments.grpc, arguments.rest
        rows = [
            *imports(5 * arguments.rounds),
            *over_grpc(grpc_url, arguments.rounds),
            *over_rest(rest_url, arguments.rounds),
            *memory(grpc_url, rest_url),
        ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows)
    if arguments.plot:
        draw(rows, arguments.plot)
    return 0 if all(row["reached"] for row in rows) else 1


@contextlib.contextmanager
def serving(base: str) -> Iterator[tuple[str, str]]:
    """The embedded server, in a process of its own, so that it shares no lock with the client."""
    command = [sys.executable, "-m", "kmnist", "serve", "--base", base, "--json"]
    command += ["--grpc-port", "0", "--rest-port", "0"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            sys.exit(f"kmnist serve --base {base} did not start; run it to see why")
        ports = json.loads(line)
        yield ports["grpc"], ports["rest"]
    finally:
        process.terminate()
        process.wait()


def row(
    what: str, ours: float, theirs: float, unit: str, limit: float, than: str
) -> dict[str, Any]:
    """One ratio, ours over theirs, and the most it may be."""
    return {
        "what": what,
        "ours": ours,
        "theirs": theirs,
        "unit": unit,
        "beside": than,
        "ratio": ours / theirs,
        "at_most": limit,
        "reached": ours / theirs <= limit,
    }


def in_turn(ours: Callable[[], Any], theirs: Callable[[], Any], times: int) -> tuple[float, float]:
    """The medians of both, in milliseconds, each measured right after the other."""
    taken: tuple[list[float], list[float]] = ([], [])
    for call in (ours, theirs) * 5:
        call()
    for _ in range(times):
        for call, into in zip((ours, theirs), taken, strict=True):
            begin = time.perf_counter()
            call()
            into.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken[0]), statistics.median(taken[1])


def imports(times: int) -> list[dict[str, Any]]:
    ours, theirs = "kmnist.client", "tensorflow_serving.apis.predict_pb2"
    seconds: dict[str, list[float]] = {ours: [], theirs: []}
    kibibytes: dict[str, list[int]] = {ours: [], theirs: []}
    for _ in range(times):
        for name in (ours, theirs):
            begin = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-c", f"import {name}"], cwd=ROOT, stderr=subprocess.DEVNULL
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0, name
            seconds[name].append(time.perf_counter() - begin)
            kibibytes[name].append(usage.ru_maxrss)
    median = statistics.median
    than = f"import {theirs}"
    return [
        row("import, time", median(seconds[ours]), median(seconds[theirs]), "s", 0.1, than),
        row(
            "import, memory",
            median(kibibytes[ours]) / 1024,
            median(kibibytes[theirs]) / 1024,
            "MiB",
            0.2,
            than,
        ),
    ]


def over_grpc(url: str, rounds: int) -> list[dict[str, Any]]:
    """client.predict beside a bare stub that sends a message made beforehand."""
    address = Address.parse(url)
    rows = []
    with (
        Client(url) as client,
        grpc.insecure_channel(target(address.hosts[0]), channel_options(address)) as channel,
    ):
        stub = channel.unary_unary(
            wire.PREDICT,
            request_serializer=pb.PredictRequest.SerializeToString,
            response_deserializer=pb.PredictResponse.FromString,
        )
        for count, limit, times in ((1, 1.15, 2000), (1000, 1.2, 300)):
            images = IMAGES[:count]
            message = predict_request(ModelSpec("kmnist"), "serving_default", {"images": images})
            ours, theirs = in_turn(
                functools.partial(client.predict, images),
                functools.partial(stub, message, timeout=30),
                times * rounds,
            )
            what = f"gRPC, {count:,} image{'s' if count > 1 else ''}"
            rows.append(row(what, ours, theirs, "ms", limit, "bare stub, message prebuilt"))
    return rows


def over_rest(url: str, rounds: int) -> list[dict[str, Any]]:
    """client.predict beside what a tutorial would do; and 100 images beside 1."""
    with Client(url) as client, requests.Session() as session:
        body = IMAGES[:1000]

        def naive() -> None:
            answer = session.post(
                f"{url}/v1/models/kmnist:predict", json={"instances": body.tolist()}, timeout=30
            )
            answer.raise_for_status()
            answer.json()

        ours, theirs = in_turn(lambda: client.predict(body), naive, 20 * rounds)
        hundred, one = in_turn(
            lambda: client.predict(IMAGES[:100]), lambda: client.predict(IMAGES[0]), 300 * rounds
        )
    than = "requests.post(json={'instances': array.tolist()})"
    return [
        row("REST, 1,000 images", ours, theirs, "ms", 1 / 6, than),
        row("REST, 100 images", hundred, one, "ms", 4.0, "REST, 1 image"),
    ]


def memory(*urls: str) -> list[dict[str, Any]]:
    rows = []
    for url in urls:
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, url],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        what = f"{'gRPC' if url.startswith('grpc') else 'REST'}, 10,000 images, peak memory"
        rows.append(row(what, float(done.stdout), 1.0, "×", 3.0, "the arrays in and out"))
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    print(f"{'':32} {'ours':>9} {'theirs':>9}      {'ratio':>6} {'at most':>7}  beside")
    for each in rows:
        print(
            f"{each['what']:32} {each['ours']:9.3f} {each['theirs']:9.3f} {each['unit']:4} "
            f"{each['ratio']:6.3f} {each['at_most']:7.3f}{' ' if each['reached'] else '!'} "
            f"{each['beside']}"
        )


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    names = [f"{each['what']}\nbeside {each['beside']}" for each in rows]
    shares = [each["ratio"] / each["at_most"] for each in rows]
    bars = axes.barh(names, shares, color="tab:blue")
    axes.bar_label(
        bars, [f" {each['ratio']:.3g} of at most {each['at_most']:.3g}" for each in rows]
    )
    axes.axvline(1, color="tab:red")
    axes.set_xlim(0, 1.6)
    axes.set_xlabel("ratio, as a share of the most it may be (red)")
    axes.tick_params(axis="y", labelsize=7)
    axes.invert_yaxis()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    sys.exit(main())
