"""Measure what hostile requests cost a running embedded server.

Not a test: ``python -m tests.server.costs`` starts ``kmnist serve`` on the folder of versions that
is its argument, sends each request, and prints the HTTP status, the seconds until the answer, the
largest memory of the server in MB above its memory at rest, and the longest wait of a status
request meanwhile.
"""

import gzip
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

PATH: Final = "/v1/models/kmnist:predict"
GZIP: Final = {"Content-Encoding": "gzip"}


@contextmanager
def serving(base: str, *options: str) -> Iterator[tuple[int, int]]:
    """Run the server; yield its port and its process id."""
    command = [sys.executable, "-m", "kmnist", "serve", "--json"]
    command += ["--models", base, "--grpc-port", "0", "--rest-port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        facts: dict[str, Any] = json.loads(process.stdout.readline())
        yield int(facts["rest"].rpartition(":")[2]), process.pid
    finally:
        process.kill()
        process.wait()


def memory(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1000
    return 0


def send(port: int, body: bytes, headers: Mapping[str, str]) -> int:
    """Send a predict request; return the status, 0 without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    with suppress(OSError, http.client.HTTPException):
        connection.request("POST", PATH, body, dict(headers))
        return connection.getresponse().status
    return 0


def measure(port: int, pid: int, body: bytes, headers: Mapping[str, str], times: int) -> str:
    """Send a request ``times`` times at once; return what it costs."""
    before, most, longest, done = memory(pid), 0.0, 0.0, threading.Event()

    def watch_memory() -> None:
        nonlocal most
        while not done.wait(0.01):
            most = max(most, memory(pid) - before)

    def watch_status() -> None:
        nonlocal longest
        while not done.wait(0.02):
            started = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
            connection.request("GET", "/v1/models/kmnist")
            assert connection.getresponse().status == 200
            connection.close()
            longest = max(longest, time.perf_counter() - started)

    watchers = [threading.Thread(target=each) for each in (watch_memory, watch_status)]
    statuses: list[int] = []
    senders = [
        threading.Thread(target=lambda: statuses.append(send(port, body, headers)))
        for _ in range(times)
    ]
    for thread in watchers:
        thread.start()
    started = time.perf_counter()
    for thread in senders:
        thread.start()
    for thread in senders:
        thread.join()
    seconds = time.perf_counter() - started
    done.set()
    for thread in watchers:
        thread.join()
    return f"{sorted(set(statuses))} after {seconds:.1f} s, {most:+.0f} MB, status {longest * 1e3:.0f} ms"


def main() -> None:
    """Measure each request on a new server."""
    objects = b'{"instances": [' + b'{"a":[]},' * 6_600_000 + b"1]}"
    numbers = b'{"instances": [' + b"7," * 29_000_000 + b"1]}"
    texts = b'{"instances": [' + b'"ab",' * 11_000_000 + b'"a"]}'
    zeros = gzip.compress(bytes(119_000_000))
    spaces = gzip.compress(b" " * 60_000_000 + b'{"instances": []}')
    most_texts = b'{"instances": [' + b'"ab",' * 4_900_000 + b'"a"]}'
    most_objects = b'{"instances": [' + b'{"a":[]},' * 96_000 + b"1]}"
    requests: list[tuple[str, bytes, Mapping[str, str], int]] = [
        ("gzip of 119 MB of zeros", zeros, GZIP, 1),
        ("gzip of 119 MB of zeros, 16 at once", zeros, GZIP, 16),
        ("gzip of 60 MB of blanks, 32 at once", spaces, GZIP, 32),
        ("60 MB of objects", objects, {}, 1),
        ("60 MB of numbers", numbers, {}, 1),
        ("55 MB of strings", texts, {}, 1),
        ("as many strings as are accepted", most_texts, {}, 1),
        ("as many objects as are accepted", most_objects, {}, 1),
        ("60 MB of numbers, 8 at once", numbers, {}, 8),
    ]
    base, *options = sys.argv[1:]
    for name, body, headers, times in requests:
        with serving(base, *options) as (port, pid):
            cost = measure(port, pid, body, headers, times)
        sys.stdout.write(f"{name} ({len(body):,} bytes): {cost}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
