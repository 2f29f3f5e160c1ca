"""The HTTP transport: connections, limits, start and stop."""

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import grpc
from aiohttp import web

from kmnist.server.serving_error import ServingError, invalid, one_line

__all__ = ["HttpServer", "error_response", "json_response", "read_body"]

# Requests whose bodies are in memory, for each request that may be processed at a time.
_BODIES_PER_REQUEST: Final = 4
_BODY_SECONDS: Final = 30.0
_IDLE_SECONDS: Final = 75.0
_log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpServer:
    """An HTTP server for one request handler.

    ``start`` and ``stop`` run on the same event loop.
    """

    def __init__(
        self,
        handler: Handler,
        listener: socket.socket,
        *,
        concurrency: int,
        max_bytes: int,
        grace: float,
    ) -> None:
        """Create the server.

        Args:
            handler: Returns the response to a request.
            listener: A bound socket.
            concurrency: The number of requests that are processed at a time.
            max_bytes: The size limit of a body after decompression.
            grace: Seconds for the requests in progress to finish when the server stops.
        """
        self._handler = handler
        self._listener = listener
        self._max_bytes = max_bytes
        self._grace = grace
        self._runner: web.ServerRunner | None = None
        self._site: web.SockSite | None = None
        self._stopping = False
        self._in_progress = 0
        self._max_in_progress = _BODIES_PER_REQUEST * concurrency
        self._finished = asyncio.Event()

    async def start(self) -> None:
        """Start to listen."""
        server = _AiohttpServer(self._handle, request_factory=self._request)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=self._grace)
        await self._runner.setup()
        self._site = web.SockSite(self._runner, self._listener)
        await self._site.start()

    async def stop(self) -> None:
        """Refuse new requests and wait until those in progress have finished."""
        self._stopping = True
        if self._site is None or self._runner is None:
            return
        await self._site.stop()
        # aiohttp's own shutdown no longer reads bodies that are still arriving.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace):
                while self._in_progress:
                    self._finished.clear()
                    await self._finished.wait()
        await self._runner.cleanup()

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Any:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=self._max_bytes
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._stopping:  # on a connection that is still open
            return _refusal("the server is stopping")
        if self._in_progress >= self._max_in_progress:
            return _refusal("Server Threadpool Exhausted")
        self._in_progress += 1
        try:
            return await self._handler(request)
        finally:
            self._in_progress -= 1
            self._finished.set()


async def read_body(request: web.BaseRequest, max_bytes: int) -> bytes:
    """Return the body of a request, decompressed.

    Raises:
        ServingError: The body is larger than ``max_bytes``, too slow, or not decodable.
    """
    too_large = ServingError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"the body is larger than the limit of {max_bytes:,} bytes",
        http_status=413,
    )
    if (request.content_length or 0) > max_bytes:
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


def json_response(value: Any, status: int = 200) -> web.Response:
    """Return a response with ``value`` as JSON."""
    return web.Response(
        status=status, body=json.dumps(value, indent=1).encode(), content_type="application/json"
    )


def error_response(status: int, message: str) -> web.Response:
    """Return a response with an error in the form of TensorFlow Serving."""
    return json_response({"error": message}, status)


class _Connection(web.RequestHandler):
    """A connection that answers invalid HTTP with JSON too, and logs one line for it."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        text = one_line(message or str(exc))
        _log.info("not an HTTP request, from %s: %s", request.remote, text)
        response = error_response(status, text)
        response.force_close()
        return response


class _AiohttpServer(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_IDLE_SECONDS,
            access_log=None,  # type: ignore[arg-type]  # aiohttp documents None for no log
        )


def _refusal(message: str) -> web.Response:
    """Return status 503 for a request whose body is not read, which ends the connection."""
    response = error_response(503, message)
    response.force_close()
    return response
