"""``kmnist status``: the versions, states, labels and signatures of a server's model."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from kmnist.cli._base import Command
from kmnist.cli._client import ask, open_client
from kmnist.cli._options import SECONDS, client_options, json_option, server_option
from kmnist.cli._output import print_table, show_result
from kmnist.errors import LabelNotFoundError, ModelNotFoundError, NotReadyError

if TYPE_CHECKING:
    from kmnist.client import Client
    from kmnist.protocol.messages import Metadata, VersionStatus

    _Status = tuple[str, str, list[VersionStatus], Metadata | None]

__all__ = ["command"]


@click.command("status", cls=Command)
@server_option()
@client_options
@click.option(
    "--probe",
    "labels",
    multiple=True,
    default=("stable", "canary"),
    metavar="LABEL",
    help="A label to look up, because servers do not list their labels; may be repeated.",
)
@click.option(
    "--wait",
    type=SECONDS,
    metavar="SECONDS",
    help="Wait up to this time until the version is ready.",
)
@json_option
def command(
    server: str,
    labels: tuple[str, ...],
    wait: float | None,
    as_json: bool,
    **client_arguments: Any,
) -> int:
    """Show a server's versions, states, labels and signatures.

    The exit code is 0 if the selected version is ready, and 1 otherwise.
    """

    def question(client: "Client") -> "_Status":
        if wait is not None:
            client.wait_until_ready(wait)
        versions = client.status()
        metadata = client.metadata() if client.is_ready() else None
        return client.address, client.model, versions, metadata

    address, model, versions, metadata = ask(server, question, **client_arguments)
    ready = metadata is not None
    found = _find_labels(server, client_arguments | {"name": model}, labels)
    signatures = {} if metadata is None else metadata.signatures
    result = {
        "server": address,
        "model": model,
        "ready": ready,
        "versions": [
            {
                **asdict(each),
                "labels": sorted(label for label, at in found.items() if at == each.version),
            }
            for each in versions
        ],
        "answers": None if metadata is None else metadata.version,
        "signatures": {name: asdict(signatures[name]) for name in sorted(signatures)},
    }
    show_result(result, as_json, _print)
    return 0 if ready else 1


def _find_labels(
    server: str, client_arguments: dict[str, Any], labels: tuple[str, ...]
) -> dict[str, int]:
    """Return the version of each of the ``labels`` that the server has."""
    found = {}
    for label in labels:
        arguments = client_arguments | {"version": None, "label": label}
        with open_client(server, **arguments) as client:
            try:
                version = client.metadata().version
            except (LabelNotFoundError, ModelNotFoundError, NotReadyError):
                continue
        if version is not None:
            found[label] = version
    return found


def _print(result: dict[str, Any]) -> None:
    ready = click.style("ready", "green") if result["ready"] else click.style("not ready", "red")
    click.echo(f"model {result['model']} at {result['server']}: {ready}")
    print_table(
        ("version", "state", "labels", ""),
        [
            (str(each["version"]), each["state"], " ".join(each["labels"]), each["error_message"])
            for each in result["versions"]
        ],
    )
    if result["signatures"]:
        click.echo()
        print_table(
            ("signature", "inputs", "outputs"),
            [
                (name, _describe(signature["inputs"]), _describe(signature["outputs"]))
                for name, signature in result["signatures"].items()
            ],
        )


def _describe(tensors: dict[str, dict[str, Any]]) -> str:
    from kmnist.protocol.messages import TensorSpec

    return "\n".join(f"{name}: {TensorSpec(**tensors[name])}" for name in sorted(tensors))
