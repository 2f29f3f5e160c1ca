"""The client that the options of a command describe."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kmnist.cli._options import MODELS, NAME
from kmnist.cli._tensorflow import starting_tensorflow
from kmnist.errors import InputError, MissingError, ModelNotFoundError

if TYPE_CHECKING:
    from kmnist.client import Client
    from kmnist.server.local import LocalModel

__all__ = ["ask", "labelled_version", "open_client"]

T = TypeVar("T")


def ask(
    source: str | Path,
    question: Callable[["Client"], T],
    *,
    name: str | None,
    **client_arguments: Any,
) -> T:
    """Return the result of ``question`` for a client; find the model if no name is given.

    If a server has no model of the default name, the names of others are looked for. If exactly one
    is found, the question is asked again for that model.

    Args:
        source: The URL of the server, or the folder of versions.
        question: A function of a client. It may be called twice, so it must print nothing.
        name: The name of the model.
        client_arguments: Further arguments of :func:`open_client`.

    Raises:
        ModelNotFoundError: There is no such model; a note lists those that were found.
        KmnistError: Any other error of :func:`open_client` or ``question``.
    """
    try:
        with open_client(source, name=name, **client_arguments) as client:
            return question(client)
    except ModelNotFoundError as error:
        if isinstance(source, Path):
            raise
        found = _find_models(source, **client_arguments)
        if name is not None or len(found) != 1:
            error.add_note(
                f"models that were found: {', '.join(found)}; select one with --name"
                if found
                else "select another one with --name; TensorFlow Serving does not list its models"
            )
            raise
    with open_client(source, name=found[0], **client_arguments) as client:
        return question(client)


def _find_models(server: str, *, headers: tuple[str, ...], ca: str | None, **_: Any) -> list[str]:
    from kmnist.client import TLS
    from kmnist.doctor import find_models
    from kmnist.versions import config_path, configured_models

    models = Path(os.environ.get("KMNIST_MODELS") or MODELS)
    return find_models(
        server,
        [models.name, *configured_models(config_path(models))],
        headers=dict(map(_header, headers)),
        tls=TLS(ca=ca) if ca is not None else None,
    )


def open_client(
    source: str | Path,
    *,
    name: str | None,
    version: int | None,
    label: str | None,
    timeout: float,
    headers: tuple[str, ...],
    ca: str | None,
    **settings: Any,
) -> "Client":
    """Open a client of a server or, without any server, of a folder of versions.

    Args:
        source: The URL of the server, or the folder of versions, one of which is loaded.
        name: The name of the model; by default the name of the folder, or ``kmnist``.
        version: The number of the version; by default the latest.
        label: The label of the version, instead of its number.
        timeout: The time that one call may take, in seconds.
        headers: ``NAME:VALUE`` pairs to send to the server.
        ca: The path of a PEM file of certificates to trust.
        settings: Further arguments of the client.

    Raises:
        InputError: A header is not NAME:VALUE, a name is not printable, or an argument is rejected
            by the client.
        MissingError: The folder has no such version or label.
        click.UsageError: Both a version and a label are given.
    """
    from kmnist.client import TLS, Client

    if version is not None and label is not None:
        raise click.UsageError("received --version and --label; expected at most one of them")
    for option, text in (("--name", name), ("--label", label)):
        if text is not None and not text.isprintable():
            raise InputError(f"received {option} {text!r}; expected printable characters")
    settings |= {"timeout": timeout, "headers": dict(map(_header, headers))}
    if isinstance(source, Path):
        model = _load(source, version, label)
        return Client(model=name or source.absolute().name, transport=model, **settings)
    tls = TLS(ca=ca) if ca is not None else None
    return Client(source, model=name or NAME, version=version, label=label, tls=tls, **settings)


def _load(models: Path, version: int | None, label: str | None) -> "LocalModel":
    if label is not None:
        version = labelled_version(models, label)
    with starting_tensorflow():
        from kmnist.server.local import LocalModel

    return LocalModel(models, version)


def labelled_version(models: Path, label: str) -> int:
    """Return the version that a label of a folder of versions points at.

    Raises:
        MissingError: There is no such label.
    """
    from kmnist.versions import read_labels

    labels = read_labels(models)
    if label not in labels:
        raise MissingError(
            f"no label {label!r} in {models}; existing labels: {', '.join(sorted(labels)) or 'none'}"
        )
    return labels[label]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        # Without the text itself, which may be a secret.
        raise InputError("received a --header without a name or colon; expected NAME:VALUE")
    return name.strip(), value.strip()
