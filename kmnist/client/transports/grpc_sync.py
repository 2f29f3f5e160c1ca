"""gRPC for :class:`kmnist.client.Client`."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from numpy.typing import NDArray

from kmnist.client.address import Address, Host
from kmnist.client.transports import grpc_messages as messages
from kmnist.errors import ClosedError
from kmnist.protocol import messages as methods
from kmnist.protocol import prediction
from kmnist.protocol.messages import Metadata, ModelSpec, Outputs, VersionStatus

__all__ = ["GrpcTransport"]


class GrpcTransport:
    """A :class:`kmnist.client.transports.Transport` over one gRPC channel. Thread-safe.

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
        target, options = messages.target(host), messages.channel_options(address, max_answer_bytes)
        credentials = messages.credentials(address)
        self._channel = (
            grpc.insecure_channel(target, options)
            if credentials is None
            else grpc.secure_channel(target, credentials, options)
        )
        self._host = host
        self._max_bytes = max_answer_bytes
        self._headers = tuple(headers.items())
        self._closed = False
        # Without serializers: requests and responses are bytes.
        self._predict = self._channel.unary_unary(methods.PREDICT, None, None)
        self._metadata = self._channel.unary_unary(methods.GET_MODEL_METADATA, None, None)
        self._status = self._channel.unary_unary(methods.GET_MODEL_STATUS, None, None)

    def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float
    ) -> Outputs:
        """Send a predict request."""
        request = prediction.request(spec, signature, inputs)
        response = self._call(self._predict, request, timeout)
        return messages.outputs(response, self._max_bytes)

    def metadata(self, spec: ModelSpec, timeout: float) -> Metadata:
        """Return the signatures of a version."""
        request = messages.metadata_request(spec)
        return messages.metadata(self._call(self._metadata, request, timeout))

    def status(self, spec: ModelSpec, timeout: float) -> Sequence[VersionStatus]:
        """Return the states of all versions, or of ``spec.version``."""
        request = messages.status_request(spec)
        return messages.statuses(self._call(self._status, request, timeout))

    def close(self) -> None:
        """Close the channel. Calls in progress raise ClosedError."""
        self._closed = True
        self._channel.close()

    def _call(self, method: Any, request: bytes, timeout: float) -> bytes:
        try:
            response: bytes = method(request, timeout=timeout, metadata=self._headers)
        except grpc.RpcError as error:
            raise messages.call_failed(
                error, self._host, self._max_bytes, closed=self._closed
            ) from None
        except ValueError:
            if not self._closed:
                raise
            raise ClosedError("the client is closed; create a new one") from None
        return response
