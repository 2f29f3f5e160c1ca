"""The client that the options of a command describe."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kmnist.cli._options import NAME
from kmnist.cli._tensorflow import starting_tensorflow
from kmnist.errors import InputError, MissingError

if TYPE_CHECKING:
    from kmnist.client import Client

__all__ = ["ask", "image_size", "labelled_version", "open_client"]

T = TypeVar("T")


def ask(source: str | Path, question: Callable[["Client"], T], **client_arguments: Any) -> T:
    """Return the result of ``question`` for a client.

    Args:
        source: The URL of the server, or the folder of versions.
        question: A function of a client.
        client_arguments: Further arguments of :func:`open_client`.
    """
    with open_client(source, **client_arguments) as client:
        return question(client)


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
        InputError: A header is not NAME:VALUE, or the client refuses an argument.
        MissingError: The folder has no such version or label.
        click.UsageError: Both a version and a label are given.
    """
    from kmnist.client import TLS, Client

    if version is not None and label is not None:
        raise click.UsageError("--version and --label cannot be used together")
    settings |= {"timeout": timeout, "headers": dict(map(_header, headers))}
    if isinstance(source, Path):
        if label is not None:
            version = labelled_version(source, label)
        with starting_tensorflow():
            from kmnist.server.local import LocalModel
        model = LocalModel(source, version)
        return Client(model=name or source.absolute().name, transport=model, **settings)
    tls = TLS(ca=ca) if ca is not None else None
    return Client(source, model=name or NAME, version=version, label=label, tls=tls, **settings)


def image_size(client: "Client") -> tuple[int, int] | None:
    """Return the height and width of the images of a model, or None if it takes no images."""
    signature = client.metadata().signatures.get("serving_default")
    spec = signature.inputs.get("images") if signature else None
    match spec and spec.shape:
        case (_, int(height), int(width)):
            return height, width
    return None


def labelled_version(models: Path, label: str) -> int:
    """Return the version that a label of a folder of versions points at.

    Raises:
        MissingError: There is no such label.
    """
    from kmnist.versions import read_labels

    labels = read_labels(models)
    if label not in labels:
        existing = ", ".join(sorted(labels)) or "none"
        raise MissingError(f"no label {label!r} in {models}; existing labels: {existing}")
    return labels[label]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        # Without the text itself, which may be a secret.
        raise InputError("a header must be NAME:VALUE")
    return name.strip(), value.strip()
