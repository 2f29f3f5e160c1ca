"""docker-compose.yml and the scripts of its service ``train``."""

import json
import os
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVING = ROOT / "serving"

Services = dict[str, Any]
Run = Callable[..., list[str]]


def _load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.fixture(scope="module")
def services() -> Services:
    """The services of docker-compose.yml."""
    services: Services = _load("docker-compose.yml")["services"]
    return services


@pytest.mark.docker
@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is not installed")
@pytest.mark.parametrize(
    "files", [["docker-compose.yml"], ["docker-compose.yml", "docker-compose.gpu.yml"]]
)
def test_docker_compose_accepts_the_files(files: list[str]) -> None:
    args = [part for name in files for part in ("-f", name)]
    command = ["docker-compose", *args, "--profile", "monitoring", "config"]
    run = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=os.environ | {"TF_SERVING_TAG": "2.19.1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    services = yaml.safe_load(run.stdout)["services"]
    assert set(services) == {"train", "serving", "web", "prometheus", "grafana"}
    tag = "2.19.1-gpu" if len(files) == 2 else "2.19.1"
    assert services["serving"]["image"] == f"tensorflow/serving:{tag}"


def test_the_gpu_server_differs_only_in_batching(services: Services) -> None:
    gpu = _load("docker-compose.gpu.yml")["services"]["serving"]
    flags = services["serving"]["command"]
    assert gpu["command"][: len(flags)] == flags
    assert gpu["command"][len(flags) :] == [
        # TensorFlow Serving does not start with the second flag alone.
        "--enable_batching=true",
        "--batching_parameters_file=/etc/tensorflow_serving/batching.config",
    ]


def test_every_service_is_confined_and_limited(services: Services) -> None:
    for name, service in services.items():
        assert service["init"], name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service["logging"]["options"]["max-size"], name
        assert "privileged" not in service, name
        assert all(port.startswith("${BIND:-127.0.0.1}:") for port in service.get("ports", []))
        if name != "train":
            assert service["healthcheck"]["test"], name
            assert "cap_add" not in service, name
            assert all(_read_only(volume) for volume in service["volumes"]), name


def _read_only(volume: Any) -> bool:
    if isinstance(volume, dict):
        return bool(volume["read_only"])
    is_folder_of_the_project = volume.startswith("./")
    return volume.endswith(":ro") or not is_folder_of_the_project


def test_every_mounted_file_exists(services: Services) -> None:
    sources = [
        volume.split(":")[0]
        for service in services.values()
        for volume in service["volumes"]
        if isinstance(volume, str) and volume.startswith("./")
    ]
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_docker_does_not_have_to_create_the_models_folder() -> None:
    tracked = (ROOT / "models" / ".gitignore").read_text().split()
    assert "!.gitignore" in tracked


def test_kubernetes_and_compose_start_the_server_alike(services: Services) -> None:
    deployment = yaml.safe_load((SERVING / "kubernetes" / "deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    flags = services["serving"]["command"]
    assert container["args"][: len(flags)] == flags
    assert (
        container["readinessProbe"]["exec"]["command"]
        == services["serving"]["healthcheck"]["test"][1:]
    )
    kustomization = yaml.safe_load((SERVING / "kubernetes" / "kustomization.yaml").read_text())
    tags = {image["name"]: image["newTag"] for image in kustomization["images"]}
    assert f":-{tags['tensorflow/serving']}}}" in services["serving"]["image"]


@pytest.mark.parametrize(
    ("state", "healthy"), [("AVAILABLE", True), ("UNAVAILABLE", False), ("LOADING", False)]
)
def test_the_health_check_reads_the_state(services: Services, state: str, healthy: bool) -> None:
    body = json.dumps({"model_version_status": [{"version": "1", "state": state}]}, indent=1)

    class Server(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            request = []
            while line := self.rfile.readline().strip():
                request.append(line)
            assert request[0] == b"GET /v1/models/kmnist HTTP/1.1"
            self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body.encode())

    with socketserver.TCPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert _check(services, server.server_address[1]) == healthy
        server.shutdown()


def test_the_health_check_fails_if_nothing_listens(services: Services) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.StreamRequestHandler) as server:
        port = server.server_address[1]
    assert not _check(services, port)


def _check(services: Services, port: int) -> bool:
    kind, *command = services["serving"]["healthcheck"]["test"]
    assert kind == "CMD"
    command[-1] = command[-1].replace("/8501", f"/{port}")
    return subprocess.run(command, check=False, capture_output=True, timeout=10).returncode == 0


class TestFirstVersion:
    """The scripts of the service ``train``."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Run:
        """``run(script, *args)`` runs a script with stand-ins for setpriv, kmnist, kmnist-train."""
        bin_ = tmp_path / "bin"
        bin_.mkdir()
        for name in ("kmnist", "kmnist-train", "setpriv"):
            (bin_ / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
            (bin_ / name).chmod(0o755)
        path = f"{bin_}:{os.environ['PATH']}"

        def run(script: str, *args: object) -> list[str]:
            command = [str(SERVING / "train" / script), *map(str, args)]
            return subprocess.run(
                command, env={"PATH": path}, capture_output=True, text=True, check=True
            ).stdout.splitlines()

        return run

    def test_a_folder_without_a_version_gets_one(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "models" / "kmnist" / ".staging-1").mkdir(parents=True)
        base = tmp_path / "models" / "kmnist"
        assert run("first-version", base, "--epochs", "1") == [
            f"kmnist-train --output {base} --epochs 1"
        ]

    def test_a_folder_with_a_version_is_kept(self, run: Run, tmp_path: Path) -> None:
        base = tmp_path / "models" / "kmnist"
        (base / "1").mkdir(parents=True)
        assert run("first-version", base) == [
            f"kmnist versions label --base {base}",
            f"kmnist versions list --base {base}",
        ]

    def test_root_switches_to_the_owner_of_the_folder(self, run: Run, tmp_path: Path) -> None:
        if os.getuid() == 0:
            os.chown(tmp_path, 1234, 4321)
            expected = "setpriv --reuid=1234 --regid=4321 --clear-groups kmnist versions list"
        else:
            expected = "kmnist versions list"
        assert run("as-owner-of", tmp_path, "kmnist", "versions", "list") == [expected]
