"""``docker-compose.yml``, the scripts of its ``train`` service, and the same flags in Kubernetes."""

import json
import os
import re
import shutil
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from kmnist.cli.train import command as train
from kmnist.training.workers import Cluster, read_cluster

ROOT = Path(__file__).parents[2]
SERVING = ROOT / "serving"
DIGEST = f"@sha256:{64 * 'a'}"

Services: TypeAlias = dict[str, Any]
RunScript: TypeAlias = Callable[..., list[str]]


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
    command = ["docker-compose", *args, "--profile", "monitoring", "--profile", "workers", "config"]
    run = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=os.environ | {"TF_SERVING_TAG": "2.19.1", "TF_SERVING_DIGEST": DIGEST},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    services = yaml.safe_load(run.stdout)["services"]
    workers = {"worker-0", "worker-1"}
    assert set(services) == {"train", "serving", "web", "prometheus", "grafana"} | workers
    tag = "2.19.1-gpu" if len(files) == 2 else "2.19.1"
    assert services["serving"]["image"] == f"tensorflow/serving:{tag}{DIGEST}"


def test_the_gpu_server_differs_in_batching_only(services: Services) -> None:
    gpu = _load("docker-compose.gpu.yml")["services"]["serving"]
    flags = services["serving"]["command"]
    assert gpu["command"][: len(flags)] == flags
    assert gpu["command"][len(flags) :] == [
        # TensorFlow Serving does not start with the second flag alone.
        "--enable_batching=true",
        "--batching_parameters_file=/etc/tensorflow_serving/batching.config",
    ]


def test_every_service_has_least_privileges_and_limits(services: Services) -> None:
    for name, service in services.items():
        assert service["init"], name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service["logging"]["options"]["max-size"], name
        assert "privileged" not in service, name
        if name != "train" and not name.startswith("worker-"):
            assert service["healthcheck"]["test"], name
            assert "cap_add" not in service, name
            assert all(_read_only(volume) for volume in service["volumes"]), name


def test_other_machines_reach_only_the_ports_for_clients(services: Services) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == [
        "${BIND:-127.0.0.1}:${GRPC_PORT:-8500}:8500",
        "${BIND:-127.0.0.1}:${WEB_PORT:-8080}:8080",
    ]


def test_the_rest_port_without_checks_is_only_for_this_machine(services: Services) -> None:
    assert "127.0.0.1:${REST_PORT:-8501}:8501" in services["serving"]["ports"]


def test_nginx_gets_the_variables_of_its_template(services: Services) -> None:
    template = (SERVING / "nginx" / "templates" / "environment.conf.template").read_text()
    environment = dict(services["web"]["environment"])
    folder = environment.pop("NGINX_ENVSUBST_OUTPUT_DIR")
    assert f"include {folder}/environment.conf;" in (SERVING / "nginx" / "nginx.conf").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", template)) == set(environment)


def test_every_image_has_a_tag_and_a_place_for_its_digest(services: Services) -> None:
    images = {name: service["image"] for name, service in services.items()}
    gpu = _load("docker-compose.gpu.yml")["services"]["serving"]["image"]
    # The only image that is built here. A search of it in a registry would fail, with a warning.
    for name in ("train", "worker-0", "worker-1"):
        assert images.pop(name) == "kmnist:local"
    assert services["train"]["pull_policy"] == "never"
    for image in [*images.values(), gpu]:
        assert re.fullmatch(r"[\w./-]+:\S+\$\{[A-Z_]+_DIGEST:-\}", image)
        assert "latest" not in image
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^FROM python:\S+\$\{PYTHON_DIGEST\}$", dockerfile, re.MULTILINE)
    assert services["train"]["build"]["args"] == {"PYTHON_DIGEST": "${PYTHON_DIGEST:-}"}


def _read_only(volume: str | dict[str, Any]) -> bool:
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


def test_the_models_folder_exists_in_a_clone() -> None:
    tracked = (ROOT / "models" / ".gitignore").read_text().split()
    assert "!.gitignore" in tracked


def test_kubernetes_runs_the_server_with_the_same_flags(services: Services) -> None:
    deployment = yaml.safe_load((SERVING / "kubernetes" / "deployment.yaml").read_text())
    container, _ = deployment["spec"]["template"]["spec"]["containers"]
    flags = services["serving"]["command"]
    assert container["args"][: len(flags)] == flags
    assert (
        container["readinessProbe"]["exec"]["command"]
        == services["serving"]["healthcheck"]["test"][1:]
    )
    kustomization = yaml.safe_load((SERVING / "kubernetes" / "kustomization.yaml").read_text())
    tags = {image["name"]: image["newTag"] for image in kustomization["images"]}
    assert f":-{tags['tensorflow/serving']}}}" in services["serving"]["image"]


def test_the_workers_are_one_cluster_and_start_on_demand(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = ("worker-0", "worker-1")
    for index, name in enumerate(workers):
        config = services[name]["environment"]["TF_CONFIG"]
        addresses = [f"{worker}:12345" for worker in workers]
        assert json.loads(config)["cluster"] == {"worker": addresses}
        monkeypatch.setenv("TF_CONFIG", config)
        assert read_cluster() == Cluster(2, index)
    commands = {tuple(services[name]["command"]) for name in workers}
    [(program, *options)] = commands
    assert program == "kmnist-train"
    train.make_context(program, options)  # parses the options
    for name in workers:
        assert services[name]["profiles"] == ["workers"]
        assert "ports" not in services[name]


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
    """The script that the service ``train`` runs."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> RunScript:
        """Run a script of serving/train with fakes of kmnist and kmnist-train."""
        bin_ = tmp_path / "bin"
        bin_.mkdir()
        for name in ("kmnist", "kmnist-train"):
            (bin_ / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
            (bin_ / name).chmod(0o755)
        path = f"{bin_}:{os.environ['PATH']}"

        def run(script: str, *args: object) -> list[str]:
            command = [str(SERVING / "train" / script), *map(str, args)]
            return subprocess.run(
                command, env={"PATH": path}, capture_output=True, text=True, check=True
            ).stdout.splitlines()

        return run

    def test_without_a_version_the_first_one_is_trained(
        self, run: RunScript, tmp_path: Path
    ) -> None:
        (tmp_path / "models" / "kmnist" / ".staging-1").mkdir(parents=True)
        base = tmp_path / "models" / "kmnist"
        assert run("first-version", base, "--epochs", "1") == [
            f"kmnist-train --models {base} --epochs 1"
        ]

    def test_with_a_version_nothing_is_trained(self, run: RunScript, tmp_path: Path) -> None:
        base = tmp_path / "models" / "kmnist"
        (base / "1").mkdir(parents=True)
        assert run("first-version", base) == [
            f"kmnist versions label --models {base}",
            f"kmnist versions list --models {base}",
        ]


@pytest.fixture
def mounted() -> Iterator[Path]:
    """A folder of models that, as in a container, every user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        version = Path(folder, "models", "kmnist", "1")
        version.mkdir(parents=True)
        (version / "saved_model.pb").write_text("")
        Path(folder).chmod(0o755)
        yield Path(folder, "models")


def _as_owner_of(
    folder: Path, cwd: Path = Path("/"), **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SERVING / "train" / "as-owner-of"), folder, "id", "-u"],
        cwd=cwd,
        check=False,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to switch users")


@needs_root
class TestAsOwnerOf:
    """The entrypoint of the service ``train``, in a container that was started as root."""

    def test_the_command_runs_as_the_owner_of_the_folder(self, mounted: Path) -> None:
        os.chown(mounted, 1234, 4321)
        run = _as_owner_of(mounted)
        assert (run.returncode, run.stdout) == (0, "1234\n")

    @pytest.mark.parametrize("closed", [".", "kmnist", "kmnist/1", "kmnist/1/saved_model.pb"])
    def test_a_folder_that_the_server_cannot_read_is_named(
        self, mounted: Path, tmp_path: Path, closed: str
    ) -> None:
        os.chown(mounted, 1234, 4321)
        (mounted / closed).chmod(0o700)
        tmp_path.chmod(0o700)
        run = _as_owner_of(mounted, cwd=tmp_path, READER="1000:1000")
        assert (run.returncode, run.stdout) == (1, "")
        [line] = run.stderr.splitlines()
        assert line.startswith(f"{mounted / closed} is closed to user 1000")
        assert "put UID=1234 and GID=4321 into .env, or run chmod -R a+rX" in line

    def test_a_closed_folder_of_the_server_is_readable(self, mounted: Path) -> None:
        os.chown(mounted, 1234, 4321)
        mounted.chmod(0o700)
        run = _as_owner_of(mounted, READER="1234:4321")
        assert (run.returncode, run.stderr) == (0, "")

    def test_a_version_that_is_being_written_may_be_closed(self, mounted: Path) -> None:
        (mounted / "kmnist" / ".staging").mkdir(mode=0o700)
        assert _as_owner_of(mounted).returncode == 0


@pytest.mark.skipif(os.getuid() == 0, reason="needs a user other than root")
def test_without_root_the_command_runs_as_the_current_user(mounted: Path) -> None:
    mounted.chmod(0o700)
    assert _as_owner_of(mounted).stdout == f"{os.getuid()}\n"
