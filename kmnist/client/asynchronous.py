"""The client for asyncio."""

# ruff: noqa: ASYNC109 - the timeout is the same argument as the blocking client's

import inspect
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from numpy.typing import ArrayLike

from kmnist.client.address import TLS
from kmnist.client.arguments import make_calls
from kmnist.client.calls import Flow, Send
from kmnist.client.inputs import PicturesLike
from kmnist.client.predictions import Predictions
from kmnist.client.transports import AsyncTransport, Transport, open_async_transports
from kmnist.errors import ClientError
from kmnist.protocol.metadata import Metadata, VersionStatus

__all__ = ["AsyncClient"]

T = TypeVar("T")


class AsyncClient:
    """:class:`kmnist.client.Client` with ``await``: the same names, arguments and errors.

    A client belongs to the event loop it is first used in; any number of its tasks may share
    it. A cancelled task cancels its request.

    ::

        async with AsyncClient("http://localhost:8501") as client:
            predictions = await client.predict(images)

    """

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
        transport: AsyncTransport | Transport | None = None,
    ) -> None:
        self._calls = make_calls(
            url,
            open_async_transports,
            model=model,
            version=version,
            label=label,
            timeout=timeout,
            retries=retries,
            batch_size=batch_size,
            headers=headers,
            tls=tls,
            transport=transport,
        )

    @property
    def address(self) -> str:
        """Where it asks, without anything secret."""
        return self._calls.address

    @property
    def model(self) -> str:
        """The name of the model it asks for."""
        return self._calls.spec.name

    async def predict(self, images: ArrayLike, *, timeout: float | None = None) -> Predictions:
        """Classify images: uint8 (n, h, w) or (h, w). See :meth:`Client.predict`."""
        return await self._run(self._calls.predict(images, timeout))

    async def predict_pictures(
        self, pictures: PicturesLike, *, timeout: float | None = None
    ) -> Predictions:
        """Classify picture files or bytes. See :meth:`Client.predict_pictures`."""
        return await self._run(self._calls.predict_pictures(pictures, timeout))

    async def status(self, *, timeout: float | None = None) -> list[VersionStatus]:
        """The state of every version, or of the one asked for; the newest first."""
        return await self._run(self._calls.status(timeout))

    async def metadata(self, *, timeout: float | None = None) -> Metadata:
        """The signatures of the version that answers, read anew."""
        return await self._run(self._calls.metadata(timeout))

    async def is_ready(self, *, timeout: float | None = None) -> bool:
        """Whether the version asked for would answer now; False for every failure."""
        return await self._run(self._calls.is_ready(timeout))

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Return as soon as the version is AVAILABLE. See :meth:`Client.wait_until_ready`."""
        return await self._run(self._calls.wait_until_ready(timeout))

    async def close(self) -> None:
        """Close all connections. Later calls raise ClosedError."""
        for transport in self._calls.transports:
            closing: Any = transport.close()
            if inspect.isawaitable(closing):
                await closing

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._calls})"

    async def _run(self, flow: Flow[T]) -> T:
        """Take the steps of a call, one by one."""
        import asyncio  # a fifth of the time that importing kmnist.client takes

        try:
            step = next(flow)
            while True:
                try:
                    result: Any = None
                    if isinstance(step, Send):
                        result = step.method(*step.args)
                        if inspect.isawaitable(result):  # a fake may answer at once
                            result = await result
                    else:
                        await asyncio.sleep(step.seconds)
                except ClientError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as stop:
            answer: T = stop.value
            return answer
        except ClientError as error:
            self._calls.about(error)
            raise
