"""Behaviour of the asyncio client alone; test_client.py covers what both clients share."""

import asyncio
import inspect
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import AsyncClient, Client, ClosedError, Predictions
from kmnist.client.testing import FakeTransport
from tests.client.standin import StandIn

Images = NDArray[np.uint8]


def seven(values: NDArray[Any]) -> NDArray[Any]:
    return np.eye(10)[[7] * len(values)]


def test_both_clients_have_the_same_methods_and_arguments() -> None:
    names = [name for name in dir(Client) if not name.startswith("_")]
    assert names == [name for name in dir(AsyncClient) if not name.startswith("_")]
    for name in names:
        method = getattr(Client, name)
        if callable(method):
            assert inspect.signature(method) == inspect.signature(getattr(AsyncClient, name))


async def test_tasks_may_share_a_client(url: str, images: Images) -> None:
    async with AsyncClient(url) as client:
        expected = await client.predict(images[:32])
        answers = await asyncio.gather(*(client.predict(image) for image in images[:32]))
    assert [int(answer.class_ids[0]) for answer in answers] == expected.class_ids.tolist()


def test_a_cancelled_task_cancels_its_request(url: str, server: StandIn, images: Images) -> None:
    async def cancel() -> Predictions:
        async with AsyncClient(url) as client:
            await client.metadata()
            server.delay = 0.5
            task = asyncio.create_task(client.predict(images))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            server.delay = 0
            return await client.predict(images[:2])

    assert len(asyncio.run(cancel())) == 2


def test_closing_ends_the_calls_in_progress(url: str, server: StandIn, images: Images) -> None:
    async def close() -> None:
        client = AsyncClient(url)
        await client.metadata()
        server.delay = 1
        task = asyncio.create_task(client.predict(images))
        await asyncio.sleep(0.2)
        await client.close()
        with pytest.raises(ClosedError):
            await task

    asyncio.run(close())


async def test_a_blocking_transport_can_be_used_in_tests() -> None:
    fake = FakeTransport(seven)
    async with AsyncClient(transport=fake) as client:
        assert (await client.predict(np.zeros((28, 28), np.uint8))).class_names.tolist() == ["7"]
    with pytest.raises(ClosedError):
        await client.status()
