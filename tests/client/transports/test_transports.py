"""The transports of an address. Requests through them are in test_client.py and test_faults.py."""

import asyncio
import inspect
import subprocess
import sys

import pytest

from kmnist.client.address import Address
from kmnist.client.testing import FakeTransport
from kmnist.client.transports import (
    AsyncTransport,
    Transport,
    open_async_transports,
    open_transports,
)
from kmnist.client.transports.grpc_async import AsyncGrpcTransport
from kmnist.client.transports.grpc_sync import GrpcTransport
from kmnist.client.transports.rest_async import AsyncRestTransport
from kmnist.client.transports.rest_sync import RestTransport

METHODS = [name for name in vars(Transport) if inspect.isfunction(getattr(Transport, name))]


@pytest.mark.parametrize(
    ("url", "blocking", "asynchronous"),
    [
        ("grpc://a,b", GrpcTransport, AsyncGrpcTransport),
        ("grpcs://a,b", GrpcTransport, AsyncGrpcTransport),
        ("http://a,b", RestTransport, AsyncRestTransport),
        ("https://a,b", RestTransport, AsyncRestTransport),
    ],
)
def test_there_is_a_transport_for_each_host(url: str, blocking: type, asynchronous: type) -> None:
    address = Address.parse(url)
    opened = open_transports(address, {})
    assert [type(transport) for transport in opened] == [blocking] * 2
    for transport in opened:
        transport.close()
    opened_async = open_async_transports(address, {})
    assert [type(transport) for transport in opened_async] == [asynchronous] * 2

    async def close() -> None:
        for transport in opened_async:
            await transport.close()

    asyncio.run(close())


@pytest.mark.parametrize(
    "kind", [GrpcTransport, RestTransport, AsyncGrpcTransport, AsyncRestTransport, FakeTransport]
)
def test_every_transport_documents_the_methods_of_the_interface(kind: type) -> None:
    assert {"predict", "metadata", "status", "close"} <= set(METHODS)
    for name in METHODS:
        if not name.startswith("_"):
            assert getattr(kind, name).__doc__
            assert getattr(AsyncTransport, name).__doc__
    assert isinstance(getattr(kind, "sends_bytes_best"), bool)  # noqa: B009 - not part of `type`


@pytest.mark.parametrize(
    ("url", "unused"), [("grpc://a", "urllib3 aiohttp"), ("http://a", "grpc aiohttp")]
)
def test_only_the_modules_of_the_address_are_imported(url: str, unused: str) -> None:
    code = (
        f"import sys; from kmnist.client import Client; Client({url!r}).close();"
        f"print([name for name in {unused.split()} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
