"""The client that the options of a command describe."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from kmnist.cli._client import ask, open_client
from kmnist.errors import InputError, MissingError, ModelNotFoundError
from kmnist.server import Server
from kmnist.versions import ensure_model_config, read_labels

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


def test_the_model_of_a_folder_is_called_as_the_folder(models: Path) -> None:
    with open_client(models, **ARGUMENTS) as client:
        assert client.model == models.name
    with open_client(models, **ARGUMENTS | {"name": "digits"}) as client:
        assert client.model == "digits"


@pytest.mark.parametrize("selection", [{}, {"version": 1}, {"label": "stable"}])
def test_a_version_or_label_selects_the_version_of_a_folder(
    served: Server, selection: dict[str, Any]
) -> None:
    with open_client(served.base, **ARGUMENTS | selection) as client:
        assert client.metadata().version == 1


def test_a_label_that_the_folder_does_not_have_is_named_with_those_it_has(
    served: Server, models: Path
) -> None:
    assert read_labels(served.base) == {"stable": 1}
    with pytest.raises(MissingError, match=r"no label 'canary' in .*; existing labels: stable$"):
        open_client(served.base, **ARGUMENTS | {"label": "canary"})
    with pytest.raises(MissingError, match=r"existing labels: none$"):
        open_client(models, **ARGUMENTS | {"label": "canary"})


@pytest.fixture
def fashion(models: Path, tmp_path: Path) -> Iterator[Server]:
    """A server whose only model is called fashion."""
    shutil.copytree(models, tmp_path / "models" / "fashion")
    base = tmp_path / "models" / "fashion"
    with Server(base, grpc_port=0, rest_port=0, grace=1) as server:
        yield server


def test_the_only_model_of_a_server_is_found(
    fashion: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fashion.base)  # without models/models.config
    assert ask(fashion.rest_url, lambda client: client.metadata().version, **ARGUMENTS) == 1
    ensure_model_config(fashion.base)
    monkeypatch.setenv("KMNIST_MODELS", str(fashion.base.parent / "kmnist"))
    for url in (fashion.rest_url, fashion.grpc_url):
        assert ask(url, lambda client: (client.status(), client.model)[1], **ARGUMENTS) == "fashion"


def test_a_wrong_name_is_reported_with_those_that_are_there(fashion: Server) -> None:
    with pytest.raises(ModelNotFoundError) as raised:
        ask(fashion.rest_url, lambda client: client.status(), **ARGUMENTS | {"name": "nope"})
    assert raised.value.__notes__ == ["models that were found: fashion; select one with --name"]


def test_a_model_that_cannot_be_found_has_to_be_named(
    fashion: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kmnist.doctor.find_models", lambda *_, **__: [])
    with pytest.raises(ModelNotFoundError) as raised:
        ask(fashion.rest_url, lambda client: client.status(), **ARGUMENTS)
    assert "TensorFlow Serving does not list its models" in raised.value.__notes__[0]


@pytest.mark.parametrize("source", ["grpc://localhost:8500", Path("models/kmnist")], ids=str)
def test_a_version_and_a_label_are_refused(source: str | Path) -> None:
    with pytest.raises(click.UsageError, match="received --version and --label"):
        open_client(source, **ARGUMENTS | {"version": 1, "label": "stable"})


@pytest.mark.parametrize("header", ["s3cret", ":s3cret"])
def test_a_header_without_a_name_is_refused_without_its_value(header: str) -> None:
    with pytest.raises(InputError, match="expected NAME:VALUE") as raised:
        open_client("grpc://localhost:8500", **ARGUMENTS | {"headers": (header,)})
    assert "s3cret" not in str(raised.value)


def test_a_missing_file_of_certificates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.pem: No such file"):
        open_client("grpcs://localhost", **ARGUMENTS | {"ca": str(tmp_path / "no.pem")})


@pytest.mark.parametrize("text", ["\udcff", "a\nb"])
@pytest.mark.parametrize("option", ["name", "label"])
def test_a_name_that_is_not_printable_is_refused(option: str, text: str) -> None:
    with pytest.raises(InputError, match=f"received --{option} .*; expected printable"):
        open_client("grpc://localhost:8500", **ARGUMENTS | {option: text})
