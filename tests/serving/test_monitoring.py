"""The configuration of Prometheus and Grafana."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

SERVING = Path(__file__).parents[2] / "serving"
PROMETHEUS = SERVING / "prometheus"
PROVISIONING = SERVING / "grafana" / "provisioning"

Dashboard = dict[str, Any]

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed"
)

# The metrics of TensorFlow Serving, without the suffixes of histograms.
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
    file = SERVING / "grafana" / "dashboards" / "kmnist.json"
    dashboard: Dashboard = json.loads(file.read_text())
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
def test_promtool_accepts_the_files(command: list[str]) -> None:
    run = subprocess.run(
        ["promtool", *command], cwd=PROMETHEUS, check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


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


def test_every_queried_metric_exists_in_tensorflow_serving(dashboard: Dashboard) -> None:
    alerts = (PROMETHEUS / "alerts.yml").read_text()
    queried = set(re.findall(r":tensorflow:[\w:]+", alerts + json.dumps(dashboard)))
    assert {
        re.sub("(_latency|_size)_(bucket|sum|count)$", r"\1", name) for name in queried
    } <= METRICS


def test_the_dashboard_has_the_essential_panels(dashboard: Dashboard) -> None:
    titles = " ".join(panel["title"] for panel in dashboard["panels"])
    for title in ("Requests per second", "Errors", "Latency", "Batch size", "Versions"):
        assert title in titles
    cells = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(cell["x"] + cell["w"] <= 24 for cell in cells)
    taken = [
        (x, y)
        for cell in cells
        for x in range(cell["x"], cell["x"] + cell["w"])
        for y in range(cell["y"], cell["y"] + cell["h"])
    ]
    assert len(taken) == len(set(taken)), "panels overlap"


def test_the_dashboard_asks_the_data_source_that_is_provisioned(dashboard: Dashboard) -> None:
    sources = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())
    (source,) = sources["datasources"]
    compose = yaml.safe_load((SERVING.parent / "docker-compose.yml").read_text())
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose["services"]
    used = {panel["datasource"]["uid"] for panel in dashboard["panels"]}
    assert used == {source["uid"]}


def test_provider_and_compose_contain_the_path_of_the_dashboard() -> None:
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
