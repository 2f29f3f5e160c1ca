"""From start to stop."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kmnist import Client
from kmnist.errors import KmnistError, MissingError
from kmnist.server import Server


def test_both_transports_answer_alike(server, ask, stubs):
    images = np.zeros((2, 28, 28), np.uint8)
    request = PredictRequest()
    request.model_spec.name = "kmnist"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
    response = stubs(server).predict(request)
    assert response.model_spec.version.value == 1
    over_grpc = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
    over_rest = ask(server, "/v1/models/kmnist:predict", {"inputs": images.tolist()}).body
    assert over_grpc["class_ids"].tolist() == over_rest["outputs"]["class_ids"] == [1, 1]
    assert over_rest["outputs"]["class_names"] == ["1", "1"]
    np.testing.assert_array_equal(
        over_grpc["probabilities"],
        np.float32(over_rest["outputs"]["probabilities"]),
    )


@pytest.mark.parametrize("transport", ["grpc_url", "rest_url"])
def test_an_exported_model_is_served_to_our_own_client(models, tiny_dataset, transport):
    images = tiny_dataset.test.images[:20]
    with (
        Server(models, rest_port=0, grpc_port=0) as server,
        Client(getattr(server, transport)) as client,
    ):
        predictions = client.predict(images)
    expected = tf.saved_model.load(str(models / "1")).signatures["serving_default"](
        images=tf.constant(images)
    )
    np.testing.assert_array_equal(predictions.class_ids, expected["class_ids"])
    np.testing.assert_allclose(predictions.probabilities, expected["probabilities"], rtol=1e-5)


def test_no_version_is_said_at_once(tmp_path):
    with (
        pytest.raises(MissingError, match="kmnist-train"),
        Server(tmp_path, rest_port=0, grpc_port=0),
    ):
        pass


@pytest.mark.parametrize("taken", ["rest_port", "grpc_port"])
def test_a_taken_port_is_said_in_one_line(server, saved, taken):
    ports = {"rest_port": 0, "grpc_port": 0} | {taken: getattr(server, taken)}
    with pytest.raises(KmnistError, match=f"cannot listen on 127.0.0.1:{ports[taken]}: .*in use"):
        Server(saved, **ports)
