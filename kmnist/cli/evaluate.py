"""``kmnist evaluate``: how good a version is, from its folder or through a server."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kmnist.cli.command import Command, json_option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kmnist.results import Evaluation

__all__ = ["command"]

# Images a call of the loaded model: enough to be fast, few enough to stay small.
_AT_ONCE = 1_000


@click.command(cls=Command)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=Path("models/kmnist"),
    show_default=True,
    help="A folder of versions, when there is no --server.",
)
@click.option(
    "--server",
    envvar="KMNIST_SERVER",
    metavar="URL",
    help="Ask a server instead: grpc://localhost:8500 or http://localhost:8501. [$KMNIST_SERVER]",
)
@click.option("--name", default="kmnist", show_default=True, help="The server's name of the model.")
@click.option("--version", type=click.IntRange(1), help="Which version; the newest without it.")
@click.option("--label", help="The version with this label; needs --server.")
@click.option(
    "--dataset",
    default="mnist",
    show_default=True,
    help="Whose test split: mnist, a folder of IDX files, or a TFDS name.",
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Where TFDS finds or puts prepared data."
)
@json_option
def command(
    model: Path,
    server: str | None,
    name: str,
    version: int | None,
    label: str | None,
    dataset: str,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Measure a version on the whole test split.

    Prints the accuracy, the precision and recall of each class, and the confusion matrix. Through
    a server the figures are the same as from the folder that it serves.
    """
    if label is not None and server is None:
        raise click.UsageError("--label needs --server; a folder's versions have numbers")
    from kmnist.datasets import load_dataset
    from kmnist.results import Evaluation

    data = load_dataset(dataset, validation_size=0, data_dir=data_dir)
    if server is None:
        source, probabilities = _ask_folder(model, version, data.test.images)
    else:
        source, probabilities = _ask_server(server, name, version, label, data.test.images)
    if probabilities.shape[1] != len(data.class_names):
        raise click.UsageError(
            f"{source} tells {probabilities.shape[1]} classes apart, {data.name} has "
            f"{len(data.class_names)}; name the --dataset that it was trained on"
        )
    evaluation = Evaluation.of(data.test.labels, probabilities)
    if as_json:
        click.echo(json.dumps(_as_json(source, data.name, data.class_names, evaluation)))
    else:
        _print(source, data.name, data.class_names, evaluation)


def _ask_folder(
    base: Path, version: int | None, images: "NDArray[np.uint8]"
) -> tuple[str, "NDArray[np.float32]"]:
    import numpy as np

    from kmnist.cli.quiet import starting_tensorflow
    from kmnist.versions import version_folder

    folder = version_folder(base, version)
    with starting_tensorflow():
        import tensorflow as tf
    predict = tf.saved_model.load(str(folder)).signatures["serving_default"]
    pieces = [
        predict(images=tf.constant(images[start : start + _AT_ONCE]))["probabilities"].numpy()
        for start in range(0, len(images), _AT_ONCE)
    ]
    return str(folder), np.concatenate(pieces)


def _ask_server(
    url: str, name: str, version: int | None, label: str | None, images: "NDArray[np.uint8]"
) -> tuple[str, "NDArray[np.float32]"]:
    from kmnist.client import Client

    with Client(url, model=name, version=version, label=label) as client:
        return url, client.predict(images).probabilities


def _as_json(
    source: str, dataset: str, class_names: tuple[str, ...], evaluation: "Evaluation"
) -> dict[str, Any]:
    precision, recall = (
        [None if math.isnan(value) else float(value) for value in values]
        for values in (evaluation.precision, evaluation.recall)
    )
    return {
        "model": source,
        "dataset": dataset,
        "examples": evaluation.examples,
        "accuracy": evaluation.accuracy,
        "cost": evaluation.cost,
        "class_names": list(class_names),
        "precision": precision,
        "recall": recall,
        "confusion": evaluation.confusion.tolist(),
    }


def _print(
    source: str, dataset: str, class_names: tuple[str, ...], evaluation: "Evaluation"
) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(
        f"{source} on the {evaluation.examples} test images of {dataset}: "
        f"accuracy {evaluation.accuracy:.4f}, cost {evaluation.cost:.4f}",
        markup=False,
        soft_wrap=True,
    )
    scores = Table("class", title="Of each class")
    scores.add_column("precision", justify="right")
    scores.add_column("recall", justify="right")
    for name, precision, recall in zip(
        class_names, evaluation.precision, evaluation.recall, strict=True
    ):
        scores.add_row(name, f"{precision:.4f}", f"{recall:.4f}")
    console.print(scores)
    confusion = Table("label", title="How many of a label (row) were taken for a class (column)")
    for name in class_names:
        confusion.add_column(name, justify="right")
    for index, (name, row) in enumerate(zip(class_names, evaluation.confusion, strict=True)):
        counts = (str(count) if count else "·" for count in row)
        confusion.add_row(
            name,
            *(f"[bold]{count}[/]" if at == index else count for at, count in enumerate(counts)),
        )
    console.print(confusion)
