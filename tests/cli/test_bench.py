"""``kmnist bench``: what it measures, and which failures it reports."""

import json
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread

import pytest
from click.testing import CliRunner, Result

from kmnist.cli import main
from kmnist.server import Server


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, arguments), "--duration", "0.3"])


def test_the_servers_are_the_rows_of_a_table(served: Server) -> None:
    done = bench("--server", served.grpc_url, "--server", served.rest_url, "--images", 3)
    assert done.exit_code == 0, done.stderr
    header, *rows = done.stdout.splitlines()
    assert header.split()[:3] == ["server", "requests/s", "images/s"]
    assert [row.split()[0] for row in rows] == [served.grpc_url, served.rest_url]


def test_json_has_the_load_and_the_results(served: Server) -> None:
    done = bench("--server", served.grpc_url, "--images", 3, "--concurrency", 2, "--json")
    assert done.stderr == ""
    output = json.loads(done.stdout)
    (result,) = output.pop("results")
    latency = result["latency_ms"]
    assert result["requests"] > 0
    assert result["images_per_second"] == pytest.approx(3 * result["requests_per_second"])
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert result["failures"] == {}
    assert output == {"images": 3, "concurrency": 2, "duration": 0.3}


@pytest.fixture
def failing(served: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a proxy that answers every second prediction with a status and an error."""
    status, error = request.param
    predictions = count()

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.forward(None)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if next(predictions) % 2:
                self.answer(status, json.dumps({"error": error}).encode())
            else:
                self.forward(body)

        def forward(self, body: bytes | None) -> None:
            with urllib.request.urlopen(served.rest_url + self.path, body) as answer:
                self.answer(200, answer.read())

        def answer(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("failing", "name", "code"),
    [
        ((503, "Server Threadpool Exhausted"), "OverloadedError", 0),
        ((500, "a fault"), "ServerError", 1),
    ],
    indirect=["failing"],
)
def test_a_failure_counts_unless_it_is_caused_by_load(failing: str, name: str, code: int) -> None:
    done = bench("--server", failing, "--json", "--duration", "0.3")
    (result,) = json.loads(done.stdout)["results"]
    assert result["failures"][name] == sum(result["failures"].values())
    assert done.exit_code == code
    assert (f"× {name}" in done.stderr) == bool(code)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--server grpc://127.0.0.1:1", 1, "127.0.0.1:1: Connection refused"),
        ("--server localhost", 2, "without a scheme"),
        ("--images 0", 2, "1<=x"),
    ],
)
def test_a_failure_is_one_line(arguments: str, code: int, message: str) -> None:
    done = bench(*arguments.split())
    assert done.exit_code == code
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("measuring")]
    assert message in line
