"""The start of TensorFlow, whose messages are kept off stderr."""

import gc
import os

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


def test_garbage_is_collected_after_a_start_that_succeeds_or_fails() -> None:
    with starting_tensorflow():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), starting_tensorflow():
        raise ImportError("no libcuda")
    assert gc.isenabled()
