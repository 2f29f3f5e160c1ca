"""``kmnist bench``: the requests per second and the latency of servers."""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from kmnist.cli._base import Command
from kmnist.cli._client import ask, image_size
from kmnist.cli._options import SECONDS, SERVERS, client_options, json_option, server_option
from kmnist.cli._output import print_table, show_result
from kmnist.errors import ClientError, DeadlineExceededError, KmnistError, OverloadedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kmnist.client import Client

__all__ = ["command"]

_PERCENTILES: Final = {"p50": 50, "p90": 90, "p99": 99, "max": 100}

# Failures that are part of a measurement under load.
_CAUSED_BY_LOAD: Final = {OverloadedError.__name__, DeadlineExceededError.__name__}


@click.command("bench", cls=Command)
@server_option("servers", multiple=True, default=SERVERS, help="A server; may be repeated.")
@client_options
@click.option("--images", type=click.IntRange(1, 100_000), default=1, help="Images per request.")
@click.option("--concurrency", type=click.IntRange(1, 1024), default=1, help="Requests at a time.")
@click.option(
    "--duration",
    type=SECONDS,
    metavar="SECONDS",
    default=5.0,
    help="The time to measure each server for, after a warm-up of one second.",
)
@json_option
def command(
    servers: tuple[str, ...],
    images: int,
    concurrency: int,
    duration: float,
    as_json: bool,
    **client_arguments: Any,
) -> None:
    """Measure the requests per second and the latency of servers.

    The servers are measured one after the other. Each of the concurrent senders sends its next
    request when the last one is answered (closed loop). All of them share one Python process, which
    a fast server outpaces: measure its limit with ghz or wrk2.

    The exit code is 1 if requests failed, except those that a server refused or delayed because of
    its load.
    """
    results = []
    for server in servers:
        if not as_json:
            click.echo(f"measuring {server} for {duration:g} s …", err=True)
        measure = partial(_measure, images=images, concurrency=concurrency, duration=duration)
        # Retries would hide failures.
        results.append(ask(server, measure, **client_arguments, retries=0, batch_size=images))
    load = {"images": images, "concurrency": concurrency, "duration": duration}
    show_result(load | {"results": results}, as_json, _print)
    for result in results:
        if set(result["failures"]) - _CAUSED_BY_LOAD:
            raise KmnistError(f"requests to {result['server']} failed: {_list(result['failures'])}")


def _measure(client: "Client", images: int, concurrency: int, duration: float) -> dict[str, Any]:
    import numpy as np

    # Noise costs as much to predict as digits.
    shape = (images, *(image_size(client) or (28, 28)))
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    client.predict(noise)  # raises if the server cannot answer
    _send_for(min(1.0, duration), client, noise, 1)
    seconds, latencies, failures = _send_for(duration, client, noise, concurrency)
    if not latencies:
        raise KmnistError(f"no request to {client.address} succeeded: {_list(failures)}")
    milliseconds = np.percentile(latencies, list(_PERCENTILES.values())) * 1e3
    return {
        "server": client.address,
        "requests": len(latencies),
        "requests_per_second": len(latencies) / seconds,
        "images_per_second": len(latencies) * images / seconds,
        "latency_ms": dict(zip(_PERCENTILES, milliseconds.tolist(), strict=True)),
        "failures": dict(failures.most_common()),
    }


def _send_for(
    duration: float, client: "Client", images: "NDArray[np.uint8]", concurrency: int
) -> tuple[float, list[float], Counter[str]]:
    """Send requests; return the seconds until all were answered, the latencies, and the failures."""
    latencies: list[float] = []
    failures: list[str] = []
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            started = time.perf_counter()
            try:
                client.predict(images)
            except ClientError as error:
                failures.append(type(error).__name__)
            else:
                latencies.append(time.perf_counter() - started)

    begin = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as executor:
        for _ in range(concurrency):
            executor.submit(send)
        try:
            time.sleep(duration)
        finally:
            stop.set()
    return time.perf_counter() - begin, latencies, Counter(failures)


def _list(failures: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} × {name}" for name, count in failures.items())


def _print(result: dict[str, Any]) -> None:
    numbers = ("requests/s", "images/s", "p50 ms", "p90 ms", "p99 ms", "max ms")
    rows = [
        (
            each["server"],
            f"{each['requests_per_second']:,.0f}",
            f"{each['images_per_second']:,.0f}",
            *(f"{latency:.2f}" for latency in each["latency_ms"].values()),
        )
        for each in result["results"]
    ]
    print_table(("server", *numbers), rows, right=numbers)
    for each in result["results"]:
        if each["failures"]:
            click.echo(f"{each['server']}: {_list(each['failures'])}")
