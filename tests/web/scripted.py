"""A server of the page whose responses a test sets, and that it can stop."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from kmnist.server.page import MODEL_PATH, PAGE_HEADERS, read_page_file

__all__ = ["Answer", "ScriptedServer", "available", "predicts"]

Answer = tuple[int, Any]  # HTTP status and JSON value

_MODEL = "/v1/models/kmnist"


def available(version: int, state: str = "AVAILABLE", error: str = "") -> dict[str, Any]:
    """Return the status of a version in the form of TensorFlow Serving."""
    code = "UNKNOWN" if error else "OK"
    status = {"error_code": code, "error_message": error}
    return {"version": str(version), "state": state, "status": status}


class ScriptedServer:
    """A server that uses the same port after a restart.

    Attributes:
        status: The response to a status request.
        signatures: The signatures in the response to a metadata request.
        predict: Returns the response to a predict request; runs in its own thread, so it may block.
        model: The name of the model in ``model.json``; None for no such file.
        csp: The Content-Security-Policy of the page.
    """

    def __init__(self) -> None:
        self.status: Answer = (200, {"model_version_status": [available(1)]})
        self.signatures: dict[str, Any] = {"pictures": {}}
        self.predict: Callable[[Any], Answer] = predicts("7", [0.0] * 7 + [1.0, 0.0, 0.0])
        self.model: str | None = "kmnist"
        self.csp = PAGE_HEADERS["Content-Security-Policy"]
        self._port = 0
        self._http: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen on the port of the last start, if any."""
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == _MODEL:
                    self._json(*script.status)
                elif self.path == f"{_MODEL}/metadata":
                    signatures = {"signature_def": script.signatures}
                    self._json(200, {"metadata": {"signature_def": signatures}})
                elif self.path == MODEL_PATH:
                    name = script.model
                    self._json(*(200, {"model": name}) if name else (404, {"error": "not found"}))
                elif file := read_page_file(self.path):
                    self._send(200, *file)
                else:
                    self._json(404, {"error": "not found"})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._json(*script.predict(json.loads(body)))

            def _json(self, status: int, value: Any) -> None:
                self._send(status, json.dumps(value).encode(), "application/json")

            def _send(self, status: int, body: bytes, media_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Security-Policy", script.csp)
                self.end_headers()
                with suppress(ConnectionError):  # the page has aborted the request
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the output of the tests free of requests."""

        self._http = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None


def predicts(name: str, probabilities: list[float], **more: Any) -> Callable[[Any], Answer]:
    """Return a predict function with these probabilities; ``name`` is that of the best class."""
    outputs = {
        "probabilities": [probabilities],
        "class_ids": [probabilities.index(max(probabilities))],
        "class_names": [name],
        **more,
    }
    return lambda _: (200, {"outputs": outputs})
