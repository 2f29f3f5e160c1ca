"""``kmnist status``: the versions, states, labels and signatures of a server's model."""

from dataclasses import asdict
from typing import Any, Final

import click

from kmnist.cli._base import Command
from kmnist.cli._client import open_client
from kmnist.cli._options import SECONDS, client_options, json_option, server_option
from kmnist.cli._output import print_table, show_result
from kmnist.errors import LabelNotFoundError, ModelNotFoundError, NotReadyError

__all__ = ["command"]

# The usual labels, which are looked up, because servers do not list their labels.
_LABELS: Final = ("stable", "canary")


@click.command("status", cls=Command)
@server_option()
@client_options
@click.option(
    "--wait",
    type=SECONDS,
    metavar="SECONDS",
    help="Wait up to this time until the version is ready.",
)
@json_option
def command(server: str, wait: float | None, as_json: bool, **client_arguments: Any) -> int:
    """Show a server's versions, states, labels and signatures.

    Of the labels, stable, canary and the one of --label are looked up: servers do not list them.
    The exit code is 0 if the selected version is ready, and 1 otherwise.
    """
    with open_client(server, **client_arguments) as client:
        if wait is not None:
            client.wait_until_ready(wait)
        versions = client.status()
        metadata = client.metadata() if client.is_ready() else None
    labels = _find_labels(server, client_arguments)
    result = {
        "server": client.address,
        "model": client.model,
        "ready": metadata is not None,
        "versions": [asdict(each) | {"labels": labels.get(each.version, [])} for each in versions],
        "answers": metadata.version if metadata else None,
        "signatures": asdict(metadata)["signatures"] if metadata else {},
    }
    show_result(result, as_json, _print)
    return 0 if metadata else 1


def _find_labels(server: str, client_arguments: dict[str, Any]) -> dict[int | None, list[str]]:
    """Return the labels of each version, of those that are looked up."""
    found: dict[int | None, list[str]] = {}
    for label in sorted({*_LABELS, client_arguments["label"]} - {None}):
        arguments = client_arguments | {"version": None, "label": label}
        with open_client(server, **arguments) as client:
            try:
                found.setdefault(client.metadata().version, []).append(label)
            except (LabelNotFoundError, ModelNotFoundError, NotReadyError):
                continue
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
                for name, signature in sorted(result["signatures"].items())
            ],
        )


def _describe(tensors: dict[str, dict[str, Any]]) -> str:
    from kmnist.protocol.messages import TensorSpec

    return "\n".join(f"{name}: {TensorSpec(**tensors[name])}" for name in sorted(tensors))
