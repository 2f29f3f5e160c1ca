"""The options of a training by several workers, and the start of several on this machine."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import IO, Any, Final, TypeVar

import click

from kmnist.cli._options import timeout_option
from kmnist.errors import InputError, KmnistError

__all__ = [
    "INTERRUPTED",
    "end_with_launcher",
    "find_workers",
    "reporting_failure",
    "run_workers",
    "worker_options",
]

INTERRUPTED: Final = 130

_MAX_LOCAL: Final = 64

# In seconds. A worker ends by itself if it can; one in TensorFlow's C++ code may not.
_GRACE: Final = 10.0
_POLL: Final = 0.05

# A process of run_workers. Its standard input is a pipe that only the launcher can write to.
_WORKER: Final = """
from kmnist.cli._workers import end_with_launcher
end_with_launcher()
from kmnist.__main__ import main
main()
"""

F = TypeVar("F", bound=Callable[..., Any])


def worker_options(function: F) -> F:
    """Add ``--workers``, ``--index``, ``--shard`` and ``--timeout``."""
    for option in (
        timeout_option("How long to wait for the other workers, in seconds.", default=120.0),
        click.option(
            "--shard",
            is_flag=True,
            help="The training images of --dataset are this worker's part, not the whole.",
        ),
        click.option(
            "--index",
            type=click.IntRange(0),
            metavar="N",
            help="Which of the --workers this process is, from 0, the chief.",
        ),
        click.option(
            "--workers",
            metavar="LIST",
            help="The addresses of all workers, host:port,host:port, as in TF_CONFIG; or the number "
            "of processes to start on this machine.",
        ),
    ):
        function = option(function)
    return function


def find_workers(workers: str | None, index: int | None, *, shard: bool) -> tuple[Any, int]:
    """Find the cluster of this process, or how many processes to start.

    Args:
        workers: The value of ``--workers``.
        index: The value of ``--index``.
        shard: Whether ``--shard`` is given.

    Returns:
        The :class:`kmnist.training.cluster.Cluster`, None if it has one worker, and the number of
        processes to start here, 1 for this one alone.

    Raises:
        click.UsageError: The options contradict each other or ``TF_CONFIG``.
        InputError: The list of workers, the index or ``TF_CONFIG`` is malformed.
    """
    from kmnist.training.cluster import Cluster

    config = os.environ.get("TF_CONFIG", "")
    cluster, local = None, 1
    if workers is None:
        if index is not None:
            raise click.UsageError("--index needs --workers, the addresses of all workers")
        cluster = Cluster.of_tf_config(config) if config else None
    elif config:
        raise click.UsageError("received --workers and TF_CONFIG; expected one of them; unset one")
    elif workers.isascii() and workers.isdecimal():
        local = int(workers) if len(workers) < 4 else 0
        if not 1 <= local <= _MAX_LOCAL or index is not None or shard:
            raise click.UsageError(
                f"received --workers {workers}{' --index' * (index is not None)}"
                f"{' --shard' * shard}; expected 1 to {_MAX_LOCAL} processes of this machine, "
                "without --index and --shard, or the list of addresses"
            )
    else:
        if index is None:
            raise click.UsageError("--workers LIST needs --index, which of them this process is")
        cluster = Cluster(tuple(part.strip() for part in workers.split(",")), index)
    if cluster is not None and len(cluster.workers) == 1:
        cluster = None
    if shard and cluster is None:
        raise click.UsageError("--shard needs several workers: --workers LIST, or TF_CONFIG")
    return cluster, local


@contextmanager
def reporting_failure(cluster: Any) -> Iterator[None]:
    """Report an error of the body to the other workers, after the command has printed it."""
    try:
        yield
    except Exception as error:
        if cluster is not None:
            from kmnist.training.cluster import report_failure

            click.get_current_context().call_on_close(partial(report_failure, cluster, error))
        raise


def run_workers(count: int, arguments: Sequence[str]) -> None:
    """Run ``kmnist train`` in several processes of this machine, until all have ended.

    Args:
        count: The number of processes.
        arguments: The command line of this process, which each gets with its list and index.

    Raises:
        KmnistError: A process failed; the message is its own. The others were ended.
        KeyboardInterrupt: This process, or one of them, was interrupted.
    """
    from kmnist.training.cluster import free_addresses, own_cores

    addresses = ",".join(free_addresses(count))
    command = [sys.executable, "-c", _WORKER, "train", *arguments, "--workers", addresses]
    logs: list[IO[bytes]] = []
    processes: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        # Closed by the system as well, if this process is killed.
        inputs, launcher = os.pipe()
        stack.callback(os.close, inputs)
        stack.callback(os.close, launcher)
        stack.callback(_stop, processes)
        for index in range(count):
            logs.append(stack.enter_context(tempfile.TemporaryFile()))
            processes.append(
                subprocess.Popen(  # noqa: S603 - this program
                    [*command, "--index", str(index)],
                    stdin=inputs,
                    stdout=None if index == 0 else subprocess.DEVNULL,
                    stderr=logs[index],
                )
            )
            with suppress(AttributeError, OSError):  # macOS has no such function
                os.sched_setaffinity(processes[index].pid, own_cores(index, count))
        try:
            failed = _first_failure(processes)
        except KeyboardInterrupt:
            _stop(processes)
            raise KeyboardInterrupt(_last_line(logs[0])) from None
        if failed is None:
            return
        code, message = processes[failed].returncode, _last_line(logs[failed])
    if code == INTERRUPTED:
        raise KeyboardInterrupt(message)
    if code < 0:
        name = signal.Signals(-code).name
        raise KmnistError(f"worker {failed} was ended by {name}; start again, with the checkpoint")
    raise (InputError if code == InputError.exit_code else KmnistError)(message)


def end_with_launcher() -> None:
    """End this process when the other end of its standard input is closed: its launcher was killed.

    It ends as on SIGTERM, or at once if that has no effect.
    """

    def watch() -> None:
        # The main thread handles them.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        os._exit(INTERRUPTED)

    threading.Thread(target=watch, daemon=True).start()


def _first_failure(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait until one has failed, and return its index; None if all are done."""
    while True:
        codes = [process.poll() for process in processes]
        # A worker that lost another one fails because of it: one that a signal ended comes first.
        for index in sorted(range(len(codes)), key=lambda index: codes[index] or 0):
            if codes[index]:
                return index
        if None not in codes:
            return None
        time.sleep(_POLL)


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + _GRACE
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines() or ["ended without a message"]
    return lines[-1].removeprefix("Error: ")
