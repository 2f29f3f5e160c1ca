"""The examination of a folder of versions: damage it, and read what the doctor finds."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from kmnist.doctor import Finding, Report, examine_folder
from kmnist.errors import InputError
from kmnist.server import Server
from kmnist.versions import config_path, label
from tests.doctor.conftest import WriteVersion

Damage = Callable[[Path], object]

DATA = "variables/variables.data-00000-of-00001"


def examine(base: Path) -> Report:
    """Examine a folder at ports that nothing uses."""
    return examine_folder(base, grpc_port=1, rest_port=1)


def only_finding(base: Path, check: str) -> Finding:
    """Return the only finding, which is one of ``check``."""
    report = examine(base)
    assert [title for title, findings in report.checks.items() if findings] == [check]
    (finding,) = report.findings
    assert finding.cause
    assert finding.cure
    return finding


def test_a_sound_folder_is_healthy(base: Path) -> None:
    report = examine(base)
    assert report.findings == []
    assert report.is_healthy
    assert len(report.checks) == 7


class TestLayout:
    """Folders one level too high or too low, and names that are not version numbers."""

    @pytest.mark.parametrize(
        ("folder", "what", "cure"),
        [
            ("none", "there is no folder {folder}", "kmnist-train"),
            (".", "there is no version in {folder}", "kmnist-train"),
            ("kmnist/1", "{folder} is a version, not a folder of versions", "{folder.parent},"),
            (
                "exported",
                "{folder} is a SavedModel, not a folder",
                "move its content to {folder}/1",
            ),
            ("models", "{folder} contains models, not versions: digits, kmnist", "one of them"),
        ],
    )
    def test_a_folder_without_versions(
        self, tmp_path: Path, write_version: WriteVersion, folder: str, what: str, cure: str
    ) -> None:
        if folder == "models":
            write_version(tmp_path / "models" / "digits" / "1")
            write_version(tmp_path / "models" / "kmnist" / "1")
        elif folder in ("kmnist/1", "exported"):
            write_version(tmp_path / folder)
        path = tmp_path / folder
        finding = only_finding(path, "folder of versions")
        assert finding.is_problem
        assert what.format(folder=path) in finding.what
        assert cure.format(folder=path) in finding.cure

    def test_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="is a file"):
            examine(tmp_path / "file")

    @pytest.mark.parametrize("name", ["v3", "latest", "3.bak"])
    def test_a_name_that_is_not_a_number(
        self, base: Path, write_version: WriteVersion, name: str
    ) -> None:
        write_version(base / name)
        write_version(base / ".staging-1")  # of an export in progress
        finding = only_finding(base, "folder of versions")
        assert finding.what == f"{base / name} contains a SavedModel, but its name is not a number"
        assert finding.cure.startswith(f"rename it to {base / '3'}")


def truncate(name: str) -> Damage:
    return lambda version: os.truncate(version / name, (version / name).stat().st_size // 2)


def empty(version: Path) -> None:
    shutil.rmtree(version)
    version.mkdir()


def retag(version: Path) -> None:
    file = version / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    model.meta_graphs[0].meta_info_def.tags[:] = ["train"]
    file.write_bytes(model.SerializeToString())


def break_warmup(version: Path) -> None:
    (version / "assets.extra").mkdir()
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(b"\xff\xff")


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        pytest.param(empty, "missing or cut off", id="an empty version"),
        *(
            pytest.param(damage(name), "missing or cut off", id=f"{title} {name}")
            for name in ("saved_model.pb", "variables/variables.index", DATA)
            for title, damage in (
                ("no", lambda name: lambda version: (version / name).unlink()),
                ("half of", truncate),
            )
        ),
        pytest.param(retag, "a graph with the tag serve", id="another tag"),
        pytest.param(break_warmup, "a request of its warm-up file fails", id="warm-up"),
    ],
)
def test_a_version_that_cannot_be_loaded(base: Path, damage: Damage, cause: str) -> None:
    damage(base / "2")
    report = examine(base)
    broken, restart = report.findings
    assert broken.what.startswith(f"{base / '2'} cannot be loaded: ")
    assert cause in broken.cause
    assert report.broken == (2,)
    assert not report.is_healthy
    assert restart.what.endswith("may fail: it would load the broken version 2")
    assert not restart.is_problem


def test_a_broken_version_that_is_not_loaded_does_not_prevent_a_restart(base: Path) -> None:
    config_path(base).unlink()  # TensorFlow Serving then loads the newest version only
    (base / "1" / "saved_model.pb").unlink()
    checks = examine(base).checks
    assert checks["loading of every version"]
    assert not checks["restart of TensorFlow Serving"]


def test_a_version_that_differs_from_its_manifest_is_not_loaded(
    models: Path, tmp_path: Path
) -> None:
    base = tmp_path / models.name
    shutil.copytree(models, base)
    truncate(DATA)(base / "1")
    report = examine(base)
    assert f"{base}/1/{DATA}" in report.findings[0].what
    assert report.findings[0].cause.startswith("the version is not as it was exported")
    assert report.broken == (1,)


def test_versions_with_different_signatures(base: Path, write_version: WriteVersion) -> None:
    write_version(base / "3", width=32)
    findings = examine(base).checks["signatures of all versions"]
    inputs = (
        "serving_default has the inputs images: uint8 (n, 28, 28), not images: uint8 (n, 32, 32)"
    )
    assert [finding.what for finding in findings] == [
        f"version {version} differs from version 3: {inputs}" for version in (1, 2)
    ]


@pytest.mark.parametrize("closed", ["../models.config", "1/saved_model.pb", "2/variables"])
def test_files_that_other_users_cannot_read(base: Path, closed: str) -> None:
    path = Path(os.path.normpath(base / closed))
    path.chmod(0o700)
    finding = only_finding(base, "file permissions")
    assert finding.what == f"other users cannot read {path}"
    assert finding.cure.startswith(f"chmod -R a+rX {base.parent}, or ")
    assert not finding.is_problem


def configure(entry: str) -> Damage:
    """Write a ``models.config`` with one entry."""
    text = f"model_config_list {{ config {{ {entry} }} }}"
    return lambda base: config_path(base).write_text(text)


def label_a_version_that_is_deleted(base: Path) -> None:
    label(base, {"canary": 2})
    shutil.rmtree(base / "2")


ENTRY = 'name: "kmnist" base_path: "/models/kmnist"'


@pytest.mark.parametrize(
    ("damage", "what", "cure"),
    [
        (lambda base: config_path(base).unlink(), "there is no {path}", "kmnist versions label"),
        (lambda base: config_path(base).write_text("models: 1"), "cannot be read", "correct it"),
        (configure('name: "mnist"'), "{path} has no model kmnist", "kmnist versions label"),
        (
            configure('name: "kmnist" base_path: "models/kmnist"'),
            "{path} has the relative base_path 'models/kmnist'",
            'base_path: "/models/kmnist"',
        ),
        (
            configure('name: "kmnist" base_path: "/models/mnist"'),
            "has the base_path /models/mnist for the model kmnist",
            'base_path: "/models/kmnist"',
        ),
        (
            label_a_version_that_is_deleted,
            "the label canary is on version 2, which does not exist",
            "kmnist versions label canary=1",
        ),
        (
            configure(f'{ENTRY} version_labels {{ key: "old" value: 1 }}'),
            "the label old is on version 1, which the version policy does not load",
            "write model_version_policy { all {} } in {path}",
        ),
    ],
    ids=["missing", "invalid", "no model", "relative", "other", "label", "policy"],
)
def test_a_models_config_that_does_not_fit(
    base: Path, damage: Damage, what: str, cure: str
) -> None:
    damage(base)
    path = str(config_path(base))
    finding = only_finding(base, "models.config")
    assert what.replace("{path}", path) in finding.what
    assert cure.replace("{path}", path) in finding.cure


def test_ports_in_use_by_another_program(served: Server, tmp_path: Path) -> None:
    ports = (served.rest_port, served.grpc_port)
    report = examine_folder(tmp_path, grpc_port=ports[0], rest_port=ports[1])
    for port, setting, finding in zip(
        ports, ("GRPC_PORT", "REST_PORT"), report.checks["ports"], strict=True
    ):
        assert finding.what == f"port {port} is in use by another program"
        assert setting in finding.cure
        assert not finding.is_problem


def test_a_model_server_may_use_the_ports(served: Server, tmp_path: Path) -> None:
    report = examine_folder(tmp_path, grpc_port=served.grpc_port, rest_port=served.rest_port)
    assert report.checks["ports"] == []
