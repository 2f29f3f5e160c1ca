"""From start to stop."""

import socket
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kmnist import Client
from kmnist.errors import InputError, KmnistError, MissingError
from kmnist.server import Server


def test_both_transports_answer_alike(server, ask, stubs) -> None:
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
def test_an_exported_model_is_served_to_our_own_client(models, tiny_dataset, transport) -> None:
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


def test_no_version_is_said_at_once(tmp_path) -> None:
    with (
        pytest.raises(MissingError, match="kmnist-train"),
        Server(tmp_path, rest_port=0, grpc_port=0),
    ):
        pass


@pytest.mark.parametrize("taken", ["rest_port", "grpc_port"])
def test_a_taken_port_is_said_in_one_line(server, saved, taken) -> None:
    ports = {"rest_port": 0, "grpc_port": 0} | {taken: getattr(server, taken)}
    with pytest.raises(KmnistError, match=f"cannot listen on 127.0.0.1:{ports[taken]}: .*in use"):
        Server(saved, **ports)


def test_one_port_for_both(saved) -> None:
    with pytest.raises(InputError, match="received port 8500 for both"):
        Server(saved, rest_port=8500, grpc_port=8500)


def test_a_port_that_is_taken_while_the_model_loads(saved) -> None:
    server = Server(saved, rest_port=0, grpc_port=0)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", server.rest_port))
        other.listen()
        with pytest.raises(KmnistError, match=f"127.0.0.1:{server.rest_port}: .*in use"):
            server.start()


def test_stopping_twice_or_before_the_start_is_no_error(saved) -> None:
    server = Server(saved, rest_port=0, grpc_port=0)
    server.stop()
    server.stop()
    server.wait()


def test_health(server, stubs) -> None:
    health = health_pb2_grpc.HealthStub(stubs(server).channel)
    for service in ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
        response = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
        assert response.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        health.Check(health_pb2.HealthCheckRequest(service="other"), timeout=30)


def test_health_checks_learn_that_the_server_stops(base, stubs) -> None:
    with Server(base, rest_port=0, grpc_port=0) as server:
        watch = health_pb2_grpc.HealthStub(stubs(server).channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=30
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        stop = threading.Thread(target=server.stop)
        stop.start()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        stop.join()
