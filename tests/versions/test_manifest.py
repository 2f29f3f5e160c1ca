"""The manifest of a version: written, verified, and checked by ``sha256sum``."""

import doctest
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kmnist.errors import KmnistError
from kmnist.versions import manifest, verify_version, write_manifest

_WEIGHTS = "variables/variables.data-00000-of-00001"


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version folder with the files of an exported one, and its manifest."""
    folder = tmp_path / "models" / "kmnist" / "1"
    for name in (
        "saved_model.pb",
        "fingerprint.pb",
        _WEIGHTS,
        "variables/variables.index",
        "assets.extra/tf_serving_warmup_requests",
        "model_card.json",
        "samples.png",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    write_manifest(folder)
    return folder


def test_the_files_that_a_server_reads_are_listed(version: Path) -> None:
    listed = [line.split()[1] for line in (version / "SHA256SUMS").read_text().splitlines()]
    assert listed == [
        "assets.extra/tf_serving_warmup_requests",
        "fingerprint.pb",
        "saved_model.pb",
        _WEIGHTS,
        "variables/variables.index",
    ]
    assert verify_version(version)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_checks_the_manifest(version: Path) -> None:
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=version, capture_output=True).returncode == 0
    (version / _WEIGHTS).write_text("other weights")
    done = subprocess.run(check, cwd=version, capture_output=True, text=True)
    assert f"{_WEIGHTS}: FAILED" in done.stdout


def test_a_version_without_a_manifest_is_not_verified(version: Path) -> None:
    (version / "SHA256SUMS").unlink()
    assert not verify_version(version)


def test_a_copy_and_links_to_the_files_are_the_same_version(version: Path, tmp_path: Path) -> None:
    shutil.copytree(version, tmp_path / "copy")
    assert verify_version(tmp_path / "copy")
    shutil.copytree(version, tmp_path / "links", copy_function=os.symlink)
    assert verify_version(tmp_path / "links")
    (tmp_path / "2").symlink_to(version)
    assert verify_version(tmp_path / "2")


def test_the_model_card_and_notes_may_change(version: Path) -> None:
    (version / "model_card.json").write_text("{}")
    (version / "README").touch()
    assert verify_version(version)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / _WEIGHTS).write_text("other weights"),
            f"1/{_WEIGHTS} has the SHA-256 .*…; expected .*…, as listed in SHA256SUMS",
        ),
        (
            lambda folder: os.truncate(folder / "saved_model.pb", 3),
            r"1/saved_model\.pb has the SHA-256",
        ),
        (lambda folder: (folder / _WEIGHTS).unlink(), f"1/{_WEIGHTS} is missing"),
        (
            lambda folder: (folder / "variables" / "more").touch(),
            "1/variables/more is not in SHA256SUMS",
        ),
        (
            lambda folder: (folder / "saved_model.pbtxt").touch(),
            r"1/saved_model\.pbtxt is not in SHA256SUMS",
        ),
        (lambda folder: (folder / "SHA256SUMS").write_text(""), "1/SHA256SUMS is damaged"),
        (lambda folder: (folder / "SHA256SUMS").write_bytes(b"\xff\n"), "SHA256SUMS is damaged"),
    ],
)
def test_a_difference_is_reported_with_the_path_of_the_file(
    version: Path, change: Callable[[Path], object], message: str
) -> None:
    change(version)
    with pytest.raises(KmnistError, match=message):
        verify_version(version)


def test_the_first_difference_is_reported(version: Path) -> None:
    (version / "fingerprint.pb").unlink()
    (version / "saved_model.pb").unlink()
    with pytest.raises(KmnistError, match=r"fingerprint\.pb is missing"):
        verify_version(version)


def test_a_pipe_is_not_read(version: Path) -> None:
    (version / "saved_model.pb").unlink()
    os.mkfifo(version / "saved_model.pb")
    with pytest.raises(KmnistError, match=r"saved_model\.pb is missing"):
        verify_version(version)


def test_an_unreadable_file_is_named(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(manifest, "hash_file", refuse)
    with pytest.raises(KmnistError, match=r"warmup_requests cannot be read: Permission denied"):
        verify_version(version)


def test_the_example_in_the_docstring_runs(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(version.parents[2])
    assert doctest.testmod(manifest) == (0, 1)
