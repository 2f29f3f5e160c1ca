"""How the gRPC transport reads what is not TensorFlow Serving's."""

import numpy as np
import pytest

from kmnist.client import Client
from kmnist.errors import BadAnswerError
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import GET_MODEL_METADATA, GET_MODEL_STATUS, PREDICT
from tests.client.standin import StandIn


def test_an_answer_that_cannot_be_read_is_an_error(server: StandIn) -> None:
    response = pb.PredictResponse()
    response.outputs["probabilities"].dtype = pb.DT_RESOURCE
    with Client(server.url("grpc")) as client:
        server.answers = dict.fromkeys((GET_MODEL_METADATA, GET_MODEL_STATUS), b"\xff")
        for call in (client.status, client.metadata):
            with pytest.raises(BadAnswerError, match="cannot read the answer"):
                call()
        for answer in (b"\xff", response.SerializeToString()):
            server.answers = {PREDICT: answer}
            with pytest.raises(BadAnswerError, match="cannot read the answer"):
                client.predict(np.zeros((28, 28), np.uint8))
