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
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a model server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _ModelServer) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield "127.0.0.1:{1}".format(*http_server.server_address)
        http_server.shutdown()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start nginx with the project's configuration and other addresses; return its port."""
    running = []

    def start(
        model_server: str, *, page: bool = True, read_timeout: str = "35s", **allowed: str
    ) -> int:
        folder = tmp_path_factory.mktemp("nginx")
        folder.chmod(0o755)
        for name in ("index.html", "page.js", ".hidden") if page else ():
            (folder / name).write_text("")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        _configure(folder, port, read_timeout, {"SERVING": model_server} | allowed)
        command = ["nginx", "-c", str(folder / "nginx.conf"), "-g", "daemon off; user root;"]
        running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        _wait_for(port)
        return port

    yield start
    for process in running:
        process.terminate()
        process.wait()


def _configure(folder: Path, port: int, timeout: str, environment: dict[str, str]) -> None:
    """Write the project's configuration, with the environment as the image of nginx puts it in."""
    template = (NGINX / "templates" / "environment.conf.template").read_text()
    environment = {"ALLOW_HOST": "", "ALLOW_ORIGIN": "", **environment}
    (folder / "environment.conf").write_text(
        re.sub(r"\$\{(\w+)\}", lambda variable: environment[variable[1]], template)
    )
    text = (NGINX / "nginx.conf").read_text()
    for pattern, value in {
        r"/tmp/": f"{folder}/",
        r"listen 8080": f"listen 127.0.0.1:{port}",
        r"proxy_read_timeout 35s": f"proxy_read_timeout {timeout}",
        r"/usr/share/nginx/html": str(folder),
        r"/dev/std(out|err)": f"{folder}/log",
    }.items():
        text, count = re.subn(pattern, value, text)
        assert count, pattern
    (folder / "nginx.conf").write_text(text)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise AssertionError("nginx did not start")


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


def _refuse(
    status: int,
    says: str,
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    **headers: str,
) -> HTTPResponse:
    """Check that a request gets an error as JSON; return the response."""
    response, answer = _ask(port, method, path, body, **headers)
    assert response.status == status
    assert response.headers["Content-Type"] == "application/json"
    assert says in json.loads(answer)["error"]
    return response


@pytest.mark.parametrize("version", ["", "/versions/12", "/labels/stable"])
def test_predict_status_and_metadata_are_forwarded(port: int, version: str) -> None:
    path = f"/v1/models/kmnist{version}"
    for method, verb in (("POST", ":predict"), ("GET", ""), ("GET", "/metadata")):
        query = "?x=1"  # is not forwarded
        body = b"{}" if verb == ":predict" else None
        response, answer = _ask(port, method, path + verb + query, body)
        assert response.status == 200
        received = json.loads(answer)
        assert (received["method"], received["path"]) == (method, path + verb)


@pytest.mark.parametrize(
    "path",
    [
        "/monitoring/prometheus/metrics",
        "/v1/models/other",
        "/v1/models/kmnist:classify",
        "/v1/models/kmnist/labels/a%2fb",
        "/v1/models/kmnist/%2e%2e/%2e%2e/%2e%2e/monitoring/prometheus/metrics",
        "/nothing",
        "/error",
        "/.hidden",
    ],
)
def test_other_paths_are_not_forwarded(port: int, path: str) -> None:
    _refuse(404, "Not found: the paths are / and /v1/models/kmnist", port, "GET", path)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", PREDICT), ("POST", API), ("DELETE", API), ("POST", "/index.html")],
)
def test_other_methods_are_refused(port: int, method: str, path: str) -> None:
    _refuse(405, "use POST to predict", port, method, path)


def test_every_answer_has_the_security_headers(port: int) -> None:
    for path, status in {"/": 200, "/page.js": 200, "/no": 404, "/v1/models/kmnist": 200}.items():
        response, _ = _ask(port, "GET", path)
        assert response.status == status
        headers = dict(response.getheaders())
        assert {name: headers.get(name) for name in PAGE_HEADERS} == PAGE_HEADERS
        assert response.getheader("Server") == "nginx"
    assert "javascript" in _ask(port, "GET", "/page.js")[0].headers["Content-Type"]


def test_a_body_of_16_mib_is_forwarded_and_a_larger_one_is_refused(port: int) -> None:
    _, body = _ask(port, "POST", PREDICT, bytes(16 * 2**20))
    assert json.loads(body)["size"] == 16 * 2**20
    _refuse(413, "larger than 16 MiB", port, "POST", PREDICT, Content_Length=str(16 * 2**20 + 1))


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"\x16\x03\x01 garbage\r\n\r\n", b"HTTP/1.1 400 "),
        (f"GET {API} HTTP/1.0\r\n\r\n".encode(), b"HTTP/1.1 200 "),
    ],
    ids=["not HTTP", "no Host header"],
)
def test_unusual_requests_get_json(port: int, sent: bytes, answered: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        answer = connection.makefile("rb").read()
    assert answer.startswith(answered)
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9000", "app.localhost", "127.0.0.1:80", "192.168.1.5", "[::1]:8080"],
)
def test_the_page_may_predict_under_the_names_of_this_machine(port: int, host: str) -> None:
    assert _ask(port, "GET", "/", Host=host)[0].status == 200
    for scheme in ("http", "https"):
        headers = {"Host": host, "Origin": f"{scheme}://{host}"}
        assert _ask(port, "POST", PREDICT, b"{}", **headers)[0].status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8080", "localhost.evil", "xlocalhost"]
)
def test_a_foreign_host_is_refused(port: int, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", API), ("POST", PREDICT), ("GET", "/no")):
        _refuse(403, "the Host header names neither localhost", port, method, path, Host=host)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost:3000",
        "https://evil.example/localhost:8080",
        "null",
    ],
)
def test_a_page_of_another_origin_is_refused(port: int, origin: str) -> None:
    headers = {"Host": "localhost:8080", "Origin": origin}
    for method, path in (("POST", PREDICT), ("OPTIONS", PREDICT), ("GET", API)):
        response = _refuse(403, "page of another site", port, method, path, b"", **headers)
        assert response.getheader("Access-Control-Allow-Origin") is None


@pytest.fixture(scope="module")
def opened(start: Start, server: str) -> int:
    """The port of an nginx without the page that allows some hosts and origins."""
    origins = r"https://shop\.example|http://localhost:3000"
    hosts = r"digits\.example|kmnist(\..*)?"
    return start(server, page=False, ALLOW_HOST=hosts, ALLOW_ORIGIN=origins)


def test_hosts_can_be_allowed(opened: int) -> None:
    _refuse(404, "Not found", opened, "GET", "/", Host="kmnist")  # has no page
    for host in ("digits.example", "kmnist", "kmnist.default.svc"):
        assert _ask(opened, "GET", API, Host=host)[0].status == 200
    for host in ("digitsxexample", "digits.example.evil", "evil.kmnist"):
        assert _ask(opened, "GET", API, Host=host)[0].status == 403


def test_origins_can_be_allowed(opened: int) -> None:
    shop = {"Host": "digits.example", "Origin": "https://shop.example"}
    preflight, _ = _ask(opened, "OPTIONS", PREDICT, None, **shop)
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Headers"] == "Content-Type"
    answer, _ = _ask(opened, "POST", PREDICT, b"{}", **shop)
    assert answer.status == 200
    for response in (preflight, answer):
        assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert response.headers["Vary"] == "Origin"
    evil = {"Host": "digits.example", "Origin": "https://shop.example.evil"}
    assert _ask(opened, "POST", PREDICT, b"{}", **evil)[0].status == 403


def test_a_compressed_body_is_refused(port: int) -> None:
    says = "without Content-Encoding"
    _refuse(415, says, port, "POST", PREDICT, b"\x1f\x8b", Content_Encoding="gzip")


def test_a_server_that_refuses_connections_is_reported(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = "127.0.0.1:{1}".format(*closed.getsockname())
    _refuse(502, "cannot be reached", start(address), "GET", API)


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
        _refuse(502, "cannot be reached", start("{}:{}".format(*address)), "GET", API)


def test_a_server_that_connects_and_does_not_answer_is_late(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = "127.0.0.1:{1}".format(*mute.getsockname())
        port = start(address, read_timeout="100ms")
        _refuse(504, "did not answer in time", port, "GET", API)


def test_the_rate_of_one_address_is_limited(start: Start, server: str) -> None:
    port = start(server)
    statuses = {_ask(port, "GET", "/page.js")[0].status for _ in range(1000)}
    assert statuses == {200, 429}
