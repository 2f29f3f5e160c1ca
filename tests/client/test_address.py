"""Addresses, TLS settings, and connections with them."""

import datetime as dt
import ssl
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import trustme

from kmnist.client import TLS, Client
from kmnist.client.address import Address
from kmnist.errors import InputError, NotReachableError
from tests.client.conftest import Make
from tests.client.standin import StandIn

IMAGE = np.zeros((28, 28), np.uint8)
Servers = dict[str, StandIn]


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("grpc://localhost", "grpc://localhost:8500"),
        ("grpcs://localhost", "grpcs://localhost:8500"),
        ("http://localhost", "http://localhost:80"),
        ("https://models.test/up/", "https://models.test:443/up"),
        ("grpc://[::1]:3", "grpc://[::1]:3"),
    ],
)
def test_an_address_has_a_host_and_a_port(url: str, full: str) -> None:
    address = Address.parse(url)
    assert str(address) == full
    assert address.is_grpc == url.startswith("grpc")
    assert (address.tls is not None) == url.partition(":")[0].endswith("s")
    assert Address.parse(full) == address


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8500",
        "ftp://localhost",
        "http://",
        "grpc://a:b",
        "grpc://a:99999",
        "grpc://a:8500,b:8500",
        "grpc://a b",
        "grpc://a/path",
        "http://a?x=1",
    ],
)
def test_a_malformed_address_is_an_error(url: str) -> None:
    with pytest.raises(InputError, match=r"is (no|an) address .*; use grpc\[s\]://HOST"):
        Client(url)


def test_credentials_are_no_part_of_an_address() -> None:
    with pytest.raises(InputError, match=r"credentials as headers=.*, not in the address") as info:
        Client("http://user:s3cret@a")
    assert "s3cret" not in str(info.value)


def test_tls_settings_need_an_encrypted_scheme() -> None:
    with pytest.raises(InputError, match="needs an address with grpcs://, not grpc://a"):
        Client("grpc://a", tls=TLS())
    with pytest.raises(InputError, match="needs an address with https://"):
        Client("http://a", tls=TLS())


def test_certificate_and_key_belong_together() -> None:
    with pytest.raises(InputError, match="certificate and key belong together"):
        TLS(certificate="chain.pem")


def test_a_missing_tls_file_is_an_error(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot .* the TLS file"):
        Client(f"{scheme}s://127.0.0.1:1", tls=TLS(ca=str(tmp_path / "none.pem")))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of its certificate."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def secure(certificate: trustme.LeafCert, authority: trustme.CA | None = None) -> StandIn:
    """Serve with a certificate; with ``authority``, require one of the client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if authority is not None:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    credentials = grpc.ssl_server_credentials(
        [(certificate.private_key_pem.bytes(), chain)],
        None if authority is None else authority.cert_pem.bytes(),
        authority is not None,
    )
    return StandIn().serve(credentials=credentials, context=context)


@pytest.fixture(scope="module")
def servers(authority: trustme.CA) -> Iterator[Servers]:
    """Servers with a good and an expired certificate, and one that asks for the client's."""
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    servers = {
        "good": secure(authority.issue_cert("127.0.0.1", "models.test")),
        "expired": secure(authority.issue_cert("127.0.0.1", not_after=yesterday)),
        "mutual": secure(authority.issue_cert("127.0.0.1"), authority),
    }
    yield servers
    for server in servers.values():
        server.stop()


def test_a_connection_with_tls(make: Make, scheme: str, servers: Servers, ca: str) -> None:
    url = servers["good"].url(f"{scheme}s")
    for tls in (TLS(ca=ca), TLS(ca=ca, server_name="models.test")):
        assert len(make(url, tls=tls).predict(IMAGE)) == 1


def test_a_client_certificate(
    make: Make, scheme: str, servers: Servers, authority: trustme.CA, ca: str, tmp_path: Path
) -> None:
    own = authority.issue_cert("client.test")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in own.cert_chain_pems))
    own.private_key_pem.write_to_path(key)
    url = servers["mutual"].url(f"{scheme}s")
    tls = TLS(ca=ca, certificate=str(chain), key=str(key))
    assert len(make(url, tls=tls).predict(IMAGE)) == 1
    with pytest.raises(NotReachableError):
        make(url, tls=TLS(ca=ca), retries=1).predict(IMAGE)


@pytest.mark.parametrize(
    ("server", "trusted", "name"),
    [("expired", True, None), ("good", False, None), ("good", True, "b.test")],
    ids=["expired", "unknown authority", "another name"],
)
def test_a_bad_certificate_is_a_failed_handshake(
    make: Make, scheme: str, servers: Servers, ca: str, server: str, trusted: bool, name: str | None
) -> None:
    tls = TLS(ca=ca if trusted else None, server_name=name)
    with pytest.raises(NotReachableError, match=r"the TLS handshake with .* failed: ") as info:
        make(servers[server].url(f"{scheme}s"), tls=tls, timeout=10).predict(IMAGE)
    assert not info.value.retryable


def test_one_side_without_tls(
    make: Make, scheme: str, server: StandIn, servers: Servers, ca: str
) -> None:
    with pytest.raises(NotReachableError, match=r"the TLS handshake with .* failed"):
        make(server.url(f"{scheme}s"), tls=TLS(ca=ca), timeout=10).predict(IMAGE)
    with pytest.raises(NotReachableError):
        make(servers["good"].url(scheme), timeout=10, retries=1).predict(IMAGE)
