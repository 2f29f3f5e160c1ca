"""The same failure is the same error over gRPC and REST, blocking and asyncio."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist import errors
from kmnist.client import Client, Predictions
from kmnist.client.failures import failure
from tests.client.conftest import Make
from tests.client.standin import StandIn

Images = NDArray[np.uint8]

IMAGE = np.zeros((28, 28), np.uint8)
CHAIN = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:8500: "


@pytest.mark.parametrize(
    ("code", "text", "error", "message"),
    [
        ("UNAVAILABLE", "queue is full", errors.OverloadedError, "overloaded: queue is full"),
        (
            "UNAVAILABLE",
            CHAIN + "refused",
            errors.NotReachableError,
            "no connection to h: refused;",
        ),
        ("UNAVAILABLE", "Socket closed", errors.NotReachableError, "Socket closed"),
        ("UNAVAILABLE", "certificate has expired", errors.NotReachableError, "handshake with h f"),
        ("UNKNOWN", "invalid content-type: text/html", errors.BadAnswerError, "check scheme"),
        ("UNKNOWN", "broken", errors.ServerError, "the server failed: broken"),
        ("INTERNAL", "Received RST_STREAM with error code 2", errors.NotReachableError, "RST"),
        ("UNKNOWN", "Stream removed", errors.NotReachableError, "Stream removed"),
        ("FAILED_PRECONDITION", "Serving signature key", errors.SignatureNotFoundError, "key"),
        ("UNIMPLEMENTED", "", errors.BadAnswerError, "not TensorFlow Serving's: UNIMPLEMENTED;"),
        ("DEADLINE_EXCEEDED", "late", errors.DeadlineExceededError, "no answer from h in time"),
        (400, '"a" not found in signature def', errors.SignatureNotFoundError, "no such signature"),
        (400, "Unrecognized servable version label: a", errors.LabelNotFoundError, "label: a"),
        (400, "Malformed request: GET /v1/x", errors.BadAnswerError, "check scheme, port and path"),
        (400, "JSON Parse error: x", errors.InvalidInputError, "JSON Parse error"),
        (401, "", errors.AccessDeniedError, "access denied: HTTP status 401"),
        (404, "Could not find version 9 of model m", errors.VersionNotFoundError, "version 9"),
        (404, "Could not find any versions of model m", errors.ModelNotFoundError, "model m"),
        (404, "<html>", errors.BadAnswerError, "check scheme, port and path"),
        (413, "<html>", errors.RequestTooLargeError, "too large"),
        (418, "<html>", errors.BadAnswerError, "HTTP status 418, <html>"),
        (500, "<html>", errors.ServerError, "the server failed: <html>"),
        (502, "<html>", errors.NotReachableError, "a proxy cannot reach the server"),
        (503, "connection refused", errors.OverloadedError, "overloaded"),
        (504, "<html>", errors.DeadlineExceededError, "allow more time"),
    ],
)
def test_a_code_and_a_text_select_the_error(
    code: str | int, text: str, error: type[errors.ClientError], message: str
) -> None:
    found = failure(code, text, "h")
    assert type(found) is error
    assert message in str(found)
    assert found.detail == text


def test_only_what_may_pass_is_retryable() -> None:
    for code, text in (("UNAVAILABLE", "Tls handshake failed: Socket closed"), (499, "")):
        assert failure(code, text).retryable
    for code, text in (("UNAVAILABLE", "Hostname Verification Check failed."), (500, "broken")):
        assert not failure(code, text).retryable


def test_the_message_has_what_a_user_understands_on_one_line() -> None:
    text = "assertion failed: [Send a picture\\'s bytes.]\n\t [[{{node map/Assert}}]]"
    assert str(failure(400, text)) == "the model refused the input: Send a picture's bytes."
    assert str(failure(500, "a\n b" + "c" * 400)) == f"the server failed: a b{'c' * 296}…"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("UNAVAILABLE", errors.OverloadedError),
        ("RESOURCE_EXHAUSTED", errors.OverloadedError),
        ("INTERNAL", errors.ServerError),
        ("UNKNOWN", errors.ServerError),
        ("ABORTED", errors.ServerError),
        ("INVALID_ARGUMENT", errors.InvalidInputError),
        ("FAILED_PRECONDITION", errors.InvalidInputError),
        ("UNIMPLEMENTED", errors.BadAnswerError),
        ("DEADLINE_EXCEEDED", errors.DeadlineExceededError),
        ("PERMISSION_DENIED", errors.AccessDeniedError),
    ],
)
def test_a_code_is_the_same_error_over_both_transports(
    make: Make, url: str, server: StandIn, code: str, error: type[errors.ClientError]
) -> None:
    client = make(url, retries=0)
    client.metadata()
    server.fail = [(code, "the reason")]
    with pytest.raises(errors.ClientError, match="the reason") as info:
        client.predict(IMAGE)
    assert type(info.value) is error
    assert info.value.detail == "the reason"


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """Listen on a port; call ``answer`` with each connection after its first bytes, then close it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            answer(connection)

    def serve() -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def http_answer(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


def error_of(make: Make, url: str, error: type[errors.ClientError], **options: Any) -> str:
    """Return the message of the error of a prediction, which must be of exactly this class."""
    client = make(url, **({"timeout": 5, "retries": 1} | options))
    with pytest.raises(errors.ClientError) as info:
        client.predict(IMAGE)
    assert type(info.value) is error, repr(info.value)
    assert "\n" not in str(info.value)
    return str(info.value)


def test_a_server_that_is_down_or_unknown(make: Make, scheme: str) -> None:
    message = error_of(make, f"{scheme}://127.0.0.1:1", errors.NotReachableError)
    assert "127.0.0.1:1: " in message
    assert "refused; is the server running, or loading?" in message
    message = error_of(make, f"{scheme}://no-such-host.invalid:80", errors.NotReachableError)
    assert "no-such-host.invalid" in message


def test_a_server_that_never_answers(make: Make, scheme: str) -> None:
    done = threading.Event()
    with listening(lambda connection: done.wait(30)) as port:
        error_of(make, f"{scheme}://127.0.0.1:{port}", errors.DeadlineExceededError, timeout=0.5)
        done.set()


def test_a_server_that_disconnects(make: Make, scheme: str) -> None:
    with listening(lambda connection: None) as port:
        error_of(make, f"{scheme}://127.0.0.1:{port}", errors.NotReachableError)


def test_a_server_that_dies_in_an_answer(make: Make) -> None:
    answer = http_answer(b'{"model_spec"', length=1000)
    with listening(lambda connection: connection.sendall(answer)) as port:
        error_of(make, f"http://127.0.0.1:{port}", errors.NotReachableError)


def test_an_answer_that_trickles_ends_at_the_deadline(make: Make) -> None:
    done = threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(http_answer(b"", length=1000))
        while not done.wait(0.05):
            connection.sendall(b" ")

    with listening(trickle) as port:
        error_of(make, f"http://127.0.0.1:{port}", errors.DeadlineExceededError, timeout=0.5)
        done.set()


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "302 Found"])
def test_a_proxy_that_answers_html(make: Make, scheme: str, status: str) -> None:
    html = http_answer(b"<html>Welcome to the proxy</html>", status)
    with listening(lambda connection: connection.sendall(html)) as port:
        message = error_of(make, f"{scheme}://127.0.0.1:{port}", errors.BadAnswerError)
    if scheme == "http":
        assert "<html>Welcome" in message


def test_the_port_of_the_other_protocol(make: Make, server: StandIn, scheme: str) -> None:
    other = server.url("http" if scheme == "grpc" else "grpc").partition(":")[2]
    error_of(make, f"{scheme}:{other}", errors.BadAnswerError)


@contextlib.contextmanager
def killable(ports: list[int]) -> Iterator["subprocess.Popen[str]"]:
    """A server in another process."""
    command = [sys.executable, "-m", "tests.client.standin", *map(str, ports)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        try:
            yield process
        finally:
            process.kill()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_call_is_lost_when_a_server_is_ended_and_restarted(
    scheme: str, number: signal.Signals, images: Images
) -> None:
    """The calls of four threads succeed, with the same answers as before."""
    ports = [free_port(), free_port()]
    answers: dict[int, Predictions | errors.ClientError] = {}
    halfway, restarted = threading.Semaphore(0), threading.Event()
    url = f"{scheme}://127.0.0.1:{ports[0 if scheme == 'grpc' else 1]}"

    def ask(client: Client, first: int) -> None:
        for index in range(first, 400, 4):
            try:
                answers[index] = client.predict(images[index % 200])
            except errors.ClientError as error:
                answers[index] = error
            if index >= 100:
                halfway.release()
            if index >= 200 and not restarted.is_set():
                restarted.wait(0.1)  # leave calls for the time after the restart

    with Client(url, retries=1000, timeout=60) as client:
        with killable(ports) as process:
            expected = client.predict(images)
            threads = [threading.Thread(target=ask, args=(client, first)) for first in range(4)]
            for thread in threads:
                thread.start()
            assert halfway.acquire(timeout=60)
            process.send_signal(number)
            process.wait()
        with killable(ports):
            restarted.set()
            for thread in threads:
                thread.join()
    assert len(answers) == 400
    for index, answer in answers.items():
        assert isinstance(answer, Predictions), answer
        want = expected.probabilities[index % 200]
        np.testing.assert_allclose(answer.probabilities[0], want, atol=1e-6)
