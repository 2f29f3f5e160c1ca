"""The Kubernetes manifests are valid and consistent."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

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


@pytest.mark.parametrize("version", ["1.29", "1.34"])
@pytest.mark.parametrize("name", OBJECTS)
def test_a_manifest_is_valid(name: str, version: str) -> None:
    validator.validate(OBJECTS[name], version, strict=True)


def test_an_unknown_field_is_an_error() -> None:
    wrong = {**OBJECTS["Service kmnist"], "spec": {"prots": []}}
    with pytest.raises(validator.ValidationError):
        validator.validate(wrong, "1.34", strict=True)


def test_the_manifests_are_complete() -> None:
    assert set(OBJECTS) == {
        "PersistentVolumeClaim kmnist-models",
        "Job kmnist-train",
        "Deployment kmnist",
        "Service kmnist",
        "Service kmnist-grpc",
        "HorizontalPodAutoscaler kmnist",
        "PodDisruptionBudget kmnist",
    }


def test_services_autoscaler_and_budget_select_the_pods() -> None:
    deployment = OBJECTS["Deployment kmnist"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    (container,) = deployment["template"]["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
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


def test_every_container_is_confined() -> None:
    for name in ("Deployment kmnist", "Job kmnist-train"):
        pod = OBJECTS[name]["spec"]["template"]["spec"]
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
    # No package contains KServe's schema, so the test covers only the fields in use.
    (service,) = _objects(FOLDER / "kserve.yaml")
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert service["kind"] == "InferenceService"
    model = service["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": "tensorflow"}
    claim = OBJECTS["PersistentVolumeClaim kmnist-models"]["metadata"]["name"]
    assert model["storageUri"] == f"pvc://{claim}/kmnist"


@pytest.mark.docker
@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kustomize_builds_the_manifests_with_the_files_of_the_server() -> None:
    command = ["kubectl", "kustomize", str(FOLDER)]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    built = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(run.stdout)}
    for manifest in built.values():
        validator.validate(manifest, "1.34", strict=True)
    config = built["ConfigMap"]
    assert set(config["data"]) == {"monitoring.config"}
    pod = built["Deployment"]["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["config"]["configMap"]["name"] == config["metadata"]["name"]
    assert {container["image"] for container in pod["containers"]} == {"tensorflow/serving:2.20.0"}
