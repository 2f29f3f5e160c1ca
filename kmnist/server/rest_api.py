"""The routes of the REST port: TensorFlow Serving's API, the metrics page and the drawing page."""

import asyncio
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import unquote

import grpc
from aiohttp import web
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.json import BodyError, encode, parse
from kmnist.server.access import Access
from kmnist.server.errors import StatusError, invalid, one_line, shortened
from kmnist.server.http_server import error_response, inflate, json_response, read_body
from kmnist.server.metrics import METRICS_PATH
from kmnist.server.model import LoadedModel, LoadedSignature
from kmnist.server.page import MODEL_PATH, PAGE_HEADERS, read_page_file
from kmnist.server.service import Service

__all__ = ["RestApi"]

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
_log = logging.getLogger(__name__)


class RestApi:
    """The responses to HTTP requests."""

    def __init__(
        self,
        service: Service,
        access: Access,
        *,
        concurrency: int,
        max_bytes: int,
        accept_gzip: bool,
        timeout: float,
    ) -> None:
        """Create the API.

        Args:
            service: The model.
            access: The web pages that may use the API.
            concurrency: The number of predictions that run at a time.
            max_bytes: The size limit of a body, before and after decompression.
            accept_gzip: Whether a body may be compressed.
            timeout: Seconds after which a prediction is abandoned with status 504.
        """
        self._service = service
        self._access = access
        self._max_bytes = max_bytes
        self._accept_gzip = accept_gzip
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="kmnist-rest")

    async def respond(self, request: web.BaseRequest) -> web.Response:
        """Return the response to a request; every error is a response too."""
        # Not decoded: TensorFlow Serving takes a query string as a part of the model's name.
        path = request.raw_path
        try:
            self._access.check(request.headers)
            response = await self._routed(request, path)
        except StatusError as error:
            _log.info(
                "%s %s %d: %s",
                request.method,
                one_line(shortened(path)),
                error.http_status,
                one_line(error.message),
            )
            response = error_response(error.http_status, error.message)
        except Exception as error:  # noqa: BLE001 - logged; the server continues
            _log.exception("%s %s failed", request.method, one_line(shortened(path)))
            response = error_response(500, f"{type(error).__name__}: {error}")
        origin = request.headers.get("Origin")
        if self._access.is_allowed(origin):
            response.headers.update(
                {
                    "Access-Control-Allow-Origin": origin or "",
                    "Access-Control-Allow-Methods": "GET, POST",
                    "Access-Control-Allow-Headers": "Content-Type",
                    "Vary": "Origin",
                }
            )
        return response

    def close(self) -> None:
        """Cancel the predictions that have not started."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _routed(self, request: web.BaseRequest, path: str) -> web.Response:
        if request.method == "OPTIONS" and self._access.is_allowed(request.headers.get("Origin")):
            return web.Response(status=204)  # a browser asks before it lets a page send JSON
        if path.lower().startswith("/v1/"):
            return await self._api(request, path)
        if request.method in ("GET", "HEAD"):
            if path == METRICS_PATH:
                return web.Response(body=self._service.metrics.page(), content_type="text/plain")
            if path == MODEL_PATH:
                response = json_response({"model": self._service.manager.name})
                response.headers.update(PAGE_HEADERS)
                return response
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
        raise invalid(f"Malformed request: {request.method} {shortened(path)}")

    async def _predict(self, request: web.BaseRequest, match: re.Match[str]) -> web.Response:
        name, version, label = _target(match)
        if match["verb"].lower() != "predict":
            raise StatusError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"{match['verb']} is not supported; expected predict",
            )
        is_compressed = self._is_compressed(request)
        with ExitStack() as held:
            share = held.enter_context(self._service.bodies.share())
            body = await read_body(request, self._max_bytes, share)

            def predict() -> bytes:
                with self._service.manager.use(name, version, label) as servable:
                    with self._service.decoding(len(body), is_compressed=is_compressed):
                        content = inflate(body, self._max_bytes, share) if is_compressed else body
                        parsed = parse(content)
                        signature = _signature(servable, parsed.signature_name)
                        inputs = parsed.inputs(signature.inputs)
                        by_row = parsed.by_row
                        del content, parsed
                    outputs = self._service.run(signature, inputs)
                return encode(outputs, by_row=by_row)

            with self._service.counted(name, "REST"):
                held.enter_context(self._service.slot())
                return await self._run(predict, held)

    async def _run(self, predict: Callable[[], bytes], held: ExitStack) -> web.Response:
        """Run ``predict`` in a thread; ``held`` is closed when it ends, after a timeout too."""
        work = self._threads.submit(_without_traceback, predict)
        held = held.pop_all()
        work.add_done_callback(lambda _: held.close())
        try:
            async with asyncio.timeout(self._timeout):
                response = await asyncio.wrap_future(work)
        except TimeoutError:
            raise StatusError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"Timed out after {self._timeout:g} seconds",
            ) from None
        return web.Response(body=response, content_type="application/json")

    def _is_compressed(self, request: web.BaseRequest) -> bool:
        """Return whether the body is a gzip stream.

        Raises:
            StatusError: It is, and that is not accepted; or it is in another encoding.
        """
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding == "identity":
            return False
        if encoding in ("gzip", "x-gzip") and self._accept_gzip:
            return True
        accepted = "gzip or no encoding" if self._accept_gzip else "no encoding"
        raise StatusError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"received a body with Content-Encoding {shortened(encoding)}; expected {accepted}",
            http_status=415,
        )

    def _metadata(self, match: re.Match[str]) -> web.Response:
        name, version, label = _target(match)
        with self._service.manager.use(name, version, label) as servable:
            spec = pb.ModelSpec(name=name)
            spec.version.value = servable.version
            definitions = pb.SignatureDefMap.FromString(servable.metadata).signature_def
        # With TensorFlow's own message, which has fields that this project's leaves out.
        signatures = {
            signature: _dict(SignatureDef.FromString(definition.SerializeToString()))
            for signature, definition in definitions.items()
        }
        signature_def = {"signature_def": signatures}
        return json_response(
            {"model_spec": _dict(spec), "metadata": {"signature_def": signature_def}}
        )

    def _status(self, match: re.Match[str]) -> web.Response:
        # As in TensorFlow Serving, a label is ignored here: all versions are listed.
        name, version, _ = _target(match)
        return json_response(_dict(self._service.manager.status(name, version)))


def _without_traceback(predict: Callable[[], bytes]) -> bytes:
    """Call ``predict``; an error keeps no frame, and so no body, in memory."""
    try:
        return predict()
    except StatusError as error:
        code, message, status = error.code, error.message, error.http_status
    except BodyError as error:
        code, message, status = grpc.StatusCode.INVALID_ARGUMENT, str(error), 400
    raise StatusError(code, message, http_status=status)


def _target(match: re.Match[str]) -> tuple[str, int | None, str | None]:
    """Return the model name, version and label of a path."""
    version = None
    if match["version"] is not None:
        digits = match["version"].lstrip("0") or "0"
        # The length first, because int() refuses thousands of digits with its own message.
        if len(digits) > 19 or int(digits) >= 2**63:
            raise invalid(f"Failed to convert version: {digits[:40]} to numeric.")
        version = int(digits)
    label = None if match["label"] is None else unquote(match["label"])
    return unquote(match["name"]), version, label


def _signature(servable: LoadedModel, name: str) -> LoadedSignature:
    try:
        return servable.signature(name)
    except StatusError:
        shown = shortened(name) or "serving_default"
        raise invalid(f'Serving signature name: "{shown}" not found in signature def') from None


def _dict(message: Message) -> Any:
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
