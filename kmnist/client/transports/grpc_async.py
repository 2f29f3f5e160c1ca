"""gRPC for :class:`kmnist.client.AsyncClient`."""

# ruff: noqa: ASYNC109 - the timeout is part of what a transport is

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
from numpy.typing import NDArray

from kmnist.client.address import Address, Host
from kmnist.client.transports import grpc_messages as messages
from kmnist.errors import ClosedError
from kmnist.protocol import methods, prediction
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.metadata import Metadata, VersionStatus
from kmnist.protocol.model_spec import ModelSpec, Outputs

__all__ = ["AsyncGrpcTransport"]


class AsyncGrpcTransport:
    """One channel, which belongs to the event loop that makes the first call."""

    sends_bytes_best = False

    def __init__(self, address: Address, host: Host, headers: Mapping[str, str]) -> None:
        self._address, self._host = address, host
        self._credentials = messages.credentials(address)
        self._headers = tuple(headers.items())
        self._channel: Any = None
        self._closed = False

    async def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float
    ) -> Outputs:
        request = prediction.request(spec, signature, inputs)
        return messages.outputs(await self._call(methods.PREDICT, request, timeout=timeout))

    async def metadata(self, spec: ModelSpec, timeout: float) -> Metadata:
        request = messages.metadata_request(spec)
        return messages.metadata(
            await self._call(
                methods.GET_MODEL_METADATA, request, pb.GetModelMetadataResponse, timeout=timeout
            )
        )

    async def status(self, spec: ModelSpec, timeout: float) -> Sequence[VersionStatus]:
        request = messages.status_request(spec)
        return messages.statuses(
            await self._call(
                methods.GET_MODEL_STATUS, request, pb.GetModelStatusResponse, timeout=timeout
            )
        )

    async def close(self) -> None:
        """Close the channel; calls that still wait raise ClosedError."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def _call(self, path: str, request: Any, response: Any = None, *, timeout: float) -> Any:
        """Messages are answered as ``response``, bytes by bytes."""
        if self._channel is None:
            self._channel = self._open()
        method = self._channel.unary_unary(
            path,
            request_serializer=response and type(request).SerializeToString,
            response_deserializer=response and response.FromString,
        )
        try:
            return await method(request, timeout=timeout, metadata=self._headers)
        except grpc.RpcError as error:
            raise messages.call_failed(error, self._host, closed=self._closed) from None
        except grpc.aio.UsageError:
            raise ClosedError("the client was closed while it waited for an answer") from None
        except asyncio.CancelledError:
            # A channel that closes cancels its calls; a task that is cancelled has to stay so.
            task = asyncio.current_task()
            if not self._closed or task is None or task.cancelling():
                raise
            raise ClosedError("the client was closed while it waited for an answer") from None

    def _open(self) -> Any:
        if self._closed:
            raise ClosedError("the client is closed; make a new one")
        options, name = messages.channel_options(self._address), messages.target(self._host)
        if self._credentials is None:
            return grpc.aio.insecure_channel(name, options)
        return grpc.aio.secure_channel(name, self._credentials, options)
