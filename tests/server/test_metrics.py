"""The metrics page, with TensorFlow Serving's names."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kmnist import Client, Dataset
from kmnist.server import Server
from kmnist.server.metrics import METRICS_PATH
from tests.server.calls import BODY, PREDICT, Stubs, ask, predict_request


def page(server: Server) -> str:
    """Return the metrics page."""
    answer = ask(server, METRICS_PATH)
    assert (answer.status, answer.type) == (200, "text/plain")
    return str(answer.body.decode())


def test_requests_runs_and_loads_are_counted_as_by_tensorflow_serving(
    base: Path, stubs: Callable[[Server], Stubs]
) -> None:
    with Server(base, rest_port=0, grpc_port=0) as server:
        stubs(server).predict(predict_request(), timeout=30)
        ask(server, PREDICT, BODY)
        ask(server, "/v1/models/other:predict", BODY)
        metrics = page(server)
    assert "# TYPE :tensorflow:serving:request_count counter\n" in metrics
    for line in (
        'serving:request_count{model_name="kmnist",status="OK"} 2.0',
        # Names of other models do not become labels.
        'serving:request_count{model_name="(unknown)",status="NOT_FOUND"} 1.0',
        'serving:request_latency_count{API="Predict",entrypoint="GRPC",model_name="kmnist"} 1.0',
        'serving:request_latency_count{API="predict",entrypoint="REST",model_name="kmnist"} 1.0',
        'serving:request_latency_bucket{API="predict",entrypoint="REST",le="32.4",model_name="kmnist"} 0.0',
        'serving:runtime_latency_count{API="Predict",model_name="kmnist",runtime="TF1"} 2.0',
        'cc:saved_model:load_attempt_count{model_path="/models/kmnist/1",status="success"} 1.0',
    ):
        assert f":tensorflow:{line}\n" in metrics
    assert "other" not in metrics
    assert str(base.parent.parent) not in metrics


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
    lines = re.findall(
        r'^kmnist_predictions_total\{class_name="(.*)",version="1"\} (.*)$',
        page(server),
        re.MULTILINE,
    )
    return Counter({name: int(float(count)) for name, count in lines})
