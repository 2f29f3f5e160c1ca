"""nginx forwards only what clients need, and its own errors are JSON."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kmnist.server.page import PAGE_HEADERS

CONFIG = Path(__file__).parents[2] / "serving" / "nginx" / "nginx.conf"

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed"),
]


class _ModelServer(BaseHTTPRequestHandler):
    """Answer with the request as received."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = json.dumps({"method": self.command, "path": self.path, "size": len(body)})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a fake model server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _ModelServer) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield "127.0.0.1:{1}".format(*http_server.server_address)
        http_server.shutdown()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], int]]:
    """Start nginx with the project's configuration and other addresses; return its port."""
    running = []

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
def port(start: Callable[[str], int], server: str) -> int:
    """The port of nginx in front of the model server."""
    return start(server)


def _ask(
    port: int, method: str, path: str, body: bytes | None = None
) -> tuple[HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("version", ["", "/versions/12", "/labels/stable"])
def test_predict_status_and_metadata_are_forwarded(port: int, version: str) -> None:
    path = f"/v1/models/kmnist{version}"
    for method, verb in (("POST", ":predict"), ("GET", ""), ("GET", "/metadata")):
        response, body = _ask(port, method, path + verb, b"{}" if verb == ":predict" else None)
        assert response.status == 200
        received = json.loads(body)
        assert (received["method"], received["path"]) == (method, path + verb)


def test_the_query_string_is_not_forwarded(port: int) -> None:
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
def test_other_paths_are_not_forwarded(port: int, path: str) -> None:
    response, body = _ask(port, "GET", path)
    assert response.status == 404
    assert json.loads(body)["error"].startswith("Not found; expected / or /v1/models/kmnist")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/kmnist:predict"),
        ("POST", "/v1/models/kmnist"),
        ("DELETE", "/v1/models/kmnist"),
        ("POST", "/index.html"),
    ],
)
def test_other_methods_are_rejected(port: int, method: str, path: str) -> None:
    response, body = _ask(port, method, path)
    assert response.status == 405
    assert "expected POST to predict" in json.loads(body)["error"]


def test_every_answer_has_the_security_headers(port: int) -> None:
    for path, status in {"/": 200, "/page.js": 200, "/no": 404, "/v1/models/kmnist": 200}.items():
        response, _ = _ask(port, "GET", path)
        assert response.status == status
        headers = dict(response.getheaders())
        assert {name: headers.get(name) for name in PAGE_HEADERS} == PAGE_HEADERS
        assert response.getheader("Server") == "nginx"
    assert "javascript" in _ask(port, "GET", "/page.js")[0].headers["Content-Type"]


def test_a_body_of_16_mib_is_forwarded_and_a_larger_one_is_rejected(port: int) -> None:
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


def test_a_request_that_cannot_be_parsed_gets_json(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01 garbage\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1]) == {"error": "Malformed request"}
    assert _ask(port, "GET", "/v1/models/kmnist")[0].status == 200


def test_a_missing_server_is_reported(start: Callable[[str], int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = "127.0.0.1:{1}".format(*closed.getsockname())
    response, body = _ask(start(address), "GET", "/v1/models/kmnist")
    assert response.status == 502
    assert "cannot be reached" in json.loads(body)["error"]


def test_the_rate_of_one_address_is_limited(start: Callable[[str], int], server: str) -> None:
    port = start(server)
    statuses = {_ask(port, "GET", "/page.js")[0].status for _ in range(1000)}
    assert statuses == {200, 429}
