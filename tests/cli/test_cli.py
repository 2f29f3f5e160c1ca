"""The group of all commands, and their options as a whole."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import kmnist
from kmnist.cli import COMMANDS, main
from kmnist.versions import label


def options_of(name: str) -> list[click.Option]:
    """Return the options of a command, or of the commands of a group."""
    command = main.get_command(click.Context(main), name)
    assert command is not None
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    return [each for one in commands for each in one.params if isinstance(each, click.Option)]


def test_the_help_lists_every_command_with_a_whole_sentence() -> None:
    lines = CliRunner().invoke(main, ["--help"]).stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)


@pytest.mark.parametrize(
    ("option", "commands"),
    [
        ("--models", "train export evaluate serve predict versions doctor"),
        ("--server", "evaluate predict call status doctor bench"),
        ("--name", "evaluate serve predict call status doctor bench"),
        ("--version", "evaluate predict call status bench"),
        ("--label", "train export evaluate predict call status bench"),
        ("--dataset", "train export evaluate predict versions"),
        ("--data-dir", "train export evaluate predict versions"),
        ("--json", "train export evaluate serve predict status versions doctor bench"),
        ("--debug", "train export evaluate serve predict call status versions doctor bench"),
    ],
)
def test_a_word_means_the_same_in_every_command(option: str, commands: str) -> None:
    having = [name for name in COMMANDS if any(option in each.opts for each in options_of(name))]
    assert having == commands.split()


def test_all_commands_together_have_few_options() -> None:
    """Counted as their help shows them, without --help and --debug."""
    names = [option.name for name in COMMANDS for option in options_of(name)]
    assert sum(name != "debug" for name in names) <= 105


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("kmnist evaluate --models MODELS --version 1", "1 12"),
        ("kmnist evaluate --models MODELS --label ", "canary stable"),
        ("kmnist evaluate --models none --label ", ""),
        ("kmnist versions compare --models MODELS 2", "2"),
        ("kmnist status --label s", "stable"),
        ("kmnist train --dataset ", "mnist letters"),
        ("kmnist-train --dataset le", "le"),  # bash completes it
        ("kmnist-train --label c", "canary"),
    ],
)
def test_a_shell_completes_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, completed: str
) -> None:
    base = tmp_path / "letters" / "kmnist"
    for version in (1, 2, 12):
        (base / str(version)).mkdir(parents=True)
    label(base, {"stable": 2, "canary": 12})
    (tmp_path / ".hidden").mkdir()
    monkeypatch.chdir(tmp_path)
    words = words.replace("MODELS", str(base))
    program, *arguments = words.split(" ")
    command = main if program == "kmnist" else main.get_command(click.Context(main), "train")
    assert command is not None
    done = CliRunner().invoke(
        command,
        prog_name=program,
        env={
            f"_{program.upper().replace('-', '_')}_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(arguments)),
            "KMNIST_MODELS": str(base),
        },
    )
    assert [line.partition(",")[2] for line in done.stdout.split()] == completed.split()


def test_version() -> None:
    done = CliRunner().invoke(main, ["--version"], prog_name="kmnist")
    assert (done.exit_code, done.stdout) == (0, f"kmnist {kmnist.__version__}\n")


def test_without_arguments_the_help_is_printed_in_full() -> None:
    done = CliRunner().invoke(main, [])
    assert done.exit_code == 2
    assert done.stderr == CliRunner().invoke(main, ["--help"]).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("doctro", "No such command 'doctro'. Did you mean 'doctor'?"),
        ("versions lst", "No such command 'lst'. Did you mean 'list'?"),
        ("--nope", "No such option '--nope'."),
        ("status --servr x", "No such option '--servr'. Did you mean '--server'?"),
    ],
)
def test_a_misspelt_word_is_one_line_with_the_nearest_one(arguments: str, message: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stderr) == (2, f"Error: {message}\n")
