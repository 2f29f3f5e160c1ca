"""Which versions are loaded, and which one answers a request; the servables are stand-ins."""

import errno
import os
import threading
from pathlib import Path
from typing import Never

import grpc
import pytest

from kmnist.server import versions as versions_module
from kmnist.server.errors import StatusError
from kmnist.server.versions import State, Versions


class Stub:
    """A servable that can be loaded if ``saved_model.pb`` contains ``fine``."""

    def __init__(self, folder: Path) -> None:
        content = (folder / "saved_model.pb").read_text()
        if content != "fine":
            raise StatusError(grpc.StatusCode.DATA_LOSS, content)
        self.version = int(folder.name)
        self.closed = False

    def close(self) -> None:
        """Record the call, of which there may be only one."""
        assert not self.closed
        self.closed = True


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An empty folder of versions."""
    base = tmp_path / "kmnist"
    base.mkdir()
    return base


@pytest.fixture
def manager(base: Path) -> Versions:
    """A manager of the folder."""
    return Versions(base, "kmnist", Stub)


def publish(base: Path, *versions: int, content: str = "fine") -> None:
    """Write the stand-in of a SavedModel for each version."""
    for version in versions:
        folder = base / str(version)
        folder.mkdir(exist_ok=True)
        (folder / "saved_model.pb").write_text(content)


def configure(base: Path, text: str) -> None:
    """Write a ``models.config`` with an entry for the model."""
    (base.parent / "models.config").write_text(
        f'model_config_list {{ config {{ name: "kmnist" base_path: "/models/kmnist" {text} }} }}'
    )


def states(manager: Versions) -> dict[int, str]:
    """Return the state of every version."""
    return {
        status.version: State.Name(status.state)
        for status in manager.status("kmnist").model_version_status
    }


def test_the_newest_version_replaces_the_previous_one(base: Path, manager: Versions) -> None:
    publish(base, 1)
    manager.poll()
    assert manager.available() == [1]
    publish(base, 2, 10)
    manager.poll()
    assert states(manager) == {10: "AVAILABLE", 1: "END"}
    with manager.use("kmnist") as servable:
        assert servable.version == 10


def test_a_version_is_freed_after_its_last_request(base: Path, manager: Versions) -> None:
    publish(base, 1)
    manager.poll()
    with manager.use("kmnist") as first, manager.use("kmnist", 1) as second:
        assert first is second
        publish(base, 2)
        manager.poll()
        assert states(manager) == {2: "AVAILABLE", 1: "UNLOADING"}
        assert not first.closed
        with manager.use("kmnist") as newest:
            assert newest.version == 2
        with pytest.raises(StatusError, match="not found"):
            manager.use("kmnist", 1).__enter__()
    assert first.closed
    assert states(manager) == {2: "AVAILABLE", 1: "END"}


def test_the_old_version_is_kept_while_the_new_one_fails(base: Path, manager: Versions) -> None:
    publish(base, 1)
    manager.poll()
    publish(base, 2, content="broken")
    manager.poll()
    assert states(manager) == {2: "END", 1: "AVAILABLE"}
    status = manager.status("kmnist", 2).model_version_status[0].status
    assert (status.error_code, status.error_message) == (15, "broken")
    assert manager.failures() == {}
    publish(base, 2)  # repaired
    manager.poll()
    assert states(manager) == {2: "AVAILABLE", 1: "END"}


def test_a_failed_version_is_not_retried_until_it_changes(base: Path) -> None:
    attempts: list[object] = []
    manager = Versions(base, "kmnist", Stub, on_load=lambda *attempt: attempts.append(attempt))
    publish(base, 1, content="broken")
    for _ in range(3):
        manager.poll()
    assert len(attempts) == 1
    assert manager.failures() == {1: "broken"}


def test_an_unexpected_error_affects_only_the_version(base: Path) -> None:
    def load(folder: Path) -> Never:
        raise RecursionError("too deep")

    manager = Versions(base, "kmnist", load)
    publish(base, 1)
    manager.poll()
    assert manager.failures() == {1: "RecursionError: too deep"}


def test_a_version_that_is_still_being_copied_is_loading(base: Path, manager: Versions) -> None:
    (base / "3" / "variables").mkdir(parents=True)
    manager.poll()
    assert states(manager) == {3: "LOADING"}
    assert manager.failures() == {}
    publish(base, 3)
    manager.poll()
    assert states(manager) == {3: "AVAILABLE"}


def test_a_version_that_cannot_be_read_has_failed_until_it_can(
    base: Path, manager: Versions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path) == str(base / "2"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    publish(base, 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        for _ in range(3):
            manager.poll()
    # The folder of versions itself is listed, so that a version is known.
    assert states(manager)[2] == "END"
    status = manager.status("kmnist", 2).model_version_status[0].status
    assert (status.error_code, status.error_message) == (
        7,
        f"{base / '2'} cannot be read: Permission denied",
    )
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    manager.poll()
    assert manager.available() == [2]


def test_a_pipe_in_a_version_is_refused(base: Path, manager: Versions) -> None:
    publish(base, 1)
    (base / "2").mkdir()
    os.mkfifo(base / "2" / "saved_model.pb")
    configure(base, "model_version_policy { all {} }")
    manager.poll()
    assert states(manager) == {2: "END", 1: "AVAILABLE"}
    status = manager.status("kmnist", 2).model_version_status[0].status
    assert "saved_model.pb cannot be read: it is not a regular file" in status.error_message


def test_a_link_to_nothing_in_a_version_is_ignored(base: Path, manager: Versions) -> None:
    publish(base, 1)
    (base / "1" / "notes").symlink_to(base / "nothing")
    manager.poll()
    assert manager.available() == [1]


def test_a_load_that_hangs_does_not_stop_other_versions(base: Path) -> None:
    release, stopping = threading.Event(), threading.Event()

    def load(folder: Path) -> Stub:
        if folder.name == "2":
            assert release.wait(30)
        return Stub(folder)

    manager = Versions(base, "kmnist", load, stopping=stopping, patience=0.01)
    publish(base, 1, 2)
    configure(base, "model_version_policy { all {} }")
    for _ in range(2):
        manager.poll()
    assert states(manager) == {2: "LOADING", 1: "AVAILABLE"}
    assert manager.loading()
    publish(base, 3)
    manager.poll()
    assert manager.available() == [1, 3]
    release.set()
    while manager.loading():
        """The load ends."""
    assert manager.available() == [1, 2, 3]


def test_a_stop_ends_the_wait_for_a_load(base: Path) -> None:
    release, stopping = threading.Event(), threading.Event()

    def load(folder: Path) -> Stub:
        stopping.set()
        assert release.wait(30)
        return Stub(folder)

    manager = Versions(base, "kmnist", load, stopping=stopping, patience=30)
    publish(base, 1)
    manager.poll()
    manager.close()
    assert manager.loading()
    release.set()
    while manager.loading():
        """The load ends."""
    assert states(manager) == {1: "END"}


def test_the_wait_for_a_copy_is_logged_once(
    base: Path, manager: Versions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (base / "3").mkdir()
    for _ in range(3):
        manager.poll()
    assert caplog.messages == ["version 3 of kmnist has no saved_model.pb yet"]


def test_folders_whose_names_are_not_numbers_are_ignored(base: Path, manager: Versions) -> None:
    publish(base, 1)
    for name in (".staging-5", "v2", "latest"):
        (base / name).mkdir()
    manager.poll()
    assert states(manager) == {1: "AVAILABLE"}


def test_a_removed_version_is_unloaded(base: Path, manager: Versions) -> None:
    publish(base, 1, 2)
    configure(base, "model_version_policy { all {} }")
    manager.poll()
    assert manager.available() == [1, 2]
    os.rename(base / "2", base / "gone")
    manager.poll()
    assert states(manager) == {2: "END", 1: "AVAILABLE"}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", [3]),
        ("model_version_policy { all {} }", [1, 2, 3]),
        ("model_version_policy { latest { num_versions: 2 } }", [2, 3]),
        ("model_version_policy { specific { versions: 1 versions: 2 } }", [1, 2]),
    ],
)
def test_the_version_policy_selects_versions(
    base: Path, manager: Versions, policy: str, expected: list[int]
) -> None:
    publish(base, 1, 2, 3)
    configure(base, policy)
    manager.poll()
    assert manager.available() == expected


def test_labels_follow_models_config(base: Path, manager: Versions) -> None:
    publish(base, 1, 2)
    policy = "model_version_policy { all {} }"
    label = 'version_labels {{ key: "stable" value: {} }}'
    for version in (1, 2, 1):
        configure(base, policy + label.format(version))
        manager.poll()
        with manager.use("kmnist", label="stable") as servable:
            assert servable.version == version
    configure(base, policy + label.format(7))
    manager.poll()
    with pytest.raises(StatusError, match=r"Servable not found for request: Specific\(kmnist, 7"):
        manager.use("kmnist", label="stable").__enter__()
    configure(base, policy)
    manager.poll()
    with pytest.raises(StatusError, match="Unrecognized servable version label: stable"):
        manager.use("kmnist", label="stable").__enter__()


def test_labels_apply_to_the_folder_under_any_model_name(base: Path) -> None:
    manager = Versions(base, "digits", Stub)
    publish(base, 1)
    configure(base, 'version_labels { key: "stable" value: 1 }')
    manager.poll()
    with manager.use("digits", label="stable") as servable:
        assert servable.version == 1


def test_an_invalid_configuration_changes_nothing_and_is_logged_once(
    base: Path, manager: Versions, caplog: pytest.LogCaptureFixture
) -> None:
    publish(base, 1)
    configure(base, 'version_labels { key: "stable" value: 1 }')
    manager.poll()
    (base.parent / "models.config").write_text("model_config_list {")
    publish(base, 2)
    manager.poll()
    manager.poll()
    assert states(manager) == {1: "AVAILABLE"}
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    with manager.use("kmnist", label="stable") as servable:
        assert servable.version == 1


def test_close_frees_a_version_after_its_last_request(base: Path, manager: Versions) -> None:
    publish(base, 1)
    manager.poll()
    with manager.use("kmnist") as servable:
        manager.close()
        assert not servable.closed
    assert servable.closed


def test_a_version_whose_name_has_leading_zeros_is_loaded(base: Path, manager: Versions) -> None:
    publish(base, 1)
    os.rename(base / "1", base / "01")
    manager.poll()
    assert manager.available() == [1]


def test_a_version_that_is_deleted_during_a_poll_is_ignored(
    base: Path, manager: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(base, 1)
    configure(base, "model_version_policy { all {} }")
    monkeypatch.setattr(versions_module, "list_versions", lambda _: [1, 2])
    manager.poll()
    assert manager.available() == [1]
