"""``kmnist serve``, started from a shell or by a supervisor."""

import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from kmnist.cli.serve import command

SERVE = [sys.executable, "-m", "kmnist", "serve"]
Start = Callable[..., subprocess.Popen[str]]

PORTS = ["--rest-port", "0", "--grpc-port", "0"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model named double, which is no image classifier."""
    base = tmp_path_factory.mktemp("models") / "double"
    module = tf.Module()
    module.double = tf.function(
        lambda x: {"y": x * 2.0}, input_signature=[tf.TensorSpec((None,), tf.float32, name="x")]
    )
    tf.saved_model.save(module, str(base / "1"), signatures=module.double)
    return base


@pytest.fixture
def start() -> Iterator[Start]:
    """Start ``kmnist serve ARGUMENTS``; it is killed at the end if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*SERVE, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SERVE, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
        check=False,
    )


def next_line(stream: IO[str] | None) -> str:
    """Return the next line of a stream of a process."""
    assert stream is not None
    line = stream.readline()
    assert line, "the process ended"
    return line


def refuses(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_sigterm_lets_a_running_request_finish(
    start: Start, base: Path, binary: dict[str, str]
) -> None:
    process = start("--models", base, "--engine", "embedded", "--json", *PORTS, **binary)
    facts = json.loads(next_line(process.stdout))
    assert facts.keys() == {"engine", "model", "grpc", "rest", "page"}
    assert (facts["engine"], facts["model"]) == ("embedded", "double")
    with urllib.request.urlopen(f"{facts['rest']}/v1/models/double") as response:
        assert b'"state": "AVAILABLE"' in response.read()
    port = int(facts["rest"].rpartition(":")[2])
    body = b'{"instances": [1, 2]}'
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/models/double:predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100")  # the request is running
        process.send_signal(signal.SIGTERM)
        while "stopping" not in next_line(process.stderr):
            pass
        while not refuses(port):
            pass
        connection.sendall(body)
        assert b'{"predictions": [2.0, 4.0]}' in connection.recv(1000)
    assert process.wait(30) == 0


def test_sigterm_ends_the_command_although_a_call_does_not_end(tmp_path: Path) -> None:
    module = tf.Module()
    module.forever = tf.function(
        lambda x: {"y": tf.while_loop(lambda y: tf.greater(y, 0.0), lambda y: y + 1.0, [x])[0]},
        input_signature=[tf.TensorSpec((), tf.float32, name="x")],
    )
    tf.saved_model.save(module, str(tmp_path / "forever" / "1"), signatures=module.forever)
    script = (
        "from kmnist.server import Server; from kmnist.cli.serve import command\n"
        "Server.__init__.__kwdefaults__['grace'] = 0.1\n"
        "command.main()"
    )
    arguments = ["--models", str(tmp_path / "forever"), "--engine", "embedded", "--json", *PORTS]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(json.loads(next_line(process.stdout))["rest"].rpartition(":")[2])
        body = b'{"inputs": 1}'
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(
                b"POST /v1/models/forever:predict HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body) + body
            )
            status = f"http://127.0.0.1:{port}/v1/models/forever"
            with urllib.request.urlopen(status) as response:  # the call before it is running
                assert response.status == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read().endswith("what has not finished in time is abandoned\n")
    finally:
        process.kill()
        process.communicate()


def test_the_address_of_the_page_is_printed(start: Start, base: Path) -> None:
    process = start("--models", base, "--engine", "embedded", *PORTS)
    lines = [next_line(process.stdout) for _ in range(6)]
    [rest, page] = [line.split()[1] for line in lines if line.split()[0] in ("rest", "page")]
    assert page == f"{rest}/"
    with urllib.request.urlopen(f"{page}model.json") as response:
        assert json.load(response) == {"model": "double"}


def test_ctrl_c_ends_the_wait_for_a_first_version(start: Start, tmp_path: Path) -> None:
    process = start("--models", tmp_path / "none", "--engine", "embedded", *PORTS)
    while "waiting for one: kmnist-train" not in next_line(process.stderr):
        pass
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (0, "")
    assert "Traceback" not in stderr


def test_a_port_in_use_is_one_line(base: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = run(
            "--models", base, "--engine", "embedded", "--rest-port", port, "--grpc-port", 0
        )
    assert result.returncode == 1
    assert result.stderr.startswith(
        f"Error: cannot listen on 127.0.0.1:{port}: Address already in use; "
    )
    assert result.stderr.count("\n") == 1


def test_a_model_that_cannot_be_loaded_ends_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "saved_model.pb").write_bytes(b"\xff")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        command.main(["--models", str(tmp_path / "broken"), "--engine", "embedded", *PORTS])
    assert ended.value.code == 1
    [error] = [line for line in capsys.readouterr().err.splitlines() if "Error: " in line]
    assert "can be loaded: version 1:" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", __file__], "is a file; expected a folder of versions"),
        (["--rest-port", "70000"], "70000 is not in the range"),
        (["--engine", "tensorflow_model_server"], "is not on PATH"),
        (["--host", "no such host", "--engine", "embedded"], "not an address of this machine"),
        (["--name", "a/b", "--engine", "embedded"], "cannot be a model's name"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    result = run(*arguments, *(PORTS if "--rest-port" not in arguments else []))
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.fixture
def binary(tmp_path: Path) -> dict[str, str]:
    """A stand-in for TensorFlow Serving on PATH that prints its flags and waits for a signal."""
    script = tmp_path / "bin" / "tensorflow_model_server"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\n"
        "import json, os, signal, sys\n"
        "def end(*_):\n"
        "    print('terminated', flush=True)\n"
        "    sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print(json.dumps({'pid': os.getpid(), 'flags': sys.argv[1:]}), flush=True)\n"
        "signal.pause()\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{script.parent}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}


def flags_of(process: subprocess.Popen[str]) -> dict[str, str]:
    output = json.loads(next_line(process.stdout))
    # The binary replaced the command, so it receives the signals of a supervisor.
    assert output["pid"] == process.pid
    return dict(flag.removeprefix("--").split("=", 1) for flag in output["flags"])


def test_tensorflow_serving_replaces_the_command(
    start: Start, base: Path, binary: dict[str, str]
) -> None:
    process = start("--models", base, "--json", "--timeout", "2", "--concurrency", "9", **binary)
    assert json.loads(next_line(process.stdout)) == {
        "engine": "tensorflow_model_server",
        "model": "double",
        "grpc": "grpc://localhost:8500",
        "rest": "http://localhost:8501",
    }
    flags = flags_of(process)
    assert flags["port"] == "8500"
    assert flags["rest_api_port"] == "8501"
    assert flags["rest_api_timeout_in_ms"] == "2000"
    assert flags["grpc_max_threads"] == flags["rest_api_num_threads"] == "9"
    config = text_format.Parse(Path(flags["model_config_file"]).read_text(), ModelServerConfig())
    [entry] = config.model_config_list.config
    assert (entry.name, entry.base_path, entry.model_platform) == (
        "double",
        str(base),
        "tensorflow",
    )
    assert entry.model_version_policy.latest.num_versions == 1
    assert "/monitoring/prometheus/metrics" in Path(flags["monitoring_config_file"]).read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 7
    assert next_line(process.stdout) == "terminated\n"
    while list(Path(binary["TMPDIR"]).glob("kmnist-serve-*")):
        """The end of the binary is noticed within a second."""


def test_the_note_says_what_tensorflow_serving_lacks(
    start: Start, base: Path, binary: dict[str, str]
) -> None:
    process = start("--models", base, **binary)
    lines = [next_line(process.stdout) for _ in range(5)]
    assert lines[-1].startswith("note   it listens on every address of this machine, and has no ")
    flags_of(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 7


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--host", "127.0.0.1"], "--host 127.0.0.1"),
        (["--max-request-mb", "1"], "--max-request-mb"),
        (["--accept-gzip"], "--accept-gzip"),
        (["--allow-origin", "https://a", "--allow-host", "b"], "--allow-origin, --allow-host"),
    ],
)
def test_options_that_tensorflow_serving_lacks_are_refused(
    base: Path, binary: dict[str, str], arguments: list[str], named: str
) -> None:
    result = run("--models", base, *arguments, **binary)
    assert result.returncode == 2
    assert f"received {named}; tensorflow_model_server has no such setting" in result.stderr


def test_tensorflow_serving_gets_policy_and_labels(
    start: Start, tmp_path: Path, binary: dict[str, str]
) -> None:
    (tmp_path / "models" / "double").mkdir(parents=True)
    (tmp_path / "models" / "models.config").write_text(
        'model_config_list { config { name: "double" base_path: "/models/double" '
        'model_version_policy { all {} } version_labels { key: "stable" value: 3 } } }'
    )
    process = start("--models", tmp_path / "models" / "double", "--json", **binary)
    next_line(process.stdout)
    flags = flags_of(process)
    config = text_format.Parse(Path(flags["model_config_file"]).read_text(), ModelServerConfig())
    [entry] = config.model_config_list.config
    assert entry.base_path == str(tmp_path / "models" / "double")
    assert entry.model_version_policy.WhichOneof("policy_choice") == "all"
    assert dict(entry.version_labels) == {"stable": 3}
    assert flags["allow_version_labels_for_unavailable_models"] == "true"


def test_tensorflow_serving_needs_two_ports(binary: dict[str, str]) -> None:
    result = run(*PORTS, **binary)
    assert result.returncode == 2
    assert "needs two different ports" in result.stderr


@pytest.mark.parametrize("engine", ["embedded", "tensorflow_model_server"])
def test_a_version_that_differs_from_its_manifest_is_refused(
    swapped: Path, engine: str, binary: dict[str, str]
) -> None:
    ports = PORTS if engine == "embedded" else []
    result = run("--models", swapped, "--engine", engine, *ports, **binary)
    assert result.returncode == 1
    error = result.stderr.splitlines()[-1]
    assert f"{swapped}/1/variables/variables.data-00000-of-00001 has the SHA-256" in error


def test_the_manifest_is_ignored_on_request(start: Start, swapped: Path) -> None:
    process = start("--models", swapped, "--engine", "embedded", *PORTS, "--json", "--no-verify")
    assert json.loads(next_line(process.stdout))["model"] == "kmnist"
