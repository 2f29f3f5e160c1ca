"""Standard streams that are closed, full or narrow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kmnist.versions import list_versions

FULL = Path("/dev/full")


def run(command: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``kmnist COMMAND`` in a shell, which may redirect its streams."""
    return subprocess.run(
        ["bash", "-c", f"{sys.executable} -m kmnist {command}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | variables,
        check=False,
    )


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder of a model with version 1."""
    folder = tmp_path / "models" / "kmnist"
    (folder / "1").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_closed_stream_is_the_null_device(base: Path, closed: str) -> None:
    done = run(f"versions list --models {base} {closed}")
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) == (">&-" not in closed.replace("2>&-", ""))
    assert run(f"versions list --models /nowhere {closed}").returncode == 2


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&- <&-", "2>&-"])
def test_a_training_without_streams_is_exported(tiny: Path, tmp_path: Path, closed: str) -> None:
    base = tmp_path / "kmnist"
    done = run(f"train --dataset {tiny} --validation-size 100 --epochs 1 --models {base} {closed}")
    assert (done.returncode, list_versions(base)) == (0, [1])
    assert all(b"TensorFlow" not in file.read_bytes() for file in (base / "1").glob("*.json"))


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("json", ["", "--json"])
def test_a_training_is_exported_before_a_full_stdout_is_reported(
    tiny: Path, tmp_path: Path, json: str
) -> None:
    base = tmp_path / "kmnist"
    done = run(
        f"train --dataset {tiny} --validation-size 100 --epochs 1 --models {base} {json} > {FULL}"
    )
    assert done.returncode == 1
    assert done.stderr.decode() == (
        f"Error: exported {base / '1'}, but stdout cannot be written: No space left on device\n"
    )


def test_a_training_whose_reader_has_ended_is_exported(tiny: Path, tmp_path: Path) -> None:
    base = tmp_path / "kmnist"
    run(f"train --dataset {tiny} --validation-size 100 --epochs 1 --models {base} | head -1")
    assert list_versions(base) == [1]


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("models", "code"), [("", 1), ("--models /nowhere", 2)])
def test_a_full_stream_does_not_change_the_exit_code(base: Path, models: str, code: int) -> None:
    done = run(f"versions list --models {base} {models} > {FULL}")
    assert done.returncode == code
    assert done.stderr.startswith(b"Error: ")
    assert done.stderr.count(b"\n") == 1
    assert run(f"versions list --models {base} {models} 2> {FULL} > {FULL}").returncode == code


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_image_is_drawn_in_the_characters_of_a_narrow_stream(
    models: Path, tiny: Path, encoding: str
) -> None:
    done = run(f"predict --random --dataset {tiny} --models {models}", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"##" in done.stdout
    assert done.stdout.isascii()


def test_the_bytes_of_a_name_that_is_not_text_are_kept(tmp_path: Path) -> None:
    done = run(f"versions list --models {tmp_path}/$'\\xff'", PYTHONIOENCODING="utf-8")
    assert done.returncode == 2
    assert b"/\xff; train one with" in done.stderr
