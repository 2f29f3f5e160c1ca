"""A client whose answers show which image they are for, without a server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import Client, InvalidInputError
from kmnist.client.testing import FakeTransport


def answer(values: NDArray[Any]) -> Any:
    """Answer an image with the class of its first pixel, a picture with that of its first byte."""
    if values.dtype == object:
        for number, content in enumerate(values):
            if not content[:1].isdigit():
                raise InvalidInputError(f"Picture {number}: expected a picture")
        return np.eye(10)[[int(content[:1]) for content in values]]
    return np.eye(10)[values[:, 0, 0] % 10]


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport(answer)


@pytest.fixture
def client(transport: FakeTransport) -> Iterator[Client]:
    with Client(transport=transport) as client:
        yield client


@pytest.fixture
def images() -> NDArray[np.uint8]:
    """2,500 images; the first pixel counts up."""
    images = np.zeros((2500, 28, 28), np.uint8)
    images[:, 0, 0] = np.arange(2500) % 251
    return images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files named as pictures, each of one digit, in two folders; and one that is not."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for digit in (7, 3, 5):
        (folder / f"{digit}.PNG").write_text(str(digit))
    (folder / "more" / "1.jpg").write_text("1")
    (folder / "notes.txt").write_text("2")
    return folder
