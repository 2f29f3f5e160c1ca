"""The manifest of a version: written, verified, and checked by ``sha256sum``."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kmnist.errors import KmnistError
from kmnist.versions import verify_version, write_manifest

_WEIGHTS = "variables/variables.data-00000-of-00001"
_SERVED = (
    "assets.extra/tf_serving_warmup_requests",
    "fingerprint.pb",
    "model.keras",
    "saved_model.pb",
    _WEIGHTS,
    "variables/variables.index",
)


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version folder with the files of an exported one, and its manifest."""
    folder = tmp_path / "models" / "kmnist" / "1"
    for name in (*_SERVED, "model_card.json", "samples.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    write_manifest(folder)
    return folder


def test_the_files_that_programs_load_are_listed_and_the_others_may_change(version: Path) -> None:
    lines = (version / "SHA256SUMS").read_text().splitlines()
    assert tuple(line.split()[1] for line in lines) == _SERVED
    (version / "model_card.json").write_text("{}")
    (version / "README").touch()
    assert verify_version(version)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_checks_the_manifest(version: Path) -> None:
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=version, capture_output=True).returncode == 0
    (version / _WEIGHTS).write_text("other weights")
    done = subprocess.run(check, cwd=version, capture_output=True, text=True)
    assert f"{_WEIGHTS}: FAILED" in done.stdout


def _replace_by_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (_WEIGHTS, lambda path: path.write_text("x"), "has the SHA-256 .*…, but SHA256SUMS lists "),
        ("fingerprint.pb", Path.unlink, "is missing: copy or export the version again"),
        ("saved_model.pb", _replace_by_a_pipe, "is missing"),
        ("variables/more", Path.touch, "is not listed in SHA256SUMS: delete it, or"),
        ("saved_model.pbtxt", Path.touch, "is not listed in SHA256SUMS"),
        ("SHA256SUMS", lambda path: path.write_bytes(b"\xff\n"), "is damaged"),
        ("SHA256SUMS", _replace_by_a_pipe, "is not a file"),
    ],
)
def test_a_difference_is_reported_with_the_path_of_the_file(
    version: Path, name: str, change: Callable[[Path], object], message: str
) -> None:
    change(version / name)
    with pytest.raises(KmnistError, match=f"^{version / name} {message}"):
        verify_version(version)


def test_a_version_without_a_manifest_is_not_verified_and_an_unreadable_one_is_named(
    version: Path,
) -> None:
    (version / "SHA256SUMS").unlink()
    assert not verify_version(version)
    (version / "SHA256SUMS").mkdir()
    with pytest.raises(KmnistError, match="1/SHA256SUMS is not a file"):
        verify_version(version)
