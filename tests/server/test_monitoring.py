"""The metrics page, under TensorFlow Serving's names."""

import numpy as np
import pytest
import tensorflow as tf
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kmnist.server import Server

PAGE = "/monitoring/prometheus/metrics"


@pytest.fixture
def metrics(base, ask, stubs):
    """What the page says after one good request a transport and one that names no model."""
    images = np.zeros((1, 28, 28), np.uint8)
    request = PredictRequest()
    request.model_spec.name = "kmnist"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
    with Server(base, rest_port=0, grpc_port=0) as server:
        stubs(server).predict(request, timeout=30)
        ask(server, "/v1/models/kmnist:predict", {"instances": images.tolist()})
        ask(server, "/v1/models/other:predict", {"instances": images.tolist()})
        page = ask(server, PAGE)
    assert (page.status, page.type) == (200, "text/plain")
    return page.body.decode()


def value(page, name, **labels):
    [found] = [
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return found


def test_requests_by_status(metrics) -> None:
    name = ":tensorflow:serving:request_count"
    assert f"# TYPE {name} counter\n" in metrics
    assert f'{name}{{model_name="kmnist",status="OK"}} 2.0\n' in metrics
    # Names that callers make up do not become labels.
    assert f'{name}{{model_name="(unknown)",status="NOT_FOUND"}} 1.0\n' in metrics
    assert "other" not in metrics


@pytest.mark.parametrize(("api", "entrypoint"), [("Predict", "GRPC"), ("predict", "REST")])
def test_latency_by_transport(metrics, api, entrypoint) -> None:
    name = ":tensorflow:serving:request_latency"
    labels = {"model_name": "kmnist", "API": api, "entrypoint": entrypoint}
    assert value(metrics, f"{name}_count", **labels) == 1
    assert value(metrics, f"{name}_sum", **labels) > 10  # microseconds
    assert value(metrics, f"{name}_bucket", **labels, le="+Inf") == 1
    assert value(metrics, f"{name}_bucket", **labels, le="32.4") == 0


def test_runtime_latency(metrics) -> None:
    labels = {"model_name": "kmnist", "API": "Predict", "runtime": "TF1"}
    assert value(metrics, ":tensorflow:serving:runtime_latency_count", **labels) == 2


def test_loads(metrics, base) -> None:
    name = ":tensorflow:cc:saved_model:load_attempt_count"
    assert f'{name}{{model_path="{base}/1",status="success"}} 1.0\n' in metrics
