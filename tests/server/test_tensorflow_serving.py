"""Running TensorFlow Serving's binary; a stand-in writes down how it was called."""

import json
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from kmnist.errors import InputError
from kmnist.server.monitoring import METRICS_PATH
from kmnist.server.tensorflow_serving import run
from kmnist.versions import label


ARGUMENTS: Final[dict[str, Any]] = {
    "name": None,
    "grpc_port": 8500,
    "rest_port": 8501,
    "timeout": 30.0,
    "concurrency": 64,
}


class Binary:
    """A stand-in for the binary, which runs until a signal ends it with exit code 7."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "server"
        self._call = folder / "call.json"
        self.path.write_text(
            f"#!{sys.executable}\n"
            "import json, os, pathlib, signal, sys\n"
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
            f"call = pathlib.Path({str(self._call)!r})\n"
            "flags = dict(flag.removeprefix('--').split('=', 1) for flag in sys.argv[1:])\n"
            "files = {flag: open(path).read() for flag, path in flags.items() if 'file' in flag "
            "and os.path.isfile(path)}\n"
            "call.with_suffix('.new').write_text(json.dumps([os.getpid(), flags, files]))\n"
            "call.with_suffix('.new').rename(call)\n"
            "signal.pause()\n"
        )
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    def call(self) -> tuple[int, dict[str, str], dict[str, str]]:
        """Wait for the binary; return its process id, its flags and the files in its flags."""
        while not self._call.exists():
            """It is starting."""
        pid, flags, files = json.loads(self._call.read_text())
        return pid, flags, files


@pytest.fixture
def binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Binary]:
    """The stand-in; temporary files are written to the folder of the test and deleted."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    yield Binary(tmp_path)
    assert list(temporary.iterdir()) == []


def served(binary: Binary, base: Path, **changes: Any) -> tuple[dict[str, str], Any]:
    """Run the binary and end it; return its flags and the only entry of its ``models.config``."""
    seen: list[Any] = []

    def end() -> None:
        seen.append(binary.call())
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end).start()
    assert run(str(binary.path), base, **ARGUMENTS | changes) == 7
    _, flags, files = seen[0]
    assert METRICS_PATH in files["monitoring_config_file"]
    return flags, entry_of(files["model_config_file"])


def entry_of(text: str) -> Any:
    """Return the only entry of a ``models.config``, parsed with the official schema."""
    [entry] = text_format.Parse(text, ModelServerConfig()).model_config_list.config
    return entry


def test_arguments_become_flags_and_the_exit_code_is_that_of_the_binary(
    tmp_path: Path, binary: Binary
) -> None:
    flags, _ = served(
        binary, tmp_path / "models", grpc_port=1, rest_port=2, timeout=1.5, concurrency=9
    )
    assert flags["port"] == "1"
    assert flags["rest_api_port"] == "2"
    assert flags["rest_api_timeout_in_ms"] == "1500"
    assert flags["rest_api_num_threads"] == flags["grpc_max_threads"] == "9"
    assert flags["allow_version_labels_for_unavailable_models"] == "true"
    assert int(flags["model_config_file_poll_wait_seconds"]) > 0
    # A broken version must not end the start of the good ones.
    assert flags["max_num_load_retries"] == "1"
    assert flags["load_retry_interval_micros"] == "5000000"


def test_without_models_config_the_newest_version_is_served(
    tmp_path: Path, binary: Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "digits").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    _, entry = served(binary, Path("models/digits"))
    assert (entry.name, entry.model_platform) == ("digits", "tensorflow")
    assert entry.base_path == str(tmp_path / "models" / "digits")
    assert entry.model_version_policy.latest.num_versions == 1


def test_the_model_may_have_another_name(tmp_path: Path, binary: Binary) -> None:
    _, entry = served(binary, tmp_path / "digits", name="other")
    assert entry.name == "other"


@pytest.mark.parametrize(
    "policy", ["all {}", "latest { num_versions: 3 }", "specific { versions: 1 versions: 4 }"]
)
def test_policy_and_labels_are_those_of_models_config(
    tmp_path: Path, binary: Binary, policy: str
) -> None:
    base = tmp_path / "models" / "digits"
    base.mkdir(parents=True)
    (tmp_path / "models" / "models.config").write_text(
        'model_config_list { config { name: "digits" base_path: "/models/digits" '
        f'model_version_policy {{ {policy} }} version_labels {{ key: "stable" value: 4 }} }} }}'
    )
    _, entry = served(binary, base)
    assert entry.base_path == str(base)
    written = text_format.MessageToString(entry.model_version_policy, as_one_line=True)
    assert written.split() == policy.replace("{}", "{ }").split()
    assert dict(entry.version_labels) == {"stable": 4}


def test_a_label_that_moves_is_written_for_the_running_binary(
    tmp_path: Path, binary: Binary
) -> None:
    base = tmp_path / "models" / "digits"
    for version in ("1", "2"):
        (base / version).mkdir(parents=True)
        (base / version / "saved_model.pb").touch()
    label(base, {"stable": 1})

    def move() -> None:
        pid, flags, files = binary.call()
        found.append(dict(entry_of(files["model_config_file"]).version_labels))
        config = Path(flags["model_config_file"])
        label(base, {"stable": 2})
        while (labels := dict(entry_of(config.read_text()).version_labels)) == found[0]:
            """It is read once a second."""
        found.append(labels)
        os.kill(pid, signal.SIGKILL)

    found: list[dict[str, int]] = []
    threading.Thread(target=move).start()
    code = run(str(binary.path), base, **ARGUMENTS)
    assert found == [{"stable": 1}, {"stable": 2}]
    assert code == 128 + signal.SIGKILL


def test_an_invalid_models_config_is_an_error_and_nothing_is_run(
    tmp_path: Path, binary: Binary
) -> None:
    (tmp_path / "models.config").write_text("models: [digits]")
    with pytest.raises(InputError, match="cannot be read"):
        run(str(binary.path), tmp_path / "digits", **ARGUMENTS)
