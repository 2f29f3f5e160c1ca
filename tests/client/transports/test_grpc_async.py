"""Behaviour of the asyncio gRPC transport alone."""

import pytest

from kmnist.client import ClosedError
from kmnist.client.address import Address, Host
from kmnist.client.transports.grpc_async import AsyncGrpcTransport
from kmnist.protocol.messages import ModelSpec
from tests.client.standin import StandIn


async def test_a_closed_transport_opens_no_channel(server: StandIn) -> None:
    host = Host("127.0.0.1", server.grpc_port)
    transport = AsyncGrpcTransport(Address("grpc", (host,)), host, {}, 1 << 20)
    assert len(await transport.status(ModelSpec("kmnist"), 5)) == 1
    await transport.close()
    with pytest.raises(ClosedError, match="is closed; create a new one"):
        await transport.status(ModelSpec("kmnist"), 5)
    await transport.close()
