"""``examine_server`` finds each cause, names it, and says what to do."""

import http.server
import json
import re
import shutil
import socket
import threading

import pytest

from kmnist.doctor import examine_server
from kmnist.errors import InvalidInputError
from kmnist.server import Server
from kmnist.versions import config_path, ensure_model_config, label, list_versions

_IMAGES = {"dtype": "DT_UINT8", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "28"}]}}


class _ModelServer(http.server.BaseHTTPRequestHandler):
    """Says of the model kmnist what the test wants it to say."""

    states: dict[int, tuple[str, str]]
    signatures: dict[int, list[str]]

    def do_GET(self):
        match = re.fullmatch(r"/v1/models/kmnist(?:/versions/(\d+))?(/metadata)?", self.path)
        if not match:
            return self._answer(404, {"error": "Could not find any versions of model other"})
        if not match[2]:
            return self._answer(200, {"model_version_status": list(map(self._status, self.states))})
        version = int(match[1] or max(self.signatures))
        if version not in self.signatures:
            return self._answer(500, {"error": "out of luck"})
        definitions = {
            name: {"inputs": {"images": _IMAGES}, "outputs": {}, "method_name": ""}
            for name in self.signatures[version]
        }
        return self._answer(
            200,
            {
                "model_spec": {"name": "kmnist", "version": str(version)},
                "metadata": {"signature_def": {"signature_def": definitions}},
            },
        )

    def _status(self, version):
        state, error = self.states[version]
        status = {"error_code": "UNKNOWN" if error else "OK", "error_message": error}
        return {"version": str(version), "state": state, "status": status}

    def _answer(self, code, body) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_) -> None:
        pass


class _WebServer(http.server.BaseHTTPRequestHandler):
    """Knows no path."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def examine():
    """Examines a server that has these versions, in these states, with these signatures."""

    def examine(states, signatures=None, **options):
        handler = type(
            "Handler", (_ModelServer,), {"states": states, "signatures": signatures or {}}
        )
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            report = examine_server(f"http://127.0.0.1:{server.server_address[1]}", **options)
            server.shutdown()
        return report

    return examine


def only_finding(report):
    """The one thing that was found; it says what to do."""
    (finding,) = report.findings
    assert finding.why
    assert finding.do
    return finding


class TestReached:
    def test_nothing_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as freed:
            port = freed.getsockname()[1]
        for scheme in ("grpc", "http"):
            finding = only_finding(examine_server(f"{scheme}://127.0.0.1:{port}"))
            assert "no server could be reached" in finding.what
            assert "docker compose" in finding.do

    def test_something_that_does_not_answer(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            finding = only_finding(examine_server(url, timeout=0.3))
        assert "holds the port and does not answer" in finding.why

    def test_another_web_server(self) -> None:
        with http.server.HTTPServer(("127.0.0.1", 0), _WebServer) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            finding = only_finding(examine_server(f"http://127.0.0.1:{server.server_address[1]}"))
            server.shutdown()
        assert "the port is another's" in finding.why

    def test_an_address_that_is_none(self) -> None:
        with pytest.raises(InvalidInputError):
            examine_server("localhost:8500")


class TestStates:
    def test_a_wrong_name(self, examine, tmp_path) -> None:
        finding = only_finding(examine({1: ("AVAILABLE", "")}, model="mnist"))
        assert "does not know mnist" in finding.what
        finding = only_finding(
            examine({1: ("AVAILABLE", "")}, model="mnist", base=tmp_path / "kmnist")
        )
        assert finding.do == "ask for kmnist, as the folder is called: --model kmnist"

    def test_none_is_available(self, examine) -> None:
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
            (
                "Op type not registered 'NewOp' in binary running on server",
                "run a newer server, TF_SERVING_TAG",
            ),
            (
                "NodeDef mentions attr 'grad_a' not in Op<name=MatMul>; NodeDef: {{node MatMul}}",
                "run a newer server, TF_SERVING_TAG",
            ),
            (
                "GraphDef producer version 27 below min producer 2000 supported by TensorFlow",
                "run a newer server, TF_SERVING_TAG",
            ),
            ("Failed to process warmup: Invalid argument", "assets.extra"),
            ("Could not find SavedModel .pb or .pbtxt at supplied export directory", "copy it"),
            ("Read less bytes than requested", "copy it whole"),
            ("/models/kmnist/2/saved_model.pb; Permission denied", "chmod"),
            ("OOM when allocating tensor", "kmnist versions prune"),
            ("something else", "log"),
        ],
    )
    def test_why_a_version_could_not_be_loaded(self, examine, error, do) -> None:
        report = examine({1: ("AVAILABLE", ""), 2: ("END", error)}, {1: ["serving_default"]})
        finding = only_finding(report)
        assert finding.what == f"version 2 could not be loaded: {error}"
        assert do in finding.do

    def test_versions_differ(self, examine) -> None:
        states = {1: ("AVAILABLE", ""), 2: ("AVAILABLE", ""), 3: ("END", "")}
        report = examine(states, {1: ["serving_default"], 2: ["serving_default", "pixels"]})
        assert "version 1 differs from version 2" in only_finding(report).what

    def test_signatures_cannot_be_read(self, examine) -> None:
        finding = only_finding(examine({1: ("AVAILABLE", "")}))
        assert finding.what.startswith("the signatures of version 1 cannot be read: ")


@pytest.fixture(scope="module")
def served(models, tmp_path_factory):
    """The exported version as version 1 and 2, label stable on 1, behind both transports."""
    base = tmp_path_factory.mktemp("served") / "models" / "kmnist"
    shutil.copytree(models, base)
    shutil.copytree(base / "1", base / "2")
    ensure_model_config(base)
    label(base, {"stable": 1})
    with Server(base, grpc_port=0, rest_port=0, poll_seconds=3600) as server:
        yield server


@pytest.mark.parametrize("transport", ["grpc_url", "rest_url"])
def test_a_sound_server_is_healthy(served, transport) -> None:
    report = examine_server(getattr(served, transport), base=served.base)
    assert report.findings == []
    assert len(report.checks) == 8


@pytest.mark.parametrize("transport", ["grpc_url", "rest_url"])
def test_a_server_that_does_not_follow_its_folder(served, transport, tmp_path) -> None:
    base = tmp_path / "models" / "kmnist"
    shutil.copytree(served.base, base)
    shutil.copytree(base / "1", base / "3")
    ensure_model_config(base)
    label(base, {"stable": 2, "canary": 3})
    findings = examine_server(getattr(served, transport), base=base).findings
    assert [finding.what for finding in findings] == [
        f"it knows nothing of version 3 in {base}",
        f"the label canary is version 3 in {config_path(base)}, and unknown to it",
        f"the label stable is version 2 in {config_path(base)}, and version 1 to it",
    ]
    assert "--model_config_file_poll_wait_seconds" in findings[1].do
    shutil.rmtree(base / "1")
    assert list_versions(base) == [2, 3]
    whats = [
        finding.what for finding in examine_server(getattr(served, transport), base=base).findings
    ]
    assert f"it serves version 1, not in {base}" in whats


def test_the_wrong_kind_of_port(served) -> None:
    for url in (f"http://127.0.0.1:{served.grpc_port}", f"grpc://127.0.0.1:{served.rest_port}"):
        finding = only_finding(examine_server(url, timeout=3))
        assert "use grpc:// with port 8500 and http:// with port 8501" in finding.do
