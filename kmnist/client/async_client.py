"""The asyncio client."""

# ruff: noqa: ASYNC109 - the timeout is the same argument as the blocking client's

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar, cast

from numpy.typing import ArrayLike, NDArray

from kmnist.client.address import Address
from kmnist.client.answers import Predictions
from kmnist.client.calls import BaseClient, Flow, Send
from kmnist.client.inputs import InputsLike, PicturesLike
from kmnist.errors import ClientError
from kmnist.protocol.messages import Metadata, VersionStatus

__all__ = ["AsyncClient"]

T = TypeVar("T")


class AsyncClient(BaseClient):
    """An asyncio client with the methods, arguments and errors of :class:`kmnist.client.Client`.

    It belongs to the event loop of its first call and may be shared by any number of tasks.
    Cancelling a task cancels its request.

    ::

        >>> async def main():
        ...     async with AsyncClient("http://localhost:8501") as client:
        ...         return await client.predict(images)
        >>> asyncio.run(main()).class_names
        array(['7'], dtype='<U1')

    Arguments: see ``__init__``.
    """

    async def call(
        self,
        inputs: InputsLike,
        *,
        signature: str = "serving_default",
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Call a signature of any model. See :meth:`kmnist.client.Client.call`."""
        return await self._run(self._call(inputs, signature, outputs, timeout))

    async def predict(self, images: ArrayLike, *, timeout: float | None = None) -> Predictions:
        """Classify images. See :meth:`kmnist.client.Client.predict`."""
        return await self._run(self._predict(images, timeout))

    async def predict_pictures(
        self, pictures: PicturesLike, *, timeout: float | None = None
    ) -> Predictions:
        """Classify picture files. See :meth:`kmnist.client.Client.predict_pictures`."""
        return await self._run(self._predict_pictures(pictures, timeout))

    async def status(self, *, timeout: float | None = None) -> list[VersionStatus]:
        """Return the state of every version. See :meth:`kmnist.client.Client.status`."""
        return await self._run(self._read_status(timeout))

    async def metadata(self, *, timeout: float | None = None) -> Metadata:
        """Return the signatures of a version. See :meth:`kmnist.client.Client.metadata`."""
        return await self._run(self._read_metadata(self._deadline(timeout)))

    async def is_ready(self, *, timeout: float | None = None) -> bool:
        """Return whether the model is AVAILABLE. See :meth:`kmnist.client.Client.is_ready`."""
        return await self._run(self._is_ready(timeout))

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Wait for the model. See :meth:`kmnist.client.Client.wait_until_ready`."""
        return await self._run(self._wait_until_ready(timeout))

    async def close(self) -> None:
        """Close all connections. Later calls raise ClosedError."""
        await _result(self._transport.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    def _open(self, address: Address, headers: Mapping[str, str]) -> Any:
        if address.is_grpc:
            from kmnist.client.grpc import AsyncGrpcTransport

            return AsyncGrpcTransport(address, headers)
        from kmnist.client.rest import AsyncRestTransport

        return AsyncRestTransport(address, headers)

    async def _run(self, flow: Flow[T]) -> T:
        """Execute the steps of a call."""
        import asyncio  # a fifth of the import time of kmnist.client

        try:
            step = next(flow)
            while True:
                try:
                    result: Any = None
                    if isinstance(step, Send):
                        result = await _result(getattr(self._transport, step.method)(*step.args))
                    else:
                        await asyncio.sleep(step)
                except ClientError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as stop:
            return cast("T", stop.value)
        except ClientError as error:
            self._about(error)
            raise


async def _result(value: Any) -> Any:
    """Await the result of an asyncio transport; pass on that of a blocking one."""
    return await value if inspect.isawaitable(value) else value
