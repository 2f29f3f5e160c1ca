"""``kmnist versions``: list, label and prune the version folders of a model."""

import json
from pathlib import Path
from typing import Any

import click

from kmnist.cli._base import Group, json_option

__all__ = ["command"]

base_option = click.option(
    "--base",
    type=click.Path(path_type=Path),
    default=Path("models/kmnist"),
    show_default=True,
    help="The folder that holds the versions.",
)


@click.group(cls=Group)
def command() -> None:
    """List, label and prune the exported versions.

    \b
    A canary:        kmnist versions label canary=4
    Promote it:      kmnist versions label stable=4 canary=
    Roll back:       kmnist versions label stable=3
    Free the disk:   kmnist versions prune --keep 3
    """


@command.command("list")
@base_option
@json_option
def list_(base: Path, as_json: bool) -> None:
    """Show the versions, newest first, and their labels."""
    from kmnist.versions import version_folder

    version_folder(base)  # says so if there is none
    rows = _rows(base)
    if as_json:
        click.echo(json.dumps({"base": str(base), "versions": rows}))
        return
    for row in rows:
        click.echo(f"{row['version']:>6}  {row['published']}  {' '.join(row['labels'])}".rstrip())


@command.command()
@click.argument("changes", metavar="[NAME=N]...", nargs=-1)
@base_option
@json_option
def label(changes: tuple[str, ...], base: Path, as_json: bool) -> None:
    """Point labels at versions; NAME= takes a label away; without either, show the labels.

    Several changes are made at once or, if one is refused, not at all. TensorFlow Serving and
    `kmnist serve` follow within seconds. A request for /v1/models/kmnist/labels/NAME or with
    --label NAME is then answered by that version. They are kept in models.config beside the
    folder, which is made if it is missing.
    """
    from kmnist.versions import label

    labels = label(base, dict(_change(text) for text in changes))
    if as_json:
        click.echo(json.dumps({"base": str(base), "labels": labels}))
        return
    for name, version in labels.items():
        click.echo(f"{name}={version}")


@command.command()
@click.option(
    "--keep", metavar="K", type=click.IntRange(min=1), required=True, help="How many to keep."
)
@base_option
@json_option
def prune(keep: int, base: Path, as_json: bool) -> None:
    """Delete all but the K newest versions; one that has a label stays."""
    from kmnist.versions import list_versions, prune

    deleted = prune(base, keep)
    kept = list_versions(base)
    if as_json:
        click.echo(json.dumps({"base": str(base), "deleted": deleted, "kept": kept}))
        return
    click.echo(f"deleted: {_numbers(deleted)}")
    click.echo(f"kept:    {_numbers(kept)}")


def _rows(base: Path) -> list[dict[str, Any]]:
    from datetime import datetime

    from kmnist.versions import list_versions, read_labels, version_folder

    labels = read_labels(base)
    rows = []
    for version in reversed(list_versions(base)):
        changed = version_folder(base, version).stat().st_mtime
        rows.append(
            {
                "version": version,
                "published": datetime.fromtimestamp(changed).astimezone().isoformat(" ", "seconds"),
                "labels": sorted(name for name, number in labels.items() if number == version),
            }
        )
    return rows


def _change(text: str) -> tuple[str, int | None]:
    name, equals, version = text.partition("=")
    if not equals or not (version == "" or (version.isascii() and version.isdecimal())):
        raise click.BadParameter(
            f"{text!r} is not NAME=N; give a label and a version, as stable=3, or stable= to"
            " take the label away",
            param_hint="NAME=N",
        )
    return name, int(version) if version else None


def _numbers(versions: list[int]) -> str:
    return ", ".join(map(str, versions)) or "none"
