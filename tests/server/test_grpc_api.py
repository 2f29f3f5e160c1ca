"""The gRPC transport."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kmnist.server import Server
from tests.server.calls import IMAGES, Stubs, grpc_error, predict_request

Connect = Callable[[Server], Stubs]
Code = grpc.StatusCode


@pytest.fixture(autouse=True)
def server_still_works(server: Server, stubs: Connect) -> Iterator[None]:
    """After each test, the server answers a valid request."""
    yield
    assert stubs(server).predict(predict_request(), timeout=30).outputs


def test_outputs_are_in_typed_fields(server: Server, stubs: Connect) -> None:
    """TensorFlow Serving does the same unless configured otherwise."""
    outputs = stubs(server).predict(predict_request(), timeout=30).outputs
    assert len(outputs["probabilities"].float_val) == 10
    assert outputs["class_ids"].int64_val == [1]
    assert outputs["class_names"].string_val == [b"1"]
    assert not outputs["probabilities"].tensor_content


def test_an_empty_batch_gets_an_empty_result(server: Server, stubs: Connect) -> None:
    request = predict_request(inputs={"images": np.zeros((0, 28, 28), np.uint8)})
    outputs = stubs(server).predict(request, timeout=30).outputs
    assert tf.make_ndarray(outputs["probabilities"]).shape == (0, 10)


def test_an_output_filter_selects_outputs(mixed_server: Server, stubs: Connect) -> None:
    def request(*names: str) -> Any:
        arrays = {"a": np.array([1], np.int64), "b": np.array([2], np.int64)}
        return predict_request("mixed", arrays, signature="add", output_filter=names)

    predict = stubs(mixed_server).predict
    assert predict(request("sum"), timeout=30).outputs.keys() == {"sum"}
    for names, message in ((("no",), "alias not found"), (("sum", "sum"), "duplicate output")):
        code, details = grpc_error(predict, request(*names))
        assert code == Code.INVALID_ARGUMENT
        assert message in details


def test_metadata_contains_the_initializer(mixed_server: Server, stubs: Connect) -> None:
    """TensorFlow Serving reports it too; it cannot be called."""
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
    ("fields", "message"),
    [([], "must specify at least one metadata_field"), (["x"], "field x is not supported")],
)
def test_metadata_has_one_field(
    server: Server, stubs: Connect, fields: list[str], message: str
) -> None:
    request = GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "kmnist"
    code, details = grpc_error(stubs(server).metadata, request)
    assert code == Code.INVALID_ARGUMENT
    assert message in details


def test_other_protocols_on_the_port_do_no_harm(server: Server) -> None:
    for data in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000,
    ):
        with socket.create_connection(("127.0.0.1", server.grpc_port), timeout=10) as connection:
            connection.sendall(data)
            while connection.recv(65536):
                pass


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("PredictionService/Predict", "PredictRequest"),
        ("PredictionService/GetModelMetadata", "GetModelMetadataRequest"),
        ("ModelService/GetModelStatus", "GetModelStatusRequest"),
    ],
)
def test_an_invalid_message_costs_one_log_line(
    server: Server, stubs: Connect, caplog: pytest.LogCaptureFixture, path: str, message: str
) -> None:
    caplog.set_level(logging.INFO)
    call = stubs(server).channel.unary_unary(
        f"/tensorflow.serving.{path}", request_serializer=bytes, response_deserializer=bytes
    )
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff\xff", timeout=30)
    assert caught.value.code() == Code.INTERNAL
    assert caught.value.details() == f"the request is not a {message}"
    [record] = caplog.records
    assert record.exc_info is None


@pytest.mark.parametrize(
    ("request_of_long_name", "code"),
    [
        (predict_request, Code.NOT_FOUND),
        (lambda name: predict_request(label=name), Code.INVALID_ARGUMENT),
        (lambda name: predict_request(signature=name), Code.FAILED_PRECONDITION),
        (lambda name: predict_request(inputs={name: IMAGES}), Code.INVALID_ARGUMENT),
        (lambda name: predict_request(output_filter=[name]), Code.INVALID_ARGUMENT),
        (lambda name: predict_request(output_filter=[name] * 2), Code.INVALID_ARGUMENT),
    ],
    ids=["model", "label", "signature", "input", "output", "outputs"],
)
def test_a_long_name_does_not_change_the_code(
    server: Server, stubs: Connect, request_of_long_name: Callable[[str], Any], code: Any
) -> None:
    """A message above 8 KiB would become RESOURCE_EXHAUSTED, which clients retry."""
    for name in ("n" * 20_000, "é" * 20_000):
        found, message = grpc_error(stubs(server).predict, request_of_long_name(name))
        assert found == code
        assert len(message) < 1000


def test_many_unknown_inputs_are_refused(server: Server, stubs: Connect) -> None:
    request = predict_request(inputs={f"x{number}": IMAGES for number in range(1000)})
    code, message = grpc_error(stubs(server).predict, request)
    assert code == Code.INVALID_ARGUMENT
    assert "input size does not match signature: 1000!=1" in message


def test_an_empty_name_is_refused_as_by_tensorflow_serving(server: Server, stubs: Connect) -> None:
    refusal = (Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
    assert grpc_error(stubs(server).predict, predict_request("")) == refusal
    metadata = GetModelMetadataRequest(metadata_field=["signature_def"])
    metadata.model_spec.SetInParent()
    assert grpc_error(stubs(server).metadata, metadata) == refusal


def test_calls_without_a_message_delay_neither_states_nor_health_checks(
    saved: Path, stubs: Connect
) -> None:
    def never() -> Iterator[bytes]:
        released.wait(30)
        yield b""

    released = threading.Event()
    with Server(saved, rest_port=0, grpc_port=0, concurrency=1, grace=0) as server:
        channel = stubs(server).channel
        slow = channel.stream_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=bytes,
            response_deserializer=bytes,
        )
        calls = [slow.future(never(), timeout=30) for _ in range(30)]
        status = GetModelStatusRequest()
        status.model_spec.name = "kmnist"
        assert stubs(server).status(status, timeout=10).model_version_status
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1
        released.set()
        assert all(call.exception() for call in calls)


def test_a_request_without_a_model_is_refused(server: Server, stubs: Connect) -> None:
    assert grpc_error(stubs(server).predict, PredictRequest()) == (
        Code.INVALID_ARGUMENT,
        "Missing ModelSpec",
    )


def test_a_message_above_the_limit_is_refused(server: Server, stubs: Connect) -> None:
    request = predict_request(inputs={"images": np.zeros((100_000, 28, 28), np.uint8)})
    code, _ = grpc_error(stubs(server).predict, request)
    assert code == Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        ((1, 28, 28), {"tensor_content": b"123"}),
        ((-1, 28, 28), {"tensor_content": b"123"}),
        ((10**9, 10**9), {"int_val": [1]}),
        ((100_000, 28, 28), {"int_val": [1]}),
        ((1,), {"int_val": [1, 2]}),
        ((1,), {"int_val": [1000]}),
    ],
)
def test_a_tensor_whose_shape_contradicts_its_values_is_refused(
    server: Server, stubs: Connect, shape: tuple[int, ...], values: dict[str, Any]
) -> None:
    tensor = tf.make_tensor_proto(np.uint8(0))
    tensor.Clear()
    tensor.dtype = tf.uint8.as_datatype_enum
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    for field, value in values.items():
        if field == "tensor_content":
            tensor.tensor_content = value
        else:
            getattr(tensor, field).extend(value)
    request = predict_request()
    request.inputs["images"].CopyFrom(tensor)
    code, _ = grpc_error(stubs(server).predict, request)
    assert code == Code.INVALID_ARGUMENT


def test_a_negative_version_does_not_exist(server: Server, stubs: Connect) -> None:
    code, message = grpc_error(stubs(server).predict, predict_request(version=-1))
    assert code == Code.NOT_FOUND
    assert "Specific(kmnist, -1)" in message


def test_a_caller_cannot_forge_lines_in_the_log(
    server: Server, stubs: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kmnist")
    code, _ = grpc_error(stubs(server).predict, predict_request("a\nFAKE LINE\x1b[31m"))
    assert code == Code.NOT_FOUND
    [record] = [record for record in caplog.records if "FAKE" in record.getMessage()]
    assert record.getMessage().isprintable()


def test_health_checks_report_serving(server: Server, stubs: Connect) -> None:
    health = health_pb2_grpc.HealthStub(stubs(server).channel)
    for service in ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
        response = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
        assert response.status == health_pb2.HealthCheckResponse.SERVING
    code, _ = grpc_error(health.Check, health_pb2.HealthCheckRequest(service="other"))
    assert code == Code.NOT_FOUND


def test_health_checks_report_that_the_server_stops(base: Path, stubs: Connect) -> None:
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
