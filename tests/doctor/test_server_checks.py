"""The examination of a server."""

import http.server
import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kmnist.client import Client
from kmnist.doctor import Report, examine_server, server_checks
from kmnist.errors import InvalidInputError, ModelNotFoundError
from kmnist.protocol.messages import VersionStatus
from kmnist.server import Server
from kmnist.versions import config_path, ensure_model_config, label, list_versions
from tests.doctor.conftest import OnlyFinding

IMAGES = {"dtype": "DT_UINT8", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "28"}]}}
TITLES = [
    "connection to the server",
    "model name",
    "available versions",
    "loading of every version",
    "signatures of all versions",
    "prediction",
    "versions of the folder",
    "labels of models.config",
]

Examine = Callable[..., Report]
States = Mapping[int, tuple[str, str]]


class ModelServer(http.server.BaseHTTPRequestHandler):
    """Report the given states and signatures of the versions of the model kmnist."""

    states: States
    signatures: Mapping[int, list[str]]

    def do_GET(self) -> None:
        match = re.fullmatch(r"/v1/models/kmnist(?:/versions/(\d+))?(/metadata)?", self.path)
        if not match:
            self._send(404, {"error": "Could not find any versions of model other"})
            return
        if not match[2]:
            self._send(200, {"model_version_status": list(map(self._status, self.states))})
            return
        version = int(match[1] or max(self.signatures))
        if version not in self.signatures:
            self._send(500, {"error": "internal failure"})
            return
        definitions = {
            name: {"inputs": {"images": IMAGES}, "outputs": {}, "method_name": ""}
            for name in self.signatures[version]
        }
        self._send(
            200,
            {
                "model_spec": {"name": "kmnist", "version": str(version)},
                "metadata": {"signature_def": {"signature_def": definitions}},
            },
        )

    def _status(self, version: int) -> dict[str, Any]:
        state, error = self.states[version]
        status = {"error_code": "UNKNOWN" if error else "OK", "error_message": error}
        return {"version": str(version), "state": state, "status": status}

    def _send(self, code: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests free of requests."""


class WebServer(http.server.BaseHTTPRequestHandler):
    """Answer every request with 404."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests free of requests."""


@pytest.fixture
def examine() -> Examine:
    """``examine(states, signatures)`` examines a server with these versions."""

    def examine(
        states: States, signatures: Mapping[int, list[str]] | None = None, **options: Any
    ) -> Report:
        handler = type(
            "Handler", (ModelServer,), {"states": states, "signatures": signatures or {}}
        )
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            report = examine_server(f"http://127.0.0.1:{server.server_port}", **options)
            server.shutdown()
        return report

    return examine


class TestConnection:
    """Servers that cannot be reached, and other programs."""

    @pytest.mark.parametrize("scheme", ["grpc", "http"])
    def test_nothing_listens(self, only_finding: OnlyFinding, scheme: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as freed:
            port = freed.getsockname()[1]
        finding = only_finding(examine_server(f"{scheme}://127.0.0.1:{port}"))
        assert "no server could be reached" in finding.what
        assert "docker compose" in finding.do

    def test_a_broken_version_is_named_before_the_server_is_called_down(
        self, tmp_path: Path, only_finding: OnlyFinding
    ) -> None:
        down = only_finding(examine_server("http://127.0.0.1:1", base=tmp_path))
        assert down.why.startswith("the server is down, or still loading its first version")
        broken = only_finding(examine_server("http://127.0.0.1:1", base=tmp_path, broken=(2, 3)))
        assert broken.why.startswith(f"versions 2, 3 of {tmp_path} cannot be loaded")
        unknown = only_finding(examine_server("http://127.0.0.1:1"))
        assert unknown.why.startswith("a broken version ended its start; or the server is down")

    def test_a_program_that_does_not_answer(self, only_finding: OnlyFinding) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            finding = only_finding(examine_server(url, timeout=0.3))
        assert "the port accepts connections but does not answer" in finding.why

    def test_another_web_server(self, only_finding: OnlyFinding) -> None:
        with http.server.HTTPServer(("127.0.0.1", 0), WebServer) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            finding = only_finding(examine_server(f"http://127.0.0.1:{server.server_port}"))
            server.shutdown()
        assert "another program answers on this port" in finding.why

    def test_an_invalid_address_raises(self) -> None:
        with pytest.raises(InvalidInputError):
            examine_server("localhost:8500")


class TestStates:
    """Model names, states and signatures that a server reports."""

    def test_a_wrong_name(
        self, examine: Examine, only_finding: OnlyFinding, tmp_path: Path
    ) -> None:
        states = {1: ("AVAILABLE", "")}
        finding = only_finding(examine(states, model="mnist"))
        assert finding.what.startswith("the server has no model mnist: Could not find any versions")
        assert finding.do == "use the name from there, or change it there"
        finding = only_finding(examine(states, model="mnist", base=tmp_path / "kmnist"))
        assert finding.do == "use kmnist, the name of the folder"

    def test_the_only_model_is_examined_if_no_name_is_given(
        self, examine: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        asked: list[str] = []

        def status(client: Client, **_: Any) -> list[VersionStatus]:
            asked.append(client.model)
            if client.model != "fashion":
                raise ModelNotFoundError(f"no model {client.model}")
            return []

        monkeypatch.setattr(Client, "status", status)
        monkeypatch.setattr(server_checks, "find_models", lambda *_: ["fashion"])
        assert "model name" not in [c.title for c in examine({}).checks if c.findings]
        assert asked == ["kmnist", "fashion"]
        (finding,) = examine({}, base=tmp_path / "digits").findings
        assert finding.what.startswith("the server has no model digits")
        assert finding.do.startswith("use the name of a model that it has: fashion")

    def test_no_version_is_available(self, examine: Examine) -> None:
        findings = examine({1: ("END", ""), 2: ("LOADING", "")}).findings
        assert findings[0].what == (
            "no version is AVAILABLE: version 2 is LOADING, version 1 is END"
        )
        assert findings[0].is_problem
        assert findings[1].what == "version 2 is still LOADING"
        assert not findings[1].is_problem

    @pytest.mark.parametrize(
        ("error", "do"),
        [
            ("Op type not registered 'NewOp' in binary running on server", "run a newer server"),
            ("Failed to process warmup: Invalid argument", "assets.extra"),
            ("Read less bytes than requested", "copy it again"),
            ("something else", "read the server's log"),
        ],
    )
    def test_a_version_that_cannot_be_loaded(
        self, examine: Examine, only_finding: OnlyFinding, error: str, do: str
    ) -> None:
        report = examine({1: ("AVAILABLE", ""), 2: ("END", error)}, {1: ["serving_default"]})
        finding = only_finding(report)
        assert finding.what == f"version 2 cannot be loaded: {error}"
        assert do in finding.do

    def test_versions_with_different_signatures(
        self, examine: Examine, only_finding: OnlyFinding
    ) -> None:
        states = {1: ("AVAILABLE", ""), 2: ("AVAILABLE", ""), 3: ("END", "")}
        report = examine(states, {1: ["serving_default"], 2: ["serving_default", "pixels"]})
        assert "version 1 differs from version 2" in only_finding(report).what

    def test_signatures_that_cannot_be_read(
        self, examine: Examine, only_finding: OnlyFinding
    ) -> None:
        finding = only_finding(examine({1: ("AVAILABLE", "")}))
        assert finding.what.startswith("the signatures of version 1 cannot be read: ")


@pytest.fixture(scope="module")
def two_versions(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the exported version as version 1, labelled stable, and as version 2."""
    base = tmp_path_factory.mktemp("served") / "models" / "kmnist"
    shutil.copytree(models, base)
    shutil.copytree(base / "1", base / "2")
    ensure_model_config(base)
    label(base, {"stable": 1})
    with Server(base, grpc_port=0, rest_port=0, poll_seconds=3600) as server:
        # It serves as soon as one of them is loaded, if the other takes long on a busy machine.
        with Client(server.rest_url, model="kmnist") as client:
            while {version.state for version in client.status()} != {"AVAILABLE"}:
                time.sleep(0.1)
        yield server


@pytest.mark.parametrize("transport", ["grpc_url", "rest_url"])
def test_a_sound_server_is_healthy(two_versions: Server, transport: str) -> None:
    report = examine_server(getattr(two_versions, transport), base=two_versions.base)
    assert report.findings == []
    assert [check.title for check in report.checks] == TITLES


@pytest.mark.parametrize("transport", ["grpc_url", "rest_url"])
def test_a_server_that_does_not_follow_its_folder(
    two_versions: Server, transport: str, tmp_path: Path
) -> None:
    base = tmp_path / "models" / "kmnist"
    shutil.copytree(two_versions.base, base)
    shutil.copytree(base / "1", base / "3")
    ensure_model_config(base)
    label(base, {"stable": 2, "canary": 3})
    url = getattr(two_versions, transport)
    findings = examine_server(url, base=base).findings
    path = config_path(base)
    assert [finding.what for finding in findings] == [
        f"the server does not list version 3 of {base}",
        f"the label canary is version 3 in {path}, but unknown to the server",
        f"the label stable is version 2 in {path}, but version 1 on the server",
    ]
    assert "--model_config_file_poll_wait_seconds" in findings[1].do
    shutil.rmtree(base / "1")
    assert list_versions(base) == [2, 3]
    observations = [finding.what for finding in examine_server(url, base=base).findings]
    assert f"the server serves version 1, which {base} does not contain" in observations


def test_the_port_of_the_other_api(two_versions: Server, only_finding: OnlyFinding) -> None:
    for url in (
        f"http://127.0.0.1:{two_versions.grpc_port}",
        f"grpc://127.0.0.1:{two_versions.rest_port}",
    ):
        finding = only_finding(examine_server(url, timeout=3))
        assert "use grpc:// with port 8500 and http:// with port 8501" in finding.do
