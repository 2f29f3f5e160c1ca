"""The commands as processes."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("function", "usage"),
    [("main", "kmnist [OPTIONS] COMMAND"), ("train", "kmnist-train [OPTIONS]")],
)
def test_the_programs_run_their_command(function: str, usage: str) -> None:
    code = f"from kmnist.__main__ import {function}; {function}()"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {usage}")
