"""``kmnist versions``: list, compare, label and prune the version folders of a model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kmnist.cli._base import Group
from kmnist.cli._client import image_size, open_client
from kmnist.cli._options import complete_existing, dataset_options, json_option, models_option
from kmnist.cli._output import print_table, show_result
from kmnist.errors import KmnistError

if TYPE_CHECKING:
    from kmnist.client import Client

__all__ = ["command"]

# The usual level; see the help of `compare`.
_SIGNIFICANT: Final = 0.05


@click.group("versions", cls=Group)
def command() -> None:
    """List, compare, label and prune the exported versions.

    \b
    Is it better?    kmnist versions compare 3 4
    A canary:        kmnist versions label canary=4
    Promote it:      kmnist versions label stable=4 canary=
    Roll back:       kmnist versions label stable=3
    Free the disk:   kmnist versions prune --keep 3
    """


@command.command("list")
@models_option()
@json_option
def list_(models: Path, as_json: bool) -> None:
    """Show the versions, newest first, with their labels.

    Test accuracy, data set and epochs are those of the model cards.
    """
    from datetime import datetime

    from kmnist.versions import list_versions, read_labels, version_folder

    version_folder(models)  # raises if there is no version
    labels = read_labels(models)
    rows = []
    for version in reversed(list_versions(models)):
        folder = version_folder(models, version)
        changed = datetime.fromtimestamp(folder.stat().st_mtime).astimezone()
        row = {"version": version, "published": changed.isoformat(" ", "seconds")}
        names = sorted(name for name, number in labels.items() if number == version)
        rows.append({**row, **_summary(folder), "labels": names})
    show_result({"models": str(models), "versions": rows}, as_json, _print_versions)


@command.command()
@click.argument("first", metavar="A", shell_complete=complete_existing)
@click.argument("second", metavar="B", shell_complete=complete_existing)
@models_option()
@dataset_options
@click.option(
    "--fail-if-worse",
    is_flag=True,
    help="Exit with 1 if B is worse than A, unless that may be chance (a p of 0.05 or more).",
)
@json_option
def compare(
    first: str,
    second: str,
    models: Path,
    dataset: str,
    data_dir: Path | None,
    fail_if_worse: bool,
    as_json: bool,
) -> None:
    """Compare two versions on the test split, before a promotion.

    A and B are version numbers or labels. The output is the accuracy of both, the number of images
    that only one of them classifies correctly, McNemar's p, and the classes whose recall differs.
    A p below 0.05 is commonly taken to mean that the difference is not one of chance.
    """
    import numpy as np

    from kmnist.cli._data import load_data, require_same_classes
    from kmnist.metrics import Comparison

    with _open(models, first) as client:
        size = image_size(client)
    data = load_data(dataset, data_dir, grey=True, image_size=size, validation_size=0)
    names, test = data.class_names, data.test
    if not len(test):
        raise click.UsageError(f"the data set {data.name} has no test images")
    versions, class_ids = [], []
    for version in (first, second):
        with _open(models, version) as client:
            versions.append(client.metadata().version)
            predictions = client.predict(test.images)
        require_same_classes(predictions, data, f"version {version}")
        class_ids.append(predictions.class_ids)
    comparison = Comparison.from_predictions(test.labels, np.array(class_ids), len(names))
    right = comparison.right
    result = {
        "models": str(models),
        "dataset": data.name,
        "images": len(test),
        "versions": versions,
        "accuracy": (right.sum(axis=1) / len(test)).tolist(),
        "right_alone": comparison.alone.sum(axis=1).tolist(),
        "p_value": comparison.p_value,
        "recall": {
            names[i]: (right[:, i] / comparison.examples[i]).tolist()
            for i in np.flatnonzero(right[0] != right[1])
        },
    }
    show_result(result, as_json, _print_comparison)
    one, other = result["accuracy"]
    if fail_if_worse and other < one and comparison.p_value < _SIGNIFICANT:
        raise KmnistError(f"version {versions[1]} is worse than version {versions[0]}")


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
    result = {"models": str(models), "deleted": deleted, "kept": list_versions(models)}
    show_result(result, as_json, _print_pruned)


def _open(models: Path, version: str) -> "Client":
    number = int(version) if version.isdecimal() else None
    label = version if number is None else None
    return open_client(
        models, name=None, version=number, label=label, timeout=30.0, headers=(), ca=None
    )


def _summary(folder: Path) -> dict[str, Any]:
    """Return the essentials of a model card; None for what it lacks."""
    try:
        card = json.loads((folder / "model_card.json").read_text("utf-8"))
    except (OSError, ValueError):  # as of a version of another program
        card = {}
    return {
        "accuracy": card.get("test", {}).get("accuracy"),
        "dataset": card.get("data", {}).get("name"),
        "epochs": (card.get("training") or {}).get("epochs"),
    }


def _change(text: str) -> tuple[str, int | None]:
    name, equals, version = text.partition("=")
    if not equals or (version and not version.isdecimal()):
        raise click.BadParameter(
            f"{text!r} is not a label and a version, such as stable=3, or stable= to remove the label",
            param_hint="NAME=N",
        )
    return name, int(version) if version else None


def _print_versions(result: dict[str, Any]) -> None:
    rows = []
    for row in result["versions"]:
        accuracy = "-" if row["accuracy"] is None else f"{row['accuracy']:.4f}"
        facts = (accuracy, str(row["epochs"] or "-"), row["dataset"] or "-")
        rows.append((str(row["version"]), row["published"], *facts, " ".join(row["labels"])))
    header = ("version", "published", "accuracy", "epochs", "data set", "labels")
    print_table(header, rows, right=("version", "accuracy", "epochs"))


def _print_comparison(result: dict[str, Any]) -> None:
    columns = [f"version {version}" for version in result["versions"]]
    click.echo(
        f"the {result['images']} test images of {result['dataset']}, versions of {result['models']}:\n"
    )
    rows = [("accuracy", *map("{:.4f}".format, result["accuracy"]))]
    rows += [("right alone", *map(str, result["right_alone"]))]
    for name, recall in result["recall"].items():
        rows += [(f"recall of {name}", *map("{:.4f}".format, recall))]
    print_table(("", *columns), rows, right=columns)
    click.echo(
        f"\nMcNemar's p {result['p_value']:.2g}: the probability of a difference at least as large "
        "between two equally good models"
    )


def _print_labels(result: dict[str, Any]) -> None:
    if not result["labels"]:
        click.echo("no labels; set one with: kmnist versions label stable=N", err=True)
    for name, version in result["labels"].items():
        click.echo(f"{name}={version}")


def _print_pruned(result: dict[str, Any]) -> None:
    for name in ("deleted", "kept"):
        click.echo(f"{name}: {', '.join(map(str, result[name])) or 'none'}")
