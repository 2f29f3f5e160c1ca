"""The client against the embedded server: a real model, loaded by TensorFlow."""

import itertools

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the embedded server needs TensorFlow")

import tensorflow as tf

from kmnist.client import (
    InvalidInputError,
    LabelNotFoundError,
    ModelNotFoundError,
    NotReachableError,
    SignatureNotFoundError,
    VersionNotFoundError,
)


@pytest.fixture
def url(served, scheme):
    return served.grpc_url if scheme == "grpc" else served.rest_url


@pytest.fixture
def split(tiny_dataset):
    return tiny_dataset.test


@pytest.fixture(scope="module")
def local(models, tiny_dataset):
    """What the exported model itself says of the test images."""
    model = tf.saved_model.load(str(models / "1"))
    answer = model.signatures["serving_default"](images=tf.constant(tiny_dataset.test.images))
    return {name: value.numpy() for name, value in answer.items()}


def test_the_answers_are_those_of_the_model(client, split, local) -> None:
    predictions = client.predict(split.images)
    np.testing.assert_array_equal(predictions.class_ids, local["class_ids"])
    np.testing.assert_array_equal(
        predictions.class_names, [name.decode() for name in local["class_names"]]
    )
    np.testing.assert_allclose(predictions.probabilities, local["probabilities"], rtol=1e-5)


def test_accuracy_is_the_local_one_exactly(client, split, evaluation) -> None:
    predictions = client.predict(split.images)
    assert float(np.mean(predictions.class_ids == split.labels)) == evaluation.accuracy


def test_both_transports_answer_the_same_to_the_bit(make, served, split) -> None:
    over_grpc = make(served.grpc_url).predict(split.images)
    over_rest = make(served.rest_url).predict(split.images)
    np.testing.assert_array_equal(over_grpc.probabilities, over_rest.probabilities)
    np.testing.assert_array_equal(over_grpc.class_ids, over_rest.class_ids)
    np.testing.assert_array_equal(over_grpc.class_names, over_rest.class_names)


def test_pieces(make, url, split, local) -> None:
    predictions = make(url, batch_size=33).predict(split.images)
    np.testing.assert_array_equal(predictions.class_ids, local["class_ids"])


def test_pictures(client, split, tmp_path) -> None:
    paths, inverted = [], []
    for index, image in enumerate(split.images[:20]):
        large = np.kron(image, np.ones((4, 4), np.uint8))
        paths.append(tmp_path / f"{index}.png")
        paths[-1].write_bytes(tf.io.encode_png(large[..., None]).numpy())
        inverted.append(tf.io.encode_jpeg(255 - large[..., None], quality=95).numpy())
    from_paths = client.predict_pictures(paths)
    assert np.mean(from_paths.class_ids == split.labels[:20]) > 0.6
    np.testing.assert_array_equal(client.predict_pictures(inverted).class_ids, from_paths.class_ids)


def test_a_broken_picture_is_refused_with_the_models_own_words(client) -> None:
    with pytest.raises(
        InvalidInputError, match=r"refused the input: Picture 0, 7 bytes, is no PNG"
    ):
        client.predict_pictures(b"no such")


def test_status_and_metadata(client) -> None:
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


def test_versions_and_labels(make, url, split) -> None:
    for options in ({"version": 1}, {"label": "stable"}):
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
def test_not_found(make, url, split, options, error) -> None:
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


def test_what_the_model_refuses_is_invalid_input(client, split) -> None:
    with pytest.raises(InvalidInputError, match=r"takes uint8 \(n, 28, 28\)"):
        client.predict(split.images[:, :20])


def test_a_wrong_signature(make, url, scheme) -> None:
    """No call of a client asks for one that is not there, so this goes one level deeper."""
    from kmnist.client.address import Address
    from kmnist.client.transports import open_transports
    from kmnist.protocol.model_spec import ModelSpec

    (transport,) = open_transports(Address.parse(url), {})
    pixels = np.array([bytes(784)], dtype=object)
    with pytest.raises(SignatureNotFoundError):
        transport.predict(ModelSpec("kmnist"), "nope", {"pixels": pixels}, 5.0)
    with pytest.raises(InvalidInputError):
        transport.predict(ModelSpec("kmnist"), "pixels", {"other": pixels}, 5.0)
    transport.close()


def test_a_restarted_server_is_found_again(make, models, scheme, split) -> None:
    """The same client, over two servers that follow each other on one port."""
    from kmnist.server import Server

    ports = {"grpc_port": 0, "rest_port": 0}
    client = None
    for _ in range(2):
        with Server(models, **ports, grace=1) as server:
            ports = {"grpc_port": server.grpc_port, "rest_port": server.rest_port}
            client = client or make(server.grpc_url if scheme == "grpc" else server.rest_url)
            assert len(client.predict(split.images)) == 200
        with pytest.raises(NotReachableError, match="is it running"):
            client.predict(split.images)


def test_a_new_version_is_asked_once_it_is_there(make, models, scheme, split, tmp_path) -> None:
    """The latest version changes under a client that goes on asking."""
    import shutil

    from kmnist.server import Server

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
