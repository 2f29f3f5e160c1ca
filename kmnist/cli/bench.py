"""``kmnist bench``: the requests per second and the latency of servers."""

import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import TYPE_CHECKING, Any, Final

import click

from kmnist.cli._base import Command
from kmnist.cli._client import ask
from kmnist.cli._options import (
    SECONDS,
    SERVERS,
    client_options,
    json_option,
    server_option,
)
from kmnist.cli._output import print_table, show_result
from kmnist.errors import ClientError, InputError, KmnistError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kmnist.client import Client

__all__ = ["command"]

_PERCENTILES: Final = (50, 90, 99)
_MAX_MICROSECONDS: Final = 3_600_000_000

# Failures that are part of a measurement under load.
_CAUSED_BY_LOAD: Final = {"OverloadedError", "DeadlineExceededError"}


@click.command("bench", cls=Command)
@server_option("servers", multiple=True, default=SERVERS, help="A server; may be repeated.")
@client_options
@click.option(
    "--images",
    type=click.IntRange(1, 1_000_000),
    default=1,
    help="The number of images per request.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1024),
    default=1,
    help="The number of threads that send requests, in each process.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    help="The number of processes that send requests.",
)
@click.option(
    "--duration",
    type=SECONDS,
    metavar="SECONDS",
    default=5.0,
    help="The time to measure each server for, after a warm-up of one second.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Send this number of requests per second, whether or not earlier ones are answered.",
)
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw the latencies into this file.",
)
@json_option
def command(
    servers: tuple[str, ...],
    images: int,
    concurrency: int,
    processes: int,
    duration: float,
    rate: float | None,
    plot: Path | None,
    as_json: bool,
    **client_arguments: Any,
) -> None:
    """Measure the requests per second and the latency of servers.

    The servers are measured one after the other. Without --rate, each thread sends its next
    request when the last one is answered (closed loop). With --rate, requests are due at fixed
    times (open loop): the delay of a request that is sent late counts as latency, so the pauses of
    a server are measured in full. The threads of a Python process share one core, which a fast
    server outpaces: raise --processes until the requests per second no longer grow.

    The exit code is 1 if requests failed, except those that a server refused or delayed because of
    its load.
    """
    if plot is not None and not plot.parent.is_dir():
        raise InputError(f"--plot {plot}: there is no folder {plot.parent}; create it first")
    load = _Load(images, concurrency, duration, rate, processes)
    measurements = []
    for server in servers:
        if not as_json:
            click.echo(f"measuring {server} for {duration:g} s …", err=True)
        # Retries would hide failures.
        settings = client_arguments | {"retries": 0, "batch_size": images}
        measurements.append(_measure_in_processes(server, load, settings))
    if plot is not None:
        _draw(measurements, load, plot)
    result = {
        "images": images,
        "concurrency": concurrency,
        "processes": processes,
        "rate": rate,
        "duration": duration,
        "results": [measurement.as_dict(images) for measurement in measurements],
    }
    show_result(result, as_json, _print)
    for measurement in measurements:
        measurement.check()


@dataclass(frozen=True)
class _Load:
    images: int
    concurrency: int
    duration: float
    rate: float | None
    processes: int = 1


def _new_histogram() -> Any:
    from hdrh.histogram import HdrHistogram

    return HdrHistogram(1, _MAX_MICROSECONDS, 3)


@dataclass
class _Measurement:
    """The latencies of answered requests in microseconds, and the failures by class."""

    server: str
    seconds: float = 0.0
    latencies: Any = field(default_factory=_new_histogram)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        return int(self.latencies.get_total_count())

    def milliseconds(self, percentile: float) -> float:
        return float(self.latencies.get_value_at_percentile(percentile)) / 1000

    def add(self, other: "_Measurement") -> None:
        self.seconds = max(self.seconds, other.seconds)
        self.latencies.add(other.latencies)
        self.failures.update(other.failures)

    def check(self) -> None:
        """Raise an error if requests failed for other reasons than load."""
        failed = {name: n for name, n in self.failures.items() if name not in _CAUSED_BY_LOAD}
        if failed:
            raise KmnistError(f"requests to {self.server} failed: {_listed(failed)}")

    def __getstate__(self) -> dict[str, Any]:
        # The counts of a histogram are in an array of ctypes, which cannot be pickled.
        return vars(self) | {"latencies": self.latencies.encode()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.latencies = _new_histogram()
        self.latencies.decode_and_add(state["latencies"])

    def as_dict(self, images: int) -> dict[str, Any]:
        return {
            "server": self.server,
            "requests": self.requests,
            "requests_per_second": self.requests / self.seconds,
            "images_per_second": self.requests * images / self.seconds,
            "latency_ms": {
                **{f"p{each}": self.milliseconds(each) for each in _PERCENTILES},
                "max": self.milliseconds(100),
            },
            "failures": dict(self.failures.most_common()),
        }


def _measure_in_processes(server: str, load: _Load, settings: dict[str, Any]) -> _Measurement:
    """Measure a server from one or several processes, which begin at the same time."""
    if load.processes == 1:
        return ask(server, lambda client: _measure(client, load), **settings)
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    spawn = get_context("spawn")
    share = replace(load, rate=None if load.rate is None else load.rate / load.processes)
    # The default action ends a process at Ctrl-C without a traceback.
    quietly = signal.signal, (signal.SIGINT, signal.SIG_DFL)
    with spawn.Manager() as manager:
        ready = manager.Barrier(load.processes)
        with ProcessPoolExecutor(load.processes, spawn, *quietly) as executor:
            tasks = [
                executor.submit(_measure_in_process, server, share, settings, ready)
                for _ in range(load.processes)
            ]
            errors = [task.exception() for task in tasks]
    for error in sorted(filter(None, errors), key=lambda e: isinstance(e, BrokenBarrierError)):
        raise error
    total, *others = [task.result() for task in tasks]
    for other in others:
        total.add(other)
    return total


def _measure_in_process(
    server: str, load: _Load, settings: dict[str, Any], ready: Barrier
) -> _Measurement:
    try:
        return ask(server, lambda client: _measure(client, load, ready), **settings)
    except BaseException:
        ready.abort()  # the others wait for this process
        raise


def _measure(client: "Client", load: _Load, ready: Barrier | None = None) -> _Measurement:
    images = _images(client, load.images)
    warm_up_end = time.monotonic() + min(1.0, load.duration)
    client.predict(images)  # raises if the server cannot answer
    while time.monotonic() < warm_up_end:
        client.predict(images)
    if ready is not None:
        ready.wait()
    total = _Measurement(client.address)
    parts = [_Measurement(client.address) for _ in range(load.concurrency)]
    begin = time.perf_counter()
    next_start = _schedule(begin, load)
    stop = threading.Event()
    threads = [
        threading.Thread(target=_send, args=(client, images, next_start, stop, part), daemon=True)
        for part in parts
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:
        stop.set()
    total.seconds = time.perf_counter() - begin
    for part in parts:
        total.add(part)
    if not total.requests:
        raise KmnistError(f"no request to {client.address} succeeded: {_listed(total.failures)}")
    return total


def _listed(failures: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} × {name}" for name, count in failures.items())


def _schedule(begin: float, load: _Load) -> Callable[[], float | None]:
    """Return a function that returns when the next request is due; None after the last."""
    numbers = itertools.count()

    def next_start() -> float | None:
        due = time.perf_counter() if load.rate is None else begin + next(numbers) / load.rate
        return due if due < begin + load.duration else None

    return next_start


def _send(
    client: "Client",
    images: "NDArray[np.uint8]",
    next_start: Callable[[], float | None],
    stop: threading.Event,
    measurement: _Measurement,
) -> None:
    """Send requests when they are due and record them in ``measurement``."""
    while not stop.is_set() and (start := next_start()) is not None:
        time.sleep(max(0.0, start - time.perf_counter()))
        try:
            client.predict(images)
        except ClientError as error:
            measurement.failures[type(error).__name__] += 1
        else:
            microseconds = int((time.perf_counter() - start) * 1e6)
            measurement.latencies.record_value(min(max(microseconds, 1), _MAX_MICROSECONDS))


def _images(client: "Client", count: int) -> "NDArray[np.uint8]":
    """Return noise in the shape that the model takes; it costs as much to predict as digits."""
    import numpy as np

    signature = client.metadata().signatures.get("serving_default")
    shapes = [spec.shape for spec in signature.inputs.values()] if signature else []
    shape = shapes[0] if shapes and shapes[0] and len(shapes[0]) == 3 else (None, 28, 28)
    height, width = (size or 28 for size in shape[1:])
    return np.random.default_rng(0).integers(0, 256, (count, height, width), dtype=np.uint8)


def _print(result: dict[str, Any]) -> None:
    numbers = ("requests/s", "images/s", *(f"p{each} ms" for each in _PERCENTILES), "max ms")
    print_table(
        ("server", *numbers),
        [
            (
                each["server"],
                f"{each['requests_per_second']:,.0f}",
                f"{each['images_per_second']:,.0f}",
                *(f"{latency:.2f}" for latency in each["latency_ms"].values()),
            )
            for each in result["results"]
        ],
        right=numbers,
    )
    for each in result["results"]:
        for name, count in each["failures"].items():
            click.echo(f"{each['server']}: {count:,} × {name}")


def _draw(measurements: list[_Measurement], load: _Load, path: Path) -> None:
    """Draw latency over percentile, on a scale that widens the tail, one line per server."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    ticks = (0, 90, 99, 99.9, 99.99)
    for measurement in measurements:
        # The highest percentile is the one that the slowest request stands for.
        rarest = max(1 / max(measurement.requests, 2), 1e-4)
        tails = [rarest ** (step / 200) for step in range(201)]
        axes.plot(
            [1 / tail for tail in tails],
            [measurement.milliseconds(100 * (1 - tail)) for tail in tails],
            label=measurement.server,
        )
    axes.set_xscale("log")
    axes.set_xticks([100 / (100 - tick) for tick in ticks], [f"{tick:g} %" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("percentile of requests")
    axes.set_ylabel("latency (ms)")
    axes.set_ylim(bottom=0)
    rate = "" if load.rate is None else f", {load.rate:g} requests/s"
    threads = load.processes * load.concurrency
    axes.set_title(f"{load.images} images per request, {threads} threads{rate}")
    axes.grid(alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise InputError(f"--plot {path}: cannot draw: {error}") from None
