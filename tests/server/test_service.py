"""The limit of concurrent requests, and the metrics of requests and runs."""

import gc
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest

from kmnist.server.errors import StatusError, invalid
from kmnist.server.metrics import Metrics
from kmnist.server.model import LoadedSignature
from kmnist.server.service import Service
from kmnist.server.versions import Versions


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service without versions that processes one request at a time."""
    manager = Versions(tmp_path, "kmnist", lambda folder: folder)
    return Service(manager, Metrics(), concurrency=1, body_bytes=1)


def counted(service: Service) -> list[str]:
    """Return the lines of the request counter."""
    lines = service.metrics.page().decode().splitlines()
    return [line for line in lines if line.startswith(":tensorflow:serving:request_count{")]


def test_a_request_beyond_the_limit_is_refused(service: Service) -> None:
    with service.slot():
        assert service.in_progress == 1
        with pytest.raises(StatusError) as caught, service.slot():
            pass
        assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.http_status == 503
    with service.slot():
        pass
    assert service.in_progress == 0


@pytest.mark.parametrize("is_compressed", [True, False])
def test_a_large_or_compressed_request_is_decoded_alone(
    service: Service, is_compressed: bool
) -> None:
    size = 1 if is_compressed else 2**21
    with service.decoding(size, is_compressed=is_compressed):
        assert not gc.isenabled()
        with service.decoding(1):  # a small one does not wait
            pass
        other = threading.Thread(target=lambda: service.decoding(2**21).__enter__(), daemon=True)
        other.start()
        other.join(0.05)
        assert other.is_alive()
    other.join(10)
    assert not other.is_alive()
    gc.enable()


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "OK"), (invalid("no"), "INVALID_ARGUMENT"), (ZeroDivisionError(), "INTERNAL")],
)
def test_requests_are_counted_by_status(
    service: Service, error: Exception | None, status: str
) -> None:
    if error is None:
        with service.counted("kmnist", "GRPC"):
            pass
    else:
        with pytest.raises(type(error)), service.counted("kmnist", "GRPC"):
            raise error
    labels = f'model_name="kmnist",status="{status}"'
    assert counted(service) == [f":tensorflow:serving:request_count{{{labels}}} 1.0"]


def test_names_of_other_models_share_a_label(service: Service) -> None:
    for name in ("a", "b"):
        with service.counted(name, "REST"):
            pass
    labels = 'model_name="(unknown)",status="OK"'
    assert counted(service) == [f":tensorflow:serving:request_count{{{labels}}} 2.0"]


def test_runs_are_counted(service: Service) -> None:
    double = LoadedSignature("double", {"x": np.dtype(np.int64)}, ("y",), lambda x: [2 * x])
    assert service.run(double, {"x": np.array([2])})["y"].tolist() == [4]
    assert "runtime_latency_count" in service.metrics.page().decode()
