"""What the blocking client and the asyncio client share: arguments, properties and repr."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from kmnist.client.address import Address
from kmnist.client.calls import Calls
from kmnist.client.headers import check_headers
from kmnist.client.tls import TLS
from kmnist.errors import ClientError, InvalidInputError
from kmnist.protocol.model_spec import ModelSpec

__all__ = ["BaseClient"]

TransportT = TypeVar("TransportT")


class BaseClient(ABC, Generic[TransportT]):
    """Base class of :class:`kmnist.client.Client` and :class:`kmnist.client.AsyncClient`."""

    def __init__(
        self,
        url: str = "grpc://localhost:8500",
        *,
        model: str = "kmnist",
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        batch_size: int = 1000,
        headers: Mapping[str, str] | None = None,
        tls: TLS | None = None,
        transport: TransportT | None = None,
    ) -> None:
        """Check the arguments. Connections are opened by the first request.

        Args:
            url: The server: ``grpc://``, ``grpcs://``, ``http://`` or ``https://`` and
                ``HOST:PORT``. Requests are spread over several hosts separated by commas, and
                over gRPC also over all addresses of a DNS name.
            model: The name under which the server serves the model.
            version: The version number; by default the latest version.
            label: The version label, instead of ``version``.
            timeout: Seconds that a call may take, including its retries.
            retries: How many times a request is repeated after a failure that may be temporary,
                with growing random pauses: 3 retries cover about half a second, 100 the restart
                of a server, within ``timeout``.
            batch_size: Most images in one request; a call with more sends several, one after the
                other. The client adapts to a server with a lower limit.
            headers: Headers of every request, such as ``{"authorization": "Bearer …"}``. They
                never appear in messages or in the repr.
            tls: TLS settings for ``grpcs://`` and ``https://``.
            transport: Used instead of connections to ``url``, as in tests:
                :class:`kmnist.client.testing.FakeTransport`.

        Raises:
            InvalidInputError: An argument is invalid.
        """
        if not model:
            raise InvalidInputError("received an empty model name; expected one like 'kmnist'")
        if version is not None and label is not None:
            raise InvalidInputError(
                f"received version {version} and label {label!r}; expected at most one of them"
            )
        if version is not None and version < 0:
            raise InvalidInputError(f"received version {version}; expected a number from 0 up")
        if not timeout > 0:
            raise InvalidInputError(f"received timeout={timeout}; expected more than 0 seconds")
        if retries < 0:
            raise InvalidInputError(f"received retries={retries}; expected 0 or more")
        if batch_size < 1:
            raise InvalidInputError(f"received batch_size={batch_size}; expected 1 or more")
        address = Address.parse(url, tls)
        checked = check_headers(headers or {})
        transports = [transport] if transport is not None else self._open(address, checked)
        self._address = str(address)
        self._calls = Calls(
            ModelSpec(model, version, label),
            transports,
            timeout=timeout,
            retries=retries,
            batch_size=batch_size,
        )

    @property
    def address(self) -> str:
        """The server's address."""
        return self._address

    @property
    def model(self) -> str:
        """The name of the model."""
        return self._calls.spec.name

    def __repr__(self) -> str:
        spec = self._calls.spec
        version = "" if spec.version is None else f", version={spec.version}"
        label = "" if spec.label is None else f", label={spec.label!r}"
        return f"{type(self).__name__}({self.address!r}, model={spec.name!r}{version}{label})"

    @abstractmethod
    def _open(self, address: Address, headers: Mapping[str, str]) -> Sequence[TransportT]:
        """Return a transport for each host of the address."""

    def _about(self, error: ClientError) -> ClientError:
        """Record the server and the model in an error."""
        spec = self._calls.spec
        return error.about(
            address=self.address, model=spec.name, version=spec.version, label=spec.label
        )
