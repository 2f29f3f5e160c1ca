"""REST for :class:`kmnist.client.AsyncClient`, over aiohttp."""

# ruff: noqa: ASYNC109 - the timeout is part of a transport's interface

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from numpy.typing import NDArray
from yarl import URL

from kmnist.client.address import Address, Host
from kmnist.client.transports import rest_messages as messages
from kmnist.errors import ClientError, ClosedError, DeadlineExceededError
from kmnist.protocol.messages import Metadata, ModelSpec, Outputs, VersionStatus

__all__ = ["AsyncRestTransport"]


class _QuickAckResponse(aiohttp.ClientResponse):
    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        transport = connection.transport
        sock = None if transport is None else transport.get_extra_info("socket")
        messages.acknowledge_at_once(sock)
        response = await super().start(connection)
        messages.acknowledge_at_once(sock)
        return response


class AsyncRestTransport:
    """A :class:`kmnist.client.transports.AsyncTransport` over a pool of HTTP connections.

    It belongs to the event loop of the first call.

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
        self._context = None if address.tls is None else messages.tls_context(address.tls)
        self._server_name = None if address.tls is None else address.tls.server_name
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float
    ) -> Outputs:
        """Send a predict request."""
        body = messages.predict_body(signature, inputs)
        path = messages.path(self._address, spec, ":predict")
        return messages.outputs(await self._request("POST", path, body, timeout))

    async def metadata(self, spec: ModelSpec, timeout: float) -> Metadata:
        """Return the signatures of a version."""
        path = messages.path(self._address, spec, "/metadata")
        return messages.metadata(await self._request("GET", path, None, timeout))

    async def status(self, spec: ModelSpec, timeout: float) -> Sequence[VersionStatus]:
        """Return the states of all versions, or of ``spec.version``."""
        path = messages.path(self._address, spec)
        return messages.statuses(await self._request("GET", path, None, timeout))

    async def close(self) -> None:
        """Close all connections. Requests in progress raise ClosedError."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _request(self, method: str, path: str, body: bytes | None, timeout: float) -> Any:
        if self._closed:
            raise ClosedError("the client is closed; create a new one")
        if self._session is None:
            self._session = self._open()
        # Encoded already: a "%2F" in a model's name must not become a slash.
        url = URL(f"{self._address.scheme}://{self._host}{path}", encoded=True)
        try:
            async with (
                asyncio.timeout(timeout),
                self._session.request(
                    method,
                    url,
                    data=body,
                    headers=self._headers,
                    allow_redirects=False,
                    server_hostname=self._server_name,
                ) as response,
            ):
                content = await self._read(response)
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise self._failed(error, timeout) from None
        return messages.answer(response.status, response.headers.get("content-type", ""), content)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        messages.check_length(response.content_length or 0, self._max_bytes)
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            messages.check_length(len(content), self._max_bytes)
        return bytes(content)

    def _failed(self, error: Exception, timeout: float) -> ClientError:
        if self._closed:
            return ClosedError("the client was closed while it waited for an answer")
        if isinstance(error, TimeoutError):
            return DeadlineExceededError(
                f"no answer from {self._host} within {timeout:.3g} s; raise timeout= or send less"
            )
        if isinstance(error, aiohttp.ClientPayloadError):
            return messages.truncated(error)
        if isinstance(error, aiohttp.ClientResponseError):
            return messages.not_http(error.message)
        return messages.connection_lost(error, self._host)

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._context or True),
            response_class=_QuickAckResponse,
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
