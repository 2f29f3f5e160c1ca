"""gRPC for :class:`kmnist.client.Client`."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from numpy.typing import NDArray

from kmnist.client.address import Address, Host
from kmnist.client.transports import grpc_messages as messages
from kmnist.errors import ClosedError
from kmnist.protocol import methods, prediction
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.metadata import Metadata, VersionStatus
from kmnist.protocol.model_spec import ModelSpec, Outputs

__all__ = ["GrpcTransport"]


class GrpcTransport:
    """One channel, which any number of threads may use."""

    sends_bytes_best = False

    def __init__(self, address: Address, host: Host, headers: Mapping[str, str]) -> None:
        options, secret = messages.channel_options(address), messages.credentials(address)
        self._channel = (
            grpc.insecure_channel(messages.target(host), options)
            if secret is None
            else grpc.secure_channel(messages.target(host), secret, options)
        )
        self._host = host
        self._headers = tuple(headers.items())
        self._closed = False
        self._predict = self._channel.unary_unary(
            methods.PREDICT, None, None
        )  # takes and gives bytes
        self._metadata = self._method(
            methods.GET_MODEL_METADATA, pb.GetModelMetadataRequest, pb.GetModelMetadataResponse
        )
        self._status = self._method(
            methods.GET_MODEL_STATUS, pb.GetModelStatusRequest, pb.GetModelStatusResponse
        )

    def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float
    ) -> Outputs:
        request = prediction.request(spec, signature, inputs)
        return messages.outputs(self._call(self._predict, request, timeout))

    def metadata(self, spec: ModelSpec, timeout: float) -> Metadata:
        request = messages.metadata_request(spec)
        return messages.metadata(self._call(self._metadata, request, timeout))

    def status(self, spec: ModelSpec, timeout: float) -> Sequence[VersionStatus]:
        request = messages.status_request(spec)
        return messages.statuses(self._call(self._status, request, timeout))

    def close(self) -> None:
        """Close the channel; calls that still wait raise ClosedError."""
        self._closed = True
        self._channel.close()

    def _method(self, path: str, request: Any, response: Any) -> Any:
        return self._channel.unary_unary(
            path,
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def _call(self, method: Any, request: Any, timeout: float) -> Any:
        try:
            return method(request, timeout=timeout, metadata=self._headers)
        except grpc.RpcError as error:
            raise messages.call_failed(error, self._host, closed=self._closed) from None
        except ValueError:
            if not self._closed:
                raise
            raise ClosedError("the client is closed; make a new one") from None
