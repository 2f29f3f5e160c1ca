"""What the blocking client and the asyncio client share: arguments, properties and repr."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final, Generic, TypeVar

from kmnist.client.address import Address
from kmnist.client.arguments import MAX_VERSION, as_count, as_seconds
from kmnist.client.calls import Calls
from kmnist.client.headers import check_headers, redact
from kmnist.client.tls import TLS
from kmnist.errors import ClientError, InvalidInputError
from kmnist.protocol.messages import ModelSpec

__all__ = ["BaseClient"]

TransportT = TypeVar("TransportT")

# Fits 100,000 predictions of 10 classes in every format of TensorFlow Serving.
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024


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
        max_answer_bytes: int = _MAX_ANSWER_BYTES,
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
            timeout: Seconds that a call may take, including its retries; ``math.inf`` for no
                limit.
            retries: How many times a request is repeated after a failure that may be temporary,
                with growing random pauses: 3 retries cover about half a second, 100 the restart
                of a server, within ``timeout``.
            batch_size: Most images in one request; a call with more sends several, one after the
                other. The client adapts to a server with a lower limit.
            max_answer_bytes: Most bytes of an answer, and of each of its arrays: a larger one is
                a BadAnswerError before it is read. The default of 64 MiB fits 100,000
                predictions of 10 classes.
            headers: Headers of every request, such as ``{"authorization": "Bearer …"}``. They
                never appear in errors or in the repr, even if the server repeats them.
            tls: TLS settings for ``grpcs://`` and ``https://``.
            transport: Used instead of connections to ``url``, as in tests:
                :class:`kmnist.client.testing.FakeTransport`.

        Raises:
            InvalidInputError: An argument is invalid.
        """
        if not (isinstance(model, str) and model):
            raise InvalidInputError(f"received model={model!r}; expected a name like 'kmnist'")
        if not (label is None or isinstance(label, str)):
            raise InvalidInputError(f"received label={label!r}; expected a name like 'stable'")
        if version is not None and label is not None:
            raise InvalidInputError(
                f"received version {version} and label {label!r}; expected at most one of them"
            )
        if version is not None:
            version = as_count(version, "version", 0, MAX_VERSION)
        timeout = as_seconds(timeout, "timeout")
        retries = as_count(retries, "retries", 0)
        batch_size = as_count(batch_size, "batch_size", 1)
        # gRPC takes the limit as an int32.
        limit = as_count(max_answer_bytes, "max_answer_bytes", 1, 2**31 - 1)
        address = Address.parse(url, tls)
        checked = check_headers({} if headers is None else headers)
        self._header_values = tuple(checked.values())
        transports = [transport] if transport is not None else self._open(address, checked, limit)
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
    def _open(
        self, address: Address, headers: Mapping[str, str], max_answer_bytes: int
    ) -> Sequence[TransportT]:
        """Return a transport for each host of the address."""

    def _about(self, error: ClientError) -> ClientError:
        """Record the server and the model in an error; remove the headers from its texts."""
        if self._header_values:
            error.args = tuple(self._redacted(each) for each in error.args)
            for name, value in vars(error).items():
                setattr(error, name, self._redacted(value))
            # The exception of grpcio, urllib3 or aiohttp, with the same texts.
            error.__context__ = None
        spec = self._calls.spec
        return error.about(
            address=self.address, model=spec.name, version=spec.version, label=spec.label
        )

    def _redacted(self, value: object) -> object:
        return redact(value, self._header_values) if isinstance(value, str) else value
