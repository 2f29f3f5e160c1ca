"""The routes of the REST port: TensorFlow Serving's API, the metrics page and the drawing page."""

import asyncio
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import unquote

import grpc
from aiohttp import web
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from kmnist.protocol import serving_pb2 as pb
from kmnist.server.http_server import error_response, json_response, read_body
from kmnist.server.json_tensors import encode, parse
from kmnist.server.monitoring import METRICS_PATH
from kmnist.server.page import PAGE_HEADERS, read_page_file
from kmnist.server.servable import Servable, SignatureRunner
from kmnist.server.service import Service
from kmnist.server.serving_error import ServingError, invalid, one_line

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
        self, service: Service, *, concurrency: int, max_bytes: int, timeout: float
    ) -> None:
        """Create the API.

        Args:
            service: The model.
            concurrency: The number of predictions that run at a time.
            max_bytes: The size limit of a body after decompression.
            timeout: Seconds after which a prediction is abandoned with status 504.
        """
        self._service = service
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="kmnist-rest")

    async def respond(self, request: web.BaseRequest) -> web.Response:
        """Return the response to a request; every error is a response too."""
        # Not decoded: TensorFlow Serving takes a query string as a part of the model's name.
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
            return error_response(error.http_status, error.message)
        except Exception as error:  # noqa: BLE001 - logged; the server continues
            _log.exception("%s %s failed", request.method, one_line(path))
            return error_response(500, f"{type(error).__name__}: {error}")
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

    def close(self) -> None:
        """Cancel the predictions that have not started."""
        self._threads.shutdown(wait=False, cancel_futures=True)

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
                f"{match['verb']} is not supported; expected predict",
            )
        body = await read_body(request, self._max_bytes)

        def predict() -> bytes:
            with self._service.manager.use(name, version, label) as servable:
                parsed = parse(body)
                signature = _signature(servable, parsed.signature_name)
                inputs = parsed.inputs(signature.inputs)
                outputs = self._service.run(signature, inputs)
            return encode(outputs, by_row=parsed.by_row)

        with self._service.request(name, "REST"):
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(self._timeout):
                    response = await loop.run_in_executor(self._threads, predict)
            except TimeoutError:
                raise ServingError(
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    f"Timed out after {self._timeout:g} seconds",
                ) from None
        return web.Response(body=response, content_type="application/json")

    def _metadata(self, match: re.Match[str]) -> web.Response:
        name, version, label = _target(match)
        with self._service.manager.use(name, version, label) as servable:
            spec = pb.ModelSpec(name=name)
            spec.version.value = servable.version
            signatures = pb.SignatureDefMap.FromString(servable.metadata)
        return json_response(
            {"model_spec": _dict(spec), "metadata": {"signature_def": _dict(signatures)}}
        )

    def _status(self, match: re.Match[str]) -> web.Response:
        # As in TensorFlow Serving, a label is ignored here: all versions are listed.
        name, version, _ = _target(match)
        return json_response(_dict(self._service.manager.status(name, version)))


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


def _signature(servable: Servable, name: str) -> SignatureRunner:
    try:
        return servable.signature(name)
    except ServingError:
        shown = name or "serving_default"
        raise invalid(f'Serving signature name: "{shown}" not found in signature def') from None


def _dict(message: Message) -> Any:
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
