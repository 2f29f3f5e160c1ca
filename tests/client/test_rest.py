"""What the REST transport sends, and how it reads what is not TensorFlow Serving's."""

import http.server
import json
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from kmnist.client import Client, TensorSpec, VersionStatus
from kmnist.errors import BadAnswerError, ServerError
from tests.client.conftest import Make


class Canned(http.server.BaseHTTPRequestHandler):
    """Answers every request with ``answers[path]``, and keeps the bodies of the requests."""

    answers: dict[str, bytes]
    bodies: list[bytes]

    def do_GET(self) -> None:
        """Answer a request."""
        self.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
        content = self.answers.get(self.path, self.answers.get("", b""))
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 - named by http.server

    def log_message(self, *_args: object) -> None:
        """Log nothing."""


@pytest.fixture
def canned() -> Iterator[tuple[type[Canned], str]]:
    """The handler of a server, and its address."""
    handler = type("Handler", (Canned,), {"answers": {}, "bodies": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield handler, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def metadata(**inputs: dict[str, object]) -> bytes:
    """Return the JSON of the signature ``serving_default``."""
    outputs = {"p": {"dtype": "DT_FLOAT", "tensor_shape": {"unknown_rank": True}}}
    definitions = {
        "serving_default": {"inputs": inputs, "outputs": outputs, "method_name": "predict"},
        "__saved_model_init_op": {},
    }
    found = {
        "@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap",
        "signature_def": definitions,
    }
    return json.dumps(
        {"model_spec": {"name": "m", "version": "3"}, "metadata": {"signature_def": found}}
    ).encode()


IMAGES = {
    "dtype": "DT_UINT8",
    "tensor_shape": {"dim": [{"size": s, "name": ""} for s in ("-1", "1", "2")]},
}
ANSWER = {"outputs": {"probabilities": [[0.5, 0]], "class_ids": [0], "class_names": ["ö"]}}


def test_a_request_has_the_column_format(make: Make, canned: tuple[type[Canned], str]) -> None:
    handler, url = canned
    start = "/up/v1/models/a%2Fb/labels/x%20y"
    handler.answers |= {
        f"{start}/metadata": metadata(images=IMAGES),
        f"{start}:predict": json.dumps(ANSWER).encode(),
    }
    client = make(f"{url}/up/", model="a/b", label="x y")
    found = client.metadata()
    assert (found.version, list(found.signatures)) == (3, ["serving_default"])
    assert found.signatures["serving_default"].inputs == {
        "images": TensorSpec("DT_UINT8", (None, 1, 2))
    }
    assert found.signatures["serving_default"].outputs == {"p": TensorSpec("DT_FLOAT", None)}
    (prediction,) = client.predict(np.array([[0, 255]], np.uint8))
    assert prediction == (0, "ö", 0.5)
    assert json.loads(handler.bodies[-1]) == {
        "signature_name": "serving_default",
        "inputs": {"images": [[[0, 255]]]},
    }


def test_statuses_are_read(canned: tuple[type[Canned], str]) -> None:
    handler, url = canned
    failed = {"error_code": "INTERNAL", "error_message": "broken"}
    versions = [
        {"version": "2", "state": "END", "status": failed},
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK"}},
    ]
    handler.answers[""] = json.dumps({"model_version_status": versions}).encode()
    with Client(url) as client:
        assert client.status() == [
            VersionStatus(2, "END", "INTERNAL", "broken"),
            VersionStatus(1, "AVAILABLE"),
        ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"outputs": ',
        b'{"predictions": [1]}',
        b'{"outputs": 3}',
        b'{"outputs": {"probabilities": [[1], [1, 2]]}}',
        b'{"outputs": {"probabilities": [null]}}',
        b'{"model_spec": {}, "metadata": []}',
        b'{"model_version_status": [{"version": "x"}]}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=range(11),
)
def test_an_answer_that_is_not_tensorflow_servings(
    canned: tuple[type[Canned], str], body: bytes
) -> None:
    handler, url = canned
    with Client(url) as client:
        handler.answers[""] = body
        if b"model_version_status" in body:
            with pytest.raises(BadAnswerError):
                client.status()
        with pytest.raises(BadAnswerError):
            client.metadata()
        handler.answers["/v1/models/kmnist/metadata"] = metadata(images=IMAGES)
        with pytest.raises(BadAnswerError):
            client.predict(np.zeros((1, 1, 2), np.uint8))


def test_an_error_after_the_status_was_sent(canned: tuple[type[Canned], str]) -> None:
    handler, url = canned
    handler.answers[""] = b'{"error": "broken"}'
    with Client(url) as client, pytest.raises(ServerError, match="the server failed: broken"):
        client.metadata()
