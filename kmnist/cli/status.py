"""``kmnist status``: what a server has of a model, and whether it would answer."""

import json
from typing import TYPE_CHECKING, Any

import click

from kmnist.cli._base import Command, json_option
from kmnist.cli._options import Connection, connection_options, server_option

if TYPE_CHECKING:
    from kmnist.client import Client, Metadata, VersionStatus

__all__ = ["command"]


@click.command(cls=Command)
@server_option
@connection_options
@click.option(
    "--probe",
    "labels",
    multiple=True,
    default=("stable", "canary"),
    show_default=True,
    metavar="LABEL",
    help="Labels to look for, since no server lists them; may be repeated.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="First wait until it is ready, so long at most.",
)
@json_option
def command(
    server: str,
    connection: Connection,
    labels: tuple[str, ...],
    wait: float | None,
    as_json: bool,
) -> int:
    """Show a server's versions, states, labels and signatures.

    The exit code is 0 if the version asked for would answer now, and 1 if not.
    """
    with connection.open(server) as client:
        if wait is not None:
            client.wait_until_ready(wait)
        versions = client.status()
        ready = client.is_ready()
        metadata = client.metadata() if ready else None
    found = _labels(server, connection, labels)
    report = _json if as_json else _text
    report(client, versions, found, metadata, ready=ready)
    return 0 if ready else 1


def _labels(server: str, connection: Connection, labels: tuple[str, ...]) -> dict[str, int]:
    """The version of each label that is set."""
    from kmnist.client import LabelNotFoundError, ModelNotFoundError, NotReadyError

    found = {}
    for label in labels:
        with connection.open(server, version=None, label=label) as client:
            try:
                version = client.metadata().version
            except (LabelNotFoundError, ModelNotFoundError, NotReadyError):
                continue
            if version is not None:
                found[label] = version
    return found


def _json(
    client: "Client",
    versions: "list[VersionStatus]",
    labels: dict[str, int],
    metadata: "Metadata | None",
    *,
    ready: bool,
) -> None:
    signatures: dict[str, Any] = {}
    if metadata is not None:
        for name, signature in sorted(metadata.signatures.items()):
            signatures[name] = {
                side: {
                    key: {"dtype": spec.dtype, "shape": spec.shape} for key, spec in specs.items()
                }
                for side, specs in (("inputs", signature.inputs), ("outputs", signature.outputs))
            }
    report = {
        "server": client.address,
        "model": client.model,
        "ready": ready,
        "versions": [
            {
                "version": each.version,
                "state": each.state,
                "labels": sorted(label for label, at in labels.items() if at == each.version),
                "error_code": each.error_code,
                "error_message": each.error_message,
            }
            for each in versions
        ],
        "answers": None if metadata is None else metadata.version,
        "signatures": signatures,
    }
    click.echo(json.dumps(report))


def _text(
    client: "Client",
    versions: "list[VersionStatus]",
    labels: dict[str, int],
    metadata: "Metadata | None",
    *,
    ready: bool,
) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"model {escape(client.model)} at {escape(client.address)}: ", end="")
    console.print("[green]ready[/]" if ready else "[red]not ready[/]")
    table = Table(box=None, pad_edge=False)
    for column in ("version", "state", "labels", ""):
        table.add_column(column)
    for each in versions:
        own = sorted(label for label, at in labels.items() if at == each.version)
        table.add_row(str(each.version), each.state, " ".join(own), escape(each.error_message))
    console.print(table)
    if metadata is None:
        return
    console.print()
    table = Table(box=None, pad_edge=False)
    for column in ("signature", "takes", "gives"):
        table.add_column(column)
    for name, signature in sorted(metadata.signatures.items()):
        sides = (signature.inputs, signature.outputs)
        table.add_row(
            escape(name),
            *(
                escape("\n".join(f"{key}: {spec}" for key, spec in sorted(side.items())))
                for side in sides
            ),
        )
    console.print(table)
