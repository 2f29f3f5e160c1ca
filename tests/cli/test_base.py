"""The base classes of the commands: one-line errors and exit codes."""

import os
import signal
import subprocess
import sys
from typing import Never

import click
import pytest
from click.testing import CliRunner

from kmnist.cli._base import Command, interrupt_on_sigterm
from kmnist.errors import InputError, KmnistError


def command_that_raises(error: BaseException) -> click.Command:
    @click.command(cls=Command)
    def command() -> Never:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KmnistError("it failed"), 1, "it failed"),
        (InputError("a must be b,\n not c"), 2, "a must be b, not c"),
        (OSError(28, "No space left on device"), 1, "[Errno 28] No space left on device"),
        (click.UsageError("a must be b"), 2, "a must be b"),
        (RuntimeError("no\nluck"), 1, "RuntimeError: no luck (--debug shows the traceback)"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("interrupted after epoch 2"), 130, "interrupted after epoch 2"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_failure_is_one_line_on_stderr(error: BaseException, code: int, message: str) -> None:
    done = CliRunner().invoke(command_that_raises(error), [])
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", f"Error: {message}\n")


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ((3, 13), ""),
        ((3, 14), " with Python 3.11 to 3.13: TensorFlow has no release for 3.14 yet"),
    ],
    ids=str,
)
def test_what_is_not_installed_is_named_with_the_command_that_installs_it(
    python: tuple[int, int], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", python)
    error = ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")
    done = CliRunner().invoke(command_that_raises(error), [])
    command = "run pip install -c constraints.txt '.[train]' in the checkout of kmnist"
    assert done.exit_code == 1
    assert done.stderr == f"Error: no module tensorflow: {command}{reason}\n"


def test_a_note_of_an_error_is_appended_to_its_message() -> None:
    error = InputError("TensorFlow sees no GPU")
    error.add_note("or use --device cpu")
    done = CliRunner().invoke(command_that_raises(error), [])
    assert done.stderr == "Error: TensorFlow sees no GPU; or use --device cpu\n"


def test_debug_shows_the_traceback() -> None:
    error = InputError("a must be b")
    assert CliRunner().invoke(command_that_raises(error), ["--debug"]).exception is error


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_result_of_a_command_is_its_exit_code(result: int | None, code: int) -> None:
    command = Command("command", callback=lambda: result)
    assert CliRunner().invoke(command, []).exit_code == code


def test_sigterm_interrupts_and_so_does_an_error_that_it_causes() -> None:
    """As TensorFlow raises it while it traces a function."""
    before = signal.getsignal(signal.SIGTERM)

    def callback() -> Never:
        interrupt_on_sigterm()
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise TypeError("in user code") from None
        raise AssertionError("not interrupted")

    try:
        done = CliRunner().invoke(Command("command", callback=callback), [])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (done.exit_code, done.stderr) == (130, "Error: interrupted\n")


def test_a_reader_that_ends_early_is_not_an_error_message() -> None:
    code = (
        "import click; from kmnist.cli._base import Command\n"
        "def callback():\n"
        "    while True: click.echo('line')\n"
        "Command('endless', callback=callback).main([])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "line\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1
