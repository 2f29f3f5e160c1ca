"""The examination of a server: one that is down, one of another program, and what one reports."""

import http.server
import json
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kmnist.doctor import Finding, Report, examine_server
from kmnist.errors import InputError
from kmnist.server import Server
from kmnist.versions import label

IMAGES = {"dtype": "DT_UINT8", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "28"}]}}

States = Mapping[int, tuple[str, str]]


class ModelServer(http.server.BaseHTTPRequestHandler):
    """Report the given states of the versions of the model kmnist; version 3 has a signature more."""

    states: States

    def do_GET(self) -> None:
        match = re.fullmatch(r"/v1/models/kmnist(?:/versions/(\d+))?(/metadata)?", self.path)
        if not match:
            self.send_error(404)
        elif match[2]:
            signatures = ["serving_default", "pixels"] if match[1] == "3" else ["serving_default"]
            definitions = {
                name: {"inputs": {"images": IMAGES}, "outputs": {}} for name in signatures
            }
            self.answer(
                {
                    "model_spec": {"name": "kmnist", "version": match[1]},
                    "metadata": {"signature_def": {"signature_def": definitions}},
                }
            )
        else:
            self.answer({"model_version_status": [*map(self.status, self.states)]})

    def status(self, version: int) -> dict[str, Any]:
        state, error = self.states[version]
        status = {"error_code": "UNKNOWN" if error else "OK", "error_message": error}
        return {"version": str(version), "state": state, "status": status}

    def answer(self, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests free of requests."""


@contextmanager
def serving(states: States) -> Iterator[str]:
    """Run a server with these versions, and yield its address."""
    handler = type("Handler", (ModelServer,), {"states": states})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def examine(states: States) -> Report:
    with serving(states) as url:
        return examine_server(url)


def only(report: Report) -> Finding:
    (finding,) = report.findings
    assert finding.is_problem
    assert finding.cure
    return finding


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_is_down(scheme: str) -> None:
    finding = only(examine_server(f"{scheme}://127.0.0.1:1"))
    assert "127.0.0.1:1: Connection refused" in finding.what
    assert finding.cause.startswith("the server is down, or still loading its first version")


def test_a_program_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        finding = only(examine_server(url, timeout=0.3))
    assert "the port accepts connections but does not answer" in finding.cause


def test_another_web_server() -> None:
    with serving({}) as url:
        finding = only(examine_server(url, model="other"))
    assert "another program answers on this port" in finding.cause


def test_an_invalid_address_is_refused() -> None:
    with pytest.raises(InputError):
        examine_server("localhost:8500")


def test_the_port_of_the_other_api(served: Server) -> None:
    for url in (f"http://127.0.0.1:{served.grpc_port}", f"grpc://127.0.0.1:{served.rest_port}"):
        finding = only(examine_server(url, timeout=3))
        assert "use grpc:// with port 8500 and http:// with port 8501" in finding.cure


@pytest.mark.parametrize("transport", ["grpc_url", "rest_url"])
def test_a_wrong_name(served: Server, transport: str) -> None:
    finding = only(examine_server(getattr(served, transport), model="mnist"))
    assert finding.what.startswith("the server has no model mnist: Could not find any version")


def test_no_version_is_available() -> None:
    missing, loading = examine({1: ("END", ""), 2: ("LOADING", "")}).findings
    assert missing.what == "no version is AVAILABLE: version 2 is LOADING, version 1 is END"
    assert missing.is_problem
    assert loading.what == "version 2 is still LOADING"
    assert not loading.is_problem


def test_a_version_that_cannot_be_loaded() -> None:
    error = "Op type not registered 'NewOp' in binary running on server"
    finding = only(examine({1: ("AVAILABLE", ""), 2: ("END", error)}))
    assert finding.what == f"version 2 cannot be loaded: {error}"
    assert "run a newer server" in finding.cure


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [(1, 3, "it has no signature pixels"), (3, 4, "version 4 has no signature pixels")],
)
def test_versions_with_different_signatures(old: int, new: int, difference: str) -> None:
    finding = only(examine({old: ("AVAILABLE", ""), new: ("AVAILABLE", ""), 5: ("END", "")}))
    assert finding.what == f"version {old} differs from version {new}: {difference}"


@pytest.fixture(params=["grpc_url", "rest_url"])
def url(request: pytest.FixtureRequest, served: Server) -> str:
    """The address of a server whose version 1 has the label stable."""
    address: str = getattr(served, request.param)
    return address


def test_a_sound_server_is_healthy(served: Server, url: str) -> None:
    report = examine_server(url, base=served.base)
    assert report.findings == []
    assert len(report.checks) == 6


def test_a_server_that_does_not_follow_its_folder(served: Server, url: str, tmp_path: Path) -> None:
    base = tmp_path / "models" / "kmnist"
    shutil.copytree(served.base, base)
    for version in ("2", "3"):
        shutil.copytree(base / "1", base / version)
    label(base, {"stable": 2, "canary": 3})
    findings = examine_server(url, base=base).findings
    assert [finding.what for finding in findings] == [
        f"the server does not list version 2 of {base}",
        f"the server does not list version 3 of {base}",
        "the label canary is on version 3 in models.config, but unknown on the server",
        "the label stable is on version 2 in models.config, but on version 1 on the server",
    ]
