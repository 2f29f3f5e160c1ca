"""What the REST transport sends, and how it reads what is not TensorFlow Serving's."""

import json

import numpy as np
import pytest

from kmnist.client import Client, ModelNotFoundError
from kmnist.errors import BadAnswerError, ServerError
from tests.client.conftest import Make
from tests.client.standin import StandIn

IMAGE = np.zeros((28, 28), np.uint8)


def test_a_request_has_the_column_format(make: Make, server: StandIn) -> None:
    server.labels["x%20y"] = 1
    del server.model.inputs["pixels"]
    make(server.url("http") + "/up/", label="x y").predict(IMAGE)
    path, body = server.last
    assert path == "/up/v1/models/kmnist/labels/x%20y:predict"
    assert json.loads(body) == {
        "signature_name": "serving_default",
        "inputs": {"images": [IMAGE.tolist()]},
    }
    with pytest.raises(ModelNotFoundError):
        make(server.url("http"), model="a/b").status()
    assert server.last[0] == "/v1/models/a%2Fb"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"outputs": ',
        b'{"predictions": [1]}',
        b'{"outputs": 3}',
        b'{"outputs": {"probabilities": [[1], [1, 2]]}}',
        b'{"outputs": {"probabilities": [null]}}',
        b'{"model_spec": {}, "metadata": []}',
        b'{"model_version_status": [{"version": "x"}]}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=range(11),
)
def test_an_answer_that_is_not_tensorflow_servings(server: StandIn, body: bytes) -> None:
    with Client(server.url("http")) as client:
        server.answers = {"/metadata": body, ":predict": body}
        with pytest.raises(BadAnswerError):
            client.metadata()
        del server.answers["/metadata"]
        with pytest.raises(BadAnswerError):
            client.predict(IMAGE)


def test_an_error_after_the_status_was_sent(server: StandIn) -> None:
    server.answers["/metadata"] = b'{"error": "broken"}'
    with (
        Client(server.url("http")) as client,
        pytest.raises(ServerError, match="the server failed: broken"),
    ):
        client.metadata()
