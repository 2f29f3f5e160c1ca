"""Fixtures: a server in this process, and clients of it over both transports, blocking and not."""

import asyncio
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import AsyncClient, Client
from tests.client.standin import StandIn


class Make(Protocol):
    """Makes a client that is closed at the end of the test."""

    def __call__(self, url: str = ..., **options: Any) -> Client:
        """Return a client."""


class InLoop:
    """An AsyncClient in an event loop of its own, used like a blocking Client."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.runner = asyncio.Runner()
        self.client = AsyncClient(*args, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)
        return lambda *args, **options: self.runner.run(method(*args, **options))

    def __exit__(self, *_error: object) -> None:
        self.close()
        self.runner.close()


@pytest.fixture(params=[Client, InLoop], ids=["blocking", "asyncio"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Make a Client, or an AsyncClient in its own event loop, that is closed at the end."""
    made: list[Client] = []

    def make(*args: Any, **options: Any) -> Client:
        made.append(cast("Client", request.param(*args, **options)))
        return made[-1]

    yield make
    for client in made:
        client.__exit__()


@pytest.fixture(params=["grpc", "http"])
def scheme(request: pytest.FixtureRequest) -> str:
    """The scheme of the server's address."""
    return str(request.param)


@pytest.fixture(scope="session")
def running() -> Iterator[StandIn]:
    """A server that all tests share."""
    server = StandIn().serve()
    yield server
    server.stop()


@pytest.fixture
def server(running: StandIn) -> Iterator[StandIn]:
    """The server, with its attributes reset."""
    yield running.reset()
    running.gate.set()


@pytest.fixture
def url(server: StandIn, scheme: str) -> str:
    """The server's address."""
    return server.url(scheme)


@pytest.fixture
def client(make: Make, url: str) -> Client:
    """A client of the server."""
    return make(url, timeout=10)


@pytest.fixture(scope="session")
def images(tiny: Path) -> NDArray[np.uint8]:
    """The 200 test images of the tiny data set, uint8 (200, 28, 28)."""
    content = gzip.decompress((tiny / "t10k-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)
