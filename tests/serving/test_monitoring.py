"""The configuration of Prometheus and Grafana."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
import yaml

from kmnist.server.metrics import Metrics

SERVING = Path(__file__).parents[2] / "serving"
PROMETHEUS = SERVING / "prometheus"

Dashboard: TypeAlias = dict[str, Any]

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed"
)

# The names of TensorFlow Serving, without the suffixes of histograms.
METRICS = {
    "kmnist_predictions_total",  # of `kmnist serve` alone
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
    path = SERVING / "grafana" / "dashboards" / "kmnist.json"
    dashboard: Dashboard = json.loads(path.read_text())
    return dashboard


def _expressions(dashboard: Dashboard) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


@pytest.mark.docker
@needs_promtool
@pytest.mark.parametrize("command", ["check config prometheus.yml", "test rules alerts_test.yml"])
def test_promtool_accepts(command: str) -> None:
    _promtool(*command.split())


@pytest.mark.docker
@needs_promtool
def test_the_metrics_of_kmnist_serve_raise_the_alert_as_long_as_a_version_is_broken(
    tmp_path: Path,
) -> None:
    metrics = Metrics()
    for version, error in ((8, None), (9, OSError()), (9, OSError())):
        metrics.load(Path(f"/models/kmnist/{version}"), error, seconds=1)
    lines = re.findall(r"^([^#\s]\S*) (\S+)$", metrics.page().decode(), re.MULTILINE)
    hour = [{"series": series, "values": f"{value}x360"} for series, value in lines]
    labels = {"severity": "warning", "model_path": "/models/kmnist/9"}
    summary = "/models/kmnist/9 could not be loaded. Run `kmnist doctor` to see why."
    expected = {"exp_labels": labels, "exp_annotations": {"summary": summary}}
    alert = {"eval_time": "1h", "alertname": "VersionNotLoaded", "exp_alerts": [expected]}
    series = {"interval": "10s", "input_series": hour, "alert_rule_test": [alert]}
    tests = {"rule_files": [str(PROMETHEUS / "alerts.yml")], "tests": [series]}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests))
    _promtool("test", "rules", str(tmp_path / "tests.yml"))


def test_every_alert_has_a_severity() -> None:
    [group] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    alerts = [rule for rule in group["rules"] if "alert" in rule]
    assert alerts
    assert {alert["labels"]["severity"] for alert in alerts} == {"critical", "warning"}


def _promtool(*arguments: str) -> None:
    command = ["promtool", *arguments]
    run = subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.docker
@needs_promtool
def test_every_query_of_the_dashboard_is_valid(dashboard: Dashboard, tmp_path: Path) -> None:
    queries = [
        query.replace("$__rate_interval", "20s").replace("$model", "kmnist")
        for query in _expressions(dashboard)
    ]
    rules = [{"record": f"query{n}", "expr": query} for n, query in enumerate(queries)]
    group = {"groups": [{"name": "dashboard", "rules": rules}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(group))
    _promtool("check", "rules", str(tmp_path / "rules.yml"))


def test_every_queried_metric_is_one_of_the_servers(dashboard: Dashboard) -> None:
    alerts = (PROMETHEUS / "alerts.yml").read_text()
    asked = set(re.findall(r":tensorflow:[\w:]+|kmnist_\w+", alerts + json.dumps(dashboard)))
    assert {
        re.sub("(_latency|_size)_(bucket|sum|count)$", r"\1", name) for name in asked
    } <= METRICS


def test_grafana_finds_the_dashboard_and_prometheus(dashboard: Dashboard) -> None:
    [source] = _provisioned("datasources/prometheus.yml")["datasources"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
    compose = yaml.safe_load((SERVING.parent / "docker-compose.yml").read_text())["services"]
    assert urlsplit(source["url"]).hostname in compose
    [provider] = _provisioned("dashboards/kmnist.yml")["providers"]
    path = provider["options"]["path"]
    assert f"./serving/grafana/dashboards:{path}:ro" in compose["grafana"]["volumes"]
    home = compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{path}/kmnist.json"


def _provisioned(name: str) -> Any:
    return yaml.safe_load((SERVING / "grafana" / "provisioning" / name).read_text())
