"""The start of TensorFlow, whose messages are kept off stderr."""

import os
from contextlib import suppress

import pytest

from kmnist.cli._tensorflow import starting_tensorflow


@pytest.mark.parametrize(
    ("error", "shown"), [(None, ""), (ImportError("no libcuda"), "the cause\n")], ids=str
)
def test_messages_of_a_start_are_shown_only_if_it_fails(
    capfd: pytest.CaptureFixture[str], error: ImportError | None, shown: str
) -> None:
    with suppress(ImportError), starting_tensorflow():
        os.write(2, b"the cause\n")
        if error:
            raise error
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == f"{shown}afterwards\n"
