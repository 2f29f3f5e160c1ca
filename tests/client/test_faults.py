"""Faults of servers and networks: each is an error of its class, before the deadline."""

import contextlib
import datetime as dt
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme
from numpy.typing import NDArray

from kmnist import errors
from kmnist.client import (
    TLS,
    BadAnswerError,
    Client,
    ClientError,
    DeadlineExceededError,
    InvalidInputError,
    NotReachableError,
    Predictions,
)
from tests.client.conftest import Make
from tests.client.standin import StandIn

Images = NDArray[np.uint8]
Authority = tuple[trustme.CA, str]
Ports = dict[str, dict[str, int]]

IMAGE = np.zeros((28, 28), np.uint8)


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket, bytes], object]) -> Iterator[int]:
    """Listen on a port; call ``answer`` with each connection and request until it returns False."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = connection.recv(1 << 16)
            while request:
                if answer(connection, request) is False:
                    return
                request = connection.recv(1 << 16)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def http_answer(
    body: bytes,
    status: str = "200 OK",
    content_type: str = "application/json",
    length: int | None = None,
) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


def failure(make: Make, url: str, error: type[ClientError], **options: Any) -> ClientError:
    """Return the error of a prediction, which must be of exactly this class."""
    client = make(url, **({"timeout": 5, "retries": 1} | options))
    with pytest.raises(ClientError) as info:
        client.predict(IMAGE)
    assert type(info.value) is error, repr(info.value)
    assert "\n" not in str(info.value)
    return info.value


def test_a_server_that_is_down(make: Make, scheme: str) -> None:
    error = failure(make, f"{scheme}://127.0.0.1:1", NotReachableError)
    assert "refused" in str(error)
    assert error.retryable


def test_an_unknown_host(make: Make, scheme: str) -> None:
    error = failure(make, f"{scheme}://no-such-host.invalid:80", NotReachableError)
    assert "no-such-host.invalid" in str(error)


def test_a_server_that_never_answers(make: Make, scheme: str) -> None:
    with listening(lambda connection, request: None) as port:
        failure(make, f"{scheme}://127.0.0.1:{port}", DeadlineExceededError, timeout=0.5)


def test_a_server_that_disconnects(make: Make, scheme: str) -> None:
    with listening(lambda connection, request: False) as port:
        failure(make, f"{scheme}://127.0.0.1:{port}", NotReachableError)


def test_an_answer_that_trickles_ends_at_the_deadline(make: Make) -> None:
    def trickle(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(http_answer(b"", length=1000))
        while True:
            connection.sendall(b" ")
            time.sleep(0.05)

    with listening(trickle) as port:
        failure(make, f"http://127.0.0.1:{port}", DeadlineExceededError, timeout=0.5)


HTML = b"<html>Welcome to the proxy</html>"


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "302 Found"])
def test_a_proxy_that_answers_html(make: Make, scheme: str, status: str) -> None:
    with listening(
        lambda connection, request: connection.sendall(http_answer(HTML, status, "text/html"))
    ) as port:
        error = failure(make, f"{scheme}://127.0.0.1:{port}", BadAnswerError)
    if scheme == "http":
        assert "33 bytes of text/html: '<html>Welcome" in str(error)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("401 Unauthorized", errors.AccessDeniedError),
        ("403 Forbidden", errors.AccessDeniedError),
        ("413 Content Too Large", errors.RequestTooLargeError),
        ("429 Too Many Requests", errors.OverloadedError),
        ("500 Internal Server Error", errors.ServerError),
        ("502 Bad Gateway", NotReachableError),
        ("503 Service Unavailable", errors.OverloadedError),
        ("504 Gateway Timeout", DeadlineExceededError),
        ("418 I'm a teapot", BadAnswerError),
    ],
)
def test_the_statuses_of_proxies(make: Make, status: str, error: type[ClientError]) -> None:
    with listening(
        lambda connection, request: connection.sendall(http_answer(HTML, status, "text/html"))
    ) as port:
        failure(make, f"http://127.0.0.1:{port}", error, retries=0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"outputs": ',
        b'{"something": 1}',
        b'{"model_spec": {}, "metadata": []}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=range(7),
)
def test_an_answer_that_is_not_tensorflow_servings(make: Make, body: bytes) -> None:
    with listening(lambda connection, request: connection.sendall(http_answer(body))) as port:
        failure(make, f"http://127.0.0.1:{port}", BadAnswerError)


def test_a_truncated_answer(make: Make) -> None:
    def cut(connection: socket.socket, _request: bytes) -> bool:
        connection.sendall(http_answer(b'{"model_spec"', length=1000))
        return False

    with listening(cut) as port:
        error = failure(make, f"http://127.0.0.1:{port}", BadAnswerError)
    assert error.retryable  # the server may have been stopped during the answer


def test_nan_in_an_answer(make: Make, server: StandIn, scheme: str) -> None:
    server.change = lambda outputs: (
        outputs | {"probabilities": np.full_like(outputs["probabilities"], np.nan)}
    )
    port = server.port(scheme)
    error = failure(make, f"{scheme}://127.0.0.1:{port}", BadAnswerError)
    assert "NaN" in str(error)


def test_the_other_protocols_port(make: Make, server: StandIn, scheme: str) -> None:
    port = server.port("http" if scheme == "grpc" else "grpc")
    failure(make, f"{scheme}://127.0.0.1:{port}", BadAnswerError)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority, and the path of its certificate."""
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return ca, str(path)


def secure(
    server: StandIn, certificate: trustme.LeafCert, ca: trustme.CA | None = None
) -> dict[str, int]:
    """Serve with a certificate; with ``ca``, require one of the client. Return the ports."""
    chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    server.serve_grpc(
        credentials=grpc.ssl_server_credentials(
            [(certificate.private_key_pem.bytes(), chain)],
            None if ca is None else ca.cert_pem.bytes(),
            ca is not None,
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if ca is not None:
        ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    server.serve_http(context=context)
    return {"grpc": server.grpc_port, "http": server.http_port}


@pytest.fixture(scope="module")
def ports(authority: Authority) -> Iterator[Ports]:
    """Servers with a valid and an expired certificate, with client certificates, without TLS."""
    ca, _ = authority
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    good, expired, plain, mutual = StandIn(), StandIn(), StandIn(), StandIn()
    yield {
        "good": secure(good, ca.issue_cert("127.0.0.1", "models.test")),
        "expired": secure(expired, ca.issue_cert("127.0.0.1", not_after=yesterday)),
        "mutual": secure(mutual, ca.issue_cert("127.0.0.1"), ca),
        "plain": {"grpc": plain.serve_grpc(), "http": plain.serve_http()},
    }
    for server in (good, expired, plain, mutual):
        server.stop()


def test_a_connection_with_tls(make: Make, scheme: str, ports: Ports, authority: Authority) -> None:
    url = f"{scheme}s://127.0.0.1:{ports['good'][scheme]}"
    assert len(make(url, tls=TLS(ca=authority[1])).predict(IMAGE)) == 1
    named = TLS(ca=authority[1], server_name="models.test")
    assert len(make(url, tls=named).predict(IMAGE)) == 1


def test_a_client_certificate(
    make: Make, scheme: str, ports: Ports, authority: Authority, tmp_path: Path
) -> None:
    own = authority[0].issue_cert("client.test")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in own.cert_chain_pems))
    own.private_key_pem.write_to_path(key)
    url = f"{scheme}s://127.0.0.1:{ports['mutual'][scheme]}"
    tls = TLS(ca=authority[1], certificate=str(chain), key=str(key))
    assert len(make(url, tls=tls).predict(IMAGE)) == 1
    failure(make, url, NotReachableError, tls=TLS(ca=authority[1]))


def test_an_expired_certificate(
    make: Make, scheme: str, ports: Ports, authority: Authority
) -> None:
    url = f"{scheme}s://127.0.0.1:{ports['expired'][scheme]}"
    error = failure(make, url, NotReachableError, tls=TLS(ca=authority[1]))
    # The oldest supported gRPC does not report the reason.
    assert re.search("certificate has expired|CERTIFICATE_VERIFY_FAILED", str(error))
    assert not error.retryable


def test_a_certificate_of_an_unknown_authority(make: Make, scheme: str, ports: Ports) -> None:
    error = failure(make, f"{scheme}s://127.0.0.1:{ports['good'][scheme]}", NotReachableError)
    assert "certificate" in str(error)
    assert not error.retryable


def test_a_certificate_for_another_name(
    make: Make, scheme: str, ports: Ports, authority: Authority
) -> None:
    url = f"{scheme}s://127.0.0.1:{ports['good'][scheme]}"
    error = failure(make, url, NotReachableError, tls=TLS(ca=authority[1], server_name="b.test"))
    assert not error.retryable


def test_tls_to_a_plain_port(make: Make, scheme: str, ports: Ports, authority: Authority) -> None:
    url = f"{scheme}s://127.0.0.1:{ports['plain'][scheme]}"
    error = failure(make, url, NotReachableError, tls=TLS(ca=authority[1]))
    assert "the TLS handshake failed" in str(error)


def test_no_tls_to_a_tls_port(make: Make, scheme: str, ports: Ports) -> None:
    failure(make, f"{scheme}://127.0.0.1:{ports['good'][scheme]}", NotReachableError)


def test_a_missing_tls_file(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"expected .*PEM file"):
        Client(f"{scheme}s://127.0.0.1:1", tls=TLS(ca=str(tmp_path / "none.pem")))


SERVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.client.standin import StandIn
server = StandIn()
server.serve_grpc(int(sys.argv[2])), server.serve_http(int(sys.argv[3]))
print("up", flush=True)
time.sleep(300)
"""


def start_server(folder: str, ports: Sequence[int]) -> "subprocess.Popen[str]":
    """Start a server in another process, which can be killed."""
    command = [sys.executable, "-c", SERVER, folder, *map(str, ports)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_no_call_is_lost_when_a_server_is_killed_and_restarted(
    scheme: str, images: Images, request: pytest.FixtureRequest
) -> None:
    """2,000 calls of four threads succeed, with the same answers as before."""
    folder = str(request.path.parent)
    ports = {"grpc": free_port(), "http": free_port()}
    process = start_server(folder, list(ports.values()))
    answers: list[Predictions | None] = [None] * 2000
    failures: list[ClientError] = []
    try:
        with Client(f"{scheme}://127.0.0.1:{ports[scheme]}", retries=1000, timeout=60) as client:
            expected = client.predict(images)
            halfway = threading.Semaphore(0)

            def ask(first: int) -> None:
                for index in range(first, 2000, 4):
                    try:
                        answers[index] = client.predict(images[index % 200])
                    except ClientError as error:
                        failures.append(error)
                    if index > 1000 and first == 0:
                        halfway.release()

            threads = [threading.Thread(target=ask, args=(first,)) for first in range(4)]
            for thread in threads:
                thread.start()
            assert halfway.acquire(timeout=60)
            process.kill()
            process.communicate()
            time.sleep(0.5)
            process = start_server(folder, list(ports.values()))
            for thread in threads:
                thread.join()
    finally:
        process.kill()
        process.communicate()
    assert failures == []
    for index, answer in enumerate(answers):
        assert answer is not None
        want = expected.probabilities[index % 200]
        np.testing.assert_allclose(answer.probabilities[0], want, atol=1e-6)


def test_requests_are_spread_over_servers_of_which_one_may_be_down(make: Make, scheme: str) -> None:
    first, second = StandIn(), StandIn()
    for server in (first, second):
        server.serve_grpc()
        server.serve_http()
    ports = [server.port(scheme) for server in (first, second)]
    try:
        client = make(f"{scheme}://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}", retries=1)
        client.metadata()
        for _ in range(10):
            client.predict(IMAGE)
        assert (len(first.requests), len(second.requests)) == (5, 5)
        first.stop()
        for _ in range(10):
            client.predict(IMAGE)
        assert len(second.requests) == 15
    finally:
        second.stop()
