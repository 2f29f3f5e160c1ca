"""``docker-compose.yml``, the scripts of its ``train`` service, and the same flags in Kubernetes."""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from kmnist.cli.serve import command as serve
from kmnist.cli.train import command as train
from kmnist.training.workers import Cluster, read_cluster

ROOT = Path(__file__).parents[2]
SERVING = ROOT / "serving"
DIGEST = f"@sha256:{64 * 'a'}"

Services: TypeAlias = dict[str, Any]


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
    ("other", "image"),
    {
        "": f"tensorflow/serving:2.19.1{DIGEST}",
        "gpu.": f"tensorflow/serving:2.19.1-gpu{DIGEST}",
        "native.": "kmnist:local",
    }.items(),
)
def test_docker_compose_accepts_the_files(other: str, image: str) -> None:
    files = ["docker-compose.yml", f"docker-compose.{other}yml"]
    args = [part for name in files for part in ("-f", name)]
    command = ["docker-compose", *args, "--profile", "monitoring", "--profile", "workers", "config"]
    environment = os.environ | {"TF_SERVING_TAG": "2.19.1", "TF_SERVING_DIGEST": DIGEST}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    services = yaml.safe_load(run.stdout)["services"]
    workers = {"worker-0", "worker-1"}
    assert set(services) == {"train", "serving", "web", "prometheus", "grafana"} | workers
    assert services["serving"]["image"] == image


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


def _read_only(volume: str | dict[str, Any]) -> bool:
    if isinstance(volume, dict):
        return bool(volume["read_only"])
    is_folder_of_the_project = volume.startswith("./")
    return volume.endswith(":ro") or not is_folder_of_the_project


def test_other_machines_reach_only_the_ports_with_checks(services: Services) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == [
        "${BIND:-127.0.0.1}:${GRPC_PORT:-8500}:8500",
        "${BIND:-127.0.0.1}:${WEB_PORT:-8080}:8080",
    ]


def test_every_mounted_file_exists_in_a_clone(services: Services) -> None:
    volumes = [volume for service in services.values() for volume in service["volumes"]]
    sources = [volume.split(":")[0] for volume in volumes if isinstance(volume, str)]
    folders = [ROOT / source for source in sources if source.startswith("./")]
    for path in (*folders, ROOT / "models" / ".gitignore"):
        assert path.exists(), path


def test_the_servers_have_the_same_flags_and_images(services: Services) -> None:
    serving, web = services["serving"], services["web"]
    flags = serving["command"]
    # TensorFlow Serving does not start with the second flag alone.
    batching = [
        "--enable_batching=true",
        "--batching_parameters_file=/etc/tensorflow_serving/batching.config",
    ]
    gpu = _load("docker-compose.gpu.yml")["services"]["serving"]
    assert gpu["command"] == [*flags, *batching]
    deployment = _load("serving/kubernetes/deployment.yaml")
    container, proxy = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"][: len(flags)] == flags
    probe = container["readinessProbe"]["exec"]["command"]
    assert probe == serving["healthcheck"]["test"][1:]
    assert {variable["name"] for variable in proxy["env"]} == set(web["environment"])
    images = _load("serving/kubernetes/kustomization.yaml")["images"]
    tags = {image["name"]: image["newTag"] for image in images}
    assert f":-{tags['tensorflow/serving']}}}" in serving["image"]
    assert f":{tags['nginxinc/nginx-unprivileged']}$" in web["image"]
    assert {container["image"], proxy["image"]} < set(tags)


def test_rest_is_reached_through_nginx_which_has_its_files(services: Services) -> None:
    assert services["serving"]["ports"] == ["${BIND:-127.0.0.1}:${GRPC_PORT:-8500}:8500"]
    assert "127.0.0.1:${REST_PORT:-8501}:8081" in services["web"]["ports"]
    text = (SERVING / "nginx" / "nginx.conf").read_text()
    assert set(re.findall(r"listen (\d+);", text)) == {"8080", "8081"}
    files = {"nginx.conf", *re.findall(r"js_import \w+ from /etc/nginx/(.+);", text)}
    mounted = {f"./serving/nginx/{name}:/etc/nginx/{name}:ro" for name in files}
    assert mounted < set(services["web"]["volumes"])
    [nginx, _] = _load("serving/nginx/kustomization.yaml")["configMapGenerator"]
    assert set(nginx["files"]) == files
    pod = _load("serving/kubernetes/deployment.yaml")["spec"]["template"]["spec"]
    mounts = {m.get("subPath"): m["mountPath"] for m in pod["containers"][1]["volumeMounts"]}
    assert {name: f"/etc/nginx/{name}" for name in files}.items() <= mounts.items()


def test_the_native_server_runs_on_any_platform_in_the_image_of_train(services: Services) -> None:
    native = _load("docker-compose.native.yml")["services"]["serving"]
    for name in ("image", "pull_policy"):
        assert native[name] == services["train"][name]
    assert native["platform"] == ""
    program, *options = native["command"]
    assert 'ENTRYPOINT ["kmnist"]' in (ROOT / "Dockerfile").read_text()
    assert program == serve.name
    settings = serve.make_context(program, options).params
    assert settings["models"] == Path("/models/kmnist")
    assert (settings["grpc_port"], settings["rest_port"]) == (8500, 8501)


def test_nginx_gets_the_variables_of_its_template(services: Services) -> None:
    template = (SERVING / "nginx" / "templates" / "environment.conf.template").read_text()
    environment = dict(services["web"]["environment"])
    folder = environment.pop("NGINX_ENVSUBST_OUTPUT_DIR")
    assert f"include {folder}/environment.conf;" in (SERVING / "nginx" / "nginx.conf").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", template)) == set(environment)


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


@pytest.mark.parametrize("state", ["AVAILABLE", "UNAVAILABLE", "LOADING", None])
def test_the_health_check_reads_the_state(services: Services, state: str | None) -> None:
    body = json.dumps({"model_version_status": [{"version": "1", "state": state}]}, indent=1)

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as request:
            assert request.readline() == b"GET /v1/models/kmnist HTTP/1.1\r\n"
            while request.readline().strip():
                pass
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body.encode())

    kind, *command = services["serving"]["healthcheck"]["test"]
    assert kind == "CMD"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command[-1] = command[-1].replace("/8501", f"/{listener.getsockname()[1]}")
        if state:
            threading.Thread(target=answer, args=(listener,), daemon=True).start()
        else:
            listener.close()
        run = subprocess.run(command, capture_output=True, timeout=10)
    assert (run.returncode == 0) == (state == "AVAILABLE")


@pytest.mark.parametrize(
    ("existing", "commands"),
    [
        (".staging-1", ["kmnist-train --models {} --epochs 1"]),
        ("1", ["kmnist versions label --models {}", "kmnist versions list --models {}"]),
    ],
)
def test_the_first_version_is_trained_unless_there_is_one(
    tmp_path: Path, existing: str, commands: list[str]
) -> None:
    base = tmp_path / "models" / "kmnist"
    (base / existing).mkdir(parents=True)
    for name in ("kmnist", "kmnist-train"):  # stand-ins that print their command line
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    printed = subprocess.check_output(
        [SERVING / "train" / "first-version", base, "--epochs", "1"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        text=True,
    )
    assert printed.splitlines() == [command.format(base) for command in commands]


@pytest.fixture
def mounted() -> Iterator[Path]:
    """A folder of models that, as in a container, every user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        version = Path(folder, "models", "kmnist", "1")
        version.mkdir(parents=True)
        (version / "saved_model.pb").write_text("")
        Path(folder).chmod(0o755)
        yield Path(folder, "models")


def _as_owner_of(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SERVING / "train" / "as-owner-of"), folder, "id", "-u"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to switch users")


@needs_root
def test_a_container_started_as_root_runs_as_the_owner_of_the_folder(mounted: Path) -> None:
    (mounted / "kmnist" / ".staging").mkdir(mode=0o700)  # a version that is being written
    os.chown(mounted, 1234, 4321)
    assert _as_owner_of(mounted).stdout == "1234\n"
    mounted.chmod(0o700)
    assert _as_owner_of(mounted, READER="1234:4321").stdout == "1234\n"


@needs_root
@pytest.mark.parametrize("closed", [".", "kmnist", "kmnist/1", "kmnist/1/saved_model.pb"])
def test_a_folder_that_the_server_cannot_read_is_named(mounted: Path, closed: str) -> None:
    os.chown(mounted, 1234, 4321)
    (mounted / closed).chmod(0o700)
    run = _as_owner_of(mounted, READER="1000:1000")
    assert (run.returncode, run.stdout) == (1, "")
    [line] = run.stderr.splitlines()
    assert line.startswith(f"{mounted / closed} is closed to user 1000")
    assert "put UID=1234 and GID=4321 into .env, or run chmod -R a+rX" in line


@pytest.mark.skipif(os.getuid() == 0, reason="needs a user other than root")
def test_without_root_the_command_runs_as_the_current_user(mounted: Path) -> None:
    mounted.chmod(0o700)
    assert _as_owner_of(mounted).stdout == f"{os.getuid()}\n"
