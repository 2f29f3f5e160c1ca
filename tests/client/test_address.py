import pytest

from kmnist.client import TLS, Client, InvalidInputError
from kmnist.client.address import Address, Host, checked_headers


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
def test_addresses(url, hosts) -> None:
    address = Address.parse(url)
    assert address.hosts == tuple(Host(*host) for host in hosts)
    assert Address.parse(str(address)) == address


def test_a_path_is_kept_over_http() -> None:
    assert str(Address.parse("https://models.test:8/up/")) == "https://models.test:8/up"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8500", "without a scheme; expected one like grpc://localhost:8500"),
        ("ftp://localhost", "scheme 'ftp'"),
        ("http://", "received '' as a host"),
        ("grpc://a:b", "received 'a:b' as a host"),
        ("grpc://a:99999", "as a host"),
        ("grpc://a,,b", "received '' as a host"),
        ("grpc://a/path", "gRPC address with the path /path"),
        ("http://a?x=1", "a query or fragment"),
        ("http://user:s3cret@a", "holds credentials"),
    ],
)
def test_addresses_that_are_refused(url, message) -> None:
    with pytest.raises(InvalidInputError, match=message) as info:
        Client(url)
    assert "s3cret" not in str(info.value)


def test_tls_belongs_to_a_scheme_that_encrypts() -> None:
    with pytest.raises(InvalidInputError, match="use grpcs://"):
        Client("grpc://a", tls=TLS())
    with pytest.raises(InvalidInputError, match="both certificate and key"):
        TLS(certificate="chain.pem")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ""}, "empty model name"),
        ({"version": 1, "label": "stable"}, "at most one"),
        ({"version": -1}, "received version -1"),
        ({"timeout": 0}, "received timeout=0"),
        ({"retries": -1}, "received retries=-1"),
        ({"batch_size": 0}, "received batch_size=0"),
        ({"headers": {"a b": "c"}}, "header name 'a b'"),
        ({"headers": {"a": "s3cret\n"}}, "the value of header 'a' cannot be sent"),
    ],
)
def test_arguments_that_are_refused(options, message) -> None:
    with pytest.raises(InvalidInputError, match=message) as info:
        Client("grpc://a", **options)
    assert "s3cret" not in str(info.value)


def test_header_names_are_lower_case() -> None:
    assert checked_headers({"X-Key": "1"}) == {"x-key": "1"}
