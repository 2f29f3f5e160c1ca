"""Behaviour of the asyncio client alone; test_client.py covers what both clients share."""

import asyncio
import inspect

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import AsyncClient, Client, ClosedError
from tests.client.standin import StandIn

Images = NDArray[np.uint8]


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


async def test_a_cancelled_task_cancels_its_request(
    url: str, server: StandIn, images: Images
) -> None:
    async with AsyncClient(url) as client:
        task = await waiting(client, server, images)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.gate.set()
        assert len(await client.predict(images[:2])) == 2


async def test_closing_ends_the_calls_in_progress(
    url: str, server: StandIn, images: Images
) -> None:
    client = AsyncClient(url)
    task = await waiting(client, server, images)
    await client.close()
    with pytest.raises(ClosedError):
        await task


async def waiting(client: AsyncClient, server: StandIn, images: Images) -> "asyncio.Task[object]":
    """Return a call that waits for the server's answer."""
    await client.metadata()
    await asyncio.to_thread(server.arrived.acquire)  # that of the signatures
    server.gate.clear()
    task: asyncio.Task[object] = asyncio.create_task(client.predict(images))
    await asyncio.to_thread(server.arrived.acquire)
    return task
