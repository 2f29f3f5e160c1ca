"""Four ways to the same server: gRPC and REST, blocking and asyncio."""

import asyncio
import gzip
from pathlib import Path

import numpy as np
import pytest

from kmnist.client import AsyncClient, Client
from tests.client.standin import StandIn

TINY = Path(__file__).parents[1] / "data/tiny"


class InLoop:
    """An AsyncClient used like a Client, so that one test tells about both."""

    def __init__(self, *args, **options) -> None:
        self.runner = asyncio.Runner()
        self.client = AsyncClient(*args, **options)

    def __getattr__(self, name):
        method = getattr(self.client, name)
        return lambda *args, **options: self.runner.run(self._call(method, args, options))

    async def _call(self, method, args, options):
        return await method(*args, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()
        self.runner.close()

    def __repr__(self) -> str:
        return repr(self.client)


@pytest.fixture(params=[Client, InLoop], ids=["blocking", "asyncio"])
def make(request):
    """Client, or AsyncClient in a loop of its own; what it makes is closed at the end."""
    made = []

    def make(*args, **options):
        made.append(request.param(*args, **options))
        return made[-1]

    yield make
    for client in made:
        client.__exit__(None, None, None)


@pytest.fixture(params=["grpc", "http"])
def scheme(request):
    return request.param


@pytest.fixture(scope="session")
def running():
    server = StandIn()
    server.serve_grpc()
    server.serve_http()
    yield server
    server.stop()


@pytest.fixture
def server(running):
    return running.reset()


@pytest.fixture
def url(server, scheme) -> str:
    return f"{scheme}://127.0.0.1:{server.grpc_port if scheme == 'grpc' else server.http_port}"


@pytest.fixture
def client(make, url):
    return make(url, timeout=10)


@pytest.fixture(scope="session")
def images():
    """Real ones: the 200 test images of the tiny data set, uint8 (200, 28, 28)."""
    content = gzip.decompress((TINY / "t10k-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)
