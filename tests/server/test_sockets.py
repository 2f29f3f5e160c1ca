"""Listening sockets and their errors."""

import errno
import socket

import pytest

from kmnist.errors import InputError, KmnistError
from kmnist.server.sockets import authority, bind, listening_on


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "127.0.0.1:8500"), ("::1", "[::1]:8500"), ("localhost", "localhost:8500")],
)
def test_an_ipv6_address_is_in_brackets(host: str, expected: str) -> None:
    assert authority(host, 8500) == expected


def test_a_bound_port_refuses_connections_until_it_listens() -> None:
    with bind("127.0.0.1", 0) as bound:
        address = bound.getsockname()
        with socket.socket() as connection:
            assert connection.connect_ex(address) == errno.ECONNREFUSED
        bound.listen()
        socket.create_connection(address).close()


def test_a_port_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            KmnistError, match=f"cannot listen on 127.0.0.1:{port}: .*in use; stop the program"
        ):
            bind("127.0.0.1", port)


def test_a_host_of_another_machine_is_reported() -> None:
    with pytest.raises(KmnistError, match=r"on 192.0.2.1:0: .*choose another address or port"):
        bind("192.0.2.1", 0)


def test_an_invalid_host_is_an_input_error() -> None:
    with pytest.raises(InputError, match="host 'no such host' is not an address of this machine"):
        bind("no such host", 0)


def test_an_error_without_a_number_keeps_its_text() -> None:
    with (
        pytest.raises(KmnistError, match=r"^cannot listen on \[::1\]:1: no luck; "),
        listening_on("::1", 1),
    ):
        raise OSError("no luck")
