"""The examples in docstrings, run with a fake server that answers 7."""

import asyncio
import doctest
import functools
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import AsyncClient, Client
from kmnist.client.testing import FakeTransport


def seven(values: NDArray[Any]) -> NDArray[Any]:
    return np.eye(10)[[7] * len(values)]


@pytest.mark.parametrize(
    ("module", "count"),
    [
        ("kmnist.client.address", 1),
        ("kmnist.client.async_client", 1),
        ("kmnist.client.client", 7),
        ("kmnist.client.testing", 1),
        ("kmnist.protocol.messages", 1),
    ],
)
def test_examples(module: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "seven.png").write_bytes(b"PNG")
    monkeypatch.chdir(tmp_path)
    names = {
        "AsyncClient": functools.partial(AsyncClient, transport=FakeTransport(seven)),
        "Client": Client,
        "asyncio": asyncio,
        "client": Client(transport=FakeTransport(seven)),
        "images": np.zeros((1, 28, 28), np.uint8),
        "np": np,
    }
    if module == "kmnist.client.client":
        names["Client"] = functools.partial(Client, transport=FakeTransport(seven))
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [
        test
        for test in finder.find(importlib.import_module(module), extraglobs=names)
        if test.examples
    ]
    assert len(found) == count
    for test in found:
        output: list[str] = []
        doctest.DocTestRunner().run(test, out=output.append)
        assert not output, "".join(output)
