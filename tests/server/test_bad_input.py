"""Whatever is sent: the right code, an error in JSON, a line in the log, and then business as usual."""

import gzip
import json
import logging
import socket

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kmnist.server import Server

PREDICT = "/v1/models/kmnist:predict"
GOOD = json.dumps({"instances": np.zeros((1, 28, 28), int).tolist()}).encode()


@pytest.fixture(autouse=True)
def business_as_usual(server, ask, stubs, caplog):
    """After each of these, a good request over each transport is answered."""
    caplog.set_level(logging.INFO, "kmnist")
    yield
    assert ask(server, PREDICT, GOOD).status == 200
    assert stubs(server).predict(grpc_request(), timeout=30).outputs


def grpc_request(tensor=None):
    request = PredictRequest()
    request.model_spec.name = "kmnist"
    request.inputs["images"].CopyFrom(
        tf.make_tensor_proto(np.zeros((1, 28, 28), np.uint8)) if tensor is None else tensor
    )
    return request


def talk(port, data):
    """Sends raw bytes; what comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[" * 1_000_000,
        b'{"instances": ' + b'{"a": ' * 50_000,
        b'{"instances": "\xff\xfe"}',
        b'{"instances": [NaN]}',
        b'{"instances": [[[-1]]]}',
        b'{"instances": [[[300]]]}',
        b'{"instances": [[[1, 2], [3]]]}',
        b'{"instances": [[["1"]]]}',
        b'{"instances": {"images": 1}}',
        b"\0" * 100,
    ],
    ids=range(11),
)
def test_bodies(server, ask, caplog, body) -> None:
    answer = ask(server, PREDICT, body)
    assert answer.status == 400
    assert answer.body.keys() == {"error"}
    assert len(answer.body["error"]) < 500
    assert f"POST {PREDICT} 400" in caplog.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/kmnist/versions/-1:predict", 400),
        ("/v1/models/kmnist/versions/1.0:predict", 400),
        (f"/v1/models/kmnist/versions/{2**63}:predict", 400),
        (f"/v1/models/kmnist/versions/{'9' * 5000}:predict", 400),
        (f"/v1/models/kmnist/versions/{2**63 - 1}:predict", 404),
        (f"/v1/models/kmnist/versions/{'0' * 5000}:predict", 404),
        ("/v1/models/kmnist/versions/0000000000000000000000001:predict", 200),
        ("/v1/models/%2e%2e:predict", 404),
        ("/v1/models/../../etc/passwd:predict", 400),
        ("/v1/models/kmnist/../kmnist:predict", 400),
        ("/v1/models/%ff%00:predict", 404),
        ("/v1/models/kmnist?version=1:predict", 404),
        ("/v1/models/kmnist/labels/%2e%2e:predict", 400),
        ("/v1/models/KMNIST:predict", 404),
        ("/V1/MODELS/kmnist:PREDICT", 200),
        ("/v1/models/kmnist/versions/1/labels/x:predict", 400),
        ("/v1/", 400),
        ("/v1/models", 400),
        ("/v1/models/", 400),
    ],
)
def test_paths(server, ask, path, status) -> None:
    answer = ask(server, path, GOOD)
    assert answer.status == status
    assert answer.body.keys() == ({"predictions"} if status == 200 else {"error"})


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/..%2fserver.py", "/%00"],
)
def test_paths_out_of_the_page(server, ask, path) -> None:
    answer = ask(server, path)
    assert (answer.status, answer.type) == (404, "text/html")


def test_a_body_of_100_mb(server, ask) -> None:
    answer = ask(server, PREDICT, bytes(100_000_000))
    assert answer.status == 413
    assert "67,108,864" in answer.body["error"]


def test_a_body_of_100_mb_of_unknown_length(server, ask) -> None:
    pieces = iter([bytes(1_000_000)] * 100)
    answer = ask(server, PREDICT, pieces, headers={"Transfer-Encoding": "chunked"}.items())
    assert answer.status == 413


def test_a_compressed_body(server, ask) -> None:
    headers = {"Content-Encoding": "gzip"}.items()
    assert ask(server, PREDICT, gzip.compress(GOOD), headers=headers).status == 200
    assert ask(server, PREDICT, gzip.compress(bytes(100_000_000)), headers=headers).status == 413
    answer = ask(server, PREDICT, b"no gzip", headers=headers)
    assert answer.status == 400
    assert answer.body["error"]


def test_a_client_that_asks_before_it_sends(server) -> None:
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
    answer = talk(
        server.rest_port, head.encode() + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD
    )
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=10) as connection:
        connection.sendall(head.encode() + b"Content-Length: 100000000\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 413"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 3 + b"\r\n\r\n",
        b"\0\1\2\3\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/models/kmnist:predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    ],
    ids=["TLS", "binary", "no colon", "long", "negative length"],
)
def test_garbage_on_the_rest_port(server, caplog, garbage) -> None:
    head, _, body = talk(server.rest_port, garbage).partition(b"\r\n\r\n")
    assert head.splitlines()[0].split()[1] == b"400"
    assert json.loads(body).keys() == {"error"}
    assert "not an HTTP request" in caplog.text


def test_garbage_on_the_grpc_port(server) -> None:
    talk(server.grpc_port, b"GET / HTTP/1.1\r\n\r\n")
    talk(server.grpc_port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000)


def test_connections_that_say_nothing_more(saved, ask) -> None:
    with Server(saved, rest_port=0, grpc_port=0) as server:
        connections = [
            socket.create_connection(("127.0.0.1", port))
            for port in (server.rest_port, server.grpc_port)
            for _ in range(50)
        ]
        for connection in connections:
            connection.sendall(b"POST /v1/models/kmnist:predict HTTP/1.1\r\nContent-Le")
        assert ask(server, PREDICT, GOOD).status == 200
    for connection in connections:  # and none of them keeps the server from stopping
        connection.close()


def test_more_uploads_than_may_be_held(saved, ask) -> None:
    with Server(saved, rest_port=0, grpc_port=0, concurrency=1) as server:
        address = ("127.0.0.1", server.rest_port)
        uploads = [socket.create_connection(address, timeout=10) for _ in range(4)]
        for upload in uploads:
            upload.sendall(
                f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                f"Content-Length: 1000\r\n\r\n".encode()
            )
            assert upload.recv(100).startswith(b"HTTP/1.1 100")
        answer = ask(server, PREDICT, GOOD)
        assert (answer.status, answer.body) == (503, {"error": "Server Threadpool Exhausted"})
        for upload in uploads:
            upload.close()
        while ask(server, PREDICT, GOOD).status == 503:
            pass
        assert ask(server, PREDICT, GOOD).status == 200


def test_bytes_that_are_no_message(server, stubs) -> None:
    call = stubs(server).channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff\xff", timeout=30)
    assert caught.value.code() == grpc.StatusCode.INTERNAL


def test_a_message_without_a_model(server, stubs) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stubs(server).predict(PredictRequest(), timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "Missing ModelSpec"


def test_a_message_over_the_limit(server, stubs) -> None:
    tensor = tf.make_tensor_proto(np.zeros((100_000, 28, 28), np.uint8))
    with pytest.raises(grpc.RpcError) as caught:
        stubs(server).predict(grpc_request(tensor), timeout=30)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


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
def test_tensors_that_lie(server, stubs, shape, values) -> None:
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
    with pytest.raises(grpc.RpcError) as caught:
        stubs(server).predict(grpc_request(tensor), timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_negative_version(server, stubs) -> None:
    request = grpc_request()
    request.model_spec.version.value = -1
    with pytest.raises(grpc.RpcError) as caught:
        stubs(server).predict(request, timeout=30)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert "Specific(kmnist, -1)" in (caught.value.details() or "")


def test_the_log_stays_in_its_lines(server, stubs, caplog) -> None:
    request = grpc_request()
    request.model_spec.name = "a\nFAKE LINE\x1b[31m"
    with pytest.raises(grpc.RpcError):
        stubs(server).predict(request, timeout=30)
    [record] = [record for record in caplog.records if "FAKE" in record.getMessage()]
    assert record.getMessage().isprintable()
