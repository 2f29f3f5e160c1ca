"""``kmnist serve``, started from a shell or by a supervisor."""

import errno
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import tensorflow as tf

from tests.server.calls import wait_until

SERVE = [sys.executable, "-m", "kmnist", "serve"]
PORTS = ["--rest-port", "0", "--grpc-port", "0"]
PREDICT = (
    "POST /v1/models/loops:predict HTTP/1.1\r\nHost: localhost\r\n"
    "Expect: 100-continue\r\nContent-Length: {}\r\n\r\n"
)

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that counts up to an even number, and never ends for an odd one."""
    base = tmp_path_factory.mktemp("models") / "loops"
    module = tf.Module()
    module.count = tf.function(
        lambda x: {"y": tf.while_loop(lambda y: tf.not_equal(y, x), lambda y: y + 2, [0])[0]},
        input_signature=[tf.TensorSpec((), tf.int32, name="x")],
    )
    tf.saved_model.save(module, str(base / "1"), signatures=module.count)
    return base


@pytest.fixture
def start() -> Iterator[Start]:
    """Start ``kmnist serve ARGUMENTS``; it is killed at the end if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, command: list[str] = SERVE) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*command, *map(str, arguments), *PORTS],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def next_line(stream: IO[str] | None) -> str:
    """Return the next line of a stream of a process."""
    assert stream is not None
    line = stream.readline()
    assert line, "the process ended"
    return line


def refuses(address: tuple[str, int]) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(address) == errno.ECONNREFUSED


def wait_for(text: str, process: subprocess.Popen[str]) -> None:
    while text not in next_line(process.stderr):
        pass


def begin(process: subprocess.Popen[str], length: int) -> socket.socket:
    """Send the header of a predict request; return when the server waits for its body."""
    facts = json.loads(next_line(process.stdout))
    assert facts.keys() == {"model", "grpc", "rest", "page"}
    port = int(facts["rest"].rpartition(":")[2])
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(PREDICT.format(length).encode())
    assert connection.recv(100).startswith(b"HTTP/1.1 100")
    return connection


def test_sigterm_lets_a_request_finish_that_is_still_arriving(start: Start, base: Path) -> None:
    process = start("--models", base, "--json")
    body = b'{"inputs": 2}'
    with begin(process, len(body)) as connection:
        process.send_signal(signal.SIGTERM)
        wait_for("stopping", process)
        wait_until(lambda: refuses(connection.getpeername()))
        connection.sendall(body)
        assert b'{"outputs": 2}' in connection.recv(1000)
    assert process.wait(30) == 0


@pytest.mark.parametrize("interrupted_again", [True, False])
def test_a_computation_without_end_does_not_prevent_the_exit(
    start: Start, base: Path, interrupted_again: bool
) -> None:
    script = (
        "from kmnist.server import Server; from kmnist.cli.serve import command\n"
        f"Server.__init__.__kwdefaults__['grace'] = {30 if interrupted_again else 0.1}\n"
        "command.main()"
    )
    process = start("--models", base, "--json", command=[sys.executable, "-c", script])
    body = b'{"inputs": 1}'
    with begin(process, len(body)) as connection:
        connection.sendall(body)
        host, port = connection.getpeername()
        urllib.request.urlopen(f"http://{host}:{port}/v1/models/loops").close()
        process.send_signal(signal.SIGTERM)
        wait_for("stopping", process)
        if interrupted_again:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == (130 if interrupted_again else 0)


def test_ctrl_c_ends_the_wait_for_a_first_version(start: Start, tmp_path: Path) -> None:
    process = start("--models", tmp_path / "none")
    wait_for("kmnist-train", process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (0, "")
    assert "Traceback" not in stderr


def test_a_version_that_differs_from_its_manifest_is_refused(start: Start, swapped: Path) -> None:
    process = start("--models", swapped)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "variables.data-00000-of-00001 has the SHA-256" in stderr.splitlines()[-1]


def test_without_verification_it_is_served_with_the_page(start: Start, swapped: Path) -> None:
    process = start("--models", swapped, "--no-verify", "--host", "0.0.0.0")
    lines = [next_line(process.stdout).split() for _ in range(4)]
    facts: dict[str, Any] = {name: value for name, value, *_ in lines}
    # All addresses of this machine are no address to type, if it is in a network.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        is_in_network = not probe.connect_ex(("192.0.2.1", 9))
    assert (facts["page"] != facts["rest"] + "/") == is_in_network
    with urllib.request.urlopen(facts["page"] + "model.json") as response:
        assert json.load(response) == {"model": "kmnist"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--models", __file__], 2, "is a file"),
        (["--rest-port", "70000"], 2, "70000 is not in the range"),
        (["--rest-port", "8500", "--grpc-port", "8500"], 2, "cannot both use port 8500"),
        (["--host", "no such host"], 2, "cannot listen on no such host:"),
        (["--name", "a/b"], 2, "cannot be a model's name"),
        (["--host", "192.0.2.1"], 1, "cannot listen on 192.0.2.1:"),
    ],
)
def test_an_error_is_one_line(arguments: list[str], code: int, message: str) -> None:
    command = [*SERVE, *PORTS, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == code
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
