"""Faults of workers: a signal to one of two at a random moment, and how both end.

    python -m benchmarks.faults [--rounds 10] [--signals KILL STOP TERM INT] [--seed N]

Two processes of ``kmnist-train``, as installed beside this Python, train on MNIST over the loopback
device. In every round one of them gets a signal; then both are started again with ``--resume``, if
there is a checkpoint. A line for each round says when it was, how both ended, how long the other one
took, and whether the weights became those of the uninterrupted run. The exit code is 1 if a round did
not end as ``docs/workers.md`` says.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kmnist.training.cluster import free_addresses

COMMAND: Final = Path(sys.executable).with_name("kmnist-train")

EPOCHS: Final = 6

# In seconds: how long a worker waits for one that is missing, and the longest that it takes to end.
TIMEOUT: Final = 10
LONGEST: Final = 90.0

# The exit codes of a worker that gets the signal; below 0, before it handles signals.
CODES: Final = {"KILL": (-9,), "STOP": (-9,), "TERM": (130, -15), "INT": (130, 1, -2)}


def main() -> int:
    """Print a line for each round; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="for each signal and worker")
    parser.add_argument("--signals", nargs="+", choices=CODES, default=["KILL", "STOP", "TERM"])
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        digest = weights(start(Path(folder)))
        seconds = time.monotonic() - started
    print(f"uninterrupted: {seconds:.1f} s, weights {digest[:12]}", flush=True)
    failed = 0
    for name in options.signals:
        for target in (0, 1):
            for _ in range(options.rounds):
                line, good = fault(name, target, moments, seconds, digest)
                print(f"{'' if good else 'FAILED '}{name} of {target} {line}", flush=True)
                failed += not good
    print(f"{failed} failed")
    return int(failed > 0)


def start(folder: Path, *more: str) -> list["subprocess.Popen[str]"]:
    """Start both workers."""
    arguments = ["--workers", ",".join(free_addresses(2)), "--epochs", str(EPOCHS)]
    arguments += ["--timeout", str(TIMEOUT), "--models", str(folder / "models"), "--json", *more]
    arguments += ["--checkpoint", str(folder / "checkpoint")]
    return [
        subprocess.Popen(
            [str(COMMAND), *arguments, "--index", str(index)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in (0, 1)
    ]


def weights(processes: Sequence["subprocess.Popen[str]"]) -> str:
    """Return the digest of the weights of a run, or how it failed."""
    ends = [process.communicate() for process in processes]
    if any(process.returncode for process in processes):
        return f"none: {[stderr for _, stderr in ends]}"
    return str(json.loads(ends[0][0])["weights_sha256"])


def fault(
    name: str, target: int, moments: random.Random, seconds: float, digest: str
) -> tuple[str, bool]:
    """Run a round; return its line, and whether it ended as documented."""
    while True:
        with tempfile.TemporaryDirectory() as folder:
            processes = start(Path(folder))
            moment = moments.uniform(0.05, seconds)
            time.sleep(moment)
            if processes[target].poll() is None:
                return hit(Path(folder), processes, name, target, moment, digest)
            weights(processes)  # the run was over


def hit(
    folder: Path,
    processes: Sequence["subprocess.Popen[str]"],
    name: str,
    target: int,
    moment: float,
    digest: str,
) -> tuple[str, bool]:
    """Send the signal to a worker; wait for both, and resume."""
    lost, other = processes[target], processes[1 - target]
    lost.send_signal(getattr(signal, f"SIG{name}"))
    started = time.monotonic()
    stdout, stderr = end(other, LONGEST)
    seconds = time.monotonic() - started
    if name == "STOP":
        lost.kill()
    _, own = end(lost, LONGEST)
    lines = stderr.splitlines() or [""]
    named = f"worker {target} (" in lines[-1] or "TensorFlow did not start within" in lines[-1]
    is_over = other.returncode == 0
    good = "Traceback" not in stderr and (
        is_over or (named and other.returncode == 1 and lost.returncode in CODES[name])
    )
    line = (
        f"after {moment:4.1f} s: {lost.returncode}, the other {other.returncode} in {seconds:.1f} s"
    )
    if (folder / "checkpoint").exists() and not is_over:
        resumed = weights(start(folder, "--resume"))
        good &= resumed == digest
        line += ", resumed" if resumed == digest else f", RESUMED WITH {resumed}"
    elif is_over:
        line += ", the training was over"
        good &= not stdout or json.loads(stdout)["weights_sha256"] == digest
    if not good:
        line += f"\n  the other: {stderr}\n  the worker itself: {own}"
    return f"{line} · {lines[-1]}", good


def end(process: "subprocess.Popen[str]", seconds: float) -> tuple[str, str]:
    """Return what a process writes until it ends; kill it if it takes longer."""
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()


if __name__ == "__main__":
    sys.exit(main())
