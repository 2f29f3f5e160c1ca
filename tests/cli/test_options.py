"""The options that commands share: one name, one default, one environment variable."""

import inspect
import pkgutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kmnist.cli._options import (
    MODELS,
    SERVERS,
    is_given,
    models_option,
    refuse_both_sources,
    server_option,
)
from tests.cli.test_cli import options_of


@pytest.mark.parametrize(
    ("command", "function", "parameters"),
    [
        ("train", "kmnist.training.loop.train", "epochs batch_size learning_rate seed"),
        ("train", "kmnist.training.model.build_model", "init seed"),
        ("train", "kmnist.data.load_dataset", "validation_size"),
        ("serve", "kmnist.server.Server", "host grpc_port rest_port concurrency timeout"),
        ("status", "kmnist.client.Client", "timeout"),
    ],
)
def test_the_defaults_are_those_of_the_library(
    command: str, function: str, parameters: str
) -> None:
    library = inspect.signature(pkgutil.resolve_name(function)).parameters
    defaults = {option.name: option.default for option in options_of(command)}
    for name in parameters.split():
        assert defaults[name] == library[name].default, name


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
