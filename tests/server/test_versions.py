"""Which versions are loaded, and which one answers a request; the models are stand-ins."""

import os
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from kmnist.server.errors import StatusError
from kmnist.server.versions import State, Versions

ALL = "model_version_policy { all {} }"


class Stub:
    """A model that can be loaded if ``saved_model.pb`` contains ``fine`` and others may read it."""

    def __init__(self, folder: Path) -> None:
        file = folder / "saved_model.pb"
        if (content := file.read_text()) != "fine" or not file.stat().st_mode & 0o4:
            raise StatusError(grpc.StatusCode.DATA_LOSS, content)
        self.version = int(folder.name)
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An empty folder of versions."""
    base = tmp_path / "kmnist"
    base.mkdir()
    return base


@pytest.fixture
def versions(base: Path) -> Any:
    """The versions of the folder; their models are stand-ins."""
    load: Any = Stub
    return Versions(base, "kmnist", load)


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


def states(versions: Versions) -> dict[int, str]:
    """Return the state of every version."""
    return {
        status.version: State.Name(status.state)
        for status in versions.status(versions.name).model_version_status
    }


def test_a_version_is_freed_after_its_last_request(base: Path, versions: Any) -> None:
    publish(base, 1)
    versions.poll()
    with versions.use("kmnist") as first, versions.use("kmnist", 1) as second:
        assert first is second
        publish(base, 2)
        versions.poll()
        assert states(versions) == {2: "AVAILABLE", 1: "UNLOADING"}
        with pytest.raises(StatusError, match="not found"):
            versions.use("kmnist", 1).__enter__()
        with versions.use("kmnist") as newest:
            versions.close()
            assert newest.closed == first.closed == 0
        assert newest.closed == 1
        assert versions.available() == []
    assert first.closed == 1
    assert states(versions) == {2: "END", 1: "END"}


def test_the_old_version_answers_while_the_new_one_is_loaded(base: Path) -> None:
    reached, release = threading.Event(), threading.Event()

    def load(folder: Path) -> Any:
        if folder.name == "2":
            reached.set()
            assert release.wait(30)
        return Stub(folder)

    versions = Versions(base, "kmnist", load)
    publish(base, 1)
    versions.poll()
    publish(base, 2)
    poller = threading.Thread(target=versions.poll)
    poller.start()
    assert reached.wait(30)
    assert states(versions) == {2: "LOADING", 1: "AVAILABLE"}
    with versions.use("kmnist") as model:
        assert model.version == 1
    release.set()
    poller.join()
    assert states(versions) == {2: "AVAILABLE", 1: "END"}


def test_the_old_version_is_kept_while_the_new_one_fails(base: Path, versions: Versions) -> None:
    publish(base, 1)
    versions.poll()
    publish(base, 2, content="broken")
    versions.poll()
    assert states(versions) == {2: "END", 1: "AVAILABLE"}
    status = versions.status("kmnist", 2).model_version_status[0].status
    assert (status.error_code, status.error_message) == (15, "broken")
    assert versions.failures() == {}


def test_a_failed_version_is_retried_when_it_changes(base: Path) -> None:
    attempts: list[str] = []
    load: Any = Stub
    versions = Versions(base, "kmnist", load, lambda folder, error, _: attempts.append(str(error)))

    def poll_twice() -> list[str]:
        versions.poll()
        versions.poll()
        return attempts

    publish(base, 1, content="broken")
    assert poll_twice() == ["broken"]
    assert versions.failures() == {1: "broken"}
    (base / "1" / "saved_model.pb").chmod(0o600)
    publish(base, 1)
    assert poll_twice() == ["broken", "fine"]
    (base / "1" / "saved_model.pb").chmod(0o644)
    assert poll_twice() == ["broken", "fine", "None"]
    assert versions.available() == [1]


def test_a_version_that_is_still_being_copied_is_loading(
    base: Path, versions: Versions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (base / "3" / "variables").mkdir(parents=True)
    versions.poll()
    versions.poll()
    assert states(versions) == {3: "LOADING"}
    assert versions.failures() == {}
    assert caplog.messages == ["version 3 of kmnist has no saved_model.pb yet"]
    publish(base, 3)
    versions.poll()
    assert states(versions) == {3: "AVAILABLE"}


def test_a_removed_version_is_unloaded(base: Path, versions: Versions) -> None:
    publish(base, 1, 2)
    configure(base, ALL)
    versions.poll()
    assert versions.available() == [1, 2]
    os.rename(base / "2", base / "gone")
    versions.poll()
    assert states(versions) == {2: "END", 1: "AVAILABLE"}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", [10]),
        (ALL, [1, 2, 10]),
        ("model_version_policy { latest { num_versions: 2 } }", [2, 10]),
        ("model_version_policy { specific { versions: 1 versions: 2 versions: 9 } }", [1, 2]),
    ],
)
def test_the_version_policy_selects_versions(
    base: Path, versions: Versions, policy: str, expected: list[int]
) -> None:
    publish(base, 1, 2, 10)
    configure(base, policy)
    versions.poll()
    assert states(versions) == dict.fromkeys(expected, "AVAILABLE")


@pytest.mark.parametrize("name", ["kmnist", "digits"])
def test_labels_follow_the_entry_of_the_folder(base: Path, name: str) -> None:
    load: Any = Stub
    versions = Versions(base, name, load)
    publish(base, 1, 2)
    label = 'version_labels { key: "stable" value: %d }'
    for version in (1, 2, 1):
        configure(base, ALL + label % version)
        versions.poll()
        with versions.use(name, label="stable") as model:
            assert model.version == version
    configure(base, ALL + label % 7)
    versions.poll()
    with pytest.raises(StatusError, match=r"Servable not found for request: Specific\(.*, 7"):
        versions.use(name, label="stable").__enter__()
    (base.parent / "models.config").unlink()
    versions.poll()
    with pytest.raises(StatusError, match="Unrecognized servable version label: stable"):
        versions.use(name, label="stable").__enter__()


def test_an_invalid_configuration_changes_nothing_and_is_logged_once(
    base: Path, versions: Versions, caplog: pytest.LogCaptureFixture
) -> None:
    publish(base, 1)
    configure(base, 'version_labels { key: "stable" value: 1 }')
    versions.poll()
    (base.parent / "models.config").write_text("model_config_list {")
    publish(base, 2)
    versions.poll()
    versions.poll()
    assert states(versions) == {1: "AVAILABLE"}
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    with versions.use("kmnist", label="stable") as model:
        assert model.version == 1
