"""The group of all commands, and the two ways to run it."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import kmnist
from kmnist.cli import COMMANDS, main


def test_the_help_lists_every_command_with_a_whole_sentence() -> None:
    lines = CliRunner().invoke(main, ["--help"]).stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text_that_is_a_sentence(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    for each in commands:
        for parameter in each.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, parameter.name
                assert parameter.help.endswith("."), parameter.name


def test_version() -> None:
    done = CliRunner().invoke(main, ["--version"], prog_name="kmnist")
    assert (done.exit_code, done.stdout) == (0, f"kmnist {kmnist.__version__}\n")


def test_python_m_kmnist_without_arguments_prints_the_help() -> None:
    done = subprocess.run([sys.executable, "-m", "kmnist"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: kmnist [OPTIONS] COMMAND [ARGS]...\n")
    assert len(done.stderr.splitlines()) > len(COMMANDS)


def test_a_misspelt_command_is_corrected() -> None:
    done = CliRunner().invoke(main, ["doctro"])
    assert (done.exit_code, done.stderr) == (
        2,
        "Error: no command 'doctro'; did you mean doctor?\n",
    )
