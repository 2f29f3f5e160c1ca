"""The gRPC port."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kmnist.server import Server
from tests.server.calls import IMAGES, Stubs, grpc_error, predict_request

Connect = Callable[[Server], Stubs]
Code = grpc.StatusCode


def test_outputs_are_in_typed_fields(server: Server, stubs: Connect) -> None:
    """TensorFlow Serving does the same unless configured otherwise."""
    outputs = stubs(server).predict(predict_request(), timeout=30).outputs
    assert len(outputs["probabilities"].float_val) == 10
    assert outputs["class_ids"].int64_val == [1]
    assert outputs["class_names"].string_val == [b"1"]
    assert not outputs["probabilities"].tensor_content


def test_an_empty_batch_gets_an_empty_result(server: Server, stubs: Connect) -> None:
    request = predict_request(inputs={"images": IMAGES[:0]})
    outputs = stubs(server).predict(request, timeout=30).outputs
    assert tf.make_ndarray(outputs["probabilities"]).shape == (0, 10)


def test_an_output_filter_selects_outputs(mixed_server: Server, stubs: Connect) -> None:
    arrays = {name: np.array([1], np.int64) for name in "ab"}
    predict = stubs(mixed_server).predict
    request = predict_request("mixed", arrays, signature="add", output_filter=["sum"])
    assert predict(request, timeout=30).outputs.keys() == {"sum"}
    request.output_filter.append("no")
    code, details = grpc_error(predict, request)
    assert (code, "alias not found" in details) == (Code.INVALID_ARGUMENT, True)


def test_metadata_contains_the_initializer_which_cannot_be_called(
    mixed_server: Server, stubs: Connect
) -> None:
    request = GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "mixed"
    response = stubs(mixed_server).metadata(request, timeout=30)
    signatures = SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert "__saved_model_init_op" in signatures.signature_def
    initializer = predict_request("mixed", signature="__saved_model_init_op")
    code, _ = grpc_error(stubs(mixed_server).predict, initializer)
    assert code == Code.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("request_of_long_name", "code"),
    [
        (predict_request, Code.NOT_FOUND),
        (lambda name: predict_request(label=name), Code.INVALID_ARGUMENT),
        (lambda name: predict_request(signature=name), Code.FAILED_PRECONDITION),
        (lambda name: predict_request(inputs={name: IMAGES}), Code.INVALID_ARGUMENT),
        (lambda name: predict_request(output_filter=[name]), Code.INVALID_ARGUMENT),
    ],
    ids=range(5),
)
def test_a_long_name_does_not_change_the_code(
    server: Server, stubs: Connect, request_of_long_name: Callable[[str], Any], code: Any
) -> None:
    """A message above 8 KiB would become RESOURCE_EXHAUSTED, which clients retry."""
    found, message = grpc_error(stubs(server).predict, request_of_long_name("é" * 20_000))
    assert found == code
    assert len(message) < 1000


@pytest.mark.parametrize(
    ("request_without_name", "message"),
    [
        (PredictRequest(), "Missing ModelSpec"),
        (predict_request(""), "ModelSpec has no name specified."),
    ],
)
def test_a_request_without_a_model_is_refused(
    server: Server, stubs: Connect, request_without_name: Any, message: str
) -> None:
    error = grpc_error(stubs(server).predict, request_without_name)
    assert error == (Code.INVALID_ARGUMENT, message)


def test_neither_a_message_nor_its_tensors_may_exceed_the_limit(
    server: Server, stubs: Connect
) -> None:
    large = predict_request(inputs={"images": np.zeros((90_000, 28, 28), np.uint8)})
    code, _ = grpc_error(stubs(server).predict, large)
    assert code == Code.RESOURCE_EXHAUSTED
    claims_more = predict_request()
    claims_more.inputs["images"].tensor_shape.dim[0].size = 10**9
    code, _ = grpc_error(stubs(server).predict, claims_more)
    assert code == Code.INVALID_ARGUMENT


def test_health_checks_report_serving_until_the_server_stops(saved: Path, stubs: Connect) -> None:
    with Server(saved, rest_port=0, grpc_port=0) as server:
        health = health_pb2_grpc.HealthStub(stubs(server).channel)
        services = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
        for service in services:
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        stop = threading.Thread(target=server.stop)
        stop.start()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        stop.join()
