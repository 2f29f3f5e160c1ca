"""The cluster of a training on several machines: its description, and the meeting before its start.

A worker is a process with an address, ``host:port``; worker 0 is the chief. Every launcher describes
a cluster in the environment variable ``TF_CONFIG``. TensorFlow itself waits many minutes for a worker
that is missing, without a message, and trains a wrong model if two workers differ in their data or
settings. So the workers meet first, over a connection each to the address of the chief.

Needs the standard library only.
"""

import json
import math
import os
import re
import select
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final

from kmnist.errors import InputError, KmnistError

__all__ = ["Cluster", "free_addresses", "meet", "own_cores", "report_failure"]

_ADDRESS: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:/\s]+)):([0-9]{1,5})")

_EXAMPLE: Final = (
    '{"cluster": {"worker": ["a:12345", "b:12345"]}, "task": {"type": "worker", "index": 0}}'
)

# In seconds. A message is sent as soon as a connection exists; a stranger may send nothing.
_MESSAGE_TIMEOUT: Final = 2.0
_PAUSE: Final = 0.2
_SILENCE: Final = 5.0
# The others may have begun to import TensorFlow when one fails.
_REPORT: Final = 15.0
_MAX_MESSAGE: Final = 4 * 2**20


@dataclass(frozen=True)
class Cluster:
    """The workers of a training, and which of them this process is.

    Attributes:
        workers: The address of each worker, ``host:port``; the first is that of the chief.
        index: The index of this process in ``workers``.

    Raises:
        InputError: An address is malformed or occurs twice, or ``index`` is that of no worker.
    """

    workers: tuple[str, ...]
    index: int

    def __post_init__(self) -> None:
        for worker in self.workers:
            match = _ADDRESS.fullmatch(worker) if isinstance(worker, str) else None
            if not match or not 0 < int(match[3]) < 65536:
                raise InputError(
                    f"received the worker {worker!r}; expected host:port, such as 10.0.0.1:12345"
                )
        for worker in self.workers:
            if self.workers.count(worker) > 1:
                raise InputError(
                    f"received the worker {worker} twice; expected a different address for each"
                )
        is_index = isinstance(self.index, int) and not isinstance(self.index, bool)
        if not is_index or not 0 <= self.index < len(self.workers):
            raise InputError(
                f"received the index {self.index!r} of {len(self.workers)} worker"
                f"{'s' * (len(self.workers) != 1)}; expected an integer from 0 to "
                f"{len(self.workers) - 1}; start as many processes as there are workers"
            )

    @property
    def is_chief(self) -> bool:
        """Whether this process is the chief, the only one that writes."""
        return self.index == 0

    def name(self, index: int) -> str:
        """Return how messages name a worker."""
        return f"worker {index} ({self.workers[index]})"

    @classmethod
    def of_tf_config(cls, text: str) -> "Cluster | None":
        """Parse the value of ``TF_CONFIG``; None if it describes no cluster.

        Args:
            text: A JSON object with the addresses of the ``worker`` tasks, and of one ``chief``
                if the launcher has it, and with the type and index of this process.

        Raises:
            InputError: The text is something else, or asks for tasks that kmnist does not have.
        """
        try:
            config = json.loads(text)
            if not config.get("cluster"):
                return None
            jobs, task = dict(config["cluster"]), config["task"]
            kind, index = task["type"], int(task["index"])
            workers = [*jobs.pop("chief", []), *jobs.pop("worker", [])]
            chiefs = len(workers) - len(config["cluster"].get("worker", []))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"received TF_CONFIG {text[:200]!r} ({type(error).__name__}: {error}); expected "
                f"{_EXAMPLE}"
            ) from None
        if kind not in ("chief", "worker") or not all(not tasks for tasks in jobs.values()):
            others = {*(name for name, tasks in jobs.items() if tasks), kind} - {"chief", "worker"}
            raise InputError(
                f"received TF_CONFIG with tasks of the type {', '.join(sorted(map(str, others)))}; "
                "expected chief and worker only; the workers evaluate the model themselves"
            )
        if kind == "worker" and index >= 0:
            index += chiefs
        elif not 0 <= index < chiefs:
            index = -1
        return cls(tuple(workers), index)


def own_cores(index: int, count: int) -> set[int]:
    """Return the cores of the processor for one of several workers on this machine.

    On the same cores, the threads of one delay the all-reduces that all wait for.

    Args:
        index: The index of the worker.
        count: The number of workers; more than there are cores share them.
    """
    cores = sorted(os.sched_getaffinity(0))
    return set(cores[index % len(cores) :: count])


def free_addresses(count: int) -> tuple[str, ...]:
    """Return addresses of this machine with ports that are free now."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return tuple(f"127.0.0.1:{listener.getsockname()[1]}" for listener in found)


def meet(
    cluster: Cluster,
    facts: Mapping[str, Any],
    part: Mapping[str, Any],
    *,
    timeout: float,
    on_wait: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Wait until all workers are there, and compare them.

    Args:
        cluster: The cluster; not of one worker.
        facts: What has to be equal on all workers, by the name that messages use; JSON values.
        part: What this worker says about its own part of the data.
        timeout: How long to wait, in seconds.
        on_wait: Called with a message after a few seconds, if workers are still missing.

    Returns:
        The ``part`` of each worker.

    Raises:
        InputError: A fact differs, two workers have the same index, a name does not resolve, or the
            port of this worker is taken. Every worker that is there raises it.
        KmnistError: A worker is missing after ``timeout`` seconds, or has failed.
    """
    wait = _Wait(timeout, on_wait)
    facts = {"list of workers": list(cluster.workers), **facts}
    try:
        listener = _listen(cluster)
    except InputError as error:
        report_failure(cluster, error)
        raise
    with listener:
        _resolve(cluster, wait)
        if not cluster.is_chief:
            hello = {"index": cluster.index, "facts": facts, "part": dict(part)}
            chief, answer = _ask(cluster, hello, wait)
            chief.close()
            if "error" in answer:
                raise _failure(answer)
            shared: list[dict[str, Any]] = answer["parts"]
            return shared
        peers: dict[int, socket.socket] = {}
        parts = {0: dict(part)}
        try:
            _gather(cluster, listener, facts, peers, parts, wait)
            shared = [parts[index] for index in range(len(cluster.workers))]
            _tell(peers.values(), {"parts": shared})
        except BaseException as error:
            reason = (
                error if isinstance(error, KmnistError) else f"{cluster.name(0)} was interrupted"
            )
            answer = {"error": str(reason), "input": isinstance(error, InputError)}
            _tell(peers.values(), answer)
            if isinstance(error, KmnistError) and not wait.is_over():
                _refuse(listener, len(cluster.workers) - 1 - len(peers), answer, _SILENCE)
            raise
        finally:
            for peer in peers.values():
                peer.close()
    return shared


def report_failure(cluster: Cluster, error: Exception) -> None:
    """Report to the other workers that this one fails before the meeting, so that they fail as well.

    Returns when they know it, after some 15 seconds or on Ctrl-C, and raises no error itself.
    """
    is_input = getattr(error, "exit_code", 1) == InputError.exit_code
    report = {"error": f"{cluster.name(cluster.index)} failed: {error}", "input": is_input}
    with suppress(KmnistError, OSError, KeyboardInterrupt):
        if cluster.is_chief:
            with _listen(cluster) as listener:
                _refuse(listener, len(cluster.workers) - 1, report, _REPORT)
        else:
            report |= {"index": cluster.index, "facts": {}, "part": {}}
            _ask(cluster, report, _Wait(_REPORT, lambda _: None))[0].close()


class _Wait:
    """The time that remains for the meeting."""

    def __init__(self, timeout: float, on_wait: Callable[[str], None]) -> None:
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout
        self._on_wait = on_wait
        self._note_at = time.monotonic() + _SILENCE

    def is_over(self) -> bool:
        return time.monotonic() > self.deadline

    def note(self, names: str) -> None:
        """Report once, after a few seconds, who is missing."""
        if time.monotonic() > self._note_at:
            self._on_wait(f"waiting for {names}")
            self._note_at = math.inf


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _listen(cluster: Cluster) -> socket.socket:
    """Take the port of this worker: TensorFlow, which needs it next, would fail with 20 lines."""
    port = _split(cluster.workers[cluster.index])[1]
    # TensorFlow listens on all addresses as well.
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise InputError(
            f"received the port {port} for {cluster.name(cluster.index)}, on which this machine "
            f"cannot listen ({error.strerror}); stop the process that uses it, or choose another"
        ) from None


def _resolve(cluster: Cluster, wait: _Wait) -> None:
    """Wait until each name resolves: that of a Pod does so only after the Pod has started."""
    for index, worker in enumerate(cluster.workers):
        while True:
            try:
                socket.getaddrinfo(*_split(worker))
                break
            except OSError as error:
                if wait.is_over():
                    raise InputError(
                        f"received {cluster.name(index)}, whose name does not resolve "
                        f"({error.strerror}); correct the list of workers, or start it"
                    ) from None
            wait.note(f"the name of {cluster.name(index)}")
            time.sleep(_PAUSE)


def _gather(
    cluster: Cluster,
    listener: socket.socket,
    facts: dict[str, Any],
    peers: dict[int, socket.socket],
    parts: dict[int, dict[str, Any]],
    wait: "_Wait",
) -> None:
    """Accept and compare the other workers, until ``peers`` and ``parts`` have an entry for each."""
    while True:
        for index in [index for index, peer in peers.items() if _is_closed(peer)]:
            peers.pop(index).close()  # it ended, and may be started again
        absent = sorted(set(range(1, len(cluster.workers))) - peers.keys())
        if not absent:
            return
        names = ", ".join(map(cluster.name, absent))
        wait.note(names)
        if wait.is_over():
            raise KmnistError(
                f"{names} did not arrive within {wait.timeout:g} s; expected "
                f"{len(cluster.workers)} workers; start all of them"
            )
        if not select.select([listener], [], [], _PAUSE)[0]:
            continue
        peer = listener.accept()[0]
        try:
            hello = _receive(peer, time.monotonic() + _MESSAGE_TIMEOUT)
            index, theirs, part = int(hello["index"]), dict(hello["facts"]), dict(hello["part"])
        except (OSError, ValueError, LookupError, TypeError):
            peer.close()  # a stranger, such as a port scanner or a health check
            continue
        doubled = index == 0 or (index in peers and not _is_closed(peers[index]))
        previous = peers.pop(index, None)
        peers[index], parts[index] = peer, part
        message = f"received two workers with the index {index}; expected one; correct the other"
        if previous:
            if doubled:
                _tell([previous], {"error": message, "input": True})
            previous.close()
        if doubled:
            raise InputError(message)
        if "error" in hello:
            raise _failure(hello)
        _compare(cluster, index, facts, theirs)


def _failure(message: Mapping[str, Any]) -> KmnistError:
    return (InputError if message.get("input") else KmnistError)(str(message["error"]))


def _refuse(listener: socket.socket, count: int, answer: dict[str, Any], seconds: float) -> None:
    """Give the answer to ``count`` workers that arrive within so many seconds."""
    deadline = time.monotonic() + seconds
    while count and (remaining := deadline - time.monotonic()) > 0:
        if select.select([listener], [], [], remaining)[0]:
            with listener.accept()[0] as peer, suppress(OSError, ValueError):
                _receive(peer, time.monotonic() + _MESSAGE_TIMEOUT)
                _tell([peer], answer)
                count -= 1


def _compare(
    cluster: Cluster, index: int, facts: Mapping[str, Any], theirs: Mapping[str, Any]
) -> None:
    worker = cluster.name(index) if 0 <= index < len(cluster.workers) else f"worker {index}"
    for name in [*facts, *(theirs.keys() - facts.keys())]:
        ours, received = facts.get(name), theirs.get(name)
        if ours != received:
            raise InputError(
                f"{worker} has {_short(name, received)}, but {cluster.name(0)} has "
                f"{_short(name, ours)}; start all workers with the same"
            )


def _short(name: str, value: Any) -> str:
    if value is None:
        return f"no {name}"
    text = value if isinstance(value, str) else repr(value)
    return f"the {name} {text if len(text) <= 200 else f'{text[:200]}…'}"


def _ask(
    cluster: Cluster, hello: dict[str, Any], wait: "_Wait"
) -> tuple[socket.socket, dict[str, Any]]:
    """Return the connection to the chief, and its answer."""
    reason = ""
    while not wait.is_over():
        with ExitStack() as stack:
            try:
                chief = socket.create_connection(_split(cluster.workers[0]), _MESSAGE_TIMEOUT)
                stack.push(chief)
                _tell([chief], hello)
                reason = "it was reached, but not all workers arrived"
                # The chief, which may have started later, reports who is missing.
                answer = dict(_receive(chief, wait.deadline + 2 * _MESSAGE_TIMEOUT))
                if "error" in answer or len(answer["parts"]) == len(cluster.workers):
                    stack.pop_all()
                    return chief, answer
                reason = "something else than kmnist answers"
            except (OSError, ValueError, LookupError, TypeError) as error:
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        wait.note(cluster.name(0))
        time.sleep(_PAUSE)
    raise KmnistError(
        f"no answer of {cluster.name(0)} within {wait.timeout:g} s ({reason}); expected "
        f"{len(cluster.workers)} workers; start all of them"
    )


def _tell(peers: Any, message: dict[str, Any]) -> None:
    line = json.dumps(message).encode() + b"\n"
    for peer in peers:
        with suppress(OSError):
            peer.settimeout(_MESSAGE_TIMEOUT)
            peer.sendall(line)


def _receive(peer: socket.socket, deadline: float) -> Any:
    """Return the next message.

    Raises:
        OSError: There is none before ``deadline``.
        ValueError: It is too long or no JSON, or the connection was closed.
    """
    received = bytearray()
    while not received.endswith(b"\n"):
        peer.settimeout(max(0.01, deadline - time.monotonic()))
        chunk = peer.recv(65536)
        if not chunk or len(received) > _MAX_MESSAGE:
            raise ValueError("the connection was closed")
        received += chunk
    return json.loads(received)


def _is_closed(peer: socket.socket) -> bool:
    try:
        return bool(select.select([peer], [], [], 0)[0]) and not peer.recv(1)
    except OSError:
        return True
