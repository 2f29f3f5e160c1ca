"""The HTTP transport: connections, limits, start and stop."""

import asyncio
import json
import logging
import resource
import socket
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, cast

import grpc
from aiohttp import web

from kmnist.server.bodies import Share
from kmnist.server.errors import StatusError, invalid, one_line, shortened

__all__ = ["HttpServer", "error_response", "inflate", "json_response", "read_body"]

_BACKLOG: Final = 1024
_MAX_CONNECTIONS: Final = 2048
_BODY_SECONDS: Final = 30.0
_IDLE_SECONDS: Final = 75.0
# For a caller that reads its response slowly, which no other limit ends.
_WAIT_SECONDS: Final = 180.0
_ACCEPT_PAUSE: Final = 0.1
# Unread bytes of a connection, of which asyncio holds up to twice as many.
_READ_BYTES: Final = 2**17
_HEADERS: Final = {
    "Server": "kmnist",  # instead of the versions of Python and aiohttp
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpServer:
    """An HTTP server for one request handler.

    A connection is always accepted: at the limit, the one that has kept the server waiting for
    the longest time is closed. So slow callers cannot lock out others, however many they are.

    ``start`` and ``stop`` run on the same event loop.
    """

    def __init__(
        self,
        handler: Handler,
        listener: socket.socket,
        *,
        grace: float,
        max_connections: int | None = None,
    ) -> None:
        """Create the server.

        Args:
            handler: Returns the response to a request.
            listener: A bound socket.
            grace: Seconds for the requests in progress to finish when the server stops.
            max_connections: The limit of open connections; None for half of the file descriptors
                of the process, at most 2,048. gRPC and the model need the others.
        """
        self._handler = handler
        self._listener = listener
        self._grace = grace
        self._max_connections = max_connections or _connection_limit()
        self._connections = _Connections()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._in_progress = 0
        self._finished = asyncio.Event()

    async def start(self) -> None:
        """Start to listen.

        Raises:
            OSError: Another program listens on the port by now.
        """
        self._server = web.Server(self._handle, request_factory=self._request)
        self._listener.listen(_BACKLOG)
        self._listener.setblocking(False)
        self._tasks = [asyncio.create_task(self._accept()), asyncio.create_task(self._expire())]

    async def stop(self) -> None:
        """Refuse new requests, and wait until those in progress have finished or ``grace`` is over."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()
        if not self._tasks:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + self._grace
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                # aiohttp's own shutdown no longer reads bodies that are still arriving.
                while self._in_progress:
                    self._finished.clear()
                    await self._finished.wait()
        self._server.pre_shutdown()
        # At least a moment, in which finished responses are written.
        seconds = max(0.5, end - loop.time())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._server.shutdown(seconds)
        self._connections.abort_all()

    async def _accept(self) -> None:
        # Not asyncio's own server, which without descriptors logs thousands of lines a second.
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                _log.warning("a connection cannot be accepted: %s", error.strerror)
                self._connections.abort_oldest()
                await asyncio.sleep(_ACCEPT_PAUSE)
                continue
            if len(self._connections) >= self._max_connections:
                _log.warning(
                    "%d connections are open; the one that waits longest is closed",
                    self._max_connections,
                )
                if not self._connections.abort_oldest():
                    accepted.close()
                    continue
            try:
                await loop.connect_accepted_socket(self._connect, accepted)
            except OSError:  # closed by the caller in the meantime
                accepted.close()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._connections.abort_waiting(_WAIT_SECONDS)

    def _connect(self) -> "_Connection":
        return _Connection(self._server, self._connections)

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Any:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(message, payload, protocol, writer, task, loop)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("_Connection", request.protocol)
        connection.wait_for_caller()
        if self._stopping:  # on a connection that is still open
            response: web.StreamResponse = error_response(503, "the server is stopping")
            response.force_close()  # the body is not read
        else:
            self._in_progress += 1
            try:
                response = await self._handler(request)
            finally:
                self._in_progress -= 1
                self._finished.set()
                connection.wait_for_caller()
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response


async def read_body(request: web.BaseRequest, max_bytes: int, share: Share) -> bytearray:
    """Return the body of a request as it was sent; the caller of the server is not waited for then.

    Args:
        request: The request.
        max_bytes: The size limit.
        share: Grows by the size of the body while it arrives.

    Raises:
        StatusError: The body is larger than ``max_bytes``, exceeds the limit of all bodies
            together, is too slow, or breaks off.
    """
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            while piece := await request.content.readany():
                share.grow(len(piece))
                body += piece
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
    except TimeoutError:
        raise StatusError(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            f"the body did not arrive within {_BODY_SECONDS:g} seconds",
            http_status=408,
        ) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise invalid(f"the body cannot be read: {error}") from None
    cast("_Connection", request.protocol).work()
    return body


def inflate(body: bytearray, max_bytes: int, share: Share) -> bytearray:
    """Return the content of a gzip stream; ``share`` grows by its size.

    Raises:
        StatusError: ``body`` is not one gzip stream, its content is larger than ``max_bytes``, or
            exceeds the limit of all bodies together.
    """
    stream = zlib.decompressobj(wbits=31)  # 31: gzip
    content = bytearray()
    waiting: bytes | bytearray = body
    try:
        while not stream.eof:
            piece = stream.decompress(waiting, _READ_BYTES)
            waiting = stream.unconsumed_tail
            if not piece and not waiting:
                break
            share.grow(len(piece))
            content += piece
            if len(content) > max_bytes:
                raise _too_large(max_bytes)
    except zlib.error as error:
        raise invalid(f"the body is not a gzip stream: {error}") from None
    if not stream.eof or stream.unused_data:
        raise invalid("the body is not one complete gzip stream")
    return content


def json_response(value: Any, status: int = 200) -> web.Response:
    """Return a response with ``value`` as JSON."""
    return web.Response(
        status=status, body=json.dumps(value, indent=1).encode(), content_type="application/json"
    )


def error_response(status: int, message: str) -> web.Response:
    """Return a response with an error in the form of TensorFlow Serving."""
    return json_response({"error": message}, status)


class _Connections:
    """The open connections: those that wait for their caller, in the order of time, and others."""

    def __init__(self) -> None:
        self._waiting: dict[_Connection, float] = {}
        self._working: set[_Connection] = set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._working)

    def wait(self, connection: "_Connection") -> None:
        """Count the time from now on as waiting for the caller."""
        self.drop(connection)
        self._waiting[connection] = asyncio.get_running_loop().time()

    def work(self, connection: "_Connection") -> None:
        """Count the time from now on as the server's own."""
        if self._waiting.pop(connection, None) is not None:
            self._working.add(connection)

    def drop(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._waiting.pop(connection, None)
        self._working.discard(connection)

    def abort_oldest(self) -> bool:
        """Abort the connection that has waited longest; return whether there is one."""
        oldest = next(iter(self._waiting), None)
        if oldest is not None:
            self.drop(oldest)
            oldest.abort()
        return oldest is not None

    def abort_waiting(self, seconds: float) -> None:
        """Abort the connections that have waited for more than ``seconds``."""
        now = asyncio.get_running_loop().time()
        while self._waiting and now - next(iter(self._waiting.values())) > seconds:
            self.abort_oldest()

    def abort_all(self) -> None:
        """Abort every connection."""
        for connection in [*self._waiting, *self._working]:
            self.drop(connection)
            connection.abort()


class _Connection(web.RequestHandler):
    """A connection that answers invalid HTTP with JSON too, and logs one line for it."""

    __slots__ = ("_all",)

    def __init__(self, server: web.Server, connections: _Connections) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_IDLE_SECONDS,
            access_log=None,  # type: ignore[arg-type]  # aiohttp documents None for no log
            read_bufsize=_READ_BYTES,
            # The size of what is inflated is limited by inflate().
            auto_decompress=False,
        )
        self._all = connections

    def wait_for_caller(self) -> None:
        """Begin to wait for a request, for its body, or for the caller to read the response."""
        if self.transport is not None:
            self._all.wait(self)

    def work(self) -> None:
        """Begin to process a request that has arrived."""
        self._all.work(self)

    def abort(self) -> None:
        """Close the connection without waiting for the caller."""
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._all.wait(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._all.drop(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        text = shortened(one_line(message or str(exc)))
        _log.info("not an HTTP request, from %s: %s", request.remote, text)
        response = error_response(status, text)
        response.headers.update(_HEADERS)
        response.force_close()
        return response


def _too_large(max_bytes: int) -> StatusError:
    return StatusError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"the body is larger than the limit of {max_bytes:,} bytes",
        http_status=413,
    )


def _connection_limit() -> int:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return max(1, min(_MAX_CONNECTIONS, descriptors // 2))
