"""Transports, which send one request to one server: gRPC and REST, blocking and asyncio.

A transport raises the errors of :mod:`kmnist.errors`. Retries, load balancing, validation and
splitting happen above it. Only the modules that an address needs are imported.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from kmnist.client.address import Address
from kmnist.protocol.messages import Metadata, ModelSpec, Outputs, VersionStatus

__all__ = ["AsyncTransport", "Transport", "open_async_transports", "open_transports"]


class Transport(Protocol):
    """The interface of a blocking transport, which users can implement for ``transport=``.

    Attributes:
        sends_bytes_best: Whether images should be sent as raw bytes, through the signature
            ``pixels``, if the model has it.
    """

    sends_bytes_best: bool

    def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float, /
    ) -> Outputs:
        """Send a predict request.

        Args:
            spec: The model, and its version or label.
            signature: The name of the signature.
            inputs: Arrays by input name; strings as object arrays of bytes.
            timeout: Seconds until the deadline.

        Raises:
            ClientError: The request failed.
        """

    def metadata(self, spec: ModelSpec, timeout: float, /) -> Metadata:
        """Return the signatures of a version; arguments and errors as in ``predict``."""

    def status(self, spec: ModelSpec, timeout: float, /) -> Sequence[VersionStatus]:
        """Return the states of all versions, or of ``spec.version``; errors as in ``predict``."""

    def close(self) -> None:
        """Close all connections. Requests in progress raise ClosedError or finish normally."""


class AsyncTransport(Protocol):
    """The interface of an asyncio transport: :class:`Transport` with awaitable results.

    Attributes:
        sends_bytes_best: As in :class:`Transport`.
    """

    sends_bytes_best: bool

    def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float, /
    ) -> Awaitable[Outputs]:
        """Send a predict request."""

    def metadata(self, spec: ModelSpec, timeout: float, /) -> Awaitable[Metadata]:
        """Return the signatures of a version."""

    def status(self, spec: ModelSpec, timeout: float, /) -> Awaitable[Sequence[VersionStatus]]:
        """Return the states of all versions, or of ``spec.version``."""

    def close(self) -> Awaitable[None]:
        """Close all connections. Requests in progress raise ClosedError."""


def open_transports(
    address: Address, headers: Mapping[str, str], max_answer_bytes: int
) -> list[Transport]:
    """Return a blocking transport for each host of an address, not yet connected.

    Args:
        address: The servers.
        headers: Headers of every request, with names in lower case.
        max_answer_bytes: Most bytes of an answer, and of each of its arrays.

    Raises:
        InvalidInputError: A TLS file cannot be used.
    """
    if address.is_grpc:
        from kmnist.client.transports.grpc_sync import GrpcTransport

        return [GrpcTransport(address, host, headers, max_answer_bytes) for host in address.hosts]
    from kmnist.client.transports.rest_sync import RestTransport

    return [RestTransport(address, host, headers, max_answer_bytes) for host in address.hosts]


def open_async_transports(
    address: Address, headers: Mapping[str, str], max_answer_bytes: int
) -> list[AsyncTransport]:
    """Return an asyncio transport for each host of an address; see :func:`open_transports`."""
    if address.is_grpc:
        from kmnist.client.transports.grpc_async import AsyncGrpcTransport

        return [
            AsyncGrpcTransport(address, host, headers, max_answer_bytes) for host in address.hosts
        ]
    from kmnist.client.transports.rest_async import AsyncRestTransport

    return [AsyncRestTransport(address, host, headers, max_answer_bytes) for host in address.hosts]
