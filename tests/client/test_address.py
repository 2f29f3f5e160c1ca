"""Addresses of servers."""

import pytest

from kmnist.client import TLS, Client, InvalidInputError
from kmnist.client.address import Address, Host


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("grpc://localhost", [("localhost", 8500)]),
        ("grpcs://localhost", [("localhost", 8500)]),
        ("http://localhost", [("localhost", 80)]),
        ("https://localhost/", [("localhost", 443)]),
        ("grpc://a:1,b,[::1]:3", [("a", 1), ("b", 8500), ("::1", 3)]),
    ],
)
def test_an_address_has_hosts_and_ports(url: str, hosts: list[tuple[str, int]]) -> None:
    address = Address.parse(url)
    assert address.hosts == tuple(Host(*host) for host in hosts)
    assert Address.parse(str(address)) == address


def test_an_http_address_may_have_a_path() -> None:
    assert str(Address.parse("https://models.test:8/up/")) == "https://models.test:8/up"


@pytest.mark.parametrize(
    ("url", "is_grpc", "encrypted"),
    [
        ("grpc://a", True, False),
        ("grpcs://a", True, True),
        ("http://a", False, False),
        ("https://a", False, True),
    ],
)
def test_the_scheme_selects_protocol_and_encryption(
    url: str, is_grpc: bool, encrypted: bool
) -> None:
    address = Address.parse(url)
    assert address.is_grpc == is_grpc
    assert (address.tls is not None) == encrypted


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8500", "without a scheme; expected an address like grpc://localhost:8500"),
        ("ftp://localhost", "scheme 'ftp'"),
        ("http://", "received '' as a host"),
        ("grpc://a:b", "received 'a:b' as a host"),
        ("grpc://a:99999", "as a host"),
        ("grpc://a,,b", "received '' as a host"),
        ("grpc://a b", "received 'a b' as a host"),
        ("grpc://a/path", "gRPC address with the path /path"),
        ("http://a?x=1", "a query or fragment"),
        ("http://user:s3cret@a", "an address with credentials; pass them as headers="),
    ],
)
def test_a_malformed_address_is_an_error_without_secrets(url: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as info:
        Client(url)
    assert "s3cret" not in str(info.value)


def test_tls_settings_need_an_encrypted_scheme() -> None:
    with pytest.raises(InvalidInputError, match="unencrypted grpc:// address; use grpcs://"):
        Client("grpc://a", tls=TLS())
    with pytest.raises(InvalidInputError, match="unencrypted http:// address; use https://"):
        Client("http://a", tls=TLS())
