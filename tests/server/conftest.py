"""Servers to ask, and clients of TensorFlow Serving to ask them with."""

import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from kmnist.server import Server
from tests.server.served_models import save_digits, save_oddities


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Path:
    """A folder with version 1 of the digit model; copy before changing."""
    base: Path = tmp_path_factory.mktemp("saved") / "kmnist"
    base.mkdir()
    save_digits(base, 1)
    return base


@pytest.fixture
def base(saved, tmp_path) -> Path:
    """A copy of ``saved`` to change."""
    copy: Path = tmp_path / "models" / "kmnist"
    shutil.copytree(saved, copy)
    return copy


@pytest.fixture(scope="session")
def server(saved):
    with Server(saved, rest_port=0, grpc_port=0) as server:
        yield server


@pytest.fixture(scope="session")
def odd_server(tmp_path_factory):
    base = tmp_path_factory.mktemp("odd") / "odd"
    base.mkdir()
    save_oddities(base)
    with Server(base, rest_port=0, grpc_port=0) as server:
        yield server


@pytest.fixture(scope="session")
def ask():
    """``ask(server, path, body)`` → status, content type and (parsed, if JSON) body."""

    def ask(server, path, body=None, method=None, headers=()):
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        request = urllib.request.Request(
            server.rest_url + path, data=body, method=method, headers=dict(headers)
        )
        try:
            response = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            text = response.read()
            media_type = response.headers.get_content_type()
        if media_type == "application/json":
            text = json.loads(text)
        return SimpleNamespace(
            status=response.status, type=media_type, body=text, headers=response.headers
        )

    return ask


@pytest.fixture
def stubs():
    """``stubs(server)`` → the official client stubs of both services."""
    channels = []

    def stubs(server):
        channel = grpc.insecure_channel(
            server.grpc_url.removeprefix("grpc://"),
            options=[("grpc.max_send_message_length", -1)],
        )
        channels.append(channel)
        return SimpleNamespace(
            channel=channel,
            predict=prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict,
            metadata=prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata,
            classify=prediction_service_pb2_grpc.PredictionServiceStub(channel).Classify,
            status=model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus,
        )

    yield stubs
    for channel in channels:
        channel.close()
