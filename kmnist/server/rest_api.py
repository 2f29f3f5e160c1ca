"""The REST port: TensorFlow Serving's API, the metrics page and the drawing page."""

import asyncio
import json
import logging
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Final
from urllib.parse import unquote

from aiohttp import web
from aiohttp.typedefs import Handler
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int64Value
from grpc import StatusCode
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from kmnist.checks import one_line
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.json import BodyError, encode, parse
from kmnist.server.access import Access
from kmnist.server.errors import StatusError, invalid, shortened
from kmnist.server.metrics import METRICS_PATH
from kmnist.server.model import LoadedModel, LoadedSignature
from kmnist.server.page import MODEL_PATH, PAGE_HEADERS, read_page_file
from kmnist.server.service import Service

__all__ = ["BODY_SECONDS", "MAX_BODY", "RestApi"]

# Bytes of a body, after decompression; nginx, as it is configured for production, has the same limit.
MAX_BODY: Final = 16 * 2**20
BODY_SECONDS: Final = 30.0
# The objects of a JSON document take many times its bytes: two larger ones are decoded at a time.
_LARGE: Final = 2**18
# For responses to be written and connections to be closed, when the requests have ended.
_CLOSE_SECONDS: Final = 1.0

_PATH: Final = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<action>/metadata|:classify|:predict|:regress)?",
    re.ASCII | re.IGNORECASE,
)
_HEADERS: Final = {
    "Server": "kmnist",  # instead of the versions of Python and aiohttp
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NOT_FOUND_PAGE: Final = "<!doctype html>\n<title>Not Found</title>\nThe API is under /v1/models.\n"
_log = logging.getLogger(__name__)


class RestApi:
    """The HTTP server of the REST port; its methods belong to one event loop."""

    def __init__(
        self, service: Service, access: Access, listener: socket.socket, timeout: float
    ) -> None:
        """Create the API.

        Args:
            service: The model.
            access: The web pages that may use the API.
            listener: A bound socket.
            timeout: Seconds after which a prediction is answered with status 504.
        """
        self._service = service
        self._access = access
        self._timeout = timeout
        self._requests: set[asyncio.Task[Any]] = set()
        self._listener = listener
        self._stopping = False
        self._decoding = threading.Semaphore(2)
        application = web.Application(client_max_size=MAX_BODY, middlewares=[self._respond])
        application.router.add_route("*", "/{path:(?s:.*)}", self._route)  # %0A included
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_CLOSE_SECONDS)

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: Another program listens on the port by now.
        """
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()

    async def stop(self, grace: float) -> None:
        """Refuse new requests, wait up to ``grace`` seconds for those in progress, and close."""
        self._stopping = True
        # Accept no more, then wait until the connections accepted last are registered: asyncio loses
        # those that it registers after the socket is closed, and their callers would wait in vain.
        asyncio.get_running_loop().remove_reader(self._listener)
        await asyncio.sleep(0.1)
        for site in list(self._runner.sites):
            await site.stop()
        if self._requests:  # aiohttp itself would not wait for bodies that are still arriving
            await asyncio.wait(self._requests, timeout=grace)
        await self._runner.cleanup()

    @web.middleware
    async def _respond(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Return the response of ``handler``; an error is a response too."""
        task = asyncio.current_task()
        assert task is not None
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)  # when the response is written
        try:
            self._access.check(request.headers)
            response = await handler(request)
        except StatusError as error:
            line = f"{request.method} {shortened(request.raw_path)} {error.http_status}: {error}"
            _log.info("%s", one_line(line))
            response = _json({"error": error.message}, error.http_status)
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001 - logged; the server continues
            _log.exception("%s %s failed", request.method, shortened(request.raw_path))
            response = _json({"error": f"{type(error).__name__}: {error}"}, 500)
        response.headers.update(_HEADERS)
        return response

    async def _route(self, request: web.Request) -> web.Response:
        if self._stopping:  # on a connection that was open before
            raise StatusError(StatusCode.UNAVAILABLE, "the server is stopping")
        # Not decoded: TensorFlow Serving takes a query string as a part of the model's name.
        path = request.raw_path
        if path.lower().startswith("/v1/"):
            return await self._api(request, path)
        if request.method in ("GET", "HEAD"):
            if path == METRICS_PATH:
                return web.Response(body=self._service.metrics.page(), content_type="text/plain")
            if path == MODEL_PATH:
                return _json({"model": self._service.versions.name}, headers=PAGE_HEADERS)
            found = read_page_file(path)
            if found is not None:
                body, media_type = found
                return web.Response(body=body, content_type=media_type, headers=PAGE_HEADERS)
        return web.Response(status=404, text=_NOT_FOUND_PAGE, content_type="text/html")

    async def _api(self, request: web.Request, path: str) -> web.Response:
        if match := _PATH.fullmatch(path):
            name, version, label = _target(match)
            action = (match["action"] or "").lower()
            if request.method == "POST" and action == ":predict":
                return await self._predict(request, name, version, label)
            if request.method == "POST" and action in (":classify", ":regress"):
                raise StatusError(StatusCode.UNIMPLEMENTED, "only predict is supported")
            if request.method == "GET" and action == "/metadata":
                return self._metadata(name, version, label)
            if request.method == "GET" and not action:
                # As in TensorFlow Serving, a label is ignored here: all versions are listed.
                return _json(_dict(self._service.versions.status(name, version)))
        raise invalid(f"Malformed request: {request.method} {shortened(path)}")

    async def _predict(
        self, request: web.Request, name: str, version: int | None, label: str | None
    ) -> web.Response:
        body = await _read(request)

        def compute() -> bytes:
            try:
                with self._service.versions.use(name, version, label) as model:
                    with self._decoding if len(body) > _LARGE else nullcontext():
                        parsed = parse(body)
                        signature = _signature(model, parsed.signature_name)
                        inputs = parsed.inputs(signature.inputs)
                    outputs = self._service.run(model.version, signature, inputs)
                return encode(outputs, by_row=parsed.by_row)
            except BodyError as error:
                raise invalid(str(error)) from None

        answer = await self._service.predict(name, "REST", compute, self._timeout)
        return web.Response(body=answer, content_type="application/json")

    def _metadata(self, name: str, version: int | None, label: str | None) -> web.Response:
        with self._service.versions.use(name, version, label) as model:
            spec = pb.ModelSpec(name=name, version=Int64Value(value=model.version))
            definitions = pb.SignatureDefMap.FromString(model.metadata).signature_def
        # With TensorFlow's own message, which has fields that this project's leaves out.
        signatures = {
            signature: _dict(SignatureDef.FromString(definition.SerializeToString()))
            for signature, definition in definitions.items()
        }
        metadata = {"signature_def": {"signature_def": signatures}}
        return _json({"model_spec": _dict(spec), "metadata": metadata})


async def _read(request: web.Request) -> bytes:
    """Return the body of a request, inflated.

    Raises:
        StatusError: It is larger than ``MAX_BODY``, too slow, or broken.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        message = f"the body did not arrive within {BODY_SECONDS:g} seconds"
        raise StatusError(StatusCode.DEADLINE_EXCEEDED, message, http_status=408) from None
    except web.HTTPRequestEntityTooLarge:
        message = f"the body is larger than the limit of {MAX_BODY:,} bytes"
        raise StatusError(StatusCode.RESOURCE_EXHAUSTED, message, http_status=413) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise invalid(f"the body cannot be read: {error}") from None


def _target(match: re.Match[str]) -> tuple[str, int | None, str | None]:
    """Return the model name, version and label of a path."""
    version = None
    if match["version"] is not None:
        # Not all digits, because int() refuses thousands of them with its own message.
        version = int(match["version"].lstrip("0")[:20] or "0")
        if version >= 2**63:
            raise invalid(f"Failed to convert version: {version} to numeric.")
    label = None if match["label"] is None else unquote(match["label"])
    return unquote(match["name"]), version, label


def _signature(model: LoadedModel, name: str) -> LoadedSignature:
    try:
        return model.signature(name)
    except StatusError:
        shown = shortened(name) or "serving_default"
        raise invalid(f'Serving signature name: "{shown}" not found in signature def') from None


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    body = json.dumps(value, indent=1).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _dict(message: Message) -> Any:
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
