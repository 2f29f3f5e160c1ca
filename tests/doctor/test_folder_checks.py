"""The examination of a folder of versions."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from kmnist.doctor import Report, examine_folder
from kmnist.versions import config_path
from tests.doctor.conftest import OnlyFinding, WriteVersion


def examine(base: Path) -> Report:
    """Examine a folder without its ports."""
    return examine_folder(base, grpc_port=0, rest_port=0)


def test_a_sound_folder_is_healthy(base: Path) -> None:
    report = examine(base)
    assert report.findings == []
    assert report.is_healthy
    assert [check.title for check in report.checks] == [
        "folder of versions",
        "loading of every version",
        "signatures of all versions",
        "file permissions",
        "models.config",
        "labels",
        "ports",
    ]


def test_an_exported_version_is_healthy(models: Path) -> None:
    assert examine(models).findings == []


@pytest.mark.parametrize(
    ("damage", "title"),
    [
        (lambda base: (base / "2" / "saved_model.pb").unlink(), "loading of every version"),
        (lambda base: (base / "1" / "saved_model.pb").chmod(0o600), "file permissions"),
        (lambda base: config_path(base).unlink(), "models.config"),
    ],
)
def test_a_finding_is_in_the_check_of_its_subject(
    base: Path, damage: Callable[[Path], None], title: str
) -> None:
    damage(base)
    assert [check.title for check in examine(base).checks if check.findings] == [title]


def test_versions_with_different_signatures(base: Path, write_version: WriteVersion) -> None:
    write_version(base / "3", width=32, signatures=("serving_default", "pixels"))
    findings = examine(base).findings
    assert [finding.what for finding in findings] == [
        f"version {version} differs from version 3: it has no signature pixels; serving_default "
        "has the inputs images: uint8 (n, 28, 28), not images: uint8 (n, 32, 32)"
        for version in (1, 2)
    ]


def test_a_version_that_cannot_be_loaded_is_not_compared(
    base: Path, write_version: WriteVersion, only_finding: OnlyFinding
) -> None:
    write_version(base / "3", signatures=("classify",))
    (base / "3" / "saved_model.pb").write_bytes(b"")
    assert only_finding(examine(base)).what == f"{base / '3'} has an empty saved_model.pb"


def test_a_port_of_another_program(base: Path, only_finding: OnlyFinding) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = only_finding(examine_folder(base, grpc_port=port, rest_port=0))
    assert finding.what == f"port {port} is in use by another program"


class TestLayout:
    """Folders one level too high or too low, and names that are not version numbers."""

    def test_a_missing_folder(self, tmp_path: Path, only_finding: OnlyFinding) -> None:
        finding = only_finding(examine(tmp_path / "none"))
        assert finding.what == f"there is no folder {tmp_path / 'none'}"
        assert "kmnist-train" in finding.do

    def test_a_file(self, tmp_path: Path, only_finding: OnlyFinding) -> None:
        (tmp_path / "file").touch()
        assert only_finding(examine(tmp_path / "file")).what.endswith("is a file")

    def test_an_empty_folder(self, tmp_path: Path, only_finding: OnlyFinding) -> None:
        assert only_finding(examine(tmp_path)).what == f"there is no version in {tmp_path}"

    def test_a_version_instead_of_its_parent(self, base: Path, only_finding: OnlyFinding) -> None:
        finding = only_finding(examine(base / "1"))
        assert finding.what == f"{base / '1'} is a version, not a folder of versions"
        assert str(base) in finding.do

    def test_a_saved_model_without_a_version_folder(
        self, tmp_path: Path, write_version: WriteVersion, only_finding: OnlyFinding
    ) -> None:
        write_version(tmp_path / "exported")
        finding = only_finding(examine(tmp_path / "exported"))
        assert finding.what.endswith("exported is a SavedModel, not a folder of versions")
        assert finding.do.endswith(str(tmp_path / "exported" / "1"))

    def test_a_folder_of_models(self, base: Path, only_finding: OnlyFinding) -> None:
        finding = only_finding(examine(base.parent))
        assert finding.what.endswith("contains models instead of versions: kmnist")
        assert str(base) in finding.do

    @pytest.mark.parametrize("name", ["v3", "latest", "3.bak", "-3", "٣"])
    def test_a_name_that_is_not_a_number(
        self, base: Path, write_version: WriteVersion, only_finding: OnlyFinding, name: str
    ) -> None:
        write_version(base / name)
        finding = only_finding(examine(base))
        assert finding.what == f"{base / name} contains a SavedModel, but its name is not a number"
        assert finding.do.startswith(f"mv {base / name} {base / '3'}")

    def test_no_version_but_a_name_that_is_not_a_number(
        self, tmp_path: Path, write_version: WriteVersion
    ) -> None:
        write_version(tmp_path / "kmnist" / "v1")
        observations = [finding.what for finding in examine(tmp_path / "kmnist").findings]
        assert "there is no version" in observations[0]
        assert "its name is not a number" in observations[1]

    def test_leading_zeros(self, base: Path, only_finding: OnlyFinding) -> None:
        os.rename(base / "2", base / "002")
        finding = only_finding(examine(base))
        assert finding.what == f"{base / '002'} has a name with leading zeros"
        assert not finding.is_problem

    def test_two_folders_of_one_version(
        self, base: Path, write_version: WriteVersion, only_finding: OnlyFinding
    ) -> None:
        write_version(base / "02")
        finding = only_finding(examine(base))
        assert finding.what == f"{base / '02'} and {base / '2'} are both version 2"

    def test_a_number_that_is_too_high(
        self, base: Path, write_version: WriteVersion, only_finding: OnlyFinding
    ) -> None:
        write_version(base / str(2**63))
        finding = only_finding(examine(base))
        assert finding.what.endswith("contains a SavedModel, but its number is too high")

    def test_staging_folders_and_other_folders_are_ignored(
        self, base: Path, write_version: WriteVersion
    ) -> None:
        write_version(base / ".staging-1")
        (base / "notes").mkdir()
        assert examine(base).findings == []


@pytest.mark.parametrize("name", [".", "models.config"])
def test_a_parent_folder_that_other_users_cannot_read(
    base: Path, only_finding: OnlyFinding, name: str
) -> None:
    closed = base.parent / name
    closed.chmod(0o700)
    finding = only_finding(examine(base))
    assert finding.what == f"{closed} is not readable by other users"
    assert finding.do.startswith(f"chmod -R a+rX {base.parent}, or ")


def test_files_that_other_users_cannot_read(base: Path, only_finding: OnlyFinding) -> None:
    (base / "1" / "saved_model.pb").chmod(0o600)
    (base / "2" / "variables").chmod(0o700)
    finding = only_finding(examine(base))
    assert finding.what == (
        f"{base / '1' / 'saved_model.pb'} and 1 more are not readable by other users"
    )
    assert finding.do.startswith("chmod -R a+rX")
    assert not finding.is_problem


def test_a_version_that_differs_from_its_manifest_is_not_loaded(
    swapped: Path, only_finding: OnlyFinding
) -> None:
    report = examine(swapped)
    finding = only_finding(report)
    assert finding.what.startswith(f"{swapped}/1/variables/variables.data-00000-of-00001 has the")
    assert finding.do.endswith(f"rm -r {swapped / '1'}")
    assert not report.is_healthy
