"""What can be wrong with a server or on the way to it: each is its class of the tree, in time."""

import contextlib
import datetime as dt
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
import trustme

from kmnist import errors
from kmnist.client import (
    TLS,
    BadAnswerError,
    Client,
    ClientError,
    DeadlineExceededError,
    InvalidInputError,
    NotReachableError,
)
from tests.client.standin import StandIn

IMAGE = np.zeros((28, 28), np.uint8)


@contextlib.contextmanager
def listening(answer):
    """A port whose every connection ``answer(socket, request)`` is called with."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection) -> None:
        with connection, contextlib.suppress(OSError):
            request = connection.recv(1 << 16)
            while request:
                if answer(connection, request) is False:
                    return
                request = connection.recv(1 << 16)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def http_answer(body, status="200 OK", content_type="application/json", length=None):
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


def refuse(make, url, error, **options):
    """Ask for a prediction that has to fail with exactly this class, within its deadline."""
    timeout = options.setdefault("timeout", 5)
    options.setdefault("retries", 1)
    client = make(url, **options)
    start = time.monotonic()
    with pytest.raises(ClientError) as info:
        client.predict(IMAGE)
    assert time.monotonic() - start < timeout + 2
    assert type(info.value) is error, repr(info.value)
    assert "\n" not in str(info.value)
    return info.value


def test_absent(make, scheme) -> None:
    error = refuse(make, f"{scheme}://127.0.0.1:1", NotReachableError)
    assert "refused" in str(error)
    assert error.retryable


def test_no_such_host(make, scheme) -> None:
    error = refuse(make, f"{scheme}://no-such-host.invalid:80", NotReachableError)
    assert "no-such-host.invalid" in str(error)


def test_accepts_and_never_replies(make, scheme) -> None:
    with listening(lambda connection, request: None) as port:
        refuse(make, f"{scheme}://127.0.0.1:{port}", DeadlineExceededError, timeout=0.5)


def test_hangs_up(make, scheme) -> None:
    with listening(lambda connection, request: False) as port:
        refuse(make, f"{scheme}://127.0.0.1:{port}", NotReachableError)


def test_a_trickle_ends_at_the_deadline(make) -> None:
    def trickle(connection, request) -> None:
        connection.sendall(http_answer(b"", length=1000))
        while True:
            connection.sendall(b" ")
            time.sleep(0.05)

    with listening(trickle) as port:
        refuse(make, f"http://127.0.0.1:{port}", DeadlineExceededError, timeout=0.5)


HTML = b"<html>Welcome to the proxy</html>"


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "302 Found"])
def test_a_proxy_that_answers_html(make, scheme, status) -> None:
    with listening(
        lambda connection, request: connection.sendall(http_answer(HTML, status, "text/html"))
    ) as port:
        error = refuse(make, f"{scheme}://127.0.0.1:{port}", BadAnswerError)
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
def test_what_proxies_say(make, status, error) -> None:
    with listening(
        lambda connection, request: connection.sendall(http_answer(HTML, status, "text/html"))
    ) as port:
        refuse(make, f"http://127.0.0.1:{port}", error, retries=0)


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
def test_answers_that_are_not_the_servers(make, body) -> None:
    with listening(lambda connection, request: connection.sendall(http_answer(body))) as port:
        refuse(make, f"http://127.0.0.1:{port}", BadAnswerError)


def test_an_answer_that_is_cut_off(make) -> None:
    def cut(connection, request) -> bool:
        connection.sendall(http_answer(b'{"model_spec"', length=1000))
        return False

    with listening(cut) as port:
        error = refuse(make, f"http://127.0.0.1:{port}", BadAnswerError)
    assert error.retryable  # as when a server is killed in the middle of an answer


def test_nan_as_the_server_writes_it(make, server, scheme) -> None:
    server.changed = lambda outputs: (
        outputs | {"probabilities": np.full_like(outputs["probabilities"], np.nan)}
    )
    port = server.grpc_port if scheme == "grpc" else server.http_port
    error = refuse(make, f"{scheme}://127.0.0.1:{port}", BadAnswerError)
    assert "NaN" in str(error)


def test_the_other_protocols_port(make, server, scheme) -> None:
    port = server.http_port if scheme == "grpc" else server.grpc_port
    refuse(make, f"{scheme}://127.0.0.1:{port}", BadAnswerError)


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return ca, str(path)


def secure(server, certificate, ca=None):
    chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    server.serve_grpc(
        credentials=grpc.ssl_server_credentials(
            [(certificate.private_key_pem.bytes(), chain)],
            ca and ca.cert_pem.bytes(),
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
def ports(authority):
    """Two servers with TLS, one of them with a certificate of yesterday; and one without."""
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


def test_tls(make, scheme, ports, authority) -> None:
    url = f"{scheme}s://127.0.0.1:{ports['good'][scheme]}"
    assert len(make(url, tls=TLS(ca=authority[1])).predict(IMAGE)) == 1
    named = TLS(ca=authority[1], server_name="models.test")
    assert len(make(url, tls=named).predict(IMAGE)) == 1


def test_a_client_certificate(make, scheme, ports, authority, tmp_path) -> None:
    own = authority[0].issue_cert("client.test")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in own.cert_chain_pems))
    own.private_key_pem.write_to_path(key)
    url = f"{scheme}s://127.0.0.1:{ports['mutual'][scheme]}"
    tls = TLS(ca=authority[1], certificate=str(chain), key=str(key))
    assert len(make(url, tls=tls).predict(IMAGE)) == 1
    refuse(make, url, NotReachableError, tls=TLS(ca=authority[1]))


def test_an_expired_certificate(make, scheme, ports, authority) -> None:
    url = f"{scheme}s://127.0.0.1:{ports['expired'][scheme]}"
    error = refuse(make, url, NotReachableError, tls=TLS(ca=authority[1]))
    # The oldest gRPC that is supported does not say what is wrong with it.
    assert re.search("certificate has expired|CERTIFICATE_VERIFY_FAILED", str(error))
    assert not error.retryable


def test_a_certificate_nobody_vouches_for(make, scheme, ports) -> None:
    error = refuse(make, f"{scheme}s://127.0.0.1:{ports['good'][scheme]}", NotReachableError)
    assert "certificate" in str(error)
    assert not error.retryable


def test_a_certificate_of_another_name(make, scheme, ports, authority) -> None:
    url = f"{scheme}s://127.0.0.1:{ports['good'][scheme]}"
    error = refuse(make, url, NotReachableError, tls=TLS(ca=authority[1], server_name="b.test"))
    assert not error.retryable


def test_tls_to_a_plain_port(make, scheme, ports, authority) -> None:
    url = f"{scheme}s://127.0.0.1:{ports['plain'][scheme]}"
    error = refuse(make, url, NotReachableError, tls=TLS(ca=authority[1]))
    assert "TLS could not be agreed on" in str(error)


def test_no_tls_to_a_tls_port(make, scheme, ports) -> None:
    refuse(make, f"{scheme}://127.0.0.1:{ports['good'][scheme]}", NotReachableError)


def test_tls_files_that_cannot_be_used(scheme, tmp_path) -> None:
    with pytest.raises(InvalidInputError, match=r"expected .*PEM file"):
        Client(f"{scheme}s://127.0.0.1:1", tls=TLS(ca=str(tmp_path / "none.pem")))


# Restarts and several servers.

SERVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.client.standin import StandIn
server = StandIn()
server.serve_grpc(int(sys.argv[2])), server.serve_http(int(sys.argv[3]))
print("up", flush=True)
time.sleep(300)
"""


def start_server(folder, ports):
    command = [sys.executable, "-c", SERVER, folder, *map(str, ports)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    return process


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_server_killed_and_restarted_in_the_middle(scheme, images, request) -> None:
    """Of 2,000 calls of four threads none is lost, and none is answered differently."""
    folder = str(request.path.parent)
    ports = {"grpc": free_port(), "http": free_port()}
    process = start_server(folder, ports.values())
    answers, failures = [None] * 2000, []
    try:
        with Client(f"{scheme}://127.0.0.1:{ports[scheme]}", retries=1000, timeout=60) as client:
            expected = client.predict(images)
            halfway = threading.Semaphore(0)

            def ask(first) -> None:
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
            process.wait()
            process.stdout.close()
            time.sleep(0.5)
            process = start_server(folder, ports.values())
            for thread in threads:
                thread.join()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert failures == []
    for index, answer in enumerate(answers):
        want = expected.probabilities[index % 200]
        np.testing.assert_allclose(answer.probabilities[0], want, atol=1e-6)


def test_servers_take_turns_and_one_may_be_away(make, scheme) -> None:
    first, second = StandIn(), StandIn()
    for server in (first, second):
        server.serve_grpc()
        server.serve_http()
    ports = [s.grpc_port if scheme == "grpc" else s.http_port for s in (first, second)]
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
