"""``kmnist versions``: list, compare, label and prune the version folders of a model."""

from pathlib import Path
from typing import Any, Final

import click

from kmnist.cli._base import Group
from kmnist.cli._client import ask, labelled_version
from kmnist.cli._options import dataset_options, json_option, models_option
from kmnist.cli._output import print_table, show_result

__all__ = ["command"]

# No server can load a version with more; thousands of digits are not converted by int().
_MAX_DIGITS: Final = 20


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
    from dataclasses import asdict
    from datetime import datetime

    from kmnist.versions import list_versions, read_labels, read_summary, version_folder

    version_folder(models)  # raises if there is no version
    labels = read_labels(models)
    rows = []
    for version in reversed(list_versions(models)):
        folder = version_folder(models, version)
        changed = folder.stat().st_mtime
        rows.append(
            {
                "version": version,
                "published": datetime.fromtimestamp(changed).astimezone().isoformat(" ", "seconds"),
                **asdict(read_summary(folder)),
                "labels": sorted(name for name, number in labels.items() if number == version),
            }
        )
    show_result({"models": str(models), "versions": rows}, as_json, _print_versions)


@command.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@models_option()
@dataset_options
@json_option
def compare(
    first: str,
    second: str,
    models: Path,
    dataset: str,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Compare two versions on the test split, before a promotion.

    A and B are version numbers or labels. The output is the accuracy of both, the number of images
    that only one of them classifies correctly, McNemar's p, and the classes whose recall differs.
    A p below 0.05 is commonly taken to mean that the difference is not one of chance.
    """
    import numpy as np

    from kmnist.cli._data import load_data
    from kmnist.metrics import Comparison

    versions = [_version(models, name) for name in (first, second)]
    data = load_data(dataset, data_dir, grey=True, validation_size=0)
    names, labels = data.class_names, data.test.labels
    if not len(labels):
        raise click.UsageError(f"the data set {data.name} has no test images; expected some")
    predicted = []
    for version in versions:
        predictions = ask(
            models,
            lambda client: client.predict(data.test.images),
            name=None,
            version=version,
            label=None,
            timeout=30.0,
            headers=(),
            ca=None,
        )
        if predictions.probabilities.shape[1] != len(names):
            raise click.UsageError(
                f"version {version} has {predictions.probabilities.shape[1]} classes, the data set "
                f"{data.name} {len(names)}; select the data set of its training with --dataset"
            )
        predicted.append(predictions.class_ids)
    comparison = Comparison.from_predictions(labels, np.array(predicted), len(names))
    right, alone = comparison.right, comparison.alone
    change = right[1] - right[0]
    changed = sorted(np.flatnonzero(change).tolist(), key=lambda i: (-abs(change[i]), i))
    result = {
        "models": str(models),
        "dataset": data.name,
        "examples": len(labels),
        "versions": [
            {
                "version": version,
                "accuracy": int(right[i].sum()) / len(labels),
                "right_alone": int(alone[i].sum()),
            }
            for i, version in enumerate(versions)
        ],
        "p_value": comparison.p_value,
        "changed": [
            {
                "class_name": names[i],
                "examples": int(comparison.examples[i]),
                "right": right[:, i].tolist(),
                "right_alone": alone[:, i].tolist(),
            }
            for i in changed
        ],
    }
    show_result(result, as_json, _print_comparison)


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


def _version(models: Path, name: str) -> int:
    """Return the version of a number or a label."""
    if name.isascii() and name.isdecimal() and len(name) < _MAX_DIGITS:
        from kmnist.versions import version_folder

        return int(version_folder(models, int(name)).name)
    return labelled_version(models, name)


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
    header = ("version", "published", "accuracy", "epochs", "data set", "labels")
    rows = [
        (
            str(row["version"]),
            row["published"],
            "-" if row["accuracy"] is None else f"{row['accuracy']:.4f}",
            "-" if row["epochs"] is None else str(row["epochs"]),
            row["dataset"] or "-",
            " ".join(row["labels"]),
        )
        for row in result["versions"]
    ]
    print_table(header, rows, right=("version", "accuracy", "epochs"))


def _print_comparison(result: dict[str, Any]) -> None:
    first, second = (str(row["version"]) for row in result["versions"])
    click.echo(
        f"versions {first} and {second} of {result['models']} on the {result['examples']} test images "
        f"of {result['dataset']}:\n"
    )
    print_table(
        ("version", "accuracy", "right alone"),
        [
            (str(row["version"]), f"{row['accuracy']:.4f}", str(row["right_alone"]))
            for row in result["versions"]
        ],
        right=("version", "accuracy", "right alone"),
    )
    click.echo(
        f"\nMcNemar's p {result['p_value']:.2g}: the probability of a difference at least as large "
        "between two equally good models\n"
    )
    if not result["changed"]:
        click.echo("no class has another recall")
        return
    columns = [f"{name} of {version}" for name in ("right", "alone") for version in (first, second)]
    print_table(
        ("class", "images", *columns),
        [
            (
                row["class_name"],
                str(row["examples"]),
                *map(str, (*row["right"], *row["right_alone"])),
            )
            for row in result["changed"]
        ],
        right=("images", *columns),
    )


def _print_labels(result: dict[str, Any]) -> None:
    for name, version in result["labels"].items():
        click.echo(f"{name}={version}")


def _print_pruned(result: dict[str, Any]) -> None:
    click.echo(f"deleted: {', '.join(map(str, result['deleted'])) or 'none'}")
    click.echo(f"kept:    {', '.join(map(str, result['kept'])) or 'none'}")
