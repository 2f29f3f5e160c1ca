"""The command line of TensorFlow Serving's binary."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from kmnist.errors import InputError
from kmnist.server.metrics import METRICS_PATH
from kmnist.server.tensorflow_serving import command_line
from kmnist.versions import label


@pytest.fixture(autouse=True)
def no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not start the process that keeps the configuration in step: the binary does not run."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: None)


@pytest.fixture(autouse=True)
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the configuration files be written to the folder of the test."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))


def flags_of(base: Path, **changes: Any) -> dict[str, str]:
    """Return the flags for a folder of versions."""
    arguments: dict[str, Any] = {
        "name": None,
        "grpc_port": 8500,
        "rest_port": 8501,
        "timeout": 30.0,
        "concurrency": 64,
    }
    binary, *flags = command_line("/bin/server", base, **arguments | changes)
    assert binary == "/bin/server"
    return dict(flag.removeprefix("--").split("=", 1) for flag in flags)


def entry_of(flags: dict[str, str]) -> Any:
    """Return the only entry of the written ``models.config``, parsed with the official schema."""
    text = Path(flags["model_config_file"]).read_text()
    [entry] = text_format.Parse(text, ModelServerConfig()).model_config_list.config
    return entry


def test_arguments_become_flags(tmp_path: Path) -> None:
    flags = flags_of(tmp_path, grpc_port=1, rest_port=2, timeout=1.5, concurrency=9)
    assert flags["port"] == "1"
    assert flags["rest_api_port"] == "2"
    assert flags["rest_api_timeout_in_ms"] == "1500"
    assert flags["rest_api_num_threads"] == flags["grpc_max_threads"] == "9"
    assert flags["allow_version_labels_for_unavailable_models"] == "true"
    assert int(flags["model_config_file_poll_wait_seconds"]) > 0
    # A broken version must not end the start of the good ones.
    assert flags["max_num_load_retries"] == "1"
    assert flags["load_retry_interval_micros"] == "5000000"
    assert METRICS_PATH in Path(flags["monitoring_config_file"]).read_text()


def test_a_broken_version_does_not_fail_the_start_here_or_in_compose(tmp_path: Path) -> None:
    flags = flags_of(tmp_path)
    # With 0 retries, the start fails with the first broken version. The retry has to come after a
    # good version is loaded, which takes a real server 2.6 s at its start.
    assert flags["max_num_load_retries"] == "1"
    assert int(flags["load_retry_interval_micros"]) >= 5_000_000
    compose = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
    command = compose["services"]["serving"]["command"]
    for name in ("max_num_load_retries", "load_retry_interval_micros"):
        assert f"--{name}={flags[name]}" in command


def test_without_models_config_the_newest_version_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "digits").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    entry = entry_of(flags_of(Path("models/digits")))
    assert (entry.name, entry.model_platform) == ("digits", "tensorflow")
    assert entry.base_path == str(tmp_path / "models" / "digits")
    assert entry.model_version_policy.latest.num_versions == 1
    assert entry_of(flags_of(Path("models/digits"), name="other")).name == "other"


@pytest.mark.parametrize(
    "policy", ["all {}", "latest { num_versions: 3 }", "specific { versions: 1 versions: 4 }"]
)
def test_policy_and_labels_are_those_of_models_config(tmp_path: Path, policy: str) -> None:
    base = tmp_path / "models" / "digits"
    base.mkdir(parents=True)
    (tmp_path / "models" / "models.config").write_text(
        'model_config_list { config { name: "digits" base_path: "/models/digits" '
        f'model_version_policy {{ {policy} }} version_labels {{ key: "stable" value: 4 }} }} }}'
    )
    entry = entry_of(flags_of(base))
    assert entry.base_path == str(base)
    written = text_format.MessageToString(entry.model_version_policy, as_one_line=True)
    assert written.split() == policy.replace("{}", "{ }").split()
    assert dict(entry.version_labels) == {"stable": 4}


def test_an_invalid_models_config_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "models.config").write_text("models: [digits]")
    with pytest.raises(InputError, match="cannot be read"):
        flags_of(tmp_path / "digits")
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_label_moves_while_the_binary_runs_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    base = tmp_path / "models" / "digits"
    for version in ("1", "2"):
        (base / version).mkdir(parents=True)
        (base / version / "saved_model.pb").touch()
    label(base, {"stable": 1})
    script = (
        "import sys, pathlib, time; from kmnist.server.tensorflow_serving import command_line\n"
        "flags = command_line('x', pathlib.Path(sys.argv[1]), name=None, grpc_port=1, rest_port=2, "
        "timeout=1, concurrency=1)\n"
        "print(flags[1].partition('=')[2], flush=True)\n"
        "time.sleep(100)"
    )
    monkeypatch.undo()
    with subprocess.Popen(
        [sys.executable, "-c", script, str(base)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
    ) as process:
        assert process.stdout is not None
        config = {"model_config_file": process.stdout.readline().strip()}
        try:
            assert dict(entry_of(config).version_labels) == {"stable": 1}
            label(base, {"stable": 2})
            while (labels := dict(entry_of(config).version_labels)) == {"stable": 1}:
                """The file is read once a second."""
            assert labels == {"stable": 2}
        finally:
            process.send_signal(number)
    while Path(config["model_config_file"]).parent.exists():
        """The end of the process is noticed within a second."""
    assert list((tmp_path / "temporary").iterdir()) == []
