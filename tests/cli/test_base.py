"""The base classes of the commands: one-line errors, exit codes and suggestions."""

import os
import signal
import subprocess
import sys
import time
from typing import Never

import click
import pytest
from click.testing import CliRunner

from kmnist.cli._base import Command, Group, interrupt_on_sigterm
from kmnist.errors import InputError, KmnistError, NotReachableError


def command_that_raises(error: BaseException) -> click.Command:
    @click.command(cls=Command)
    def command() -> Never:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KmnistError("it failed"), 1, "it failed"),
        (InputError("received a;\n expected b"), 2, "received a; expected b"),
        (NotReachableError("connection refused"), 1, "connection refused"),
        (OSError(28, "No space left on device"), 1, "[Errno 28] No space left on device"),
        (click.UsageError("received a; expected b"), 2, "received a; expected b"),
        (RuntimeError("no\nluck"), 1, "RuntimeError: no luck (--debug shows the traceback)"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("interrupted after epoch 2"), 130, "interrupted after epoch 2"),
        (
            ModuleNotFoundError("No module named 'hdrh'", name="hdrh"),
            1,
            "no module hdrh; install kmnist with its dependencies: pip install kmnist",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_failure_is_one_line_on_stderr(error: BaseException, code: int, message: str) -> None:
    done = CliRunner().invoke(command_that_raises(error), [])
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", f"Error: {message}\n")


def test_a_note_of_an_error_is_appended_to_its_message() -> None:
    error = InputError("TensorFlow sees no GPU")
    error.add_note("or use --device cpu")
    done = CliRunner().invoke(command_that_raises(error), [])
    assert done.stderr == "Error: TensorFlow sees no GPU; or use --device cpu\n"


def test_debug_shows_the_traceback() -> None:
    error = InputError("received a; expected b")
    assert CliRunner().invoke(command_that_raises(error), ["--debug"]).exception is error


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_result_of_a_command_is_its_exit_code(result: int | None, code: int) -> None:
    command = Command("command", callback=lambda: result)
    assert CliRunner().invoke(command, []).exit_code == code


@pytest.fixture
def group() -> Group:
    group = Group("group", help="A group of commands.")
    group.command("doctor")(lambda: None)
    group.command("versions")(lambda: None)
    return group


def test_a_group_without_arguments_prints_its_help_in_full(group: Group) -> None:
    done = CliRunner().invoke(group, [])
    assert done.exit_code == 2
    assert done.stderr.startswith("Usage: group [OPTIONS] COMMAND [ARGS]...\n\n  A group of")
    assert done.stderr == CliRunner().invoke(group, ["--help"]).stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("doctro", "no command 'doctro'; did you mean doctor?"),
        ("xyz", "no command 'xyz'; expected doctor, versions"),
    ],
)
def test_an_unknown_command_suggests_the_nearest(group: Group, name: str, message: str) -> None:
    done = CliRunner().invoke(group, [name])
    assert (done.exit_code, done.stderr) == (2, f"Error: {message}\n")


def test_an_unknown_option_of_a_group_is_one_line(group: Group) -> None:
    done = CliRunner().invoke(group, ["--nope"])
    assert done.exit_code == 2
    assert "No such option" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_error_that_an_interrupt_causes_is_an_interrupt() -> None:
    """As AutoGraph raises it, and a child process that received the same Ctrl-C."""

    def callback() -> Never:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise TypeError("in user code") from None
        raise AssertionError("not interrupted")

    before = signal.getsignal(signal.SIGINT)
    done = CliRunner().invoke(Command("command", callback=callback), [])
    assert (done.exit_code, done.stderr) == (130, "Error: interrupted\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_in_a_destructor_is_not_ignored() -> None:
    class Interrupted:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    def callback() -> Never:
        Interrupted()
        time.sleep(10)
        raise AssertionError("the interrupt was ignored")

    done = CliRunner().invoke(Command("command", callback=callback), [])
    assert (done.exit_code, done.stderr) == (130, "Error: interrupted\n")


def test_sigterm_interrupts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        interrupt_on_sigterm()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_closed_pipe_is_not_a_traceback() -> None:
    code = (
        "import click; from kmnist.cli._base import Command\n"
        "def callback():\n"
        "    while True: click.echo('line')\n"
        "Command('endless', callback=callback).main([])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1
