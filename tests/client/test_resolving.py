import socket

import numpy as np
import pytest

from kmnist.client.address import Host
from kmnist.client.balancing import RoundRobin
from kmnist.client.inputs import MAX_REQUEST_BYTES, first_piece
from kmnist.client.retrying import backoff
from kmnist.client.transports.resolving import Resolver, many


def infos(*ips):
    return [
        (socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80))
        for ip in ips
    ]


@pytest.mark.parametrize(
    ("ips", "turns"),
    [
        (["10.0.0.1"], []),
        (["::1", "127.0.0.1"], []),  # localhost: one server
        (["10.0.0.2", "10.0.0.1"], ["10.0.0.1", "10.0.0.2"]),
        (["fd00::1", "fd00::2", "10.0.0.1"], ["fd00::1", "fd00::2"]),
    ],
)
def test_many(ips, turns):
    assert many([(info[0], info[4][0]) for info in infos(*ips)]) == turns


def test_a_name_with_many_addresses_gives_each_in_turn(monkeypatch):
    looked_up = []

    def getaddrinfo(name, port, **_options):
        looked_up.append(name)
        return infos("10.0.0.1", "10.0.0.2")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    resolver = Resolver(Host("models.test", 80))
    assert [resolver.pick() for _ in range(3)] == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
    assert looked_up == ["models.test"]
    resolver.forget()
    resolver.pick()
    assert looked_up == ["models.test"] * 2


def test_round_robin_leaves_out_what_failed():
    servers = RoundRobin("abc")
    assert [servers.pick() for _ in range(4)] == ["a", "b", "c", "a"]
    assert servers.failed("b")
    assert [servers.pick() for _ in range(4)] == ["c", "a", "c", "a"]
    servers.failed("a")
    assert not servers.failed("c")
    assert servers.pick() in "abc"


def test_backoff_grows_to_a_limit_and_is_random():
    assert all(0.05 <= backoff(0) <= 0.1 for _ in range(100))
    assert all(1 <= backoff(1000) <= 2 for _ in range(100))
    assert len({backoff(3) for _ in range(10)}) > 1


def test_a_request_holds_at_least_one_value_and_no_more_than_the_limits_allow():
    assert first_piece(np.ones(5, int), 3) == 3
    for size, fitting in ((1, 5), (MAX_REQUEST_BYTES * 2, 1), (MAX_REQUEST_BYTES // 2, 2)):
        assert first_piece(np.full(5, size), 5) == fitting
        assert first_piece(size, 5) == fitting
