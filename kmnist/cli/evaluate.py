"""``kmnist evaluate``: how good a version is, from its folder or through a server."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kmnist.cli._base import Command, json_option
from kmnist.cli._options import DEFAULT_SERVER, Connection, connection_options

if TYPE_CHECKING:
    from kmnist.metrics import Evaluation

__all__ = ["command"]

DEFAULT_MODEL = Path("models/kmnist")


@click.command(cls=Command)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="A version folder, or the folder of versions.  [default: models/kmnist, without --server]",
)
@click.option(
    "--server",
    metavar="URL",
    envvar="KMNIST_SERVER",
    show_envvar=True,
    help="Ask a server instead: grpc://, grpcs://, http:// or https://, host and port.",
)
@click.option(
    "--dataset",
    default="mnist",
    show_default=True,
    help="Whose test split: mnist, a folder of IDX files, or a TFDS name.",
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Where TFDS finds or puts prepared data."
)
@connection_options
@json_option
def command(
    model: Path | None,
    server: str | None,
    dataset: str,
    data_dir: Path | None,
    connection: Connection,
    as_json: bool,
) -> None:
    """Measure a version on the whole test split.

    Prints the accuracy, the precision and recall of each class, and the confusion matrix. Through
    a server the figures are the same as from the folder that it serves.
    """
    from kmnist.data import load_dataset
    from kmnist.metrics import Evaluation

    data = load_dataset(dataset, validation_size=0, data_dir=data_dir)
    if server is None or model is not None:
        model = model or DEFAULT_MODEL
    with connection.open(server or DEFAULT_SERVER, model) as client:
        probabilities = client.predict(data.test.images).probabilities
    source = str(model or server)
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
