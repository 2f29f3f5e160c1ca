"""The client that the options of a command describe."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kmnist.cli._options import NAME
from kmnist.cli._tensorflow import starting_tensorflow
from kmnist.errors import InputError, MissingError

if TYPE_CHECKING:
    from kmnist.client import Client
    from kmnist.server.local import LocalModel

__all__ = ["open_client"]


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
        InputError: A header is not NAME:VALUE, or an argument is rejected by the client.
        MissingError: The folder has no such version or label.
        click.UsageError: Both a version and a label are given.
    """
    from kmnist.client import TLS, Client

    if version is not None and label is not None:
        raise click.UsageError("received --version and --label; expected at most one of them")
    settings |= {"timeout": timeout, "headers": dict(map(_header, headers))}
    if isinstance(source, Path):
        model = _load(source, version, label)
        return Client(model=name or source.absolute().name, transport=model, **settings)
    tls = TLS(ca=ca) if ca is not None else None
    return Client(source, model=name or NAME, version=version, label=label, tls=tls, **settings)


def _load(models: Path, version: int | None, label: str | None) -> "LocalModel":
    if label is not None:
        version = _labelled_version(models, label)
    with starting_tensorflow():
        from kmnist.server.local import LocalModel

    return LocalModel(models, version)


def _labelled_version(models: Path, label: str) -> int:
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
