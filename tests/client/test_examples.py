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

from kmnist.client import AsyncClient, Client, Signature, TensorSpec
from kmnist.client.testing import FakeTransport


def seven(values: NDArray[Any]) -> NDArray[Any]:
    return np.eye(10)[[7] * len(values)]


@pytest.mark.parametrize(
    ("module", "count"),
    [("address", 1), ("async_client", 2), ("client", 9), ("testing", 6)],
)
def test_examples(module: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "seven.png").write_bytes(b"PNG")
    monkeypatch.chdir(tmp_path)
    names = {
        "asyncio": asyncio,
        "client": Client(transport=FakeTransport(seven)),
        "images": np.zeros((1, 28, 28), np.uint8),
        "np": np,
        "Signature": Signature,
        "TensorSpec": TensorSpec,
    }
    for kind in (AsyncClient, Client):
        names[kind.__name__] = functools.partial(kind, transport=FakeTransport(seven))
    found = importlib.import_module(f"kmnist.client.{module}")
    assert doctest.testmod(found, extraglobs=names) == (0, count)
