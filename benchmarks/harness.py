"""Measure commands and calls in turn, and format the figures as tables."""

import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]

COMPARISON: Final = "what | kmnist | peer | the peer takes | ratio"


@dataclass(frozen=True)
class Options:
    """How much to measure.

    Attributes:
        rounds: The measurements of each side.
        quick: Do less work, to check that it runs.
        scratch: A folder for data sets and models, which all benchmarks of a run share.
    """

    rounds: int
    quick: bool
    scratch: Path


@dataclass(frozen=True)
class Usage:
    """Seconds and standard output of a finished command."""

    seconds: float
    output: str

    @property
    def result(self) -> dict[str, Any]:
        """The JSON object on the last line of the output."""
        result: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return result


def measure(name: str, options: Options) -> str:
    """Run the benchmark of this name; return its section of the page."""
    section: str = import_module(f"benchmarks.{name}").measure(options)
    return section


def python(*arguments: str) -> Sequence[str]:
    """Return a command that runs this Python with ``arguments``."""
    return (sys.executable, *arguments)


def run(command: Sequence[str]) -> Usage:
    """Run ``command`` in the root of the repository and measure it.

    Raises:
        RuntimeError: Its exit code is not 0. The message ends with its standard error.
    """
    shown = shlex.join(command).partition("\n")[0]
    print(shown, file=sys.stderr, flush=True)
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{shown} ended with exit code {done.returncode}\n{done.stderr[-2000:]}")
    return Usage(seconds, done.stdout)


def run_in_turn(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[Usage]]:
    """Run each command in each round (A B C A B C …); return the usages by name."""
    usages: dict[str, list[Usage]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            usages[name].append(run(command))
    return usages


def call_in_turn(
    ours: Callable[[], object], theirs: Callable[[], object], *, calls: int, rounds: int
) -> tuple[list[float], list[float]]:
    """Time two functions call by call in turn (A B A B …), after five calls of each.

    Returns:
        Of each function, the median milliseconds of every round of ``calls`` calls.
    """
    for function in (ours, theirs) * 5:
        function()
    medians: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        pairs = [(milliseconds(ours), milliseconds(theirs)) for _ in range(calls)]
        for side, times in zip(medians, zip(*pairs, strict=True), strict=True):
            side.append(statistics.median(times))
    return medians


def milliseconds(function: Callable[[], object]) -> float:
    """Return the milliseconds that a call of ``function`` takes."""
    started = time.perf_counter()
    function()
    return (time.perf_counter() - started) * 1e3


def memory(field: str, pid: str = "self") -> float:
    """Return a field of a process's ``/proc/PID/status``, such as VmHWM, in MB."""
    lines = Path("/proc", pid, "status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


def check_accuracy(accuracy: float, lowest: float, highest: float, what: str) -> float:
    """Return ``accuracy`` if it is in the range that ``what`` is known to reach.

    Raises:
        RuntimeError: It is not: the model did not learn, or has seen the test images.
    """
    if not lowest <= accuracy <= highest:
        raise RuntimeError(
            f"{what} has an accuracy of {accuracy:.4f}, outside of {lowest:.3g} to {highest:.3g}"
        )
    return accuracy


def spread(figures: Sequence[float], form: str = ".3g") -> str:
    """Format figures as ``median (smallest–largest)``."""
    chosen = min(figures), statistics.median(figures), max(figures)
    low, median, high = (format(figure, form) for figure in chosen)
    return median if low == high else f"{median} ({low}–{high})"


def compare(
    what: str, unit: str, ours: Sequence[float], peer: str, theirs: Sequence[float]
) -> Sequence[str]:
    """Return a table row of a comparison; its ratio is theirs over ours, round by round."""
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    return (what, f"{spread(ours)} {unit}", peer, f"{spread(theirs)} {unit}", spread(ratios))


def table(rows: Iterable[Sequence[str]], header: str = COMPARISON) -> str:
    """Return a Markdown table, by default of comparisons."""
    columns = header.split(" | ")
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
