"""``kmnist bench``: how many requests a server answers, and how fast."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kmnist.cli._base import Command, json_option
from kmnist.cli._options import DEFAULT_SERVER, Connection, connection_options
from kmnist.errors import InputError, KmnistError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kmnist.client import Client

__all__ = ["command"]

_PERCENTILES: Final = (50, 90, 99)
_LONGEST_MICROSECONDS: Final = 3_600_000_000


@click.command(cls=Command)
@click.argument("servers", nargs=-1, metavar="[URL]...")
@connection_options
@click.option(
    "--images",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Images in each request.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Requests under way at a time.",
)
@click.option(
    "--duration",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds for each server, after one of warm-up.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Requests a second, sent whether or not answers have come (open loop).",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the latencies into this file.")
@json_option
def command(
    servers: tuple[str, ...],
    connection: Connection,
    images: int,
    concurrency: int,
    duration: float,
    rate: float | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure a server's requests per second and latency.

    Each URL is measured in turn: by default grpc://localhost:8500 and http://localhost:8501.
    Without --rate each of the --concurrency threads sends its next request when it has its
    answer. With --rate requests are due at fixed times, and the wait of one that is sent late
    counts as latency, so a server that stalls cannot hide it. Python threads share one
    processor, so this measures the client as well as the server.
    """
    if plot is not None and not plot.parent.is_dir():
        raise InputError(f"there is no folder {plot.parent} for --plot {plot}; make it first")
    _require("hdrh.histogram", "hdrhistogram", "kmnist bench")
    if plot is not None:
        _require("matplotlib.figure", "matplotlib", "--plot")
    load = _Load(images, concurrency, duration, rate)
    results = []
    for server in servers or (DEFAULT_SERVER, "http://localhost:8501"):
        if not as_json:
            click.echo(f"measuring {server} for {duration:g} s …", err=True)
        # Each failure counts; a retry would hide it.
        with connection.open(server, retries=0, batch_size=images) as client:
            results.append(_measure(client, load))
    if plot is not None:
        _draw(results, load, plot)
    if as_json:
        found = [result.as_dict() for result in results]
        settings = {"images": images, "concurrency": concurrency, "rate": rate}
        click.echo(json.dumps({**settings, "duration": duration, "results": found}))
    else:
        _print(results)


@dataclass(frozen=True)
class _Load:
    images: int
    concurrency: int
    duration: float
    rate: float | None


@dataclass
class _Result:
    """What came of one server: latencies in microseconds, and failures by class."""

    server: str
    images: int
    seconds: float
    latencies: Any
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        return int(self.latencies.get_total_count())

    def milliseconds(self, percentile: float) -> float:
        return float(self.latencies.get_value_at_percentile(percentile)) / 1000

    def as_dict(self) -> dict[str, Any]:
        return {
            "server": self.server,
            "requests": self.requests,
            "requests_per_second": self.requests / self.seconds,
            "images_per_second": self.requests * self.images / self.seconds,
            "latency_ms": {
                **{f"p{each}": self.milliseconds(each) for each in _PERCENTILES},
                "max": self.milliseconds(100),
            },
            "failures": dict(self.failures),
        }


def _require(module: str, package: str, what: str) -> None:
    """Tells before anything is measured what has to be installed."""
    try:
        import_module(module)
    except ImportError:
        raise KmnistError(f"{what} needs {package}; pip install {package}") from None


def _new_histogram() -> Any:
    from hdrh.histogram import HdrHistogram

    return HdrHistogram(1, _LONGEST_MICROSECONDS, 3)


def _measure(client: "Client", load: _Load) -> _Result:
    images = _images(client, load.images)
    warm_up = time.monotonic() + min(1.0, load.duration)
    client.predict(images)  # a server that cannot answer at all is an error, not a result
    while time.monotonic() < warm_up:
        client.predict(images)
    begin = time.perf_counter()
    due = _due(begin, load)
    stop = threading.Event()
    workers = [_Worker(client, images, due, stop) for _ in range(load.concurrency)]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    finally:
        stop.set()
    result = _Result(client.address, load.images, time.perf_counter() - begin, _new_histogram())
    for worker in workers:
        result.latencies.add(worker.latencies)
        result.failures.update(worker.failures)
    if not result.requests:
        raise KmnistError(
            f"no request to {client.address} succeeded: "
            + ", ".join(f"{count} × {name}" for name, count in result.failures.items())
        )
    return result


class _Worker(threading.Thread):
    """Sends requests as they are due, until none is."""

    def __init__(
        self,
        client: "Client",
        images: "NDArray[np.uint8]",
        due: Callable[[], float | None],
        stop: threading.Event,
    ) -> None:
        super().__init__(daemon=True)
        self.latencies = _new_histogram()
        self.failures: Counter[str] = Counter()
        self._client, self._images, self._due, self._stop_event = client, images, due, stop

    def run(self) -> None:
        from kmnist.client import ClientError

        while not self._stop_event.is_set():
            start = self._due()
            if start is None:
                return
            wait = start - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            try:
                self._client.predict(self._images)
            except ClientError as error:
                self.failures[type(error).__name__] += 1
                continue
            microseconds = (time.perf_counter() - start) * 1e6
            self.latencies.record_value(min(max(int(microseconds), 1), _LONGEST_MICROSECONDS))


def _due(begin: float, load: _Load) -> Callable[[], float | None]:
    """When the next request is due: None when the time is over."""
    end = begin + load.duration
    if load.rate is None:

        def at_once() -> float | None:
            now = time.perf_counter()
            return now if now < end else None

        return at_once
    interval = 1 / load.rate
    lock = threading.Lock()
    next_due = begin

    def on_schedule() -> float | None:
        nonlocal next_due
        with lock:
            due, next_due = next_due, next_due + interval
        return due if due < end else None

    return on_schedule


def _images(client: "Client", count: int) -> "NDArray[np.uint8]":
    """Noise of the shape that the model takes; its answer costs the same as a digit's."""
    import numpy as np

    signature = client.metadata().signatures.get("serving_default")
    specs = list(signature.inputs.values()) if signature is not None else []
    shape = specs[0].shape if specs and specs[0].shape else ()
    height, width = (size or 28 for size in (shape[1:] if len(shape) == 3 else (28, 28)))
    return np.random.default_rng(0).integers(0, 256, (count, height, width), dtype=np.uint8)


def _print(results: list[_Result]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("server", overflow="fold")
    percentiles = [f"p{each} ms" for each in _PERCENTILES]
    for column in ("requests/s", "images/s", *percentiles, "max ms"):
        table.add_column(column, justify="right")
    for result in results:
        found = result.as_dict()
        table.add_row(
            result.server,
            f"{found['requests_per_second']:,.0f}",
            f"{found['images_per_second']:,.0f}",
            *(f"{each:.2f}" for each in found["latency_ms"].values()),
        )
    console = Console(highlight=False)
    console.print(table)
    for result in results:
        for name, count in result.failures.most_common():
            console.print(f"{result.server}: {count:,} × {name}")


def _draw(results: list[_Result], load: _Load, path: Path) -> None:
    """Latency over percentile, the tail drawn out, one line a server."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    ticks = (0, 90, 99, 99.9, 99.99)
    for result in results:
        # A percentile that less than one request stands for says nothing.
        rarest = max(1 / max(result.requests, 2), 1e-4)
        tails = [rarest ** (step / 200) for step in range(201)]
        axes.plot(
            [1 / tail for tail in tails],
            [result.milliseconds(100 * (1 - tail)) for tail in tails],
            label=result.server,
        )
    axes.set_xscale("log")
    axes.set_xticks([100 / (100 - tick) for tick in ticks], [f"{tick:g} %" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("share of requests answered within")
    axes.set_ylabel("latency (ms)")
    axes.set_ylim(bottom=0)
    rate = "" if load.rate is None else f", {load.rate:g} requests/s"
    axes.set_title(f"{load.images} images a request, {load.concurrency} at a time{rate}")
    axes.grid(alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot draw into {path}: {error}") from None
