"""Behaviour of the asyncio REST transport alone."""

import asyncio

from kmnist.client import AsyncClient
from tests.client.standin import StandIn


async def test_concurrent_requests_have_connections_that_later_ones_reuse() -> None:
    server = StandIn()
    async with AsyncClient(f"http://127.0.0.1:{server.serve_http()}") as client:
        server.delay = 0.5
        for _ in range(2):
            await asyncio.gather(*(client.status() for _ in range(3)))
            assert server.open_connections() == 3
    server.stop()
