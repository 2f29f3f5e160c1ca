"""The REST transport: TensorFlow Serving's API under ``/v1``, the metrics, the drawing page."""

import asyncio
import json
import logging
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote

import grpc
from aiohttp import web
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from kmnist.protocol import serving_pb2 as pb
from kmnist.server.json_tensors import encode, parse
from kmnist.server.page import PAGE_HEADERS, read_page_file
from kmnist.server.service import Service
from kmnist.server.serving_error import ServingError, invalid, one_line

__all__ = ["METRICS_PATH", "RestServer"]

METRICS_PATH: Final = "/monitoring/prometheus/metrics"
_TARGET: Final = (
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
)
_FLAGS: Final = re.ASCII | re.IGNORECASE
_PREDICT_PATH: Final = re.compile(rf"{_TARGET}:(?P<verb>classify|regress|predict)", _FLAGS)
_STATUS_PATH: Final = re.compile(rf"{_TARGET}(?P<metadata>/metadata)?", _FLAGS)
_NOT_FOUND_PAGE: Final = (
    "<!doctype html>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"
    "<p>The API is under /v1/models.</p>\n"
)
# Requests whose bodies are held in memory, for each one that may be worked on.
_BODIES: Final = 4
_BODY_SECONDS: Final = 30.0
_IDLE_SECONDS: Final = 75.0
_log = logging.getLogger(__name__)


class RestServer:
    """Answers from ``start`` to ``stop``, both on the same running event loop.

    Args:
        service: What answers.
        listener: A bound socket.
        concurrency: As in :class:`Service`.
        max_bytes: Largest body, after decompression.
        timeout: Seconds after which a request is given up with 504.
        grace: Seconds that requests under way get to finish in when the server stops.
    """

    def __init__(
        self,
        service: Service,
        listener: socket.socket,
        *,
        concurrency: int,
        max_bytes: int,
        timeout: float,
        grace: float,
    ) -> None:
        self._service = service
        self._listener = listener
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._grace = grace
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="kmnist-rest")
        self._runner: web.ServerRunner | None = None
        self._site: web.SockSite | None = None
        self._stopping = False
        self._under_way = 0
        self._most_under_way = _BODIES * concurrency
        self._idle = asyncio.Event()

    async def start(self) -> None:
        """Listens and answers from now on."""
        server = _HttpServer(self._handle, request_factory=self._request)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=self._grace)
        await self._runner.setup()
        self._site = web.SockSite(self._runner, self._listener)
        await self._site.start()

    async def stop(self) -> None:
        """Takes no new request, lets those under way finish."""
        self._stopping = True
        if self._site is not None and self._runner is not None:
            await self._site.stop()
            # aiohttp's own shutdown would no longer read the bodies that are still arriving.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._grace):
                    while self._under_way:
                        self._idle.clear()
                        await self._idle.wait()
            await self._runner.cleanup()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Any:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=self._max_bytes
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._stopping:  # a connection from before that is still open
            return _refusal("the server is stopping")
        if self._under_way >= self._most_under_way:
            return _refusal("Server Threadpool Exhausted")
        self._under_way += 1
        try:
            return await self._answer(request)
        finally:
            self._under_way -= 1
            self._idle.set()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        # As it came: upstream takes a query string for a part of the model's name.
        path = request.raw_path
        try:
            if path.lower().startswith("/v1/"):
                return await self._api(request, path)
        except ServingError as error:
            _log.info(
                "%s %s %d: %s",
                request.method,
                one_line(path),
                error.http_status,
                one_line(error.message),
            )
            return _error(error.http_status, error.message)
        except Exception as error:  # noqa: BLE001 - it is logged, and the server goes on
            _log.exception("%s %s failed", request.method, one_line(path))
            return _error(500, f"{type(error).__name__}: {error}")
        if request.method in ("GET", "HEAD"):
            if path == METRICS_PATH:
                return web.Response(body=self._service.metrics.page(), content_type="text/plain")
            found = await asyncio.to_thread(read_page_file, path)
            if found is not None:
                body, media_type = found
                return web.Response(body=body, content_type=media_type, headers=PAGE_HEADERS)
        return web.Response(
            status=404, text=_NOT_FOUND_PAGE, content_type="text/html", headers=PAGE_HEADERS
        )

    async def _api(self, request: web.BaseRequest, path: str) -> web.Response:
        if request.method == "POST" and (match := _PREDICT_PATH.fullmatch(path)):
            return await self._predict(request, match)
        if request.method == "GET" and (match := _STATUS_PATH.fullmatch(path)):
            return self._metadata(match) if match["metadata"] else self._status(match)
        if request.method == "GET" and path.lower() == "/v1/models":
            raise invalid("Missing model name in request.")
        raise invalid(f"Malformed request: {request.method} {path}")

    async def _predict(self, request: web.BaseRequest, match: re.Match[str]) -> web.Response:
        name, version, label = _target(match)
        if match["verb"].lower() != "predict":
            raise ServingError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"{match['verb']} is not served here; expected predict",
            )
        body = await self._body(request)

        def answer() -> bytes:
            with self._service.manager.use(name, version, label) as servable:
                question = parse(body)
                signature = _signature(servable, question.signature_name)
                inputs = question.inputs(signature.inputs)
                outputs = self._service.run(signature, inputs)
            return encode(outputs, by_row=question.by_row)

        with self._service.request(name, "REST"):
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(self._timeout):
                    answered = await loop.run_in_executor(self._threads, answer)
            except TimeoutError:
                raise ServingError(
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    f"Timed out after {self._timeout:g} seconds",
                ) from None
        return web.Response(body=answered, content_type="application/json")

    def _metadata(self, match: re.Match[str]) -> web.Response:
        name, version, label = _target(match)
        with self._service.manager.use(name, version, label) as servable:
            spec = pb.ModelSpec(name=name)
            spec.version.value = servable.version
            signatures = pb.SignatureDefMap.FromString(servable.metadata)
        return _json({"model_spec": _dict(spec), "metadata": {"signature_def": _dict(signatures)}})

    def _status(self, match: re.Match[str]) -> web.Response:
        # As upstream, a label is not looked at here: all versions are listed.
        name, version, _ = _target(match)
        return _json(_dict(self._service.manager.status(name, version)))

    async def _body(self, request: web.BaseRequest) -> bytes:
        too_large = ServingError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"the body is larger than the limit of {self._max_bytes:,} bytes",
            http_status=413,
        )
        if (request.content_length or 0) > self._max_bytes:
            raise too_large
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                if request.headers.get("Expect", "").lower() == "100-continue":
                    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise too_large from None
        except TimeoutError:
            raise ServingError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"the body did not arrive within {_BODY_SECONDS:g} seconds",
                http_status=408,
            ) from None
        except (web.RequestPayloadError, ConnectionError) as error:
            raise invalid(f"the body cannot be read: {error}") from None


class _Connection(web.RequestHandler):
    """A connection that answers what is not HTTP in JSON too, with one line in the log."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        text = one_line(message or str(exc))
        _log.info("not an HTTP request, from %s: %s", request.remote, text)
        response = _error(status, text)
        response.force_close()
        return response


class _HttpServer(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_IDLE_SECONDS,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own way to have none
        )


def _target(match: re.Match[str]) -> tuple[str, int | None, str | None]:
    """Model name, version and label that a path names."""
    version = None
    if match["version"] is not None:
        digits = match["version"].lstrip("0") or "0"
        # The length first: int() refuses thousands of digits in its own words.
        if len(digits) > 19 or int(digits) >= 2**63:
            raise invalid(f"Failed to convert version: {digits[:40]} to numeric.")
        version = int(digits)
    label = None if match["label"] is None else unquote(match["label"])
    return unquote(match["name"]), version, label


def _signature(servable: Any, name: str) -> Any:
    try:
        return servable.signature(name)
    except ServingError:
        shown = name or "serving_default"
        raise invalid(f'Serving signature name: "{shown}" not found in signature def') from None


def _dict(message: Message) -> Any:
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(value, indent=1).encode(), content_type="application/json"
    )


def _error(status: int, message: str) -> web.Response:
    return _json({"error": message}, status)


def _refusal(message: str) -> web.Response:
    """503 to a request whose body was not read, which ends the connection."""
    response = _error(503, message)
    response.force_close()
    return response
