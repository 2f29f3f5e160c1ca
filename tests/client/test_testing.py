"""The fake server for the tests of users."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmnist.client import Client, VersionStatus
from kmnist.client.testing import FakeTransport

IMAGE = np.zeros((28, 28), np.uint8)


def seven(values: NDArray[Any]) -> NDArray[Any]:
    return np.eye(10)[[7] * len(values)]


def test_a_fake_answers_and_records_the_requests() -> None:
    fake = FakeTransport(seven)
    with Client(transport=fake) as client:
        assert client.predict(IMAGE)[0] == (7, "7", 1.0)
        assert client.predict_pictures([b"a", b"b"]).class_ids.tolist() == [7, 7]
        assert client.is_ready()
    first, second = fake.requests
    assert (first.signature_name, first.inputs["images"].shape) == ("serving_default", (1, 28, 28))
    assert (second.signature_name, second.inputs["pictures"].tolist()) == ("pictures", [b"a", b"b"])


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
