"""How the gRPC transport reads what is not TensorFlow Serving's."""

from collections.abc import Iterator
from concurrent import futures

import grpc
import numpy as np
import pytest

from kmnist.client import Client
from kmnist.errors import BadAnswerError
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import GET_MODEL_METADATA, GET_MODEL_STATUS, PREDICT
from tests.client.standin import Model


@pytest.fixture
def answers() -> Iterator[dict[str, bytes]]:
    """The answers of a server by the path of the method, and its address under ``url``."""
    answers: dict[str, bytes] = {}

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            answer = answers[call.method]
            return grpc.unary_unary_rpc_method_handler(lambda _request, _context: answer)

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Handler()])
    answers["url"] = b"grpc://127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield answers
    server.stop(None).wait()


def test_an_answer_that_cannot_be_read_is_an_error(answers: dict[str, bytes]) -> None:
    answers |= dict.fromkeys((PREDICT, GET_MODEL_METADATA, GET_MODEL_STATUS), b"\xff")
    with Client(answers["url"].decode()) as client:
        for call in (client.status, client.metadata):
            with pytest.raises(BadAnswerError, match="cannot read the answer"):
                call()
        metadata = pb.GetModelMetadataResponse()
        metadata.metadata["signature_def"].value = Model().definitions().SerializeToString()
        answers[GET_MODEL_METADATA] = metadata.SerializeToString()
        response = pb.PredictResponse()
        response.outputs["probabilities"].dtype = pb.DT_RESOURCE
        for answer in (b"\xff", response.SerializeToString()):
            answers[PREDICT] = answer
            with pytest.raises(BadAnswerError, match="cannot read the answer"):
                client.predict(np.zeros((28, 28), np.uint8))
