"""Requests to a server with clients other than this project's, and their results."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, Final

import grpc
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kmnist.server import Server

PREDICT: Final = "/v1/models/kmnist:predict"
IMAGES: Final[NDArray[np.uint8]] = np.zeros((1, 28, 28), np.uint8)
BODY: Final[Mapping[str, Any]] = {"instances": IMAGES.tolist()}


@dataclass(frozen=True)
class Answer:
    """An HTTP response; ``body`` is parsed if it is JSON, bytes otherwise."""

    status: int
    type: str
    body: Any
    headers: Message


def ask(
    server: Server,
    path: str,
    body: Mapping[str, Any] | bytes | Iterable[bytes] | None = None,
    *,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send an HTTP request; a mapping is sent as JSON, an iterable in chunks."""
    data: Any = json.dumps(body).encode() if isinstance(body, Mapping) else body
    request = urllib.request.Request(
        server.rest_url + path, data=data, method=method, headers=dict(headers or {})
    )
    try:
        response = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        content: Any = response.read()
        media_type = response.headers.get_content_type()
    if media_type == "application/json":
        content = json.loads(content)
    return Answer(response.status, media_type, content, response.headers)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until a condition holds that no event reports."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition does not hold in time"
        time.sleep(0.01)


class Stubs:
    """TensorFlow Serving's own gRPC stubs, connected to a server."""

    def __init__(self, server: Server) -> None:
        self.channel = grpc.insecure_channel(
            server.grpc_url.removeprefix("grpc://"),
            options=[("grpc.max_send_message_length", -1)],
        )
        prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.predict: Any = prediction.Predict
        self.metadata: Any = prediction.GetModelMetadata
        self.classify: Any = prediction.Classify
        self.status: Any = model_service_pb2_grpc.ModelServiceStub(self.channel).GetModelStatus


def predict_request(
    name: str = "kmnist",
    inputs: Mapping[str, Any] | None = None,
    *,
    version: int | None = None,
    label: str | None = None,
    signature: str = "",
    output_filter: Iterable[str] = (),
) -> Any:
    """Return a PredictRequest; by default, its input is one blank image."""
    request = PredictRequest(output_filter=output_filter)
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for alias, value in ({"images": IMAGES} if inputs is None else inputs).items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    return request


def grpc_error(method: Any, request: Any, *, timeout: float = 30) -> tuple[grpc.StatusCode, str]:
    """Call a method that must fail; return the status code and the message."""
    with pytest.raises(grpc.RpcError) as caught:
        method(request, timeout=timeout)
    return caught.value.code(), caught.value.details() or ""


@dataclass
class Stuck:
    """Requests that have reached the model and wait there for ``release``."""

    reached: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    release: threading.Event = field(default_factory=threading.Event)
