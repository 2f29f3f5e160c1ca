"""The client and the embedded server: a real model, loaded by TensorFlow."""

import itertools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tensorflow", reason="the embedded server needs TensorFlow")

import tensorflow as tf

from kmnist.client import (
    Client,
    ClientError,
    InvalidInputError,
    LabelNotFoundError,
    ModelNotFoundError,
    NotReachableError,
    SignatureNotFoundError,
    VersionNotFoundError,
)
from kmnist.client.address import Address
from kmnist.client.transports import open_transports
from kmnist.protocol.messages import ModelSpec
from kmnist.server import Server
from tests.client.conftest import Make

if TYPE_CHECKING:
    from kmnist import Dataset, Evaluation
    from kmnist.data import Split

Arrays = dict[str, NDArray[Any]]


@pytest.fixture
def url(served: Server, scheme: str) -> str:
    return served.grpc_url if scheme == "grpc" else served.rest_url


@pytest.fixture
def split(tiny_dataset: "Dataset") -> "Split":
    return tiny_dataset.test


@pytest.fixture(scope="module")
def local(models: Path, tiny_dataset: "Dataset") -> Arrays:
    """The outputs of the exported model, loaded without a server, for the test images."""
    model = tf.saved_model.load(str(models / "1"))
    answer = model.signatures["serving_default"](images=tf.constant(tiny_dataset.test.images))
    return {name: value.numpy() for name, value in answer.items()}


def test_predictions_are_those_of_the_loaded_model(
    client: Client, split: "Split", local: Arrays
) -> None:
    predictions = client.predict(split.images)
    np.testing.assert_array_equal(predictions.class_ids, local["class_ids"])
    np.testing.assert_array_equal(
        predictions.class_names, [name.decode() for name in local["class_names"]]
    )
    np.testing.assert_allclose(predictions.probabilities, local["probabilities"], rtol=1e-5)


def test_the_accuracy_is_exactly_that_of_the_evaluation(
    client: Client, split: "Split", evaluation: "Evaluation"
) -> None:
    predictions = client.predict(split.images)
    assert float(np.mean(predictions.class_ids == split.labels)) == evaluation.accuracy


def test_both_transports_answer_bit_for_bit_the_same(
    make: Make, served: Server, split: "Split"
) -> None:
    over_grpc = make(served.grpc_url).predict(split.images)
    over_rest = make(served.rest_url).predict(split.images)
    np.testing.assert_array_equal(over_grpc.probabilities, over_rest.probabilities)
    np.testing.assert_array_equal(over_grpc.class_ids, over_rest.class_ids)
    np.testing.assert_array_equal(over_grpc.class_names, over_rest.class_names)


def test_chunks_are_answered_in_order(make: Make, url: str, split: "Split", local: Arrays) -> None:
    predictions = make(url, batch_size=33).predict(split.images)
    np.testing.assert_array_equal(predictions.class_ids, local["class_ids"])


def test_pictures_are_classified_whatever_their_format_and_color(
    client: Client, split: "Split", tmp_path: Path
) -> None:
    paths: list[Path] = []
    inverted: list[bytes] = []
    for index, image in enumerate(split.images[:20]):
        large = np.kron(image, np.ones((4, 4), np.uint8))
        paths.append(tmp_path / f"{index}.png")
        paths[-1].write_bytes(tf.io.encode_png(large[..., None]).numpy())
        inverted.append(tf.io.encode_jpeg(255 - large[..., None], quality=95).numpy())
    from_paths = client.predict_pictures(paths)
    assert np.mean(from_paths.class_ids == split.labels[:20]) > 0.6
    np.testing.assert_array_equal(client.predict_pictures(inverted).class_ids, from_paths.class_ids)


def test_a_broken_picture_is_an_error_with_the_text_of_the_model(client: Client) -> None:
    with pytest.raises(
        InvalidInputError, match=r"refused the input: Picture 0, 7 bytes, is no PNG"
    ):
        client.predict_pictures(b"no such")


def test_status_and_metadata_are_those_of_the_export(client: Client) -> None:
    (status,) = client.status()
    assert (status.version, status.state) == (1, "AVAILABLE")
    metadata = client.metadata()
    assert metadata.version == 1
    inputs = {
        name: [str(spec) for spec in signature.inputs.values()]
        for name, signature in metadata.signatures.items()
    }
    assert inputs["serving_default"] == ["uint8 (n, 28, 28)"]
    assert inputs["pixels"] == inputs["pictures"] == ["string (n,)"]
    assert "__saved_model_init_op" not in inputs
    assert client.is_ready()
    client.wait_until_ready()


def test_a_version_and_a_label_are_found(make: Make, url: str, split: "Split") -> None:
    both: list[dict[str, Any]] = [{"version": 1}, {"label": "stable"}]
    for options in both:
        assert len(make(url, **options).predict(split.images[:3])) == 3
        assert make(url, **options).is_ready()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": "fashion"}, ModelNotFoundError),
        ({"version": 9}, VersionNotFoundError),
        ({"label": "canary"}, LabelNotFoundError),
    ],
)
def test_an_unknown_model_version_or_label_is_an_error(
    make: Make, url: str, split: "Split", options: dict[str, Any], error: type[ClientError]
) -> None:
    client = make(url, **options)
    for call in (
        lambda: client.predict(split.images),
        lambda: client.predict_pictures(b"x"),
        client.wait_until_ready,
    ):
        with pytest.raises(error) as info:
            call()
        assert info.value.detail
    assert not client.is_ready()


def test_images_of_another_shape_are_an_error(client: Client, split: "Split") -> None:
    with pytest.raises(InvalidInputError, match=r"expects uint8 \(n, 28, 28\)"):
        client.predict(split.images[:, :20])


def test_a_signature_or_an_input_that_is_missing_is_an_error(url: str) -> None:
    """A client never requests a missing signature, so this uses its transport."""
    (transport,) = open_transports(Address.parse(url), {}, 1 << 20)
    pixels = np.array([bytes(784)], dtype=object)
    with pytest.raises(SignatureNotFoundError):
        transport.predict(ModelSpec("kmnist"), "nope", {"pixels": pixels}, 5.0)
    with pytest.raises(InvalidInputError):
        transport.predict(ModelSpec("kmnist"), "pixels", {"other": pixels}, 5.0)
    transport.close()


def test_a_restarted_server_is_found(make: Make, models: Path, scheme: str, split: "Split") -> None:
    """One client, and two servers one after the other on the same port."""
    ports: dict[str, Any] = {"grpc_port": 0, "rest_port": 0}
    client: Client | None = None
    for _ in range(2):
        with Server(models, **ports, grace=1) as server:
            ports = {"grpc_port": server.grpc_port, "rest_port": server.rest_port}
            client = client or make(server.grpc_url if scheme == "grpc" else server.rest_url)
            assert len(client.predict(split.images)) == 200
        with pytest.raises(NotReachableError, match="is it running"):
            client.predict(split.images)


def test_a_new_version_answers_as_soon_as_it_is_published(
    make: Make, models: Path, scheme: str, split: "Split", tmp_path: Path
) -> None:
    """The latest version changes while a client sends requests."""
    base = tmp_path / models.name
    shutil.copytree(models, base)
    with Server(base, grpc_port=0, rest_port=0, poll_seconds=0.05, grace=1) as server:
        client = make(server.grpc_url if scheme == "grpc" else server.rest_url)
        assert client.metadata().version == 1
        shutil.copytree(models / "1", base / "staging")
        (base / "staging").rename(base / "2")
        for _ in itertools.takewhile(lambda _: client.metadata().version != 2, range(10_000)):
            assert len(client.predict(split.images[:2])) == 2
        assert client.metadata().version == 2
