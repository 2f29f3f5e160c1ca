"""The names of a server's models."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from kmnist.doctor import find_models
from kmnist.server import Server

# As TensorFlow Serving writes them once a model is loaded and requests were made.
METRICS = b"""# TYPE :tensorflow:cc:saved_model:load_attempt_count counter
:tensorflow:cc:saved_model:load_attempt_count{model_path="/models/digits/1",status="success"} 1
:tensorflow:cc:saved_model:load_attempt_count{model_path="/models/gone/2",status="success"} 1
# TYPE :tensorflow:serving:request_count counter
:tensorflow:serving:request_count{model_name="fashion",status="OK"} 3
"""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer as TensorFlow Serving with the models digits and fashion, and with metrics."""

    metrics = METRICS

    def do_GET(self) -> None:
        if self.path in ("/v1/models/digits", "/v1/models/fashion"):
            self.answer(200, b'{"model_version_status": []}')
        elif self.path == "/monitoring/prometheus/metrics" and self.metrics:
            self.answer(200, self.metrics)
        else:
            self.answer(404, b'{"error": "Could not find any versions of model x"}')

    def answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests free of requests."""


@pytest.fixture(params=[METRICS, b""], ids=["metrics", "no metrics"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    handler = type("Handler", (Handler,), {"metrics": request.param})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_names_are_taken_from_metrics_and_candidates(
    url: str, request: pytest.FixtureRequest
) -> None:
    from_metrics = ["digits", "fashion"] if "no metrics" not in request.node.name else []
    assert find_models(url) == from_metrics
    assert sorted({*find_models(url, ["fashion", "none"])}) == sorted({*from_metrics, "fashion"})


def test_the_model_of_the_embedded_server_is_found(served: Server) -> None:
    assert find_models(served.rest_url) == [served.name]
    assert find_models(f"{served.rest_url},127.0.0.1:1") == [served.name]
    assert find_models(served.grpc_url, ["other", served.name]) == [served.name]


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_is_down_has_no_models(scheme: str) -> None:
    assert find_models(f"{scheme}://127.0.0.1:1", ["kmnist"]) == []
