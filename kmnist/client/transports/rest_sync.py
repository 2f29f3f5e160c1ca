"""REST for :class:`kmnist.client.Client`, over urllib3."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import urllib3
from numpy.typing import NDArray
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ClosedPoolError, HTTPError, NewConnectionError, ProtocolError
from urllib3.exceptions import TimeoutError as UrllibTimeoutError

from kmnist.client.address import Address, Host
from kmnist.client.transports import rest_messages as messages
from kmnist.errors import ClientError, ClosedError, DeadlineExceededError
from kmnist.protocol.metadata import Metadata, VersionStatus
from kmnist.protocol.model_spec import ModelSpec, Outputs

__all__ = ["RestTransport"]

# Connections kept open; further threads open and close their own.
_POOL_SIZE: Final = 64
_CHUNK_BYTES: Final = 1 << 16


class _QuickAckMixin:
    sock: Any

    def getresponse(self) -> Any:
        messages.acknowledge_at_once(self.sock)
        response = super().getresponse()  # type: ignore[misc]
        messages.acknowledge_at_once(self.sock)
        return response


class _QuickAckConnection(_QuickAckMixin, HTTPConnection):
    pass


class _QuickAckTLSConnection(_QuickAckMixin, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _QuickAckConnection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _QuickAckTLSConnection


class RestTransport:
    """A :class:`kmnist.client.transports.Transport` over a pool of HTTP connections. Thread-safe.

    Args:
        address: The scheme, the path and TLS settings.
        host: The server.
        headers: Headers of every request.
    """

    sends_bytes_best = True

    def __init__(self, address: Address, host: Host, headers: Mapping[str, str]) -> None:
        self._address, self._host = address, host
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
        end = time.monotonic() + timeout
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
            content = _read(response, end)
        except (HTTPError, OSError) as error:
            raise self._failed(error, timeout) from None
        return messages.answer(response.status, response.headers.get("content-type", ""), content)

    def _failed(self, error: Exception, timeout: float) -> ClientError:
        if isinstance(error, ClosedPoolError) or self._closed:
            return ClosedError("the client was closed while it waited for an answer")
        # In urllib3, a connection that cannot be opened is a timeout as well.
        if isinstance(error, UrllibTimeoutError) and not isinstance(error, NewConnectionError):
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


def _read(response: urllib3.BaseHTTPResponse, end: float) -> bytes:
    """Read the body until ``end``: without a timeout per read, a trickle would never end."""
    chunks = []
    try:
        while True:
            _set_timeout(response, end - time.monotonic())
            chunk = response.read1(_CHUNK_BYTES)
            if not chunk:
                break
            chunks.append(chunk)
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return b"".join(chunks)


def _set_timeout(response: urllib3.BaseHTTPResponse, seconds: float) -> None:
    if seconds <= 0:
        raise UrllibTimeoutError
    sock = getattr(response.connection, "sock", None)
    if sock is not None:
        sock.settimeout(seconds)
