"""The defaults of the options that are arguments of the library, too."""

import inspect
import pkgutil

import pytest

from tests.cli.test_cli import options_of


@pytest.mark.parametrize(
    ("command", "function", "parameters"),
    [
        ("train", "kmnist.training.loop.train", "epochs batch_size learning_rate seed"),
        ("train", "kmnist.training.model.build_model", "init seed"),
        ("train", "kmnist.data.load_dataset", "validation_size"),
        ("serve", "kmnist.server.Server", "host grpc_port rest_port concurrency timeout"),
        ("status", "kmnist.client.Client", "url timeout"),
    ],
)
def test_the_defaults_are_those_of_the_library(
    command: str, function: str, parameters: str
) -> None:
    library = inspect.signature(pkgutil.resolve_name(function)).parameters
    defaults = {option.name: option.default for option in options_of(command)}
    # The argument that --server is for the library.
    defaults["url"] = defaults.get("server")
    for name in parameters.split():
        assert defaults[name] == library[name].default, name
