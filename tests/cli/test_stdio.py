"""Standard streams that are closed, full or narrow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kmnist.versions import list_versions

FULL = Path("/dev/full")


def run(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``kmnist COMMAND`` in a shell, which may redirect its streams."""
    return subprocess.run(
        ["bash", "-c", f"{sys.executable} -m kmnist {command}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | variables,
        check=False,
    )


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder of a model with version 1."""
    folder = tmp_path / "models" / "kmnist"
    (folder / "1").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_a_closed_stream_is_the_null_device(base: Path, closed: str) -> None:
    done = run(f"versions list --models {base} {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert run(f"versions list --models /nowhere {closed}").returncode == 2


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("models", "code"), [("", 1), ("--models /nowhere", 2)])
def test_a_full_stdout_is_one_line(base: Path, models: str, code: int) -> None:
    done = run(f"versions list --models {base} {models} > {FULL}")
    assert done.returncode == code
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_training_is_exported_before_a_full_stdout_is_reported(
    tiny: Path, tmp_path: Path
) -> None:
    base = tmp_path / "kmnist"
    done = run(
        f"train --dataset {tiny} --validation-size 100 --epochs 1 --models {base} <&- > {FULL}"
    )
    assert (done.returncode, list_versions(base)) == (1, [1])
    assert done.stderr == "Error: [Errno 28] No space left on device\n"


def test_a_name_that_is_not_text_is_escaped(tmp_path: Path) -> None:
    done = run(f"versions list --models {tmp_path}/$'\\xff'")
    assert done.returncode == 2
    assert "/\\udcff; train one with" in done.stderr
