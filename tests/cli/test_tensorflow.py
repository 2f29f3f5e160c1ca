"""The start of TensorFlow, whose messages are kept off stderr."""

import os
import subprocess
import sys

import pytest

from kmnist.cli._tensorflow import starting_tensorflow


def test_messages_of_a_start_are_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with starting_tensorflow():
        os.write(2, b"a message of TensorFlow's C++ code\n")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


def test_messages_of_a_failed_start_are_shown(capfd: pytest.CaptureFixture[str]) -> None:
    def start() -> None:
        with starting_tensorflow():
            os.write(2, b"the cause\n")
            raise ImportError("no libcuda")

    with pytest.raises(ImportError, match="no libcuda"):
        start()
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "the cause\nafterwards\n"


@pytest.mark.parametrize(("body", "freezes"), [("pass", True), ("raise ImportError", False)])
def test_garbage_is_not_searched_while_tensorflow_is_imported(body: str, freezes: bool) -> None:
    program = f"""
import contextlib, gc
from kmnist.cli._tensorflow import starting_tensorflow
for expected in (False, True):  # TensorFlow is imported once
    with contextlib.suppress(ImportError), starting_tensorflow():
        assert gc.isenabled() is expected
        {body}
    assert gc.isenabled()
    print(gc.get_freeze_count())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    first, second = map(int, done.stdout.split())
    assert first == second
    assert (first > 100_000) is freezes
