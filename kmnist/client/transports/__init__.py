"""How requests travel: one module each for gRPC and REST, blocking and asyncio.

A transport sends one request to one server and raises the errors of
:mod:`kmnist.errors`; retries, splitting and checks are above it. Only the modules that
an address asks for are imported.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from kmnist.client.address import Address
from kmnist.protocol.metadata import Metadata, VersionStatus
from kmnist.protocol.model_spec import ModelSpec, Outputs

__all__ = ["AsyncTransport", "Transport", "open_async_transports", "open_transports"]


class Transport(Protocol):
    """What a client needs of a transport; users' own may be given as ``transport=``.

    Attributes:
        sends_bytes_best: Whether images should travel through a signature that takes raw bytes
            (``pixels``), where the model has one.
    """

    sends_bytes_best: bool

    def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float, /
    ) -> Outputs:
        """Ask for a prediction. Strings come as object arrays of bytes; ``timeout`` in seconds."""

    def metadata(self, spec: ModelSpec, timeout: float, /) -> Metadata:
        """Ask for the signatures of a version."""

    def status(self, spec: ModelSpec, timeout: float, /) -> Sequence[VersionStatus]:
        """Ask for the states of all versions, or of ``spec.version``."""

    def close(self) -> None:
        """Close every connection; calls that still run raise ClosedError or end as they would."""


class AsyncTransport(Protocol):
    """The same for asyncio."""

    sends_bytes_best: bool

    def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, NDArray[Any]], timeout: float, /
    ) -> Awaitable[Outputs]: ...

    def metadata(self, spec: ModelSpec, timeout: float, /) -> Awaitable[Metadata]: ...

    def status(self, spec: ModelSpec, timeout: float, /) -> Awaitable[Sequence[VersionStatus]]: ...

    def close(self) -> Awaitable[None]: ...


def open_transports(address: Address, headers: Mapping[str, str]) -> list[Transport]:
    """One for each host of the address; nothing is connected yet."""
    if address.is_grpc:
        from kmnist.client.transports.grpc_sync import GrpcTransport

        return [GrpcTransport(address, host, headers) for host in address.hosts]
    from kmnist.client.transports.rest_sync import RestTransport

    return [RestTransport(address, host, headers) for host in address.hosts]


def open_async_transports(address: Address, headers: Mapping[str, str]) -> list[AsyncTransport]:
    """One for each host of the address; nothing is connected yet."""
    if address.is_grpc:
        from kmnist.client.transports.grpc_async import AsyncGrpcTransport

        return [AsyncGrpcTransport(address, host, headers) for host in address.hosts]
    from kmnist.client.transports.rest_async import AsyncRestTransport

    return [AsyncRestTransport(address, host, headers) for host in address.hosts]
