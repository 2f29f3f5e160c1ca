"""The fake that users' own tests are made with."""

import asyncio
import subprocess
import sys

import numpy as np
import pytest

from kmnist.client import AsyncClient, Client, OverloadedError, ServerError, VersionStatus
from kmnist.client.testing import FakeTransport

IMAGE = np.zeros((28, 28), np.uint8)


def always_seven(values):
    return np.eye(10)[[7] * len(values)]


def test_a_fake_answers() -> None:
    fake = FakeTransport(always_seven)
    with Client(transport=fake) as client:
        assert client.predict(IMAGE)[0] == (7, "7", 1.0)
        assert client.predict_pictures([b"a", b"b"]).class_ids.tolist() == [7, 7]
        assert client.is_ready()
    first, second = fake.requests
    assert (first.signature, first.inputs["images"].shape) == ("serving_default", (1, 28, 28))
    assert (second.signature, second.inputs["pictures"].tolist()) == ("pictures", [b"a", b"b"])


def test_a_fake_answers_asyncio_too() -> None:
    async def ask():
        async with AsyncClient(transport=FakeTransport(always_seven)) as client:
            return (await client.predict(IMAGE)).class_names.tolist()

    assert asyncio.run(ask()) == ["7"]


def test_a_fake_fails_as_it_is_told() -> None:
    fake = FakeTransport(always_seven, errors=[OverloadedError("busy"), ServerError("broken")])
    with Client(transport=fake) as client:
        with pytest.raises(ServerError):  # the first is retried
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


def test_importing_the_client_imports_nothing_heavy() -> None:
    heavy = ["tensorflow", "keras", "grpc", "google.protobuf", "urllib3", "aiohttp", "asyncio"]
    code = (
        "import sys, kmnist.client, kmnist.client.testing;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_can_be_imported() -> None:
    import kmnist.client

    assert kmnist.client.__all__ == sorted(
        kmnist.client.__all__, key=lambda n: (not n.isupper(), n)
    )
    for name in kmnist.client.__all__:
        assert hasattr(kmnist.client, name)
