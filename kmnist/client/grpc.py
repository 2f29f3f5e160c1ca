"""gRPC: the transports of :class:`kmnist.client.Client` and :class:`kmnist.client.AsyncClient`."""

# ruff: noqa: ASYNC109 - the timeout is part of a transport's interface

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from kmnist.client.address import TLS, Address
from kmnist.client.answers import read_statuses
from kmnist.client.failures import brief, closed, failure
from kmnist.errors import BadAnswerError, ClientError, InputError
from kmnist.protocol import messages, prediction
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import Metadata, ModelSpec, Request, VersionStatus, read_signatures

__all__ = ["AsyncGrpcTransport", "GrpcTransport"]

_OPTIONS: Final = (
    # A DNS name stands for all of its addresses.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # The default of two minutes would outlast the default retries after a restart.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 250),
    # As over REST, the environment's proxy settings are ignored.
    ("grpc.enable_http_proxy", 0),
)
_PATHS: Final = (messages.PREDICT, messages.GET_MODEL_METADATA, messages.GET_MODEL_STATUS)
_SIGNATURES: Final = "signature_def"

_Reader = Callable[[bytes], Any]


class _Grpc(ABC):
    """What both transports share: requests, and the reading of answers.

    Args:
        address: The server and TLS settings.
        headers: Metadata of every request.
    """

    sends_bytes_best = False

    def __init__(self, address: Address, headers: Mapping[str, str]) -> None:
        self._host = address.host
        self._target = f"dns:///{address.host}"
        self._credentials = None if address.tls is None else _credentials(address.tls)
        self._options = [*_OPTIONS]
        if address.tls is not None and address.tls.server_name is not None:
            self._options.append(("grpc.ssl_target_name_override", address.tls.server_name))
        self._headers = tuple(headers.items())
        self._closed = False

    def predict(self, request: Request, timeout: float) -> Any:
        """Send a predict request."""
        read = partial(prediction.read_outputs, names=request.outputs)
        return self._send(messages.PREDICT, prediction.serialize(request), timeout, read)

    def metadata(self, spec: ModelSpec, timeout: float) -> Any:
        """Return the signatures of a version."""
        request = pb.GetModelMetadataRequest(
            model_spec=prediction.model_spec(spec), metadata_field=[_SIGNATURES]
        )
        return self._send(
            messages.GET_MODEL_METADATA, request.SerializeToString(), timeout, _metadata
        )

    def status(self, spec: ModelSpec, timeout: float) -> Any:
        """Return the states of all versions, or of ``spec.version``."""
        request = pb.GetModelStatusRequest(model_spec=prediction.model_spec(spec))
        return self._send(
            messages.GET_MODEL_STATUS, request.SerializeToString(), timeout, _statuses
        )

    @abstractmethod
    def _send(self, path: str, request: bytes, timeout: float, read: _Reader) -> Any:
        """Send a request; return what ``read`` makes of the answer."""

    def _open(self, library: Any) -> Any:
        """Return a channel of ``grpc`` or ``grpc.aio``, and keep its methods."""
        if self._closed:
            raise closed()
        if self._credentials is None:
            channel = library.insecure_channel(self._target, self._options)
        else:
            channel = library.secure_channel(self._target, self._credentials, self._options)
        # Without serializers: requests and responses are bytes.
        self._methods = {path: channel.unary_unary(path, None, None) for path in _PATHS}
        return channel

    def _read(self, read: _Reader, response: bytes) -> Any:
        try:
            return read(response)
        except (DecodeError, ValueError) as error:
            raise BadAnswerError(f"cannot read the answer: {brief(repr(error))}") from None

    def _failed(self, error: grpc.RpcError) -> ClientError:
        code, text = error.code(), error.details() or ""
        if self._closed and code is grpc.StatusCode.CANCELLED:
            return closed()
        return failure(code.name, text, self._host)


class GrpcTransport(_Grpc):
    """A :class:`kmnist.client.calls.Transport` over one gRPC channel. Thread-safe."""

    def __init__(self, address: Address, headers: Mapping[str, str]) -> None:
        super().__init__(address, headers)
        self._channel = self._open(grpc)

    def close(self) -> None:
        """Close the channel. Calls in progress raise ClosedError."""
        self._closed = True
        self._channel.close()

    def _send(self, path: str, request: bytes, timeout: float, read: _Reader) -> Any:
        try:
            response = self._methods[path](request, timeout=timeout, metadata=self._headers)
        except grpc.RpcError as error:
            raise self._failed(error) from None
        except ValueError:
            if not self._closed:
                raise
            raise closed() from None
        return self._read(read, response)


class AsyncGrpcTransport(_Grpc):
    """An asyncio :class:`kmnist.client.calls.Transport` over one gRPC channel.

    It belongs to the event loop of the first call.
    """

    _channel: grpc.aio.Channel | None = None

    async def close(self) -> None:
        """Close the channel. Calls in progress raise ClosedError."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close(None)
            self._channel = None

    async def _send(self, path: str, request: bytes, timeout: float, read: _Reader) -> Any:
        if self._channel is None:
            self._channel = self._open(grpc.aio)
        try:
            response = await self._methods[path](request, timeout=timeout, metadata=self._headers)
        except grpc.RpcError as error:
            raise self._failed(error) from None
        except asyncio.CancelledError:
            # Closing a channel cancels its calls; a cancelled task must stay cancelled.
            task = asyncio.current_task()
            if not self._closed or task is None or task.cancelling():
                raise
            raise closed() from None
        return self._read(read, response)


def _credentials(tls: TLS) -> grpc.ChannelCredentials:
    try:
        paths = (tls.ca, tls.key, tls.certificate)
        contents = [None if path is None else Path(path).read_bytes() for path in paths]
    except OSError as error:
        raise InputError(f"cannot read the TLS file {error.filename}: {error.strerror}") from None
    return grpc.ssl_channel_credentials(*contents)


def _metadata(response: bytes) -> Metadata:
    parsed = pb.GetModelMetadataResponse.FromString(response)
    found = pb.SignatureDefMap.FromString(parsed.metadata[_SIGNATURES].value)
    return Metadata(parsed.model_spec.version.value, read_signatures(found.signature_def))


def _statuses(response: bytes) -> list[VersionStatus]:
    return read_statuses(pb.GetModelStatusResponse.FromString(response))
