"""The client and the embedded server: a real model, loaded by TensorFlow."""

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the embedded server needs TensorFlow")

import tensorflow as tf

from kmnist import errors
from kmnist.client import Client
from kmnist.server import Server
from tests.client.conftest import Make

if TYPE_CHECKING:
    from kmnist import Dataset


@pytest.fixture
def url(served: Server, scheme: str) -> str:
    return served.grpc_url if scheme == "grpc" else served.rest_url


def test_predictions_are_those_of_the_loaded_model(
    make: Make, url: str, models: Path, tiny_dataset: "Dataset"
) -> None:
    model = tf.saved_model.load(str(models / "1")).signatures["serving_default"]
    wanted = model(images=tf.constant(tiny_dataset.test.images))
    predictions = make(url, batch_size=33).predict(tiny_dataset.test.images)
    np.testing.assert_array_equal(predictions.class_ids, wanted["class_ids"])
    np.testing.assert_allclose(predictions.probabilities, wanted["probabilities"], rtol=1e-5)
    names = [name.decode() for name in wanted["class_names"].numpy()]
    assert predictions.class_names.tolist() == names


def test_pictures_are_classified_and_refused(client: Client, tiny_dataset: "Dataset") -> None:
    images = 255 - np.kron(tiny_dataset.test.images[:20], np.ones((4, 4), np.uint8))
    pictures = [tf.io.encode_png(image[..., None]).numpy() for image in images]
    found = client.predict_pictures(pictures)
    assert np.mean(found.class_ids == tiny_dataset.test.labels[:20]) > 0.6
    with pytest.raises(errors.InvalidInputError, match="refused the input: Picture 0, 7 bytes, is"):
        client.predict_pictures(b"no such")


@pytest.mark.slow
def test_a_restarted_server_and_a_new_version_are_found(
    make: Make, models: Path, scheme: str, tiny_dataset: "Dataset", tmp_path: Path
) -> None:
    base = tmp_path / models.name
    shutil.copytree(models, base)
    images = tiny_dataset.test.images[:2]
    with Server(base, grpc_port=0, rest_port=0, grace=1) as server:
        ports: dict[str, Any] = {"grpc_port": server.grpc_port, "rest_port": server.rest_port}
        client = make(server.grpc_url if scheme == "grpc" else server.rest_url, timeout=60)
        assert len(client.predict(images)) == 2
    with pytest.raises(errors.NotReachableError):
        client.predict(images)
    with Server(base, **ports, poll_seconds=0.05, grace=1):
        assert len(client.predict(images)) == 2
        shutil.copytree(models / "1", base / "staging")
        (base / "staging").rename(base / "2")
        end = time.monotonic() + 60
        while client.metadata().version != 2 and time.monotonic() < end:
            assert len(client.predict(images)) == 2
        assert client.metadata().version == 2
