"""The fake server for the tests of users."""

import asyncio
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import (
    AsyncClient,
    Client,
    ClosedError,
    OverloadedError,
    ServerError,
    VersionStatus,
)
from kmnist.client.testing import FakeTransport

IMAGE = np.zeros((28, 28), np.uint8)


def always_seven(values: NDArray[Any]) -> NDArray[Any]:
    return np.eye(10)[[7] * len(values)]


def test_a_fake_answers_and_records_the_requests() -> None:
    fake = FakeTransport(always_seven)
    with Client(transport=fake) as client:
        assert client.predict(IMAGE)[0] == (7, "7", 1.0)
        assert client.predict_pictures([b"a", b"b"]).class_ids.tolist() == [7, 7]
        assert client.is_ready()
    first, second = fake.requests
    assert (first.signature, first.inputs["images"].shape) == ("serving_default", (1, 28, 28))
    assert (second.signature, second.inputs["pictures"].tolist()) == ("pictures", [b"a", b"b"])


def test_a_fake_answers_an_asyncio_client() -> None:
    async def predict() -> Any:
        async with AsyncClient(transport=FakeTransport(always_seven)) as client:
            return (await client.predict(IMAGE)).class_names.tolist()

    assert asyncio.run(predict()) == ["7"]


def test_a_fake_raises_the_given_errors_in_order() -> None:
    fake = FakeTransport(always_seven, errors=[OverloadedError("busy"), ServerError("broken")])
    with Client(transport=fake) as client:
        with pytest.raises(ServerError):  # the first error is retried
            client.predict(IMAGE)
        assert len(client.predict(IMAGE)) == 1


def test_a_fake_may_be_another_model() -> None:
    fake = FakeTransport(
        lambda images: np.ones((len(images), 2)) / 2,
        image_shape=(8, 8),
        class_names=("cat", "dog"),
        statuses=[VersionStatus(5, "AVAILABLE")],
    )
    with Client(transport=fake) as client:
        assert client.predict(np.zeros((8, 8), np.uint8)).class_names.tolist() == ["cat"]
        assert client.metadata().version == 5


def test_a_closed_fake_raises_an_error() -> None:
    client = Client(transport=FakeTransport(always_seven))
    client.close()
    with pytest.raises(ClosedError, match="create a new one"):
        client.status()


def test_importing_the_client_imports_nothing_heavy() -> None:
    heavy = ["tensorflow", "keras", "grpc", "google.protobuf", "urllib3", "aiohttp", "asyncio"]
    code = (
        "import sys, kmnist.client, kmnist.client.testing;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_client_imports_only_the_protocol_and_the_errors() -> None:
    code = (
        "import importlib, pkgutil, sys, kmnist.client as package\n"
        "for module in pkgutil.walk_packages(package.__path__, 'kmnist.client.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(sorted({'.'.join(name.split('.')[:2]) for name in sys.modules"
        " if name.startswith('kmnist.')} | {'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['kmnist.client', 'kmnist.errors', 'kmnist.protocol']\n"


def test_every_public_name_can_be_imported() -> None:
    import kmnist.client

    assert kmnist.client.__all__ == sorted(
        kmnist.client.__all__, key=lambda name: (not name.isupper(), name)
    )
    for name in kmnist.client.__all__:
        assert hasattr(kmnist.client, name)
