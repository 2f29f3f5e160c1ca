"""Faults of servers and networks: each is an error of its class, before the deadline."""

import contextlib
import datetime as dt
import gzip
import inspect
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
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
from kmnist.client.address import Address
from kmnist.client.transports import open_transports
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import ModelSpec
from kmnist.protocol.tensors import from_array
from tests.client.conftest import Make
from tests.client.standin import RefusedError, StandIn

Images = NDArray[np.uint8]
Authority = tuple[trustme.CA, str]
Ports = dict[str, dict[str, int]]

IMAGE = np.zeros((28, 28), np.uint8)


@contextlib.contextmanager
def listening(
    answer: Callable[[socket.socket, bytes], object], *, read_first: bool = True
) -> Iterator[int]:
    """Listen on a port; call ``answer`` with each connection and request until it returns False.

    Without ``read_first``, the request is b"".
    """
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
            request = connection.recv(1 << 16) if read_first else b""
            while request or not read_first:
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


H2_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
STEADY = {
    "status line": (b"HTTP/1.1 200 O", b"K"),
    "header": (b"HTTP/1.1 200 OK\r\nx-long: ", b"a"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "102 Processing": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "body": (http_answer(b"", length=10**6), b" "),
    "body until the end": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "chunk size": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"0"),
    "chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "nothing": (b"", b""),
    "HTTP/2 pings": (H2_SETTINGS, b"\0\0\x08\x06\0\0\0\0\0" + b"8 bytes."),
}


@pytest.mark.parametrize("case", STEADY)
def test_the_deadline_ends_a_call_whatever_the_server_sends(
    make: Make, scheme: str, case: str
) -> None:
    """A server that sends a little every 20 ms does not prolong the call."""
    start, repeated = STEADY[case]
    end = time.monotonic() + 20

    def drip(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(start)
        while time.monotonic() < end:
            connection.sendall(repeated)
            time.sleep(0.02)

    with listening(drip) as port:
        client = make(f"{scheme}://127.0.0.1:{port}", timeout=0.4, retries=1000)
        with pytest.raises(ClientError) as info:
            client.predict(IMAGE)
    assert time.monotonic() < end - 10
    # Over gRPC, some of these are no gRPC; a line without end may exceed a limit before.
    assert isinstance(info.value, DeadlineExceededError | BadAnswerError | NotReachableError)
    if scheme == "http" and "HTTP/2" not in case and case != "102 Processing":
        assert type(info.value) in (DeadlineExceededError, BadAnswerError)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_the_deadline_ends_a_request_that_the_server_reads_slowly(
    encrypted: bool, authority: Authority
) -> None:
    """A server that reads 1 KB every 20 ms does not prolong the request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority[0].issue_cert("127.0.0.1").configure_cert(context)
    end = time.monotonic() + 20
    picture = np.array([b"x" * 8_000_000], dtype=object)

    def sip(connection: socket.socket) -> bool:
        with context.wrap_socket(connection, server_side=True) if encrypted else connection as talk:
            while time.monotonic() < end and talk.recv(1024):
                time.sleep(0.02)
        return False

    with listening(lambda connection, _: sip(connection), read_first=False) as port:
        url = f"{'https' if encrypted else 'http'}://127.0.0.1:{port}"
        address = Address.parse(url, TLS(ca=authority[1]) if encrypted else None)
        (transport,) = open_transports(address, {}, 1 << 20)
        with pytest.raises(DeadlineExceededError):
            transport.predict(ModelSpec("kmnist"), "pictures", {"pictures": picture}, 0.5)
        transport.close()
    assert time.monotonic() < end - 10


@pytest.mark.parametrize("framing", ["chunked", "until the end", "announced", "compressed"])
def test_an_answer_beyond_the_limit_is_an_error_before_it_is_read(make: Make, framing: str) -> None:
    sent = [0]
    spaces = b" " * 65536
    block = {"chunked": b"10000\r\n" + spaces + b"\r\n"}.get(framing, spaces)
    head = {
        "chunked": b"transfer-encoding: chunked\r\n",
        "announced": b"content-length: 99999999999\r\n",
        "compressed": b"content-encoding: gzip\r\n",
    }.get(framing, b"")

    def flood(connection: socket.socket, _request: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        if framing == "compressed":
            connection.sendall(gzip.compress(b" " * 50_000_000))
            return False
        while sent[0] < 100_000_000:
            connection.sendall(block)
            sent[0] += len(block)
        return False

    with listening(flood) as port:
        error = failure(
            make, f"http://127.0.0.1:{port}", BadAnswerError, max_answer_bytes=1_000_000
        )
    assert "an answer of more than 1,000,000 bytes; raise max_answer_bytes=" in str(error)
    assert not error.retryable
    assert sent[0] < 50_000_000


def test_a_prediction_beyond_the_limit_is_an_error(
    make: Make, server: StandIn, scheme: str, images: Images
) -> None:
    url = f"{scheme}://127.0.0.1:{server.port(scheme)}"
    client = make(url, max_answer_bytes=5000, timeout=10)
    assert len(client.predict(images[0])) == 1
    with pytest.raises(BadAnswerError, match="more than 5,000 bytes; raise max_answer_bytes= or l"):
        client.predict(images)


def test_the_default_limit_fits_100_000_predictions(scheme: str) -> None:
    """The longest form of each: 22 characters for a number, a line and 8 spaces for each row."""
    number = "-1.1754943508222875e-38"
    row = json.dumps({"probabilities": [0] * 10, "class_ids": 9, "class_names": "Ankle boot"})
    rest = len(row.replace("0,", number + ",").replace(", ", ",\n" + " " * 8)) + 8
    response = pb.PredictResponse()
    for name, value in {
        "probabilities": np.full((1000, 10), 0.1, np.float32),
        "class_ids": np.full(1000, 9),
        "class_names": np.array([b"Ankle boot"] * 1000, object),
    }.items():
        from_array(value, response.outputs[name])
    size = 1000 * rest if scheme == "http" else response.ByteSize()
    default = inspect.signature(Client).parameters["max_answer_bytes"].default
    assert 100 * size < default


SECRET = "Bearer eyJhbGciOi.J9-s3cret's"


@pytest.mark.parametrize(
    "answer",
    [
        lambda echo: http_answer(json.dumps({"error": echo}).encode(), "400 Bad Request"),
        lambda echo: http_answer(echo.encode(), "500 Internal Server Error", "text/plain"),
        lambda echo: http_answer(echo.encode(), "200 OK", echo),
        lambda echo: http_answer(b"a" * 60 + echo.encode(), "404 Not Found", "text/plain"),
        lambda echo: http_answer(b"", f"302 Found\r\nlocation: /{echo}", echo),
        lambda echo: http_answer(json.dumps({echo: 1}).encode()),
        lambda echo: http_answer(b"a" * 9_990 + echo.encode() * 9, "500 Internal Server Error"),
        lambda echo: f"{echo}\r\n\r\n".encode(),
        lambda echo: f"HTTP/1.1 {echo}\r\n\r\n".encode(),
        lambda echo: f"HTTP/1.1 200 OK\r\n{echo}\r\n\r\n".encode(),
        lambda echo: f"HTTP/1.1 200 OK\r\ncontent-length: {echo}\r\n\r\n".encode(),
        lambda echo: f"HTTP/1.1 200 OK\r\ncontent-encoding: {echo}\r\n\r\n".encode(),
        lambda echo: f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{echo}\r\n".encode(),
    ],
    ids=range(13),
)
def test_a_header_that_a_server_repeats_is_not_shown(
    make: Make, answer: Callable[[str], bytes]
) -> None:
    def echo(connection: socket.socket, _request: bytes) -> bool:
        connection.sendall(answer(SECRET))
        return False

    with listening(echo) as port:
        client = make(
            f"http://127.0.0.1:{port}", headers={"authorization": SECRET}, retries=0, timeout=5
        )
        with pytest.raises(ClientError) as info:
            client.predict(IMAGE)
    assert_not_shown(info.value)


def test_a_header_that_a_server_repeats_is_not_shown_with_its_own_errors(
    make: Make, server: StandIn, scheme: str, images: Images
) -> None:
    options: dict[str, Any] = {"headers": {"authorization": SECRET}, "retries": 0}
    client = make(f"{scheme}://127.0.0.1:{server.port(scheme)}", **options)
    for code in ("INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE", "PERMISSION_DENIED", "INTERNAL"):
        server.fail = [(code, f"you sent {SECRET} " + "a" * length) for length in (0, 300)]
        with pytest.raises(ClientError) as info:
            client.predict(images[0])
        assert_not_shown(info.value)
    server.fail = []
    server.states, server.messages = {1: "LOADING"}, {1: SECRET}
    for call in (client.wait_until_ready, client.metadata):
        with pytest.raises(ClientError) as info:
            call(timeout=0.5)
        assert_not_shown(info.value)


def assert_not_shown(error: ClientError) -> None:
    shown = [str(error), repr(error), repr(vars(error)), repr(getattr(error, "__notes__", ""))]
    shown += traceback.format_exception(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    for text in shown:
        assert "eyJhb" not in text
        assert "s3cret" not in text


class Cancelling:
    """Cancels every other stream, as a server that stops does."""

    def __init__(self) -> None:
        self.standin = StandIn()
        self.count = 0
        self.lock = threading.Lock()
        self.standin.change = self.change

    def change(self, outputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with self.lock:
            self.count += 1
            odd = self.count % 2
        if odd:
            raise RefusedError("CANCELLED", "CANCELLED")
        return outputs


def test_no_call_is_lost_when_the_server_cancels_requests(
    make: Make, scheme: str, images: Images
) -> None:
    server = Cancelling()
    port = server.standin.serve_grpc() if scheme == "grpc" else server.standin.serve_http()
    client = make(f"{scheme}://127.0.0.1:{port}", retries=3, timeout=20)
    for image in images[:5]:
        assert len(client.predict(image)) == 1
    assert server.count == 10
    server.standin.stop()


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
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from tests.client.standin import StandIn
server = StandIn()
server.serve_grpc(int(sys.argv[2])), server.serve_http(int(sys.argv[3]))
signal.signal(signal.SIGTERM, lambda *_: (server.stop(), os._exit(0)))
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


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_call_is_lost_when_a_server_is_ended_and_restarted(
    scheme: str, number: signal.Signals, images: Images, request: pytest.FixtureRequest
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
            process.send_signal(number)
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
