"""nginx forwards only what clients need, and its own errors are JSON."""

import hashlib
import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

from kmnist.server import Server
from kmnist.server.page import PAGE_HEADERS

NGINX = Path(__file__).parents[2] / "serving" / "nginx"
MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")
API = "/v1/models/kmnist"
PREDICT = f"{API}:predict"


class Nginx(NamedTuple):
    """A running nginx."""

    port: int
    rest_port: int  # without a limit on the rate
    log: Path
    process: subprocess.Popen[bytes]


Start: TypeAlias = Callable[..., Nginx]

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(
        not (shutil.which("nginx") and MODULE.exists()),
        reason="nginx, or its module for JavaScript, is not installed",
    ),
]


class _ModelServer(BaseHTTPRequestHandler):
    """Answer with the request as received."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        received = {"method": self.command, "path": self.path, "body": _digest(body)}
        answer = json.dumps(received)
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a model server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _ModelServer) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield "127.0.0.1:{1}".format(*http_server.server_address)
        http_server.shutdown()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start nginx with the project's configuration and other addresses."""
    running = []

    def start(
        model_server: str,
        *,
        page: bool = True,
        config: str = (NGINX / "nginx.conf").read_text(),
        read_timeout: str = "35s",
        **allowed: str,
    ) -> Nginx:
        folder = tmp_path_factory.mktemp("nginx")
        folder.chmod(0o755)
        for name in ("index.html", "page.js", ".hidden") if page else ():
            (folder / name).write_text("")
        with ExitStack() as stack:
            free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
            ports: list[int] = [listener.getsockname()[1] for listener in free]
        config = config.replace("proxy_read_timeout 35s", f"proxy_read_timeout {read_timeout}")
        _configure(folder, ports, config, {"SERVING": model_server} | allowed)
        command = ["nginx", "-c", str(folder / "nginx.conf"), "-g", "daemon off; user root;"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        running.append(process)
        _wait_for(ports[0])
        return Nginx(ports[0], ports[1], folder / "log", process)

    yield start
    for process in running:
        process.terminate()
        process.wait()


def _configure(folder: Path, ports: list[int], text: str, environment: dict[str, str]) -> None:
    """Write a configuration, with the environment as the image of nginx puts it in."""
    template = (NGINX / "templates" / "environment.conf.template").read_text()
    environment = {"ALLOW_HOST": "", "ALLOW_ORIGIN": "", **environment}
    (folder / "environment.conf").write_text(
        re.sub(r"\$\{(\w+)\}", lambda variable: environment[variable[1]], template)
    )
    for pattern, value in {
        r"/tmp/": f"{folder}/",
        r"listen 8080": f"listen 127.0.0.1:{ports[0]}",
        r"listen 8081": f"listen 127.0.0.1:{ports[1]}",
        r'8081 ""': f'{ports[1]} ""',
        r"/etc/nginx/depth.js": str(NGINX / "depth.js"),
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
    return start(server).port


def _ask(
    port: int, method: str, path: str, body: bytes | Iterable[bytes] | None = None, **headers: str
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
    body: bytes | Iterable[bytes] | None = None,
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


MIB = 2**20
BEGIN = b'{"instances":'
IMAGE = [[[[0] for _ in range(28)] for _ in range(28)]]  # one channel


@pytest.mark.parametrize("chunked", [False, True], ids=["", "chunked"])
@pytest.mark.parametrize(
    "body",
    {
        "8 arrays": BEGIN + 8 * b"[" + b"0" + 8 * b"]" + b"}",
        "images": json.dumps({"instances": IMAGE}).encode(),
        "indented images": json.dumps({"instances": IMAGE}, indent=8).encode(),
        "base64": BEGIN + b'[{"b64":"' + MIB * b"A" + b'"}]}',
        "deep objects": 18_750 * b'{"a":',  # these three do not disturb TensorFlow Serving
        "deep second elements": BEGIN + 18_750 * b"[0,",
        "objects in arrays": 18_750 * b'[{"a":',
        "UTF-8": '{"é漢😀": 1}'.encode(),
        "not UTF-8": bytes(range(256)),
        "nothing": b"",
        "8 arrays and blanks": 8 * (b"[" + (2 * MIB - 2) * b" "),
        "the longest": 16 * MIB * b"0",
    }.items(),
    ids=lambda body: body[0],
)
def test_a_body_is_forwarded_as_it_is(port: int, body: tuple[str, bytes], chunked: bool) -> None:
    response, answer = _ask(port, "POST", PREDICT, _sent(body[1], chunked))
    assert response.status == 200
    assert json.loads(answer)["body"] == _digest(body[1])


def _sent(body: bytes, chunked: bool) -> bytes | Iterator[bytes]:
    """Return a body of known length, or pieces that are sent as chunks."""
    if not chunked:
        return body
    return (body[start : start + 2**16] for start in range(0, len(body), 2**16))


@pytest.mark.parametrize("chunked", [False, True], ids=["", "chunked"])
@pytest.mark.parametrize(
    "body",
    {
        "9 arrays": BEGIN + 9 * b"[" + b"0" + 9 * b"]" + b"}",
        "36 kB": BEGIN + 18_750 * b"[" + 18_750 * b"]" + b"}",
        "a million": BEGIN + 1_000_000 * b"[",
        "of an input": b'{"inputs":{"images":' + 18_750 * b"[",
        "white space": BEGIN + 18_750 * b"[ \t\r\n",
        "15 MB of blanks": BEGIN + 18_750 * (b"[" + 800 * b" "),
        "after 8 arrays and blanks": BEGIN + 8 * (b"[" + MIB * b" ") + b"0" + 18_750 * b"[",
        "after honest arrays": BEGIN + b"[" + 1_000_000 * b"[0]," + 18_750 * b"[",
        "after what is not UTF-8": b'{"\0\xff":0,"instances":' + 18_750 * b"[",
    }.items(),
    ids=lambda body: body[0],
)
def test_json_that_ends_tensorflow_serving_is_refused(
    port: int, body: tuple[str, bytes], chunked: bool
) -> None:
    sent = _sent(body[1], chunked)
    response = _refuse(400, "nested too deeply: at most 8 arrays", port, "POST", PREDICT, sent)
    assert response.getheader("X-Content-Type-Options") == "nosniff"


def test_a_body_of_more_than_16_mib_is_refused(port: int) -> None:
    for body in ({"Content_Length": str(16 * MIB + 1)}, {"body": _sent(17 * MIB * b"0", True)}):
        arguments: Any = body
        _refuse(413, "larger than 16 MiB", port, "POST", PREDICT, **arguments)


def _hold(port: int, size: int, stack: ExitStack) -> None:
    """Send a request without its body, and wait until nginx reads on."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n"
    connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 100"


def test_sixteen_large_bodies_are_read_at_a_time(start: Start, server: str) -> None:
    port = start(server).port
    large = 4_000_000 * b"0"
    with ExitStack() as stack:
        for _ in range(16):
            _hold(port, len(large), stack)
        for body in (large, _sent(b"{}", True)):
            _refuse(429, "try again", port, "POST", PREDICT, body)
        assert _ask(port, "POST", PREDICT, large[1:])[0].status == 200


def test_an_address_has_64_connections(start: Start, server: str) -> None:
    port = start(server).port
    with ExitStack() as stack:
        for _ in range(64):
            _hold(port, 2, stack)
        _refuse(429, "try again", port, "POST", PREDICT, b"{}")


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
    return start(server, page=False, ALLOW_HOST=hosts, ALLOW_ORIGIN=origins).port


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


def test_the_page_predicts_with_kmnist_serve_behind(start: Start, served: Server) -> None:
    port = start(served.rest_url.removeprefix("http://")).port
    body = (NGINX.parents[1] / "examples" / "seven.json").read_bytes()
    response, answer = _ask(port, "POST", PREDICT, body, Origin=f"http://127.0.0.1:{port}")
    assert response.status == 200
    assert json.loads(answer)["predictions"]


def test_a_compressed_body_is_refused(port: int) -> None:
    says = "without Content-Encoding"
    _refuse(415, says, port, "POST", PREDICT, b"\x1f\x8b", Content_Encoding="gzip")


def test_a_server_that_refuses_connections_is_reported(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = "127.0.0.1:{1}".format(*closed.getsockname())
    _refuse(502, "cannot be reached", start(address).port, "GET", API)


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
        _refuse(502, "cannot be reached", start("{}:{}".format(*address)).port, "GET", API)


def test_a_server_that_connects_and_does_not_answer_is_late(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = "127.0.0.1:{1}".format(*mute.getsockname())
        port = start(address, read_timeout="100ms").port
        _refuse(504, "did not answer in time", port, "GET", API)


def test_the_rate_of_one_address_is_limited_except_on_the_port_for_this_machine(
    start: Start, server: str
) -> None:
    nginx = start(server)
    for port, expected in ((nginx.rest_port, {200}), (nginx.port, {200, 429})):
        assert {_ask(port, "GET", "/page.js")[0].status for _ in range(1000)} == expected


def test_health_checks_are_logged_only_if_they_fail(start: Start, server: str) -> None:
    nginx = start(server)
    for agent in ("Wget", "kube-probe/1.34", "curl/8.0"):
        assert _ask(nginx.port, "GET", API, User_Agent=agent)[0].status == 200
    _ask(nginx.port, "GET", "/no", User_Agent="Wget")
    nginx.process.send_signal(signal.SIGQUIT)  # ends after it has written its log
    nginx.process.wait()
    requests = [line.split('"') for line in nginx.log.read_text().splitlines() if '"GET ' in line]
    assert [(request[1].split()[1], request[5]) for request in requests] == [
        (API, "curl/8.0"),
        ("/no", "Wget"),
    ]


def test_a_part_of_the_requests_can_go_to_a_canary(start: Start, server: str) -> None:
    docs = (NGINX.parents[1] / "docs" / "serving.md").read_text()
    [block] = re.findall(r"^```nginx\n(split_clients .*?)^```$", docs, re.DOTALL | re.MULTILINE)
    before, location = block.replace("5%", "50%").split("location @predict {")
    config = (NGINX / "nginx.conf").read_text()
    config = config.replace("    server {\n", before + "    server {\n", 1)
    config, count = re.subn(
        r"location @predict \{[^}]*\}", f"location @predict {{{location}", config
    )
    assert count == 1
    port = start(server, config=config).port

    def asked(path: str) -> str:
        received: str = json.loads(_ask(port, "POST", path, b"{}")[1])["path"]
        return received

    labels = {f"{API}/labels/{label}:predict" for label in ("stable", "canary")}
    assert {asked(PREDICT) for _ in range(100)} == labels
    assert asked(f"{API}/versions/3:predict") == f"{API}/versions/3:predict"
    _refuse(400, "nested too deeply", port, "POST", PREDICT, 9 * b"[")
