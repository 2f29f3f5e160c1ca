"""nginx passes the requests of clients and no others; its own errors are JSON."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kmnist.server.page import PAGE_HEADERS

CONFIG = Path(__file__).parents[2] / "serving" / "nginx" / "nginx.conf"

Start = Callable[[str], int]

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed"),
]


class _ModelServer(BaseHTTPRequestHandler):
    """Respond with a description of the received request."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = json.dumps({"method": self.command, "path": self.path, "size": len(body)})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests free of requests."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a model server behind nginx."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _ModelServer) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield "127.0.0.1:{1}".format(*http_server.server_address)
        http_server.shutdown()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """``start(model_server)`` starts nginx with the project's configuration; returns its port."""
    running: list[subprocess.Popen[bytes]] = []

    def start(model_server: str) -> int:
        folder = tmp_path_factory.mktemp("nginx")
        folder.chmod(0o755)
        (folder / "index.html").write_text("<!doctype html>")
        (folder / "page.js").write_text("")
        (folder / ".hidden").write_text("")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        text = CONFIG.read_text()
        for pattern, value in {
            r"/tmp/": f"{folder}/",
            r"listen 8080": f"listen 127.0.0.1:{port}",
            r"serving:8501": model_server,
            r"/usr/share/nginx/html": str(folder),
            r"/dev/std(out|err)": f"{folder}/log",
        }.items():
            text, count = re.subn(pattern, value, text)
            assert count, pattern
        (folder / "nginx.conf").write_text(text)
        process = subprocess.Popen(
            ["nginx", "-c", folder / "nginx.conf", "-g", "daemon off; user root;"],
            stderr=subprocess.DEVNULL,
        )
        running.append(process)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        return port

    yield start
    for process in running:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def port(start: Start, server: str) -> int:
    """The port of nginx in front of the model server."""
    return start(server)


def _ask(
    port: int, method: str, path: str, body: bytes | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("addressed", ["", "/versions/12", "/labels/stable"])
def test_predict_status_and_metadata_requests_pass(port: int, addressed: str) -> None:
    path = f"/v1/models/kmnist{addressed}"
    for method, verb in (("POST", ":predict"), ("GET", ""), ("GET", "/metadata")):
        response, body = _ask(port, method, path + verb, b"{}" if verb == ":predict" else None)
        assert response.status == 200
        received = json.loads(body)
        assert (received["method"], received["path"]) == (method, path + verb)


def test_a_query_string_does_not_reach_the_server(port: int) -> None:
    _, body = _ask(port, "GET", "/v1/models/kmnist?x=1")
    assert json.loads(body)["path"] == "/v1/models/kmnist"


@pytest.mark.parametrize(
    "path",
    [
        "/monitoring/prometheus/metrics",
        "/v1/models/other",
        "/v1/models/kmnist:classify",
        "/v1/models/kmnist/labels/a%2fb",
        "/v1/models/kmnist/versions/latest",
        "/v1/models/kmnist/../other",
        "/v1/models/kmnist/%2e%2e/%2e%2e/%2e%2e/monitoring/prometheus/metrics",
        "/v1/config",
        "/nothing",
        "/error",
        "/.hidden",
    ],
)
def test_other_paths_do_not_pass(port: int, path: str) -> None:
    response, body = _ask(port, "GET", path)
    assert response.status == 404
    assert json.loads(body)["error"].startswith("Nothing here; expected / or /v1/models/kmnist")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/kmnist:predict"),
        ("POST", "/v1/models/kmnist"),
        ("DELETE", "/v1/models/kmnist"),
        ("POST", "/index.html"),
    ],
)
def test_other_methods_are_refused(port: int, method: str, path: str) -> None:
    response, body = _ask(port, method, path)
    assert response.status == 405
    assert "expected POST to predict" in json.loads(body)["error"]


def test_the_page_has_its_security_headers(port: int) -> None:
    for path, status in {"/": 200, "/page.js": 200, "/no": 404, "/v1/models/kmnist": 200}.items():
        response, _ = _ask(port, "GET", path)
        assert response.status == status
        headers = dict(response.getheaders())
        assert {name: headers.get(name) for name in PAGE_HEADERS} == PAGE_HEADERS
        assert response.getheader("Server") == "nginx"
    assert "javascript" in _ask(port, "GET", "/page.js")[0].getheader("Content-Type", "")


def test_a_body_of_16_mib_passes_and_a_larger_one_is_refused(port: int) -> None:
    path = "/v1/models/kmnist:predict"
    _, body = _ask(port, "POST", path, bytes(16 * 2**20))
    assert json.loads(body)["size"] == 16 * 2**20

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", str(16 * 2**20 + 1))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert "at most 16 MiB" in json.loads(response.read())["error"]
    connection.close()


def test_invalid_http_is_answered_with_json(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01 garbage\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1]) == {"error": "Malformed request"}
    assert _ask(port, "GET", "/v1/models/kmnist")[0].status == 200


def test_an_unreachable_server_is_reported(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = "127.0.0.1:{1}".format(*closed.getsockname())
    response, body = _ask(start(address), "GET", "/v1/models/kmnist")
    assert response.status == 502
    assert "cannot be reached" in json.loads(body)["error"]


def test_too_many_requests_from_one_address_are_refused(start: Start, server: str) -> None:
    port = start(server)
    statuses = {_ask(port, "GET", "/page.js")[0].status for _ in range(1000)}
    assert statuses == {200, 429}
