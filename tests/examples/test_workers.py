"""``examples/workers.sh``: two workers on this machine, which end together."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "workers.sh"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("bash"), reason="needs bash"),
    pytest.mark.timeout(300),  # two processes that import TensorFlow
]


def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script with the ``kmnist-train`` of this Python."""
    program = folder / "kmnist-train"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m kmnist train "$@"\n')
    program.chmod(0o755)
    return subprocess.run(
        ["bash", SCRIPT, "--models", folder / "kmnist", *arguments],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_workers_publish_one_version(tiny: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "--dataset", tiny, "--epochs", "2")
    assert done.returncode == 0, done.stdout
    for index in range(2):
        assert f"worker {index}: waiting for 2 workers, at most 60 s\n" in done.stdout
    assert f"worker 0: exported {tmp_path / 'kmnist' / '1'};" in done.stdout
    assert "worker 1: exported" not in done.stdout


def test_the_first_failure_ends_both(tmp_path: Path) -> None:
    done = run(tmp_path, "--dataset", "/nowhere")
    assert done.returncode == 2
    assert "/nowhere" in done.stdout
