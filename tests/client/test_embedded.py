"""The client and the embedded server: a real model, loaded by TensorFlow."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the embedded server needs TensorFlow")

import tensorflow as tf

from kmnist import errors
from kmnist.client import Client
from kmnist.server import Server
from tests.client.conftest import InLoop, Make
from tests.server.served_models import save_digits

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


# Values that a conversion to another dtype, or to text and back, would change.
VALUES: Final[dict[str, Any]] = {
    "bool": [[True, False]],
    "int8": [[-128, 127]],
    "int16": [[-(2**15), 2**15 - 1]],
    "int32": [[-(2**31), 2**31 - 1]],
    "int64": [[-(2**63), 2**53 + 1]],
    "uint8": [[0, 255]],
    "uint16": [[0, 2**16 - 1]],
    "uint32": [[0, 2**32 - 1]],
    "uint64": [[2**53 + 1, 2**64 - 1]],
    "float16": [[0.1, 65504], [np.inf, np.nan]],
    "bfloat16": [[0.1, -3e38], [np.inf, np.nan]],
    "float32": [[0.1, 3.4028235e38], [-np.inf, np.nan]],
    "float64": [[0.1, 1e-308], [-np.inf, np.nan]],
}


@pytest.fixture
def caller(make: Make, mixed_server: Server, scheme: str) -> Client:
    """A client of the model ``mixed``."""
    url = mixed_server.grpc_url if scheme == "grpc" else mixed_server.rest_url
    return make(url, model="mixed")


def test_values_of_every_dtype_are_sent_and_received_equal(caller: Client) -> None:
    arrays = {name: np.array(value, name) for name, value in VALUES.items() if name != "bfloat16"}
    halves = tf.cast(VALUES["bfloat16"], tf.bfloat16).numpy()
    found = caller.call({**arrays, "bfloat16": halves}, signature="echo")
    for name, value in {**arrays, "bfloat16": halves.astype(np.float32)}.items():
        np.testing.assert_array_equal(found[name], value, strict=True)
    # Lists are converted to the dtypes of the signature.
    again = caller.call({**VALUES, "uint64": arrays["uint64"]}, signature="echo")
    for name, value in found.items():
        np.testing.assert_array_equal(again[name], value, strict=True)


def test_complex_numbers_have_no_json_form(caller: Client, scheme: str) -> None:
    values = np.array([[1 + 2j, 3]], np.complex64)
    if scheme == "grpc":
        found = caller.call(values, signature="complex")
        np.testing.assert_array_equal(found["x"], values, strict=True)
    else:
        with pytest.raises(errors.InvalidInputError, match="complex64 has no JSON form: use gRPC"):
            caller.call(values, signature="complex")


def test_strings_come_back_as_bytes(caller: Client) -> None:
    mixed: list[Any] = ["ö", b"b\0"]
    found = caller.call(mixed, signature="shout")
    assert found["raw_bytes"].tolist() == ["ö".encode(), b"b\0"]
    assert found["upper"].dtype == object
    assert found["upper"].tolist() == ["ö".encode(), b"B\0"]
    found = caller.call(np.array(["a", "b"]), signature="shout", outputs=["upper"])
    assert found.keys() == {"upper"}
    assert found["upper"].tolist() == [b"A", b"B"]


def test_shapes_are_those_of_the_answer(caller: Client) -> None:
    assert caller.call(3, signature="double")["y"].tolist() == 6.0
    assert caller.call(np.ones((2, 0, 3)), signature="double")["y"].shape[:2] == (2, 0)
    assert caller.call([], signature="total")["total"].tolist() == 0.0
    found = caller.call({"a": [], "b": []}, signature="add")
    assert (found["sum"].dtype.name, found["sum"].shape, len(found)) == ("int64", (0,), 2)
    found = caller.call({"a": [2**62], "b": (1,)}, signature="add", outputs=("larger",))
    assert {name: value.tolist() for name, value in found.items()} == {"larger": [2**62]}


def test_what_the_model_refuses_is_an_error(caller: Client) -> None:
    with pytest.raises(errors.InvalidInputError, match=r"refused the input: .*Incompatible shapes"):
        caller.call({"a": [1, 2], "b": [1, 2, 3]}, signature="add")


@pytest.mark.slow
def test_a_restarted_server_and_a_new_version_are_found(
    tiny_dataset: "Dataset", tmp_path: Path
) -> None:
    base = tmp_path / "kmnist"
    base.mkdir()
    save_digits(base, 1)
    images = tiny_dataset.test.images[:2]
    with ExitStack() as cleanup:
        with Server(base, grpc_port=0, rest_port=0, grace=1) as server:
            ports: dict[str, Any] = {"grpc_port": server.grpc_port, "rest_port": server.rest_port}
            clients: list[Any] = [
                kind(url, timeout=60)
                for kind in (Client, InLoop)
                for url in (server.grpc_url, server.rest_url)
            ]
            for client in clients:
                cleanup.push(client)
                assert len(client.predict(images)) == 2
        for client in clients:
            with pytest.raises(errors.NotReachableError):
                client.predict(images)
        with Server(base, **ports, poll_seconds=0.05, grace=1):
            for client in clients:
                assert len(client.predict(images)) == 2
            save_digits(base, 2)
            end = time.monotonic() + 60
            while clients[0].metadata().version != 2 and time.monotonic() < end:
                for client in clients:
                    assert len(client.predict(images)) == 2
            assert [client.metadata().version for client in clients] == [2] * 4
