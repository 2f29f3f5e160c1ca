"""REST for :class:`kmnist.client.AsyncClient`, over aiohttp."""

# ruff: noqa: ASYNC109 - the timeout is part of what a transport is

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from numpy.typing import NDArray
from yarl import URL

from kmnist.client.address import Address, Host
from kmnist.client.transports import rest_messages as messages
from kmnist.client.transports.resolving import Resolver
from kmnist.errors import ClientError, ClosedError, DeadlineExceededError
from kmnist.protocol.metadata import Metadata, VersionStatus
from kmnist.protocol.model_spec import ModelSpec, Outputs

__all__ = ["AsyncRestTransport"]


class _PromptResponse(aiohttp.ClientResponse):
    """Acknowledges each answer at once."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        transport = connection.transport
        sock = None if transport is None else transport.get_extra_info("socket")
        messages.acknowledge_at_once(sock)
        response = await super().start(connection)
        messages.acknowledge_at_once(sock)
        return response


class AsyncRestTransport:
    """One session, which belongs to the event loop that makes the first call."""

    sends_bytes_best = True

    def __init__(self, address: Address, host: Host, headers: Mapping[str, str]) -> None:
        self._address, self._host = address, host
        self._headers = {**messages.JSON, "host": str(host), **headers}
        self._context = messages.tls_context(address)
        self._resolver = Resolver(host)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float
    ) -> Outputs:
        body = messages.predict_body(signature, inputs)
        path = messages.path(self._address, spec, ":predict")
        return messages.outputs(await self._request("POST", path, body, timeout))

    async def metadata(self, spec: ModelSpec, timeout: float) -> Metadata:
        path = messages.path(self._address, spec, "/metadata")
        return messages.metadata(await self._request("GET", path, None, timeout))

    async def status(self, spec: ModelSpec, timeout: float) -> Sequence[VersionStatus]:
        path = messages.path(self._address, spec)
        return messages.statuses(await self._request("GET", path, None, timeout))

    async def close(self) -> None:
        """Close every connection; requests that still wait raise ClosedError."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _request(self, method: str, path: str, body: bytes | None, timeout: float) -> Any:
        if self._closed:
            raise ClosedError("the client is closed; make a new one")
        if self._session is None:
            self._session = self._open()
        try:
            async with asyncio.timeout(timeout):
                url = self._url(await self._pick(), path)
                async with self._session.request(
                    method,
                    url,
                    data=body,
                    headers=self._headers,
                    allow_redirects=False,
                    server_hostname=self._expected_name(),
                ) as response:
                    content = await response.read()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            self._resolver.forget()
            raise self._failed(error, timeout) from None
        return messages.answer(response.status, response.headers.get("content-type", ""), content)

    def _failed(self, error: Exception, timeout: float) -> ClientError:
        if self._closed:
            return ClosedError("the client was closed while it waited for an answer")
        if isinstance(error, TimeoutError):
            return DeadlineExceededError(
                f"no answer from {self._host} within {timeout:.3g} s; raise timeout=, or ask for less"
            )
        if isinstance(error, aiohttp.ClientPayloadError):
            return messages.cut_off(error)
        if isinstance(error, aiohttp.ClientResponseError):
            return messages.not_http(error.message)
        return messages.connection_lost(error, self._host)

    async def _pick(self) -> str | None:
        if self._resolver.is_stale():
            loop = asyncio.get_running_loop()
            infos = await loop.getaddrinfo(
                self._host.name, self._host.port, type=socket.SOCK_STREAM
            )
            self._resolver.learn(infos)
        return self._resolver.next()

    def _url(self, ip: str | None, path: str) -> URL:
        place = Host(ip or self._host.name, self._host.port)
        # encoded: the path is quoted already, and a '%2F' in a model's name has to stay.
        return URL(f"{self._address.scheme}://{place}{path}", encoded=True)

    def _expected_name(self) -> str | None:
        if self._address.tls is None:
            return None
        return self._address.tls.server_name or self._host.name

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._context or True),
            response_class=_PromptResponse,
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
