"""REST for :class:`kmnist.client.Client`, over urllib3."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import urllib3
from numpy.typing import NDArray
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ClosedPoolError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
)
from urllib3.exceptions import TimeoutError as UrllibTimeoutError

from kmnist.client.address import Address, Host
from kmnist.client.transports import rest_messages as messages
from kmnist.client.transports.resolving import Resolver
from kmnist.errors import ClientError, ClosedError, DeadlineExceededError
from kmnist.protocol.metadata import Metadata, VersionStatus
from kmnist.protocol.model_spec import ModelSpec, Outputs

__all__ = ["RestTransport"]

# Connections kept open; more threads than these open others for the time of a request.
_POOL_SIZE = 64
_CHUNK = 1 << 16


class _Prompt:
    """Mixed into a connection: acknowledges each answer at once."""

    sock: Any

    def getresponse(self) -> Any:
        messages.acknowledge_at_once(self.sock)
        response = super().getresponse()  # type: ignore[misc]
        messages.acknowledge_at_once(self.sock)
        return response


class _PromptHTTPConnection(_Prompt, HTTPConnection):
    pass


class _PromptHTTPSConnection(_Prompt, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PromptHTTPConnection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _PromptHTTPSConnection


class RestTransport:
    """A pool of connections for each server behind one host name; safe to share."""

    sends_bytes_best = True

    def __init__(self, address: Address, host: Host, headers: Mapping[str, str]) -> None:
        self._address, self._host = address, host
        self._headers = {**messages.JSON, "host": str(host), **headers}
        self._context = messages.tls_context(address)
        self._resolver = Resolver(host)
        self._pools: dict[str, urllib3.HTTPConnectionPool] = {}
        self._closed = False

    def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float
    ) -> Outputs:
        body = messages.predict_body(signature, inputs)
        path = messages.path(self._address, spec, ":predict")
        return messages.outputs(self._request("POST", path, body, timeout))

    def metadata(self, spec: ModelSpec, timeout: float) -> Metadata:
        path = messages.path(self._address, spec, "/metadata")
        return messages.metadata(self._request("GET", path, None, timeout))

    def status(self, spec: ModelSpec, timeout: float) -> Sequence[VersionStatus]:
        path = messages.path(self._address, spec)
        return messages.statuses(self._request("GET", path, None, timeout))

    def close(self) -> None:
        """Close the idle connections; requests that still run end as they would."""
        self._closed = True
        for pool in list(self._pools.values()):
            pool.close()

    def _request(self, method: str, path: str, body: bytes | None, timeout: float) -> Any:
        if self._closed:
            raise ClosedError("the client is closed; make a new one")
        end = time.monotonic() + timeout
        try:
            pool = self._pool(self._resolver.pick())
            response = pool.urlopen(
                method,
                path,
                body,
                self._headers,
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=urllib3.Timeout(total=timeout),
                preload_content=False,
                decode_content=True,
            )
            content = _read(response, end)
        except (HTTPError, OSError) as error:
            self._resolver.forget()
            raise self._failed(error, timeout) from None
        return messages.answer(response.status, response.headers.get("content-type", ""), content)

    def _failed(self, error: Exception, timeout: float) -> ClientError:
        if isinstance(error, ClosedPoolError) or self._closed:
            return ClosedError("the client was closed while it waited for an answer")
        if isinstance(error, NewConnectionError):
            return messages.connection_lost(error, self._host)
        if isinstance(error, UrllibTimeoutError):
            return DeadlineExceededError(
                f"no answer from {self._host} within {timeout:.3g} s; raise timeout=, or ask for less"
            )
        if isinstance(error, ProtocolError) and "Connection broken" in str(error):
            return messages.cut_off(error.args[-1])
        if isinstance(error, ProtocolError) and "BadStatusLine" in repr(error):
            return messages.not_http(str(error.args[-1]))
        return messages.connection_lost(error, self._host)

    def _pool(self, ip: str | None) -> urllib3.HTTPConnectionPool:
        name = ip or self._host.name
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools.setdefault(name, self._open(name))
        return pool

    def _open(self, name: str) -> urllib3.HTTPConnectionPool:
        if self._context is None:
            return _Pool(name, self._host.port, maxsize=_POOL_SIZE)
        expected = (self._address.tls and self._address.tls.server_name) or self._host.name
        return _SecurePool(
            name,
            self._host.port,
            maxsize=_POOL_SIZE,
            ssl_context=self._context,
            server_hostname=expected,
            assert_hostname=expected,
        )


def _read(response: urllib3.BaseHTTPResponse, end: float) -> bytes:
    """The whole body. Each read gets only what is left of the time, so a trickle ends as well."""
    chunks = []
    try:
        while True:
            _allow(response, end - time.monotonic())
            chunk = response.read1(_CHUNK)
            if not chunk:
                break
            chunks.append(chunk)
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return b"".join(chunks)


def _allow(response: urllib3.BaseHTTPResponse, seconds: float) -> None:
    if seconds <= 0:
        raise UrllibTimeoutError
    sock = getattr(response.connection, "sock", None)
    if sock is not None:
        sock.settimeout(seconds)
