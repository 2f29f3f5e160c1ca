"""The start of TensorFlow, whose messages are kept off stderr."""

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
