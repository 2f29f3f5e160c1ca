"""``kmnist versions``: list, label and prune the version folders of a model."""

from pathlib import Path
from typing import Any, Final

import click

from kmnist.cli._base import Group
from kmnist.cli._options import json_option, models_option
from kmnist.cli._output import show_result

__all__ = ["command"]

# No server can load a version with more; thousands of digits are not converted by int().
_MAX_DIGITS: Final = 20


@click.group("versions", cls=Group)
def command() -> None:
    """List, label and prune the exported versions.

    \b
    A canary:        kmnist versions label canary=4
    Promote it:      kmnist versions label stable=4 canary=
    Roll back:       kmnist versions label stable=3
    Free the disk:   kmnist versions prune --keep 3
    """


@command.command("list")
@models_option()
@json_option
def list_(models: Path, as_json: bool) -> None:
    """Show the versions, newest first, with their labels."""
    from datetime import datetime

    from kmnist.versions import list_versions, read_labels, version_folder

    version_folder(models)  # raises if there is no version
    labels = read_labels(models)
    rows = []
    for version in reversed(list_versions(models)):
        changed = version_folder(models, version).stat().st_mtime
        rows.append(
            {
                "version": version,
                "published": datetime.fromtimestamp(changed).astimezone().isoformat(" ", "seconds"),
                "labels": sorted(name for name, number in labels.items() if number == version),
            }
        )
    show_result({"models": str(models), "versions": rows}, as_json, _print_versions)


@command.command()
@click.argument("changes", metavar="[NAME=N]...", nargs=-1)
@models_option()
@json_option
def label(changes: tuple[str, ...], models: Path, as_json: bool) -> None:
    """Point labels at versions, or show the labels.

    NAME=N points the label NAME at version N, NAME= removes it. All changes are made at once,
    or none if one is rejected. The labels are stored in models.config beside the folder, which is
    created if it is missing. TensorFlow Serving and `kmnist serve` read it every few seconds;
    requests for /v1/models/kmnist/labels/NAME, or with --label NAME, then go to that version.
    """
    from kmnist.versions import label

    labels = label(models, dict(map(_change, changes)))
    show_result({"models": str(models), "labels": labels}, as_json, _print_labels)


@command.command()
@click.option(
    "--keep",
    metavar="K",
    type=click.IntRange(min=1),
    required=True,
    help="The number of versions to keep.",
)
@models_option()
@json_option
def prune(keep: int, models: Path, as_json: bool) -> None:
    """Delete all but the K newest versions and those with a label.

    Do not prune while TensorFlow Serving starts: it exits if a version is deleted that it is
    loading. A running server unloads the deleted versions.
    """
    from kmnist.versions import list_versions, prune

    deleted = prune(models, keep)
    if deleted:
        click.echo(
            "warning: a TensorFlow Serving that was just loading one of the deleted versions may "
            "exit; start it again",
            err=True,
        )
    result = {"models": str(models), "deleted": deleted, "kept": list_versions(models)}
    show_result(result, as_json, _print_pruned)


def _change(text: str) -> tuple[str, int | None]:
    name, equals, version = text.partition("=")
    is_number = version.isascii() and version.isdecimal() and len(version) < _MAX_DIGITS
    if not equals or not (version == "" or is_number):
        raise click.BadParameter(
            f"received {text!r}; expected a label and a version, such as stable=3, or stable= to "
            "remove the label",
            param_hint="NAME=N",
        )
    return name, int(version) if version else None


def _print_versions(result: dict[str, Any]) -> None:
    for row in result["versions"]:
        click.echo(f"{row['version']:>6}  {row['published']}  {' '.join(row['labels'])}".rstrip())


def _print_labels(result: dict[str, Any]) -> None:
    for name, version in result["labels"].items():
        click.echo(f"{name}={version}")


def _print_pruned(result: dict[str, Any]) -> None:
    click.echo(f"deleted: {', '.join(map(str, result['deleted'])) or 'none'}")
    click.echo(f"kept:    {', '.join(map(str, result['kept'])) or 'none'}")
