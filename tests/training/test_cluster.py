"""The description of a cluster, and the meeting of its workers, without TensorFlow."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from kmnist.errors import InputError, KmnistError, MissingError
from kmnist.training import cluster as cluster_module
from kmnist.training.cluster import Cluster, free_addresses, meet, own_cores, report_failure

Parts = list[dict[str, Any]]

FACTS = {"seed": 0, "class names": ["a", "b"], "SHA-256 of train": "abc"}


def tf_config(kind: str, index: Any, **jobs: list[str]) -> str:
    return json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (tf_config("worker", 1, worker=["a:1", "b:2"]), Cluster(("a:1", "b:2"), 1)),
        # A chief of its own comes first: TFJob has one.
        (tf_config("chief", 0, chief=["c:1"], worker=["a:1"]), Cluster(("c:1", "a:1"), 0)),
        (tf_config("worker", 0, chief=["c:1"], worker=["a:1"]), Cluster(("c:1", "a:1"), 1)),
        (tf_config("worker", "1", worker=["a:1", "[::1]:2"]), Cluster(("a:1", "[::1]:2"), 1)),
        (tf_config("worker", 0, worker=["a:1"], ps=[]), Cluster(("a:1",), 0)),
        ("{}", None),
        ('{"cluster": {}, "task": {"type": "worker", "index": 0}}', None),
    ],
)
def test_tf_config_describes_a_cluster(text: str, expected: Cluster | None) -> None:
    assert Cluster.of_tf_config(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"received TF_CONFIG '\{' \(JSONDecodeError: .*\); expected \{\"cluster\""),
        ("[1]", "received TF_CONFIG .*AttributeError"),
        ('{"cluster": {"worker": ["a:1"]}}', "KeyError: 'task'"),
        (tf_config("worker", "x", worker=["a:1"]), "ValueError"),
        (tf_config("ps", 0, worker=["a:1"], ps=["p:1"]), "tasks of the type ps; expected chief"),
        (tf_config("evaluator", 0, worker=["a:1"]), "tasks of the type evaluator"),
        (tf_config("worker", 2, worker=["a:1", "b:1"]), "the index 2 of 2 workers; .* 0 to 1"),
        (tf_config("worker", -1, worker=["a:1", "b:1"]), "the index -1 of 2 workers"),
        (tf_config("chief", 1, chief=["c:1"], worker=["a:1"]), "the index -1"),
        (tf_config("worker", 0, worker=["a:1", "a:1"]), "the worker a:1 twice"),
        (tf_config("worker", 0, worker=["a", "b:1"]), "the worker 'a'; expected host:port"),
        (tf_config("worker", 0, worker=["a:0", "b:1"]), "the worker 'a:0'"),
        (tf_config("worker", 0, worker=["http://a:1", "b:1"]), "the worker 'http://a:1'"),
        (tf_config("worker", 0, worker=["a:99999", "b:1"]), "the worker 'a:99999'"),
    ],
)
def test_a_wrong_tf_config_is_rejected(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Cluster.of_tf_config(text)


def meet_all(*calls: Callable[[], Parts]) -> list[Future[Parts]]:
    """Call each in a thread; return when all have ended."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [pool.submit(call) for call in calls]


def arrive(
    addresses: tuple[str, ...], index: int, *, timeout: float = 10, **changes: Any
) -> Callable[[], Parts]:
    facts = {**FACTS, **changes}
    part = {"train": index}
    return lambda: meet(Cluster(addresses, index), facts, part, timeout=timeout)


def test_all_workers_get_the_parts_of_all() -> None:
    addresses = free_addresses(3)
    futures = meet_all(*(arrive(addresses, index) for index in (2, 0, 1)))
    for future in futures:
        assert future.result() == [{"train": 0}, {"train": 1}, {"train": 2}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"seed": 7},
            "has the seed 7, but worker 0 .* has the seed 0; start all workers with the same",
        ),
        ({"class names": ["a", "c"]}, r"has the class names \['a', 'c'\], but .*\['a', 'b'\]"),
        ({"SHA-256 of train": "abd"}, "has the SHA-256 of train abd, but .* abc"),
        (
            {"SHA-256 of more": "x"},
            "has the SHA-256 of more x, but worker 0 .* has no SHA-256 of more; start",
        ),
    ],
)
def test_what_differs_is_named_on_every_worker(change: dict[str, Any], message: str) -> None:
    addresses = free_addresses(3)
    calls = [arrive(addresses, index, **(change if index == 2 else {})) for index in range(3)]

    def arrive_last() -> Parts:
        time.sleep(0.5)
        return calls[1]()

    # The second arrives after the chief has compared the third.
    for future in meet_all(calls[0], arrive_last, calls[2]):
        with pytest.raises(InputError, match=rf"^worker 2 \({addresses[2]}\) {message}"):
            future.result()


def test_a_worker_of_a_longer_list_is_one_too_many() -> None:
    addresses = free_addresses(3)
    for future in meet_all(arrive(addresses[:2], 0), arrive(addresses, 2)):
        with pytest.raises(InputError, match="worker 2 has the list of workers"):
            future.result()


def test_two_workers_with_one_index_are_rejected() -> None:
    addresses = free_addresses(3)
    chief = socket.create_server(("127.0.0.1", 0))  # keeps the two from taking one port
    with chief:
        futures = meet_all(
            arrive(addresses, 0),
            arrive(addresses, 1),
            # The same index on another machine, which has the port as well.
            lambda: _arrive_from_elsewhere(addresses),
        )
    for future in futures:
        with pytest.raises(InputError, match="two workers with the index 1; expected one"):
            future.result()


def _arrive_from_elsewhere(addresses: tuple[str, ...]) -> Parts:
    time.sleep(0.5)
    # The port is free until another process takes it, so it is chosen last.
    cluster = Cluster((addresses[0], *free_addresses(1), addresses[2]), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FACTS, "list of workers", list(addresses))
        return meet(cluster, {**FACTS}, {"train": 1}, timeout=10)


def test_missing_workers_are_named_when_the_time_is_over() -> None:
    addresses = free_addresses(3)
    for future in meet_all(arrive(addresses, 0, timeout=0.8), arrive(addresses, 1, timeout=0.8)):
        with pytest.raises(
            KmnistError, match=rf"^worker 2 \({addresses[2]}\) did not arrive within 0.8 s"
        ) as raised:
            future.result()
        assert raised.value.exit_code == 1


def test_a_missing_chief_is_named_when_the_time_is_over() -> None:
    addresses = free_addresses(2)
    notes: list[str] = []
    with pytest.raises(KmnistError, match=r"no answer of worker 0 .* \(Connection refused\)"):
        meet(Cluster(addresses, 1), FACTS, {}, timeout=0.5, on_wait=notes.append)
    assert notes == []  # so soon, there is nothing to report


def test_a_name_that_does_not_resolve_is_reported() -> None:
    cluster = Cluster((free_addresses(1)[0], "nowhere.invalid:12345"), 0)
    with pytest.raises(
        InputError, match=r"worker 1 \(nowhere.invalid:12345\), whose name does not"
    ):
        meet(cluster, FACTS, {}, timeout=0.3)


def test_a_port_that_is_taken_is_reported_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        cluster = Cluster((f"127.0.0.1:{port}", "127.0.0.1:1"), 0)
        with pytest.raises(InputError, match=f"the port {port} for worker 0 .* cannot listen"):
            meet(cluster, FACTS, {}, timeout=60)


@pytest.mark.parametrize("failed", [0, 1, 2])
@pytest.mark.parametrize(
    ("error", "kind"),
    [(MissingError("no such folder"), InputError), (OSError("no such folder"), KmnistError)],
)
def test_a_worker_that_fails_before_the_meeting_is_named_by_the_others(
    failed: int, error: Exception, kind: type[KmnistError]
) -> None:
    addresses = free_addresses(3)

    def report() -> Parts:
        report_failure(Cluster(addresses, failed), error)
        raise error

    def arrive_last() -> Parts:
        time.sleep(0.5)
        return arrive(addresses, max({0, 1, 2} - {failed}), timeout=60)()

    first = arrive(addresses, min({0, 1, 2} - {failed}), timeout=60)
    told, *others = meet_all(report, first, arrive_last)
    assert told.exception() is error
    for future in others:
        message = rf"^worker {failed} \({addresses[failed]}\) failed: no such folder$"
        with pytest.raises(KmnistError, match=message) as raised:
            future.result()
        assert type(raised.value) is kind


@pytest.mark.parametrize("index", [0, 1])
def test_a_failure_that_reaches_nobody_is_no_other_error(
    index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "_REPORT", 0.3)
    monkeypatch.setattr(cluster_module, "_MESSAGE_TIMEOUT", 0.1)
    cluster = Cluster(free_addresses(2), index)
    report_failure(cluster, KmnistError("no such folder"))
    # Nor is a port on which the failure cannot be reported.
    port = int(cluster.workers[0].rpartition(":")[2])
    with socket.create_server(("", port)):
        report_failure(cluster, KmnistError("no such folder"))


def test_a_port_that_is_taken_is_reported_to_the_chief() -> None:
    addresses = free_addresses(2)
    port = int(addresses[1].rpartition(":")[2])
    with socket.create_server(("", port)):
        chief, other = meet_all(arrive(addresses, 0, timeout=60), arrive(addresses, 1, timeout=60))
    with pytest.raises(InputError, match=rf"^received the port {port} for worker 1 "):
        other.result()
    with pytest.raises(InputError, match=rf"^worker 1 .* failed: received the port {port} "):
        chief.result()


def test_strangers_and_a_worker_that_starts_again_do_not_disturb() -> None:
    threads = threading.active_count()
    addresses, gone = free_addresses(3), threading.Event()
    host, port = addresses[0].split(":")
    hello = {"index": 1, "part": {}, "facts": {"list of workers": list(addresses), **FACTS}}

    def knock() -> Parts:
        for message in (
            b"",
            b"GET / HTTP/1.1\r\n\r\n",
            b"[]\n",
            json.dumps(hello).encode() + b"\n",
        ):
            while True:
                try:
                    stranger = socket.create_connection((host, int(port)))
                    break
                except OSError:
                    time.sleep(0.01)
            with stranger:
                stranger.sendall(message)
        gone.set()
        return arrive(addresses, 1)()

    def follow() -> Parts:
        gone.wait()
        return arrive(addresses, 2)()

    for future in meet_all(arrive(addresses, 0), knock, follow):
        assert future.result() == [{"train": 0}, {"train": 1}, {"train": 2}]
    assert threading.active_count() <= threads


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
def test_workers_of_a_machine_share_its_cores(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cores = {1, 3, 4, 6, 7}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    shares = [own_cores(index, count) for index in range(count)]
    assert set.union(*shares) == cores
    assert all(shares)
    assert sum(map(len, shares)) == max(count, len(cores))
