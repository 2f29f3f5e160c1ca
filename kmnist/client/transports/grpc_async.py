"""gRPC for :class:`kmnist.client.AsyncClient`."""

# ruff: noqa: ASYNC109 - the timeout is part of a transport's interface

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
from numpy.typing import NDArray

from kmnist.client.address import Address, Host
from kmnist.client.transports import grpc_messages as messages
from kmnist.errors import ClosedError
from kmnist.protocol import messages as methods
from kmnist.protocol import prediction
from kmnist.protocol.messages import Metadata, ModelSpec, Outputs, VersionStatus

__all__ = ["AsyncGrpcTransport"]


class AsyncGrpcTransport:
    """A :class:`kmnist.client.transports.AsyncTransport` over one gRPC channel.

    It belongs to the event loop of the first call.

    Args:
        address: The scheme and TLS settings.
        host: The server.
        headers: Metadata of every request.
        max_answer_bytes: Most bytes of an answer, and of each of its arrays.
    """

    sends_bytes_best = False

    def __init__(
        self, address: Address, host: Host, headers: Mapping[str, str], max_answer_bytes: int
    ) -> None:
        self._address, self._host = address, host
        self._credentials = messages.credentials(address)
        self._max_bytes = max_answer_bytes
        self._headers = tuple(headers.items())
        self._channel: grpc.aio.Channel | None = None
        self._closed = False

    async def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float
    ) -> Outputs:
        """Send a predict request."""
        request = prediction.request(spec, signature, inputs)
        response = await self._call(methods.PREDICT, request, timeout)
        return messages.outputs(response, self._max_bytes)

    async def metadata(self, spec: ModelSpec, timeout: float) -> Metadata:
        """Return the signatures of a version."""
        request = messages.metadata_request(spec)
        return messages.metadata(await self._call(methods.GET_MODEL_METADATA, request, timeout))

    async def status(self, spec: ModelSpec, timeout: float) -> Sequence[VersionStatus]:
        """Return the states of all versions, or of ``spec.version``."""
        request = messages.status_request(spec)
        return messages.statuses(await self._call(methods.GET_MODEL_STATUS, request, timeout))

    async def close(self) -> None:
        """Close the channel. Calls in progress raise ClosedError."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close(None)
            self._channel = None

    async def _call(self, path: str, request: bytes, timeout: float) -> bytes:
        if self._channel is None:
            self._channel = self._open()
        # Without serializers: requests and responses are bytes.
        method: Any = self._channel.unary_unary(path, None, None)
        try:
            response: bytes = await method(request, timeout=timeout, metadata=self._headers)
        except grpc.RpcError as error:
            raise messages.call_failed(
                error, self._host, self._max_bytes, closed=self._closed
            ) from None
        except grpc.aio.UsageError:
            raise ClosedError("the client was closed while it waited for an answer") from None
        except asyncio.CancelledError:
            # Closing a channel cancels its calls; a cancelled task must stay cancelled.
            task = asyncio.current_task()
            if not self._closed or task is None or task.cancelling():
                raise
            raise ClosedError("the client was closed while it waited for an answer") from None
        return response

    def _open(self) -> grpc.aio.Channel:
        if self._closed:
            raise ClosedError("the client is closed; create a new one")
        target, options = (
            messages.target(self._host),
            messages.channel_options(self._address, self._max_bytes),
        )
        if self._credentials is None:
            return grpc.aio.insecure_channel(target, options)
        return grpc.aio.secure_channel(target, self._credentials, options)
