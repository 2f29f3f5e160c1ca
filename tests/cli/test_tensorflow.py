"""The start of TensorFlow, whose messages are kept off stderr, and commands without it."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from kmnist.cli import main
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


@pytest.mark.parametrize(
    "command",
    [
        "train --tensorboard logs",
        "serve",
        "evaluate",
        "predict --random --models models/kmnist",
        "versions compare 1 1",
        "doctor",
    ],
)
def test_a_command_that_lacks_it_ends_with_one_line_and_writes_nothing(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # as if it were not installed
    monkeypatch.chdir(tmp_path)
    Path("models/kmnist/1").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(main, command)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: no module tensorflow: ")
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_another_backend_of_keras_is_refused_by_the_name_of_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    done = CliRunner().invoke(main, ["train"])
    assert done.exit_code == 2
    assert done.stderr == "Error: KERAS_BACKEND is jax: unset it, kmnist needs TensorFlow\n"
