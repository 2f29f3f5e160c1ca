"""REST for :class:`kmnist.client.Client`, over urllib3."""

import http.client
import io
import math
import socket
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import urllib3
from numpy.typing import NDArray
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ClosedPoolError, HTTPError, NewConnectionError, ProtocolError
from urllib3.exceptions import TimeoutError as UrllibTimeoutError

from kmnist.client.address import Address, Host
from kmnist.client.transports import rest_messages as messages
from kmnist.errors import ClientError, ClosedError, DeadlineExceededError
from kmnist.protocol.messages import Metadata, ModelSpec, Outputs, VersionStatus

__all__ = ["RestTransport"]

# Connections kept open; further threads open and close their own.
_POOL_SIZE: Final = 64
_CHUNK_BYTES: Final = 1 << 16


class _UntilDeadline(io.RawIOBase):
    """Reads from a socket until a point in time, however little each read receives."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, end: float) -> None:
        self._raw, self._sock, self._end = raw, sock, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._end))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """Ends reading, headers included, at a point in time."""

    def __init__(self, end: float, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_UntilDeadline(self.fp.detach(), sock, end))


class _ConnectionMixin:
    """Ends each request at its deadline, and disables delayed acknowledgements.

    With a plain timeout, which applies to each read and write, a server that sends or accepts a
    byte at a time, or repeats ``100 Continue``, could make a request last forever.
    """

    sock: Any
    _end: float = math.inf

    @property
    def timeout(self) -> float | None:
        """The seconds left. urllib3 sets it before it connects, and before it reads."""
        return None if self._end == math.inf else _left(self._end)

    @timeout.setter
    def timeout(self, seconds: Any) -> None:
        is_number = isinstance(seconds, (int, float))
        self._end = time.monotonic() + seconds if is_number else math.inf

    def send(self, data: Any) -> None:
        """Send bytes. ``sendall`` over TLS would apply the timeout to each 16 KiB."""
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        rest = memoryview(data)
        while rest:
            self.sock.settimeout(self.timeout)
            rest = rest[self.sock.send(rest) :]

    def getresponse(self) -> Any:
        """Return the response, whose body is read until the deadline as well."""
        self.response_class = partial(_Response, self._end)
        messages.acknowledge_at_once(self.sock)
        response = super().getresponse()  # type: ignore[misc]
        messages.acknowledge_at_once(self.sock)
        return response


class _Connection(_ConnectionMixin, HTTPConnection):  # type: ignore[misc]
    pass


class _TLSConnection(_ConnectionMixin, HTTPSConnection):  # type: ignore[misc]
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class RestTransport:
    """A :class:`kmnist.client.transports.Transport` over a pool of HTTP connections. Thread-safe.

    Args:
        address: The scheme, the path and TLS settings.
        host: The server.
        headers: Headers of every request.
        max_answer_bytes: Most bytes of an answer, and of each of its arrays.
    """

    sends_bytes_best = True

    def __init__(
        self, address: Address, host: Host, headers: Mapping[str, str], max_answer_bytes: int
    ) -> None:
        self._address, self._host = address, host
        self._max_bytes = max_answer_bytes
        self._headers = {**messages.JSON_HEADERS, **headers}
        self._pool = _open_pool(address, host)
        self._closed = False

    def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float
    ) -> Outputs:
        """Send a predict request."""
        body = messages.predict_body(signature, inputs)
        path = messages.path(self._address, spec, ":predict")
        return messages.outputs(self._request("POST", path, body, timeout))

    def metadata(self, spec: ModelSpec, timeout: float) -> Metadata:
        """Return the signatures of a version."""
        path = messages.path(self._address, spec, "/metadata")
        return messages.metadata(self._request("GET", path, None, timeout))

    def status(self, spec: ModelSpec, timeout: float) -> Sequence[VersionStatus]:
        """Return the states of all versions, or of ``spec.version``."""
        path = messages.path(self._address, spec)
        return messages.statuses(self._request("GET", path, None, timeout))

    def close(self) -> None:
        """Close the idle connections. Requests in progress finish normally."""
        self._closed = True
        self._pool.close()

    def _request(self, method: str, path: str, body: bytes | None, timeout: float) -> Any:
        if self._closed:
            raise ClosedError("the client is closed; create a new one")
        try:
            response = self._pool.urlopen(
                method,
                path,
                body,
                self._headers,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(total=timeout),
                preload_content=False,
                decode_content=True,
            )
            content = _read(response, self._max_bytes)
        except (HTTPError, OSError) as error:
            raise self._failed(error, timeout) from None
        return messages.answer(response.status, response.headers.get("content-type", ""), content)

    def _failed(self, error: Exception, timeout: float) -> ClientError:
        if isinstance(error, ClosedPoolError) or self._closed:
            return ClosedError("the client was closed while it waited for an answer")
        # In urllib3, a connection that cannot be opened is a timeout as well.
        # If a request cannot be written in time, it is the cause of an aborted connection.
        aborted = error.args[-1] if isinstance(error, ProtocolError) and error.args else None
        if isinstance(aborted, TimeoutError) or (
            isinstance(error, UrllibTimeoutError) and not isinstance(error, NewConnectionError)
        ):
            return DeadlineExceededError(
                f"no answer from {self._host} within {timeout:.3g} s; raise timeout= or send less"
            )
        if isinstance(error, ProtocolError) and "Connection broken" in str(error):
            return messages.truncated(error.args[-1])
        if isinstance(error, ProtocolError) and "BadStatusLine" in repr(error):
            return messages.not_http(str(error.args[-1]))
        return messages.connection_lost(error, self._host)


def _open_pool(address: Address, host: Host) -> urllib3.HTTPConnectionPool:
    if address.tls is None:
        return _Pool(host.name, host.port, maxsize=_POOL_SIZE)
    expected = address.tls.server_name or host.name
    return _TLSPool(
        host.name,
        host.port,
        maxsize=_POOL_SIZE,
        ssl_context=messages.tls_context(address.tls),
        server_hostname=expected,
        assert_hostname=expected,
    )


def _read(response: urllib3.BaseHTTPResponse, most: int) -> bytes:
    """Read the body, of at most ``most`` bytes."""
    content = bytearray()
    try:
        messages.check_length(getattr(response, "length_remaining", None) or 0, most)
        while chunk := response.read1(_CHUNK_BYTES):
            content += chunk
            messages.check_length(len(content), most)
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return bytes(content)


def _left(end: float) -> float:
    """Return the seconds until ``end``.

    Raises:
        TimeoutError: There are none.
    """
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
