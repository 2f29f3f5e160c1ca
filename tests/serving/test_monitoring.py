"""The configuration of Prometheus and Grafana."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from kmnist.server.metrics import METRICS_PATH, Metrics

SERVING = Path(__file__).parents[2] / "serving"
PROMETHEUS = SERVING / "prometheus"
PROVISIONING = SERVING / "grafana" / "provisioning"

Dashboard: TypeAlias = dict[str, Any]

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed"
)

# The names of TensorFlow Serving, without the suffixes of histograms.
METRICS = {
    "up",
    ":tensorflow:cc:saved_model:load_attempt_count",
    ":tensorflow:cc:saved_model:load_latency",
    ":tensorflow:serving:batching_session:input_batch_size",
    ":tensorflow:serving:batching_session:processed_batch_size",
    ":tensorflow:serving:batching_session:queuing_latency",
    ":tensorflow:serving:request_count",
    ":tensorflow:serving:request_latency",
    ":tensorflow:serving:runtime_latency",
}


@pytest.fixture(scope="module")
def dashboard() -> Dashboard:
    """The dashboard of Grafana."""
    dashboard: Dashboard = json.loads(
        (SERVING / "grafana" / "dashboards" / "kmnist.json").read_text()
    )
    return dashboard


def _expressions(dashboard: Dashboard) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


@pytest.mark.parametrize(
    "command",
    [["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]],
    ids=" ".join,
)
@pytest.mark.docker
@needs_promtool
def test_promtool_accepts(command: list[str]) -> None:
    run = subprocess.run(
        ["promtool", *command], cwd=PROMETHEUS, check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture
def metrics() -> Iterator[tuple[Metrics, str]]:
    """The metrics of a server without requests, and the address that shows them."""
    metrics = Metrics()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == METRICS_PATH
            page = metrics.page()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield metrics, "127.0.0.1:{1}".format(*server.server_address)
        server.shutdown()


@pytest.mark.docker
@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed")
def test_prometheus_raises_the_alert_for_the_first_failure(
    metrics: tuple[Metrics, str], tmp_path: Path
) -> None:
    counters, address = metrics
    counters.load(Path("/models/kmnist/1"), None, 1.5)
    shutil.copy(PROMETHEUS / "alerts.yml", tmp_path)
    config = (PROMETHEUS / "prometheus.yml").read_text()
    config = config.replace("serving:8501", address).replace("interval: 5s", "interval: 1s")
    (tmp_path / "prometheus.yml").write_text(config)
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = "127.0.0.1:{1}".format(*free.getsockname())
    process = subprocess.Popen(
        [
            "prometheus",
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address={listen}",
        ],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(lambda: _prometheus(listen, "query?query=up")["result"])
        assert _prometheus(listen, "alerts")["alerts"] == []
        counters.load(Path("/models/kmnist/2"), ValueError("broken"), 0.1)
        _wait_for(lambda: _prometheus(listen, "alerts")["alerts"])
        [alert] = _prometheus(listen, "alerts")["alerts"]
        assert alert["labels"]["alertname"] == "VersionNotLoaded"
        assert alert["labels"]["model_path"].endswith("kmnist/2")
    finally:
        process.terminate()
        process.wait()


def _prometheus(address: str, path: str) -> Any:
    try:
        with urllib.request.urlopen(f"http://{address}/api/v1/{path}", timeout=5) as response:
            return json.load(response)["data"]
    except OSError:
        return {"result": [], "alerts": []}


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.docker
@needs_promtool
def test_every_query_of_the_dashboard_is_valid(dashboard: Dashboard, tmp_path: Path) -> None:
    queries = [
        query.replace("$__rate_interval", "20s").replace("$model", "kmnist")
        for query in _expressions(dashboard)
    ]
    rules = [{"record": f"query{n}", "expr": query} for n, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})
    )
    run = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yml"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_queried_metric_is_one_of_tensorflow_serving(dashboard: Dashboard) -> None:
    alerts = (PROMETHEUS / "alerts.yml").read_text()
    asked = set(re.findall(r":tensorflow:[\w:]+", alerts + json.dumps(dashboard)))
    assert {
        re.sub("(_latency|_size)_(bucket|sum|count)$", r"\1", name) for name in asked
    } <= METRICS


def test_the_other_queried_metrics_are_those_of_this_project(dashboard: Dashboard) -> None:
    metrics = Metrics()
    metrics.predicted([b"7", b"7", b"1"])
    page = metrics.page().decode()
    asked = set(re.findall(r"kmnist_\w+", " ".join(_expressions(dashboard))))
    assert asked == {"kmnist_predictions_total"}
    assert 'kmnist_predictions_total{class_name="7"} 2.0' in page.splitlines()


def test_the_dashboard_has_its_panels_and_they_do_not_overlap(dashboard: Dashboard) -> None:
    titles = " ".join(panel["title"] for panel in dashboard["panels"])
    for shown in ("Requests per second", "Errors", "Latency", "Batch size", "Versions", "classes"):
        assert shown in titles
    cells = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(cell["x"] + cell["w"] <= 24 for cell in cells)
    taken = [
        (x, y)
        for cell in cells
        for x in range(cell["x"], cell["x"] + cell["w"])
        for y in range(cell["y"], cell["y"] + cell["h"])
    ]
    assert len(taken) == len(set(taken)), "panels overlap"


def test_the_dashboard_uses_the_provisioned_data_source(dashboard: Dashboard) -> None:
    sources = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())
    (source,) = sources["datasources"]
    compose = yaml.safe_load((SERVING.parent / "docker-compose.yml").read_text())
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose["services"]
    used = {panel["datasource"]["uid"] for panel in dashboard["panels"]}
    assert used == {source["uid"]}


def test_provider_and_compose_have_the_path_of_the_dashboard() -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "kmnist.yml").read_text())[
        "providers"
    ]
    compose = yaml.safe_load((SERVING.parent / "docker-compose.yml").read_text())
    grafana = compose["services"]["grafana"]
    path = provider["options"]["path"]
    assert f"./serving/grafana/dashboards:{path}:ro" in grafana["volumes"]
    assert (
        grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == f"{path}/kmnist.json"
    )
