"""Models to serve, servers of them, and gRPC stubs."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from kmnist.server import Server
from kmnist.server.model import LoadedSignature
from tests.server.calls import Stubs, Stuck
from tests.server.served_models import save_digits


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with version 1 of the digit model, which no test may change."""
    base = tmp_path_factory.mktemp("saved") / "kmnist"
    base.mkdir()
    save_digits(base, 1)
    return base


@pytest.fixture
def base(saved: Path, tmp_path: Path) -> Path:
    """A copy of ``saved`` to change."""
    copy = tmp_path / "models" / "kmnist"
    shutil.copytree(saved, copy)
    return copy


@pytest.fixture(scope="session")
def server(saved: Path) -> Iterator[Server]:
    """A server of the digit model."""
    with Server(saved, rest_port=0, grpc_port=0) as server:
        yield server


@pytest.fixture
def stubs() -> Iterator[Callable[[Server], Stubs]]:
    """``stubs(server)`` connects gRPC stubs, and closes them after the test."""
    connected: list[Stubs] = []

    def connect(server: Server) -> Stubs:
        connected.append(Stubs(server))
        return connected[-1]

    yield connect
    for each in connected:
        each.channel.close()


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stuck]:
    """Every request waits in the model until ``release`` is set."""
    state = Stuck()
    run = LoadedSignature.__call__

    def wait(
        signature: LoadedSignature, inputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        state.reached.release()
        assert state.release.wait(30)
        return run(signature, inputs)

    monkeypatch.setattr(LoadedSignature, "__call__", wait)
    yield state
    state.release.set()
