"""The metrics page, with TensorFlow Serving's names."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kmnist import Client, Dataset
from kmnist.server import Server
from kmnist.server.metrics import METRICS_PATH, Metrics
from tests.server.calls import BODY, PREDICT, Stubs, ask, predict_request


@pytest.fixture
def metrics(base: Path, stubs: Callable[[Server], Stubs]) -> str:
    """The page after a valid request over each transport and one for an unknown model."""
    with Server(base, rest_port=0, grpc_port=0) as server:
        stubs(server).predict(predict_request(), timeout=30)
        ask(server, PREDICT, BODY)
        ask(server, "/v1/models/other:predict", BODY)
        page = ask(server, METRICS_PATH)
    assert (page.status, page.type) == (200, "text/plain")
    return str(page.body.decode())


def value(page: str, name: str, **labels: str) -> float:
    """Return the value of a metric with these labels."""
    [found] = [
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return found


def test_requests_are_counted_by_status(metrics: str) -> None:
    name = ":tensorflow:serving:request_count"
    assert f"# TYPE {name} counter\n" in metrics
    assert f'{name}{{model_name="kmnist",status="OK"}} 2.0\n' in metrics
    # Names of other models do not become labels.
    assert f'{name}{{model_name="(unknown)",status="NOT_FOUND"}} 1.0\n' in metrics
    assert "other" not in metrics


@pytest.mark.parametrize(("api", "entrypoint"), [("Predict", "GRPC"), ("predict", "REST")])
def test_latency_is_measured_by_transport(metrics: str, api: str, entrypoint: str) -> None:
    name = ":tensorflow:serving:request_latency"
    labels = {"model_name": "kmnist", "API": api, "entrypoint": entrypoint}
    assert value(metrics, f"{name}_count", **labels) == 1
    assert value(metrics, f"{name}_sum", **labels) > 10  # microseconds
    assert value(metrics, f"{name}_bucket", **labels, le="+Inf") == 1
    assert value(metrics, f"{name}_bucket", **labels, le="32.4") == 0


def test_runs_are_measured(metrics: str) -> None:
    labels = {"model_name": "kmnist", "API": "Predict", "runtime": "TF1"}
    assert value(metrics, ":tensorflow:serving:runtime_latency_count", **labels) == 2


def test_predictions_are_counted_by_class(
    served: Server, stubs: Callable[[Server], Stubs], tiny_dataset: Dataset
) -> None:
    before = predictions(served)
    with Client(served.grpc_url) as client:
        expected = Counter(client.predict(tiny_dataset.test.images).class_names.tolist())
    # A request without the names of the classes is counted, too.
    request = predict_request()
    request.output_filter.append("class_ids")
    answer = stubs(served).predict(request, timeout=30)
    expected.update(str(each) for each in answer.outputs["class_ids"].int64_val)
    # A request for the names of classes predicts nothing.
    classes = {"signature_name": "classes", "inputs": {"class_ids": list(range(10))}}
    assert ask(served, PREDICT, classes).status == 200
    assert len(expected) > 5
    assert predictions(served) - before == expected


def predictions(server: Server) -> Counter[str]:
    """Return the counter of predictions by class."""
    page = ask(server, METRICS_PATH).body.decode()
    lines = re.findall(r'^kmnist_predictions_total\{class_name="(.*)"\} (.*)$', page, re.MULTILINE)
    return Counter({name: int(float(count)) for name, count in lines})


def test_loads_are_counted_without_the_path_of_this_machine(metrics: str, base: Path) -> None:
    name = ":tensorflow:cc:saved_model:load_attempt_count"
    assert f'{name}{{model_path="/models/kmnist/1",status="success"}} 1.0\n' in metrics
    assert str(base.parent.parent) not in metrics


@pytest.mark.parametrize(
    ("folder", "label"), [("/data/models/kmnist/1", "/models/kmnist/1"), ("/m/1", "/m/1")]
)
def test_the_label_of_a_folder_has_its_last_names(folder: str, label: str) -> None:
    metrics = Metrics()
    metrics.load(Path(folder), None, 1.0)
    assert f'model_path="{label}"' in metrics.page().decode()
