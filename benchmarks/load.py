"""Servers under load: requests a second and latencies, as ``kmnist bench`` measures them.

    python -m benchmarks.load [--server grpc://host:8500] [--server http://host:8501]

``kmnist serve``, and every server that is given. Clients and servers share the machine, and the
clients are Python threads, so this is what a Python service sees and not what a server can do.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.flags import alone
from benchmarks.measure import Command, Spread, last_json, run
from benchmarks.prepare import serving, trained
from benchmarks.report import Section

LOADS = ((1, 1), (8, 1), (32, 1), (1, 100), (1, 1000))  # requests under way, images in each
SECONDS = 3


def measure(flags: argparse.Namespace, scratch: Path) -> Section:
    rows = []
    with serving(trained(scratch)) as started:
        servers = {started[kind]: "kmnist serve" for kind in ("grpc", "rest")}
        servers |= dict.fromkeys(flags.server, "given")
        for concurrency, images in LOADS:
            # The servers take turns, so that a noisy machine slows all of them.
            rounds = [_bench([*servers], concurrency, images) for _ in range(flags.rounds)]
            for place, (url, name) in enumerate(servers.items()):
                found = [results[place] for results in rounds]
                rows.append(
                    [name, _transport(url), str(concurrency), f"{images:,}", *_cells(found)]
                )
    return Section(
        "load",
        "Servers under load",
        f"`kmnist bench` for {SECONDS} seconds, {flags.rounds} times in turn; client threads and "
        "servers share this machine.",
        [
            "server",
            "transport",
            "requests at a time",
            "images in each",
            "images a second",
            "p50, ms",
            "p99, ms",
            "failed",
        ],
        sorted(rows, key=lambda row: (row[0] != "kmnist serve", row[1])),
    )


def _bench(urls: list[str], concurrency: int, images: int) -> list[dict[str, Any]]:
    arguments = ["-m", "kmnist", "bench", *urls, "--json", "--duration", str(SECONDS)]
    arguments += ["--concurrency", str(concurrency), "--images", str(images)]
    found: list[dict[str, Any]] = last_json(run(Command("bench", arguments)))["results"]
    return found


def _cells(found: list[dict[str, Any]]) -> list[str]:
    rates = Spread.of([each["images_per_second"] for each in found])
    latencies = [each["latency_ms"] for each in found]
    failed = sum(count for each in found for count in each["failures"].values())
    return [
        f"{rates:,.0f}",
        *(str(Spread.of([each[name] for each in latencies])) for name in ("p50", "p99")),
        str(failed),
    ]


def _transport(url: str) -> str:
    return "gRPC" if url.startswith("grpc") else "REST"


if __name__ == "__main__":
    alone(__doc__, measure)
