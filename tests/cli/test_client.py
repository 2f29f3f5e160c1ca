"""The client that the options of a command describe."""

from pathlib import Path
from typing import Any

import click
import pytest

from kmnist.cli._client import image_size, open_client
from kmnist.errors import InputError, MissingError
from kmnist.server import Server

ARGUMENTS: dict[str, Any] = {
    "name": None,
    "version": None,
    "label": None,
    "timeout": 30.0,
    "headers": (),
    "ca": None,
}


def test_the_model_of_a_server_is_called_kmnist() -> None:
    with open_client("grpc://localhost:8500", **ARGUMENTS) as client:
        assert (client.address, client.model) == ("grpc://localhost:8500", "kmnist")


@pytest.mark.parametrize("selection", [{"version": 1}, {"label": "stable"}])
def test_a_version_or_label_selects_the_version_of_a_folder(
    served: Server, selection: dict[str, Any]
) -> None:
    with open_client(served.base, **ARGUMENTS | selection) as client:
        assert (client.model, client.metadata().version) == (served.base.name, 1)
        assert image_size(client) == (28, 28)


@pytest.mark.parametrize(("labels", "existing"), [("served", "stable"), ("models", "none")])
def test_a_label_that_the_folder_does_not_have_is_named_with_those_it_has(
    request: pytest.FixtureRequest, labels: str, existing: str
) -> None:
    source = request.getfixturevalue(labels)
    base = source.base if isinstance(source, Server) else source
    with pytest.raises(MissingError, match=rf"no label 'x' in .*; existing labels: {existing}$"):
        open_client(base, **ARGUMENTS | {"label": "x"})


@pytest.mark.parametrize("source", ["grpc://localhost:8500", Path("models/kmnist")], ids=str)
def test_a_version_and_a_label_are_refused(source: str | Path) -> None:
    with pytest.raises(click.UsageError, match="--version and --label cannot be used together"):
        open_client(source, **ARGUMENTS | {"version": 1, "label": "stable"})


@pytest.mark.parametrize("header", ["s3cret", ":s3cret"])
def test_a_header_without_a_name_is_refused_without_its_value(header: str) -> None:
    with pytest.raises(InputError, match=r"^a header must be NAME:VALUE$"):
        open_client("grpc://localhost:8500", **ARGUMENTS | {"headers": (header,)})
