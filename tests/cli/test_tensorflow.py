"""The start of TensorFlow, whose messages are kept off stderr."""

import os

import pytest

from kmnist.cli._tensorflow import starting_tensorflow


@pytest.mark.parametrize("fails", [False, True])
def test_messages_of_a_start_are_shown_only_if_it_fails(
    capfd: pytest.CaptureFixture[str], fails: bool
) -> None:
    def start() -> None:
        with starting_tensorflow():
            os.write(2, b"the cause\n")
            if fails:
                raise ImportError("no libcuda")

    if fails:
        with pytest.raises(ImportError, match="no libcuda"):
            start()
    else:
        start()
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "the cause\nafterwards\n"[0 if fails else 10 :]
