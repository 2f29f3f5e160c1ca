"""The options that commands share: one name, one default, one environment variable."""

import inspect
import pkgutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kmnist.cli import COMMANDS, main
from kmnist.cli._options import (
    MODELS,
    NAME,
    SERVERS,
    is_given,
    models_argument,
    models_option,
    port_options,
    refuse_both_sources,
    server_option,
)


def options_of(name: str) -> dict[str, click.Option]:
    """Return the options of a command or of the subcommands of a group, by name."""
    command = main.get_command(click.Context(main), name)
    assert command is not None
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    return {
        option: parameter
        for each in commands
        for parameter in each.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }


@pytest.mark.parametrize(
    ("option", "commands"),
    [
        ("--models", "train evaluate serve predict versions doctor"),
        ("--server", "evaluate predict status doctor bench"),
        ("--name", "evaluate serve predict status doctor bench"),
        ("--version", "evaluate predict status bench"),
        ("--label", "train evaluate predict status bench"),
        ("--timeout", "train evaluate serve predict status bench"),
        ("--header", "evaluate predict status bench"),
        ("--ca", "evaluate predict status bench"),
        ("--dataset", "train evaluate predict versions"),
        ("--data-dir", "train evaluate predict versions"),
        ("--grey", "train evaluate predict versions"),
        ("--grpc-port", "serve doctor"),
        ("--rest-port", "serve doctor"),
        ("--json", "train evaluate serve predict status versions doctor bench"),
        ("--debug", "train evaluate serve predict status versions doctor bench"),
        ("--output", "predict"),
        ("--base", ""),
        ("--model", ""),
        ("--load", ""),
    ],
)
def test_a_word_means_the_same_in_every_command(option: str, commands: str) -> None:
    assert [name for name in COMMANDS if option in options_of(name)] == commands.split()


@pytest.mark.parametrize(
    ("command", "function", "parameters"),
    [
        ("train", "kmnist.training.loop.train", "epochs batch_size learning_rate seed"),
        ("train", "kmnist.training.model.build_model", "init seed"),
        ("train", "kmnist.data.load_dataset", "validation_size"),
        ("serve", "kmnist.server.Server", "host grpc_port rest_port concurrency timeout"),
        ("doctor", "kmnist.doctor.examine_folder", "grpc_port rest_port"),
        ("status", "kmnist.client.Client", "timeout"),
    ],
)
def test_the_defaults_are_those_of_the_library(
    command: str, function: str, parameters: str
) -> None:
    library = inspect.signature(pkgutil.resolve_name(function)).parameters
    options = options_of(command)
    for name in parameters.split():
        assert options[f"--{name.replace('_', '-')}"].default == library[name].default, name


def test_the_default_server_and_model_are_those_of_the_client() -> None:
    from kmnist import Client

    parameters = inspect.signature(Client).parameters
    assert (parameters["url"].default, parameters["model"].default) == (SERVERS[0], NAME)


HUGE = "99999999999999999999"


@pytest.mark.parametrize(
    "arguments",
    [
        f"train --epochs {HUGE}",
        f"train --batch-size {HUGE}",
        f"train --validation-size {HUGE}",
        f"train --seed {HUGE}",
        "train --learning-rate nan",
        "train --learning-rate inf",
        "bench --duration nan",
        "bench --duration inf",
        "bench --rate inf",
        f"bench --images {HUGE}",
        "status --timeout nan",
        "status --wait inf",
        f"status --version {HUGE}",
        "serve --timeout nan",
        f"serve --grpc-port {HUGE}",
    ],
)
def test_an_extreme_number_is_refused_in_one_line(arguments: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: Invalid value for '{arguments.split()[1]}'")
    assert done.stderr.count("\n") == 1


@click.command()
@models_option()
@server_option()
def sources(models: Path, server: str) -> None:
    refuse_both_sources()
    click.echo(f"{models} {is_given('models')} {server} {is_given('server')}")


@pytest.mark.parametrize(
    ("arguments", "environment", "output"),
    [
        ("", {}, f"{MODELS} False {SERVERS[0]} False"),
        ("--models a", {}, f"a True {SERVERS[0]} False"),
        ("--server b", {}, f"{MODELS} False b True"),
        ("", {"KMNIST_MODELS": "a", "KMNIST_SERVER": "b"}, "a False b False"),
        ("--models c", {"KMNIST_MODELS": "a", "KMNIST_SERVER": "b"}, "c True b False"),
    ],
)
def test_only_the_command_line_decides_the_source(
    arguments: str, environment: dict[str, str], output: str
) -> None:
    done = CliRunner().invoke(sources, arguments, env=environment)
    assert done.stdout == f"{output}\n"


def test_two_sources_on_the_command_line_are_refused() -> None:
    done = CliRunner().invoke(sources, ["--models", "a", "--server", "b"])
    assert done.exit_code == 2
    assert "received --models and --server; expected at most one of them" in done.stderr


@pytest.mark.parametrize(
    ("models", "argument"),
    [(MODELS, ""), (Path("a/b"), " --models a/b"), (Path("a b"), " --models 'a b'")],
)
def test_the_argument_of_the_default_folder_is_omitted(models: Path, argument: str) -> None:
    assert models_argument(models) == argument


def test_the_ports_are_listed_in_order_and_with_the_meaning_of_0() -> None:
    @click.command()
    @port_options("picks a free one")
    def command(grpc_port: int, rest_port: int) -> None:
        click.echo(f"{grpc_port} {rest_port}")

    text = " ".join(CliRunner().invoke(command, ["--help"]).stdout.split())
    assert text.index("--grpc-port") < text.index("--rest-port")
    assert text.count("0 picks a free one.") == 2
    assert CliRunner().invoke(command, ["--grpc-port", "7"]).stdout == "7 8501\n"
