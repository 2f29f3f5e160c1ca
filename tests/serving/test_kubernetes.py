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


OBJECTS = {
    f"{manifest['kind']} {manifest['metadata']['name']}": manifest
    for path in _manifests()
    for manifest in _objects(path)
}


def _pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = OBJECTS[name]["spec"]
    if "jobTemplate" in spec:
        spec = spec["jobTemplate"]["spec"]
    pod: dict[str, Any] = spec["template"]["spec"]
    return pod


def _container(name: str) -> dict[str, Any]:
    """Return a container of the Pods that serve."""
    [found] = [c for c in _pod("Deployment kmnist")["containers"] if c["name"] == name]
    container: dict[str, Any] = found
    return container


@pytest.mark.parametrize("version", ["1.30", "1.34"])
@pytest.mark.parametrize("name", OBJECTS)
def test_a_manifest_conforms_to_the_schema(name: str, version: str) -> None:
    validator.validate(OBJECTS[name], version, strict=True)


def test_an_unknown_field_is_rejected() -> None:
    wrong = {**OBJECTS["Service kmnist"], "spec": {"prots": []}}
    with pytest.raises(validator.ValidationError):
        validator.validate(wrong, "1.34", strict=True)


def test_all_objects_are_included() -> None:
    assert set(OBJECTS) == {
        "PersistentVolumeClaim kmnist-models",
        "CronJob kmnist-train",
        "Deployment kmnist",
        "Service kmnist",
        "Service kmnist-grpc",
        "HorizontalPodAutoscaler kmnist",
        "PodDisruptionBudget kmnist",
        "NetworkPolicy kmnist",
        "NetworkPolicy kmnist-train",
    }


TRAINING = {manifest["kind"]: manifest for manifest in _objects(FOLDER / "training.yaml")}


@pytest.mark.parametrize("version", ["1.30", "1.34"])
@pytest.mark.parametrize("kind", TRAINING)
def test_a_manifest_of_the_workers_conforms_to_the_schema(kind: str, version: str) -> None:
    validator.validate(TRAINING[kind], version, strict=True)


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
    assert worker["image"] == "registry.example.com/kmnist:0.1.0"


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


def test_the_manifests_can_be_applied_again_after_a_change() -> None:
    # The Pods of a Job cannot be changed: applying it with another image is refused.
    assert not any(name.startswith("Job ") for name in OBJECTS)


def test_a_job_made_from_the_cron_job_publishes_the_next_version() -> None:
    cron = OBJECTS["CronJob kmnist-train"]
    assert cron["spec"]["suspend"] is True  # it runs only when a Job is made from it
    [train] = _pod("CronJob kmnist-train")["containers"]
    assert train["command"] == ["kmnist-train", "--models", "/models/kmnist"]
    command = "kubectl create job --from=cronjob/kmnist-train kmnist-train-1\n"
    for name in ("kustomization.yaml", "models.yaml", "kserve.yaml"):
        assert command in (FOLDER / name).read_text()
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "kmnist-train-1"},
        "spec": cron["spec"]["jobTemplate"]["spec"],
    }
    validator.validate(job, "1.34", strict=True)


def test_services_autoscaler_and_budget_select_the_pods() -> None:
    deployment = OBJECTS["Deployment kmnist"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    containers = deployment["template"]["spec"]["containers"]
    ports = {port["name"] for container in containers for port in container["ports"]}
    assert deployment["selector"]["matchLabels"] == labels
    for name in ("kmnist", "kmnist-grpc"):
        service = OBJECTS[f"Service {name}"]["spec"]
        assert service["selector"] == labels
        assert {port["targetPort"] for port in service["ports"]} <= ports
    assert OBJECTS["Service kmnist-grpc"]["spec"]["clusterIP"] == "None"
    budget = OBJECTS["PodDisruptionBudget kmnist"]["spec"]
    assert budget["selector"]["matchLabels"] == labels
    target = OBJECTS["HorizontalPodAutoscaler kmnist"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", "kmnist")
    [metric] = OBJECTS["HorizontalPodAutoscaler kmnist"]["spec"]["metrics"]
    assert metric["containerResource"]["container"] in {c["name"] for c in containers}


def test_clients_reach_rest_behind_nginx_only() -> None:
    [port] = OBJECTS["Service kmnist"]["spec"]["ports"]
    assert port["targetPort"] == "web"
    web = _container("web")
    assert web["ports"] == [{"name": "web", "containerPort": 8080}]  # the one with limits
    environment = {variable["name"]: variable["value"] for variable in web["env"]}
    assert environment["SERVING"] == "127.0.0.1:8501"
    compose = yaml.safe_load((FOLDER.parents[1] / "docker-compose.yml").read_text())
    assert set(environment) == set(compose["services"]["web"]["environment"])
    for name, allowed in {
        "kmnist": True,
        "kmnist.default.svc": True,
        "kmnist.default.svc.cluster.local": True,
        "kmnist.com": False,
        "kmnist.default.svc.evil.example": False,
    }.items():
        assert bool(re.fullmatch(environment["ALLOW_HOST"], name)) is allowed


def test_the_network_policies_admit_clients_and_prometheus() -> None:
    policies = {
        name: OBJECTS[f"NetworkPolicy {name}"]["spec"] for name in ("kmnist", "kmnist-train")
    }
    template = OBJECTS["Deployment kmnist"]["spec"]["template"]["metadata"]
    assert policies["kmnist"]["podSelector"]["matchLabels"] == template["labels"]
    clients, prometheus = policies["kmnist"]["ingress"]
    assert {port["port"] for port in clients["ports"]} == {"web", "grpc"}
    assert [port["port"] for port in prometheus["ports"]] == ["rest"]
    assert template["annotations"]["prometheus.io/port"] == "8501"
    job = OBJECTS["CronJob kmnist-train"]["spec"]["jobTemplate"]["spec"]["template"]["metadata"]
    assert policies["kmnist-train"]["podSelector"]["matchLabels"] == job["labels"]
    assert policies["kmnist-train"]["ingress"] == []
    for policy in policies.values():
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert policy["egress"] == []


def test_every_image_has_a_tag_and_a_place_for_its_digest() -> None:
    text = (FOLDER / "kustomization.yaml").read_text()
    images = yaml.safe_load(text)["images"]
    used = {
        container["image"]
        for name in ("Deployment kmnist", "CronJob kmnist-train")
        for container in _pod(name)["containers"] + _pod(name).get("initContainers", [])
    }
    assert {image["name"] for image in images} == used
    assert "latest" not in {image["newTag"] for image in images}
    assert len(re.findall(r"newTag: .*\n    # digest: sha256:…", text)) == len(images)
    compose = yaml.safe_load((FOLDER.parents[1] / "docker-compose.yml").read_text())
    [nginx] = [image for image in images if "nginx" in image["name"]]
    assert compose["services"]["web"]["image"].startswith(f"{nginx['name']}:{nginx['newTag']}$")


def test_every_container_has_least_privileges() -> None:
    for name in ("Deployment kmnist", "CronJob kmnist-train"):
        pod = _pod(name)
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"] + pod.get("initContainers", []):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"]
            assert not context["allowPrivilegeEscalation"]
            assert context["capabilities"]["drop"] == ["ALL"]
            assert container["resources"]["limits"]["memory"]


def test_kserve_serves_the_same_volume() -> None:
    # No package contains KServe's schema, so check the fields that are used.
    (service,) = _objects(FOLDER / "kserve.yaml")
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert service["kind"] == "InferenceService"
    model = service["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": "tensorflow"}
    claim = OBJECTS["PersistentVolumeClaim kmnist-models"]["metadata"]["name"]
    assert model["storageUri"] == f"pvc://{claim}/kmnist"
    assert set(model["args"]) <= set(_container("serving")["args"])


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
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    built = list(yaml.safe_load_all(run.stdout))
    for manifest in built:
        validator.validate(manifest, "1.34", strict=True)
    [deployment] = [manifest for manifest in built if manifest["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    mounted = {v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v}
    configs = {m["metadata"]["name"]: m["data"] for m in built if m["kind"] == "ConfigMap"}
    assert mounted == set(configs)
    assert {key for data in configs.values() for key in data} == {
        "monitoring.config",
        "nginx.conf",
        "environment.conf.template",
    }
    assert [container["image"] for container in pod["containers"]] == [
        "tensorflow/serving:2.20.0",
        "nginxinc/nginx-unprivileged:1.29-alpine",
    ]
