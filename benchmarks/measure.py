"""Run commands in turn, and see what each takes: seconds, processor seconds, memory.

This module loads nothing heavy, and neither do those that report the memory it sees: on Linux a
child's peak starts at that of the process that started it.
"""

import json
import os
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeVar

ROOT = Path(__file__).parents[1]

T = TypeVar("T")


@dataclass(frozen=True)
class Command:
    """A command line to measure.

    Attributes:
        name: For tables and charts.
        arguments: After the interpreter: ``["-m", "benchmarks.peers.numpy_loop"]``.
        python: The interpreter, of this or of another environment.
    """

    name: str
    arguments: Sequence[str]
    python: str = sys.executable

    def __str__(self) -> str:
        """The command as it reads anywhere: absolute paths become FOLDER."""
        shown = ("FOLDER" if os.path.isabs(part) else part for part in self.arguments)
        return shlex.join(["python", *shown])


@dataclass
class Usage:
    """What a command took.

    Attributes:
        output: What it printed on stdout.
        wall: Seconds from start to end.
        cpu: Processor seconds, its finished children's included.
        rss: Peak resident memory in bytes, of it or of its largest child.
        anonymous: Peak ``RssAnon`` in bytes, sampled: without pages of files.
        children: Peak resident memory in bytes of each child process, sampled, by its command.
        status: Its exit code.
        complaint: What it wrote on stderr.
    """

    output: str = ""
    wall: float = 0.0
    cpu: float = 0.0
    rss: int = 0
    anonymous: int = 0
    children: dict[str, int] = field(default_factory=dict)
    status: int = 0
    complaint: str = ""


@dataclass(frozen=True)
class Spread:
    """The smallest, the middle and the largest of some figures."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(min(values), statistics.median(values), max(values))

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        """Every figure in the format of one, to three digits by default."""
        figures = (self.low, self.median, self.high)
        low, median, high = (format(each, spec or ".3g") for each in figures)
        return median if self.low == self.high else f"{median} ({low}–{high})"


def run(command: Command, *, accept: Sequence[int] = (0,)) -> Usage:
    """Runs ``command`` from the root of the repository to its end, and watches it.

    Raises:
        RuntimeError: its exit code is not in ``accept``; the message ends in its stderr.
    """
    usage, stop = Usage(), threading.Event()
    started = time.perf_counter()
    with subprocess.Popen(
        [command.python, *command.arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        watcher = threading.Thread(target=_watch, args=(process.pid, usage, stop))
        listener = threading.Thread(target=_listen, args=(process.stderr, usage))
        watcher.start()
        listener.start()
        try:
            usage.output = process.stdout.read()
            _, status, spent = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            stop.set()
            watcher.join()
        usage.wall = time.perf_counter() - started
        process.returncode = usage.status = os.waitstatus_to_exitcode(status)
        listener.join()
    if usage.status not in accept:
        raise RuntimeError(
            f"{command} ended with exit code {usage.status}:\n{usage.complaint[-2000:]}"
        )
    usage.cpu = spent.ru_utime + spent.ru_stime
    usage.rss = spent.ru_maxrss * 1024
    return usage


def in_turn(
    commands: Sequence[Command], rounds: int, measured: Callable[[Usage], T]
) -> dict[str, list[T]]:
    """Each command in a new process, A B C A B C …; what ``measured`` makes of each, by name."""
    results: dict[str, list[T]] = {command.name: [] for command in commands}
    for number in range(1, rounds + 1):
        for command in commands:
            print(f"round {number} of {rounds}: {command.name}", file=sys.stderr, flush=True)
            results[command.name].append(measured(run(command)))
    return results


def last_json(usage: Usage) -> dict[str, Any]:
    """The JSON object on the last line of what a command printed."""
    answer: dict[str, Any] = json.loads(usage.output.strip().splitlines()[-1])
    return answer


def ratios(results: Mapping[str, Sequence[float]], base: str) -> dict[str, Spread]:
    """Each name's figures over those of ``base``, round by round."""
    return {
        name: Spread.of([a / b for a, b in zip(values, results[base], strict=True)])
        for name, values in results.items()
    }


def _listen(stream: TextIO, usage: Usage) -> None:
    usage.complaint = stream.read()


def _watch(pid: int, usage: Usage, stop: threading.Event) -> None:
    """Samples the process and its children every 50 ms."""
    while not stop.wait(0.05):
        try:
            usage.anonymous = max(usage.anonymous, _status(pid, "RssAnon"))
            for task in Path(f"/proc/{pid}/task").iterdir():
                for child in (task / "children").read_text(encoding="ascii").split():
                    name = _name(int(child))
                    peak = max(usage.children.get(name, 0), _status(int(child), "VmHWM"))
                    usage.children[name] = peak
        except (OSError, StopIteration):  # one of them ended meanwhile
            continue


def _status(pid: int, entry: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{entry}:"))


def _name(pid: int) -> str:
    """What a process runs: a module or a program, without its arguments."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return f"-m {words[2]}" if words[1:2] == ["-m"] else Path(words[0]).name
