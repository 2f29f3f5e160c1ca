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
from contextlib import ExitStack
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeAlias

import pytest

from kmnist.server.page import PAGE_HEADERS

NGINX = Path(__file__).parents[2] / "serving" / "nginx"
API = "/v1/models/kmnist"
PREDICT = f"{API}:predict"

Start: TypeAlias = Callable[..., int]

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
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start nginx with the project's configuration and other addresses; return its port."""
    running = []

    def start(
        model_server: str,
        *,
        allow_host: str = "",
        allow_origin: str = "",
        limited: bool = True,
        page: bool = True,
        read_timeout: str = "35s",
    ) -> int:
        folder = tmp_path_factory.mktemp("nginx")
        folder.chmod(0o755)
        if page:
            (folder / "index.html").write_text("<!doctype html>")
        (folder / "page.js").write_text("")
        (folder / ".hidden").write_text("")
        environment = {
            "SERVING": model_server,
            "ALLOW_HOST": allow_host,
            "ALLOW_ORIGIN": allow_origin,
        }
        template = (NGINX / "templates" / "environment.conf.template").read_text()
        for name, value in environment.items():  # as the image of nginx does
            template = template.replace(f"${{{name}}}", value)
        (folder / "environment.conf").write_text(template)
        with (
            socket.create_server(("127.0.0.1", 0)) as first,
            socket.create_server(("127.0.0.1", 0)) as second,
        ):
            ports: tuple[int, int] = first.getsockname()[1], second.getsockname()[1]
        text = (NGINX / "nginx.conf").read_text()
        for pattern, value in {
            r"/tmp/": f"{folder}/",
            r"listen 8080": f"listen 127.0.0.1:{ports[0]}",
            r"proxy_read_timeout 35s": f"proxy_read_timeout {read_timeout}",
            r"listen 8081": f"listen 127.0.0.1:{ports[1]}",
            r"8081    \"\"": f'{ports[1]} ""',
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
        port = ports[0] if limited else ports[1]
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
    port: int, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, headers)
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


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9000", "app.localhost", "127.0.0.1:80", "192.168.1.5", "[::1]:8080"],
)
def test_names_of_this_machine_and_addresses_are_known_hosts(port: int, host: str) -> None:
    for path in (API, "/"):
        assert _ask(port, "GET", path, Host=host)[0].status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8080", "localhost.evil", "xlocalhost"]
)
def test_a_foreign_host_is_refused(port: int, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", API), ("POST", PREDICT), ("GET", "/no")):
        response, body = _ask(port, method, path, Host=host)
        assert response.status == 403
        assert "unknown name in the Host header" in json.loads(body)["error"]
        assert response.headers["Content-Type"] == "application/json"


def test_a_request_without_a_host_is_answered(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET {API} HTTP/1.0\r\n\r\n".encode())
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 200 ")


def test_the_page_itself_may_predict(port: int) -> None:
    for scheme, host in (("http", "localhost:8080"), ("https", "127.0.0.1")):
        response, _ = _ask(port, "POST", PREDICT, b"{}", Host=host, Origin=f"{scheme}://{host}")
        assert response.status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost:3000",
        "https://evil.example/localhost:8080",
        "http://localhost:80800",
        "null",
    ],
)
def test_a_page_of_another_origin_is_refused(port: int, origin: str) -> None:
    for method, path in (("POST", PREDICT), ("OPTIONS", PREDICT), ("GET", API)):
        response, body = _ask(port, method, path, b"", Host="localhost:8080", Origin=origin)
        assert response.status == 403
        assert "page of another site" in json.loads(body)["error"]
        assert response.getheader("Access-Control-Allow-Origin") is None


def test_hosts_and_origins_can_be_allowed(start: Start, server: str) -> None:
    port = start(
        server,
        allow_host=r"digits\.example|kmnist(\..*)?",
        allow_origin=r"https://shop\.example|http://localhost:3000",
    )
    for host in ("digits.example", "kmnist", "kmnist.default.svc"):
        assert _ask(port, "GET", API, Host=host)[0].status == 200
    for host in ("digitsxexample", "digits.example.evil", "evil.kmnist"):
        assert _ask(port, "GET", API, Host=host)[0].status == 403

    shop = {"Host": "digits.example", "Origin": "https://shop.example"}
    preflight, _ = _ask(port, "OPTIONS", PREDICT, None, **shop)
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Headers"] == "Content-Type"
    answer, _ = _ask(port, "POST", PREDICT, b"{}", **shop)
    assert answer.status == 200
    assert answer.getheader("Access-Control-Allow-Headers") is None
    for response in (preflight, answer):
        assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert response.headers["Vary"] == "Origin"
    evil = {"Host": "digits.example", "Origin": "https://shop.example.evil"}
    assert _ask(port, "POST", PREDICT, b"{}", **evil)[0].status == 403


def test_a_compressed_body_is_refused(port: int) -> None:
    response, body = _ask(port, "POST", PREDICT, b"\x1f\x8b", Content_Encoding="gzip")
    assert response.status == 415
    assert "without Content-Encoding" in json.loads(body)["error"]


def test_a_missing_server_is_reported(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = "127.0.0.1:{1}".format(*closed.getsockname())
    response, body = _ask(start(address), "GET", "/v1/models/kmnist")
    assert response.status == 502
    assert "cannot be reached" in json.loads(body)["error"]


def test_a_server_whose_address_is_silent_is_reported_in_the_same_way(start: Start) -> None:
    # With a full queue of connections, the kernel does not answer, as for the address of a
    # container that was removed.
    with socket.socket() as silent, ExitStack() as waiting:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        address = silent.getsockname()
        for _ in range(3):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        response, body = _ask(start("{}:{}".format(*address)), "GET", API)
    assert response.status == 502
    assert "cannot be reached" in json.loads(body)["error"]


def test_a_server_that_connects_and_does_not_answer_is_late(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = "127.0.0.1:{1}".format(*mute.getsockname())
        response, body = _ask(start(address, read_timeout="100ms"), "GET", API)
    assert response.status == 504
    assert "did not answer in time" in json.loads(body)["error"]


def test_the_rate_of_one_address_is_limited(start: Start, server: str) -> None:
    port = start(server)
    statuses = {_ask(port, "GET", "/page.js")[0].status for _ in range(1000)}
    assert statuses == {200, 429}


def test_the_port_for_this_machine_has_no_rate(start: Start, server: str) -> None:
    port = start(server, limited=False)
    assert {_ask(port, "GET", "/page.js")[0].status for _ in range(1000)} == {200}
    assert _ask(port, "POST", PREDICT, b"{}", Origin="http://evil.example")[0].status == 403


def test_without_the_page_the_api_is_forwarded(start: Start, server: str) -> None:
    port = start(server, page=False)
    response, body = _ask(port, "GET", "/")
    assert response.status == 404
    assert json.loads(body)["error"].startswith("Not found")
    assert _ask(port, "GET", API)[0].status == 200
