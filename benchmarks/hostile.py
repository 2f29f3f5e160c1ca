"""Cost of each hostile request, in a TensorFlow session alone or on a server.

    python -m benchmarks.hostile MODELS/1 [--only WORD]
    python -m benchmarks.hostile --server http://localhost:8501 --pid PID [--only WORD]

Each request of ``tests/pictures/hostile.py`` is sent once. Alone, each has a process of its own that
loads the version. ``--pid`` is the server's process on this machine: its time and memory are read
from /proc, its memory every 5 ms.
"""

import argparse
import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.pictures.hostile import REQUESTS, noise

TICKS: Final = 100  # a second


@dataclass
class Cost:
    """Seconds of a core and additional MB of a process."""

    seconds: float = 0
    memory: float = 0


def main() -> None:
    """Print a line for each request."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    parser.add_argument("version", nargs="?", help="a version folder, run in a session alone")
    parser.add_argument("--server", help="URL of a server's REST API")
    parser.add_argument("--pid", type=int, help="the process of that server")
    parser.add_argument("--only", default="", help="send the requests with this in their name")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(alone(options.version, options.one))
        return
    if bool(options.version) == bool(options.server and options.pid):
        parser.error("expected a version folder, or --server and --pid")
    for name in REQUESTS:
        if options.only in name:
            if options.server:
                line = on_server(options.server, options.pid, name)
            else:
                line = apart(options.version, name)
            print(line, flush=True)


def apart(version: str, name: str) -> str:
    """Run :func:`alone` in a new process; return its line, or how the process ended."""
    command = [sys.executable, "-m", "benchmarks.hostile", version, "--one", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or f"{name:44} ended with {done.returncode}: {done.stderr[-200:]}"


def alone(version: str, name: str) -> str:
    """Send a request to the signature ``pictures`` of a SavedModel in this process."""
    import tensorflow as tf

    signature = tf.saved_model.load(version).signatures["pictures"]

    def send(pictures: list[bytes]) -> str:
        try:
            return f"{len(signature(pictures=tf.constant(pictures))['class_ids'])} answers"
        except tf.errors.OpError as error:
            said: str = error.message
            return said.partition("assertion failed: ")[2] or said.strip()

    send([noise(300, 0)])
    return measured(None, name, send)


def on_server(url: str, pid: int, name: str) -> str:
    """Send a request to a server."""

    def send(pictures: list[bytes]) -> str:
        encoded = [{"b64": base64.b64encode(picture).decode()} for picture in pictures]
        body = json.dumps({"signature_name": "pictures", "inputs": encoded}).encode()
        models = f"{url}/v1/models/kmnist"
        try:
            with urlopen(Request(f"{models}:predict", body), timeout=300) as answer:
                return f"{len(json.load(answer)['outputs']['class_ids'])} answers"
        except HTTPError as error:
            with error:
                said: str = json.load(error)["error"]
                return f"{error.code} {said}"

    send([noise(300, 0)])
    return measured(pid, name, send)


def measured(pid: int | None, name: str, send: Callable[[list[bytes]], str]) -> str:
    """Send a request while a process is watched; return the line to print."""
    pictures = REQUESTS[name]()
    with watching(pid) as cost:
        answer = send(pictures)
    size = sum(map(len, pictures)) / 1e3
    figures = f"{size:7.0f} KB {cost.seconds:6.2f} s {cost.memory:6.0f} MB"
    return f"{name:44} {figures}  {' '.join(answer.split())[:90]}"


@contextmanager
def watching(pid: int | None) -> Iterator[Cost]:
    """Fill in the cost of what happens within the context to a process, by default this one."""
    folder = Path("/proc", "self" if pid is None else str(pid))
    cost, before, ended = Cost(), seconds(folder), threading.Event()
    start = peak = resident(folder)

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.005):
            peak = max(peak, resident(folder))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield cost
    finally:
        ended.set()
        watcher.join()
        time.sleep(0.1)
        cost.seconds, cost.memory = seconds(folder) - before, peak - start


def seconds(folder: Path) -> float:
    """Return the processor time of a process."""
    user, system = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS


def resident(folder: Path) -> float:
    """Return the resident memory of a process in MB."""
    lines = (folder / "status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1e3


if __name__ == "__main__":
    main()
