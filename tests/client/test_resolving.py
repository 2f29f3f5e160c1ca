import socket

import pytest

from kmnist.client.address import Host
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
def test_many(ips, turns) -> None:
    assert many([(info[0], info[4][0]) for info in infos(*ips)]) == turns


def test_a_name_with_many_addresses_gives_each_in_turn(monkeypatch) -> None:
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
