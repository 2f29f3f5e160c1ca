"""The limit of concurrent requests, and the metrics of requests and runs."""

from pathlib import Path

import grpc
import numpy as np
import pytest

from kmnist.server.manager import Manager
from kmnist.server.monitoring import Metrics
from kmnist.server.servable import SignatureRunner
from kmnist.server.service import Service
from kmnist.server.serving_error import ServingError, invalid


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service without versions that processes one request at a time."""
    return Service(Manager(tmp_path, "kmnist", lambda folder: folder), Metrics(), concurrency=1)


def counted(service: Service) -> list[str]:
    """Return the lines of the request counter."""
    lines = service.metrics.page().decode().splitlines()
    return [line for line in lines if line.startswith(":tensorflow:serving:request_count{")]


def test_a_request_beyond_the_limit_is_refused(service: Service) -> None:
    with service.request("kmnist", "GRPC"):
        with pytest.raises(ServingError) as caught, service.request("kmnist", "REST"):
            pass
        assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.http_status == 503
    with service.request("kmnist", "REST"):
        pass


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "OK"), (invalid("no"), "INVALID_ARGUMENT"), (ZeroDivisionError(), "INTERNAL")],
)
def test_requests_are_counted_by_status(
    service: Service, error: Exception | None, status: str
) -> None:
    if error is None:
        with service.request("kmnist", "GRPC"):
            pass
    else:
        with pytest.raises(type(error)), service.request("kmnist", "GRPC"):
            raise error
    labels = f'model_name="kmnist",status="{status}"'
    assert counted(service) == [f":tensorflow:serving:request_count{{{labels}}} 1.0"]


def test_names_of_other_models_share_a_label(service: Service) -> None:
    for name in ("a", "b"):
        with service.request(name, "REST"):
            pass
    labels = 'model_name="(unknown)",status="OK"'
    assert counted(service) == [f":tensorflow:serving:request_count{{{labels}}} 2.0"]


def test_runs_are_counted(service: Service) -> None:
    double = SignatureRunner("double", {"x": np.dtype(np.int64)}, ("y",), lambda x: [2 * x])
    assert service.run(double, {"x": np.array([2])})["y"].tolist() == [4]
    assert "runtime_latency_count" in service.metrics.page().decode()
