"""The Kubernetes manifests conform to the schemas of Kubernetes and fit each other."""

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kmnist.cli.train import command as train_command
from kmnist.training.workers import Cluster, read_cluster

FOLDER = Path(__file__).parents[2] / "serving" / "kubernetes"

validator = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")


def _objects(path: Path) -> list[dict[str, Any]]:
    return [manifest for manifest in yaml.safe_load_all(path.read_text()) if manifest]


def _manifests() -> list[Path]:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    return [FOLDER / name for name in kustomization["resources"] if name.endswith(".yaml")]


def _name(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


OBJECTS = {_name(manifest): manifest for path in _manifests() for manifest in _objects(path)}


def _pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = OBJECTS[name]["spec"]
    if "jobTemplate" in spec:
        spec = spec["jobTemplate"]["spec"]
    pod: dict[str, Any] = spec["template"]["spec"]
    return pod


PODS = [_pod("Deployment kmnist"), _pod("CronJob kmnist-train")]


def _containers() -> list[dict[str, Any]]:
    return [each for pod in PODS for each in pod["containers"] + pod.get("initContainers", [])]


TRAINING = {manifest["kind"]: manifest for manifest in _objects(FOLDER / "training.yaml")}


@pytest.mark.parametrize("version", ["1.30", "1.34"])
@pytest.mark.parametrize("manifest", [*OBJECTS.values(), *TRAINING.values()], ids=_name)
def test_a_manifest_conforms_to_the_schema(manifest: dict[str, Any], version: str) -> None:
    validator.validate(manifest, version, strict=True)


def test_the_workers_find_each_other_and_nobody_else_does() -> None:
    job, service, policy = (TRAINING[kind]["spec"] for kind in ("Job", "Service", "NetworkPolicy"))
    assert (job["completionMode"], job["completions"]) == ("Indexed", job["parallelism"])
    labels = job["template"]["metadata"]["labels"]
    pod = job["template"]["spec"]
    assert service["selector"] == policy["podSelector"]["matchLabels"] == labels
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"]
    assert pod["subdomain"] == TRAINING["Service"]["metadata"]["name"]
    [rule] = policy["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": labels}}]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    template = _pod("CronJob kmnist-train")
    for field in ("securityContext", "volumes", "automountServiceAccountToken"):
        assert pod[field] == template[field]
    [worker], [train] = pod["containers"], template["containers"]
    for field in ("securityContext", "volumeMounts", "resources"):
        assert worker[field] == train[field]


@pytest.mark.parametrize("resumed", [False, True])
def test_a_worker_starts_with_the_cluster_and_its_index(
    tmp_path: Path, resumed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    [worker] = TRAINING["Job"]["spec"]["template"]["spec"]["containers"]
    command = [part.replace("/models", str(tmp_path)) for part in worker["command"]]
    (tmp_path / "kmnist-train").write_text('#!/bin/sh\necho "$@"\necho "$TF_CONFIG"\n')
    (tmp_path / "kmnist-train").chmod(0o755)
    state = tmp_path / ".training"
    state.mkdir()
    if resumed:
        (state / "checkpoint.npz").touch()
    workers = str(TRAINING["Job"]["spec"]["completions"])
    assert {"name": "WORKERS", "value": workers} in worker["env"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "WORKERS": workers, "INDEX": "0"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    arguments, config = run.stdout.splitlines()
    parameters = train_command.make_context("kmnist-train", arguments.split()).params
    assert parameters["resume"] is resumed
    assert parameters["batch_size"] == 1000
    [port] = worker["ports"]
    assert json.loads(config)["cluster"]["worker"] == [
        f"kmnist-workers-{index}.kmnist-workers:{port['containerPort']}" for index in range(2)
    ]
    monkeypatch.setenv("TF_CONFIG", config)
    assert read_cluster() == Cluster(2, 0)
    assert not state.exists()  # the chief deletes it, for the next training


def test_applying_the_manifests_again_starts_no_training() -> None:
    # The Pods of a Job cannot be changed: applying it with another image is refused.
    assert not any(name.startswith("Job ") for name in OBJECTS)
    assert OBJECTS["CronJob kmnist-train"]["spec"]["suspend"] is True


def test_services_autoscaler_and_budget_select_the_pods() -> None:
    deployment = OBJECTS["Deployment kmnist"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    containers = {c["name"]: c["ports"] for c in _pod("Deployment kmnist")["containers"]}
    ports = {port["name"] for ports in containers.values() for port in ports}
    for name in ("kmnist", "kmnist-grpc"):
        service = OBJECTS[f"Service {name}"]["spec"]
        assert service["selector"] == labels
        assert {port["targetPort"] for port in service["ports"]} <= ports
    budget = OBJECTS["PodDisruptionBudget kmnist"]["spec"]
    selectors = [deployment["selector"], budget["selector"]]
    assert [selector["matchLabels"] for selector in selectors] == [labels, labels]
    autoscaler = OBJECTS["HorizontalPodAutoscaler kmnist"]["spec"]
    assert autoscaler["scaleTargetRef"]["name"] == "kmnist"
    [metric] = autoscaler["metrics"]
    assert metric["containerResource"]["container"] in containers


def test_clients_reach_rest_behind_nginx_only() -> None:
    [port] = OBJECTS["Service kmnist"]["spec"]["ports"]
    assert port["targetPort"] == "web"  # the one with limits
    _, web = _pod("Deployment kmnist")["containers"]
    environment = {variable["name"]: variable["value"] for variable in web["env"]}
    assert environment["SERVING"] == "127.0.0.1:8501"
    allowed = re.compile(environment["ALLOW_HOST"])
    for name in ("kmnist", "kmnist.default.svc", "kmnist.default.svc.cluster.local"):
        assert allowed.fullmatch(name)
    for name in ("kmnist.com", "kmnist.default.svc.evil.example"):
        assert not allowed.fullmatch(name)


def test_the_network_policies_admit_clients_and_prometheus() -> None:
    template = OBJECTS["Deployment kmnist"]["spec"]["template"]["metadata"]
    job = OBJECTS["CronJob kmnist-train"]["spec"]["jobTemplate"]["spec"]["template"]["metadata"]
    serving, training = (
        OBJECTS[f"NetworkPolicy {name}"]["spec"] for name in ("kmnist", "kmnist-train")
    )
    for policy, pod in ((serving, template), (training, job)):
        assert policy["podSelector"]["matchLabels"] == pod["labels"]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert policy["egress"] == []
    clients, prometheus = serving["ingress"]
    assert {port["port"] for port in clients["ports"]} == {"web", "grpc"}
    assert [port["port"] for port in prometheus["ports"]] == ["rest"]
    assert training["ingress"] == []


def test_every_container_has_least_privileges() -> None:
    for pod in PODS:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert pod["automountServiceAccountToken"] is False
    for container in _containers():
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"]["drop"] == ["ALL"]
        assert container["resources"]["limits"]["memory"]


def test_kserve_serves_the_same_volume_with_the_same_flags() -> None:
    # No package contains KServe's schema.
    [service] = _objects(FOLDER / "kserve.yaml")
    model = service["spec"]["predictor"]["model"]
    assert "PersistentVolumeClaim kmnist-models" in OBJECTS
    assert model["storageUri"] == "pvc://kmnist-models/kmnist"
    assert set(model["args"]) <= set(_pod("Deployment kmnist")["containers"][0]["args"])


def test_an_image_can_take_the_place_of_the_volume() -> None:
    recipes = (FOLDER.parents[1] / "docs" / "recipes.md").read_text("utf-8")
    [block] = re.findall(r"^```yaml\n(- name: .*?)^```$", recipes, re.DOTALL | re.MULTILINE)
    [volume] = yaml.safe_load(block)
    deployment = copy.deepcopy(OBJECTS["Deployment kmnist"])
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    [place] = [n for n, old in enumerate(volumes) if old["name"] == volume["name"]]
    volumes[place] = volume
    validator.validate(deployment, "1.35", strict=True)


@pytest.mark.docker
@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kustomize_includes_the_configuration_of_the_containers() -> None:
    command = ["kubectl", "kustomize", str(FOLDER)]
    built = list(yaml.safe_load_all(subprocess.check_output(command, text=True)))
    for manifest in built:
        validator.validate(manifest, "1.34", strict=True)
    [deployment] = [manifest for manifest in built if manifest["kind"] == "Deployment"]
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    mounted = {volume["configMap"]["name"] for volume in volumes if "configMap" in volume}
    assert mounted == {m["metadata"]["name"] for m in built if m["kind"] == "ConfigMap"}
